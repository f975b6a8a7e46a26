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
//      may do it; nothing else is ever removed without a remove().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kahuna/raft/types.h"
#include "runtime/callback.h"
#include "runtime/error.h"

namespace kahuna::engine {

// First byte of every row key. Rows of one kind lie together, ordered by position inside.
enum class RowKind : uint8_t {
  kMark = 0x01,       // per group: (applied index, term); 0x01 · partition id (8 bytes, big endian)
  kRecord = 0x10,     // versions of keys; 0x10 · position · suffix (kVersionSuffixBytes, newest first).
                      // A record row is superseded when another with the same position sorts before it.
  kOperation = 0x20,  // exactly-once records; 0x20 · position · client · sequence
  kState = 0x30,      // a partition's own state (floor, last stamp, log time); 0x30 · partition id
};
// stamp, log index, ordinal: each inverted, big endian, so that newest sorts first (trap 10).
inline constexpr size_t kVersionSuffixBytes = 8 + 8 + 4;

struct AppliedMark {
  PartitionId group;
  raft::LogPosition applied;
};

// One atomic change. Later operations on the same row win.
class WriteBatch {
 public:
  void put(std::string_view row, std::string_view value) { ops_.push_back({false, std::string(row), std::string(value)}); }
  void remove(std::string_view row) { ops_.push_back({true, std::string(row), {}}); }
  void set_applied(AppliedMark mark) { marks_[mark.group] = mark.applied; }
  bool empty() const { return ops_.empty() && marks_.empty(); }
  void clear() { ops_.clear(); marks_.clear(); }

  struct Operation {
    bool removes;
    std::string row, value;
  };
  const std::vector<Operation>& operations() const { return ops_; }
  const std::map<PartitionId, raft::LogPosition>& marks() const { return marks_; }

 private:
  std::vector<Operation> ops_;
  std::map<PartitionId, raft::LogPosition> marks_;
};

// Visits a row; false stops the scan.
using RowVisitor = std::function<bool(std::string_view row, std::string_view value)>;

class Engine {
 public:
  virtual ~Engine() = default;

  // E1. kOverloaded: memtables full, nothing written, retry after a flush made progress (the caller
  // keeps the batch). kNoSpace, kIo, kDamaged: the engine is failing; stop the replica.
  virtual Result<> write(const WriteBatch& batch) = 0;

  // The first row >= `from` and < `to`, with its value; false when there is none. May read the disk.
  virtual Result<bool> first(std::string_view from, std::string_view to, std::string& row,
                             std::string& value) = 0;
  // Exact row; false when absent.
  virtual Result<bool> get(std::string_view row, std::string& value) = 0;
  // Rows in [from, to), ascending, until the visitor stops it.
  virtual Result<> scan(std::string_view from, std::string_view to, const RowVisitor& visit) = 0;

  // Applied marks as of now (all groups ever marked).
  virtual const std::map<PartitionId, raft::LogPosition>& applied() const = 0;
  // Applied marks that survive a crash now.
  virtual const std::map<PartitionId, raft::LogPosition>& flushed() const = 0;

  // Bytes written since the last flush began: the node flushes when it is large or old.
  virtual size_t unflushed_bytes() const = 0;
  // Starts a flush of everything written so far; `done` runs on the loop when flushed() covers it or
  // it failed. One at a time (kOverloaded otherwise).
  virtual void flush(Callback<void(Result<>)> done) = 0;
};

}  // namespace kahuna::engine
