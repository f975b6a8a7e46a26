// The ordered, versioned store of applied state: one per node, all its partitions in one key space.
// Contract shared by the in-memory twin (memory_engine) and RocksDB (rocks_engine); one contract
// suite tests both.
//
//   E1 write() is atomic and becomes visible at once; it is durable only after a later flush;
//   E2 a flush is one consistent cut over all groups: after a crash the engine holds exactly the
//      writes up to some write() call W, with W at or after the last completed flush's cut;
//   E3 the applied marks in the store always equal those of the last surviving write of each group;
//   E4 rows are ordered bytewise by key;
//   E5 dropping a *superseded* row (see RowKind::kRecord) never changes any answer, so compaction
//      may do it; nothing else is ever removed without a remove();
//   E6 first(), get(), scan() and view() may be called on every loop of the node at once, whatever
//   is under
//      way; all else belongs to the loop that opened the engine.
//   E7 what is put into a range that was removed is not older than what was there: of a record row
//   that
//      sorts behind a removed one of the same position nothing may be left.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kahuna/raft/types.h"
#include "runtime/callback.h"
#include "runtime/error.h"
#include "runtime/fiber.h"

namespace kahuna::engine {

// First byte of every row key. Rows of one kind lie together, ordered by position inside.
enum class RowKind : uint8_t {
  kMark = 0x01,  // per group: (applied index, term); 0x01 · partition id (8 bytes, big endian)
  // versions of keys; 0x10 · position · suffix (kVersionSuffixBytes, newest first). A record row is
  // superseded when another with the same position sorts before it.
  kRecord = 0x10,
  kOperations = 0x20,  // exactly-once records, many to a row; 0x20 · partition id · highest stamp
  kState = 0x30,    // a partition's own state (floor, last stamp, log time); 0x30 · partition id
  kMembers = 0x31,  // who belongs to its group; 0x31 · partition id
  kInstall = 0x38,  // while a snapshot replaces a partition's rows; 0x38 · partition id
};
// stamp, log index, ordinal: each inverted, big endian, so that newest sorts first (trap 10).
inline constexpr size_t kVersionSuffixBytes = 8 + 8 + 4;

struct AppliedMark {
  PartitionId group;
  raft::LogPosition applied;
};

// One atomic change. Later operations on the same row win. Operations lie behind each other in one
// buffer, in the shape that memory_engine's images have on disk:
//   kind u8 · row length u32 · value length u32 · row · value       (little endian)
// where a removed range [from, to) stands as its two ends.
// so that a batch costs no allocation once its buffer has grown.
class WriteBatch {
 public:
  void put(std::string_view row, std::string_view value) { add(kPut, row, value); }
  void remove(std::string_view row) { add(kRemove, row, {}); }
  void remove_range(std::string_view from, std::string_view to) { add(kRemoveRange, from, to); }
  void set_applied(AppliedMark mark) { marks_[mark.group] = mark.applied; }
  bool empty() const { return bytes_.empty() && marks_.empty(); }
  size_t size_bytes() const { return bytes_.size(); }
  void clear() {
    bytes_.clear();
    marks_.clear();
  }

  // Valid until the batch changes.
  enum Kind : uint8_t { kPut = 0, kRemove = 1, kRemoveRange = 2 };
  struct Operation {
    Kind kind;
    std::string_view row, value;  // kRemoveRange: from, to
  };
  // Calls visit(const Operation&) in order.
  template <class Visit>
  void for_each(Visit visit) const {
    for_each_in(bytes_, visit);
  }
  std::vector<Operation> operations() const {
    std::vector<Operation> all;
    for_each([&](const Operation& operation) { all.push_back(operation); });
    return all;
  }
  const std::map<PartitionId, raft::LogPosition>& marks() const { return marks_; }

  // The operations in their buffer's shape, and reading them back. False: malformed, and what came
  // before was visited.
  std::string_view bytes() const { return bytes_; }
  template <class Visit>
  static bool for_each_in(std::string_view bytes, Visit visit) {
    while (!bytes.empty()) {
      if (bytes.size() < kHeaderBytes) return false;
      uint8_t kind = uint8_t(bytes[0]);
      uint64_t row_bytes = length_at(bytes, 1), value_bytes = length_at(bytes, 5);
      if (kind > kRemoveRange || row_bytes + value_bytes > bytes.size() - kHeaderBytes)
        return false;
      visit(Operation{Kind(kind), bytes.substr(kHeaderBytes, row_bytes),
                      bytes.substr(kHeaderBytes + row_bytes, value_bytes)});
      bytes.remove_prefix(kHeaderBytes + row_bytes + value_bytes);
    }
    return true;
  }

