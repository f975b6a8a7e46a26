// What clients asked for and what they were told, in true order: the only input of the checkers.
//
// One History belongs to one run. Whoever issues operations calls invoke() when it hands a request
// to the client library and one of complete_*() in the completion; the order of those calls is
// real-time order, so a simulated history has no clock error at all.
//
//   H1 events are numbered from 1, strictly increasing; an operation spans [invoked, completed);
//   H2 kFail means: provably did not happen and never will; everything doubtful is kInfo;
//   H3 an operation still open at the end counts as kInfo;
//   H4 a process has one operation open at a time; after kInfo its number is never used again.
//
// Values are numbers here: kBlank is the empty value, other non-negative numbers name the value
// that operation number wrote (sim/workload.h turns them into bytes and back), kGarbage is bytes
// that nobody wrote. Does not judge anything: see checker.h.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/error.h"
#include "runtime/time.h"

namespace kahuna::sim {

enum class Function : uint8_t { kWrite, kDelete, kRead, kExists, kScan };
enum class Completion : uint8_t { kOpen, kOk, kFail, kInfo };

// Which thing a number names: a key, or a bucket in scans. Index into History::names().
using NameId = uint32_t;
using OperationNumber = uint32_t;
using EventNumber = uint64_t;

// A value as the history sees it.
using ValueId = int64_t;
inline constexpr ValueId kBlank = 0;
inline constexpr ValueId kNothing = -1;  // reads: no value at all (never written, or deleted)
inline constexpr ValueId kGarbage = -2;  // reads: bytes that no operation wrote

inline constexpr int64_t kNoRevision = INT64_MIN;  // the reply carried none
inline constexpr uint64_t kNoStamp = UINT64_MAX;
inline constexpr uint64_t kNoArrival = UINT64_MAX;

// The conditions of a write, all of which must hold.
struct WriteConditions {
  bool if_absent = false;
  bool if_exists = false;
  bool compare_value = false;
  bool compare_revision = false;
  ValueId value = kNothing;        // compare_value: kBlank also matches an absent key
  int64_t revision = kNoRevision;  // compare_revision: a tombstone's counts; -1 = never written
};

struct SeenItem {
  NameId key = 0;
  ValueId value = kNothing;
  int64_t revision = kNoRevision;
  uint64_t stamp = kNoStamp;
};

// The reply of a scan: one page of one bucket.
struct SeenPage {
  std::string after;     // the page covers keys above this one ("" = from the start)
  bool complete = true;  // ... to the end of the bucket; otherwise to the last item, inclusive
  std::vector<SeenItem> items;  // ascending by key
};

// What an ok completion says. Fields that do not apply keep their defaults.
struct Reply {
  bool done = false;               // writes, deletes: took effect. exists: there is a value
  int64_t revision = kNoRevision;  // done: the new one; otherwise the one that was found
  ValueId value = kNothing;        // reads
  uint64_t stamp = kNoStamp;
  bool replayed = false;  // answered from an exactly-once record
};

struct Operation {
  Function function = Function::kRead;
  Completion completion = Completion::kOpen;
  ErrorCode error = ErrorCode::kOk;  // of kFail and kInfo
  uint32_t process = 0;
  uint32_t client = 0;  // the client library instance it went through
  uint32_t host = 0;    // the client host, and which of its arrivals this is (workload.h);
  uint64_t arrival = kNoArrival;  // kNoArrival: of the judge
  uint32_t page = 0;              // kScan and ok: index into pages()
  NameId key = 0;
  ValueId value = kNothing;  // kWrite: what it writes
  WriteConditions conditions;
  Reply reply;
  EventNumber invoked = 0;
  EventNumber completed = 0;  // 0 while open
  Time invoked_at;            // true time
  Time completed_at;

  bool mutates() const { return function == Function::kWrite || function == Function::kDelete; }
  bool is_ok() const { return completion == Completion::kOk; }
  // It may have happened although no reply says so.
  bool is_doubtful() const {
    return completion == Completion::kInfo || completion == Completion::kOpen;
  }
};

class History {
 public:
  // The number of a key or bucket name; makes one up when it is new.
  NameId name(std::string_view text);
  const std::string& text(NameId id) const { return names_[id]; }
  const std::vector<std::string>& names() const { return names_; }
  // The bucket a key lies in: its text before the last '/', the whole key when there is none.
  static std::string_view bucket_of(std::string_view key);

  // Returns the operation's number. A fresh process number: next_process().
  OperationNumber invoke(Operation operation, Time now);
  void complete_ok(OperationNumber number, Reply reply, Time now);
  void complete_scan(OperationNumber number, SeenPage page, Time now);
  // Files the operation under kFail or kInfo by what the error code promises. Reads always fail.
  void complete_error(OperationNumber number, ErrorCode error, Time now);
  uint32_t next_process() { return processes_++; }

  const std::vector<Operation>& operations() const { return operations_; }
  const std::vector<SeenPage>& pages() const { return pages_; }
  EventNumber events() const { return events_; }

  struct Counts {
    uint64_t invoked = 0, ok = 0, fail = 0, info = 0, writes_done = 0;
  };
  const Counts& counts() const { return counts_; }

  // One JSON object a line, in event order: docs/history-format.md.
  std::string to_json_lines() const;
  // The inverse, for histories made elsewhere. kInvalid names the line.
  static Result<History> from_json_lines(std::string_view text);
  // One line for people: "#12 p3 set a/k1=7 if-absent -> done r4 [100..180]".
  std::string describe(OperationNumber number) const;

 private:
  std::vector<std::string> names_;
  std::map<std::string, NameId, std::less<>> name_ids_;
  std::vector<Operation> operations_;
  std::vector<SeenPage> pages_;
  EventNumber events_ = 0;
  uint32_t processes_ = 0;
  Counts counts_;
};

}  // namespace kahuna::sim
