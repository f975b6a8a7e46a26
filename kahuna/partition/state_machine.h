// The replicated state machine of one partition: apply(entry) -> reply. Deterministic: the same
// entries in the same order give the same rows and replies on every replica.
//
//   P1 conditions (NX, XX, CMP, CMPREV) are evaluated here, at apply, never at propose;
//   P2 exactly-once: an operation id that was applied above the floor is answered from its record
//      and changes nothing; one whose birth is below the floor is refused with kTooOld (trap 40);
//   P3 versions of one key never decrease in log order (trap 2):
//      stamp = max(last, birth, watermark) + 1,
//      where last is the highest stamp applied in this partition;
//   P4 a key outside the partition's range at this log position is refused (trap 34);
//   P5 reads judge by applied state only;
//   P6 the result does not depend on when applied state is saved to the engine, nor on what is
//   cached; P7 log time is the greatest stamp applied (log_time.h): it never goes back, it is saved
//   and travels
//      with the rows, and whoever asks what has expired asks it, never a running clock (trap 7).
//
// P2 needs only a bounded table because stamps are Lamport's: an operation's stamp exceeds its
// birth, so one that was executed and whose record is gone was born below the floor
// (operation_table.h).
//
// Owned by node/; touched by its loop only. Never suspends; engine reads may touch the disk.
// Row shapes: rows.h. Deliberately not here: expiry, locks, sequences, intents, old versions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kahuna/engine/engine.h"
#include "kahuna/raft/types.h"
#include "runtime/error.h"
#include "runtime/hash.h"
#include "runtime/ids.h"

namespace kahuna::partition {

// [start, end) of positions (partition/position.h); end empty = unbounded.
struct Descriptor {
  PartitionId id;
  uint64_t generation = 1;
  std::string start, end;
  bool contains(std::string_view position) const {
    return position >= start && (end.empty() || position < end);
  }
};

enum class CommandKind : uint8_t { kSet = 1, kDelete = 2 };

// Flags are ANDed (reference/kahuna-api.md §3.2).
struct Conditions {
  bool if_exists = false;  // XX
  bool if_absent = false;  // NX: absent or deleted
  // CMP: bytes equal; present but empty also matches a missing key.
  std::optional<std::string> if_value;
  std::optional<Revision> if_revision;  // CMPREV: includes a tombstone's revision and -1
};

struct Command {
  CommandKind kind = CommandKind::kSet;
  OperationId operation;
  Watermark watermark;  // highest heard of by the proposing leader
  std::string key;
  std::string value;  // kSet
  Conditions conditions;
};

// Limits, part of the wire and disk contract.
inline constexpr size_t kKeyBytesMax = 8 * 1024;
inline constexpr size_t kValueBytesMax = 1024 * 1024;
// No encoded command is larger that sets, and compares with, values of at most so many bytes.
constexpr size_t command_bytes_max(size_t value_bytes_max) {
  return kKeyBytesMax + 2 * value_bytes_max + 256;
}
// Exactly-once records kept per partition; beyond it the floor rises past the oldest.
inline constexpr size_t kOperationRecordsMax = 65'536;

// kInvalid / kTooLarge, with a text that says the limit. Called by the gateway and by
// clients.
Result<> validate(const Command& command);
Result<> validate_key(std::string_view key);

// Entry payloads (schemas/command.fbs). decode refuses anything the verifier does not accept.
// `stamp` is the leader's log time, beside the command and no part of it: CommandView::log_time.
Payload encode(const Command& command, LogTime stamp = LogTime());
Result<Command> decode(ByteView payload);

enum class Outcome : uint8_t {
  kDone = 1,      // set or deleted; `revision` is the new one
  kNotSet = 2,    // a condition did not hold; `revision` is the current one
  kNotFound = 3,  // delete of an absent key, whatever its conditions; `revision` is the current one
  // P2; outcome of the original unknown. `stamp` is the partition's last: born there is new enough.
  kTooOld = 4,
  kOutOfRange = 5,  // P4; not done
  kRefused = 6,     // not a valid command of this semantic level; not done
};

struct Reply {
  Outcome outcome = Outcome::kDone;
  Revision revision;
  Watermark stamp;        // version of what was written, or of what was found; 0 = nothing
  bool replayed = false;  // answered from an exactly-once record
};

struct Record {
  std::string value;
  Revision revision;
  Watermark stamp;
};

struct ScanItem {
  std::string key;
  Record record;
};
struct ScanPage {
  std::vector<ScanItem> items;
  std::string cursor;  // pass back to go on; empty = complete
};

struct Limits {
  // Must be the same on every replica of a partition: it decides when the floor rises.
  size_t operation_records_max = kOperationRecordsMax;
  size_t heads_max = 64 * 1024;  // recently used positions in memory; changes no answer
};

// A page of a scan ends when its keys and values pass this many bytes, or after so many rows were
// looked at (deleted ones count); its cursor then goes on.
inline constexpr size_t kScanBytesMax = 1024 * 1024;
inline constexpr size_t kScanRowsMax = 10'000;

class StateMachine {
 public:
  // Loads last stamp, floor, log time and operation records from the engine. The engine outlives
  // it. kDamaged: a row is malformed; kVersion: of a newer format. `table_seed`: what clients
  // cannot know, so that they cannot choose keys that meet in our hash tables; it changes no
  // answer.
  static Result<StateMachine> open(engine::Engine& engine, Descriptor descriptor,
                                   Limits limits = Limits(), uint64_t table_seed = 0);
  // Holds nothing and reads nothing: stands where the rows are incomplete, until it is replaced.
  static StateMachine make_empty(engine::Engine& engine, Descriptor descriptor);
  StateMachine(StateMachine&&) noexcept;
  StateMachine& operator=(StateMachine&&) noexcept;
  ~StateMachine();

  // Evaluates one committed entry. What it changes is visible at once, to applies and reads, and
  // kept in memory until it is saved. Entries come in log order, without gaps (CHECKed). Errors are
  // the engine's, and kVersion for an entry of a newer semantic level: stop the replica. After an
  // error this object may not be used further.
  Result<Reply> apply(const raft::Entry& entry);

  // Saving: collect() adds to `batch` all that was applied since the last collect(), with the
  // applied mark: a restart from there replays the log behind it. A key written many times
  // meanwhile is written once. saved() says that the engine has taken the batch; before it no other
  // collect().
  void collect(engine::WriteBatch& batch);
  void saved();
  // Entries, and bytes of their payloads, that collect() would save.
  size_t unsaved_entries() const;
  size_t unsaved_bytes() const;

  // Latest applied record; nullopt when absent or deleted. kWrongPartition when out of range.
  Result<std::optional<Record>> get(std::string_view key);
  // Keys of exactly one bucket (the text before the last '/'), ascending by key. limit 1..1000.
  // A page may be empty and have a cursor. kWrongPartition when the bucket is not all in range;
  // kInvalid: limit, or a cursor of another bucket.
  Result<ScanPage> scan(std::string_view bucket, std::string_view cursor, size_t limit);

  // Of everything that is applied: equal on replicas that applied equal entries (P6).
  Result<Hash128> digest();

  const Descriptor& descriptor() const;
  raft::LogPosition applied() const;  // index 0: nothing yet
  // Payload of the last entry that changed who belongs to the group (an encoded
  // raft::Configuration); empty: there was none.
  const std::string& members() const;
  Watermark last_stamp() const;
  Watermark floor() const;
  LogTime log_time() const;  // P7
  size_t operation_records() const;

 private:
  struct State;
  explicit StateMachine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace kahuna::partition