 private:
  static constexpr size_t kHeaderBytes = 1 + 4 + 4;

  static uint32_t length_at(std::string_view bytes, size_t offset) {
    uint32_t length;
    std::memcpy(&length, bytes.data() + offset, sizeof length);
    return length;
  }
  void add(uint8_t kind, std::string_view row, std::string_view value) {
    uint32_t lengths[2] = {uint32_t(row.size()), uint32_t(value.size())};
    bytes_.push_back(char(kind));
    bytes_.append(reinterpret_cast<const char*>(lengths), sizeof lengths);
    bytes_.append(row);
    bytes_.append(value);
  }

  std::string bytes_;
  std::map<PartitionId, raft::LogPosition> marks_;
};

// Visits a row; false stops the scan.
using RowVisitor = std::function<bool(std::string_view row, std::string_view value)>;

// Rows and marks as they were at one moment. Used on the loop that asked for it, and gone before
// the engine.
class View {
 public:
  virtual ~View() = default;
  // As Engine::scan().
  virtual Result<> scan(std::string_view from, std::string_view to, const RowVisitor& visit) = 0;
  virtual Result<std::map<PartitionId, raft::LogPosition>> applied() = 0;
};
using RowRange = std::pair<std::string, std::string>;  // [from, to)

class Engine {
 public:
  virtual ~Engine() = default;

  // E1. kOverloaded: memtables full, kNoSpace: the disk is; nothing written, retry after a flush
  // made progress (the caller keeps the batch). kIo, kDamaged: the engine is failing; stop the
  // replica.
  virtual Result<> write(const WriteBatch& batch) = 0;
  // write() with its work done away from the loop: visible at some moment before `done` runs, which
  // is on the loop and never inside this call. Between the two no other write begins (CHECKed) and
  // the batch does not change. Does not happen, or happens whole, when the engine is destroyed
  // first.
  virtual void start_write(std::shared_ptr<const WriteBatch> batch,
                           Callback<void(Result<>)> done) = 0;

  // The first row >= `from` and < `to`, with its value; false when there is none. May
  // read the disk.
  virtual Result<bool> first(std::string_view from, std::string_view to, std::string& row,
                             std::string& value) = 0;
  // Exact row; false when absent.
  virtual Result<bool> get(std::string_view row, std::string& value) = 0;
  // Rows in [from, to), ascending, until the visitor stops it. Superseded rows may be left out. The
  // visitor must not write to the engine.
  virtual Result<> scan(std::string_view from, std::string_view to, const RowVisitor& visit) = 0;

  // What is visible now, for reading later: of rows, those in the ranges. Holds back the reclaiming
  // of what is overwritten meanwhile.
  virtual std::unique_ptr<View> view(std::vector<RowRange> ranges) = 0;

  // Applied marks as of now (all groups ever marked).
  virtual const std::map<PartitionId, raft::LogPosition>& applied() const = 0;
  // Applied marks that survive a crash now.
  virtual const std::map<PartitionId, raft::LogPosition>& flushed() const = 0;

  // Bytes written since the last flush began: the node flushes when it is large or old.
  virtual size_t unflushed_bytes() const = 0;
  // Starts a flush of everything written so far; `done` runs on the loop when flushed() covers it
  // or it failed. One at a time (kOverloaded otherwise). kNoSpace: flushed() stays, nothing is
  // lost, reads go on, and a later flush covers it all; any other error is final.
  virtual void flush(Callback<void(Result<>)> done) = 0;

  // Reads back what its files hold, a file at a time and so many bytes a second on average, and
  // verifies it. How many bytes were read; kDamaged: something is not as it was written, and the
  // text says where. Suspends, for long; one call at a time.
  virtual Result<uint64_t> scrub(Suspend suspend, size_t bytes_per_second) {
    (void)suspend, (void)bytes_per_second;
    return uint64_t{0};
  }
};

// How long reading so much may take at that rate, at least.
inline Duration time_to_read(uint64_t bytes, size_t bytes_per_second) {
  return Duration::nanos(static_cast<int64_t>(static_cast<double>(bytes) * 1e9 /
                                              static_cast<double>(bytes_per_second)));
}

}  // namespace kahuna::engine
