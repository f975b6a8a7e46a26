// Identities that do not convert into each other. All are 64-bit values in memory and on the wire.
#pragma once

#include <compare>
#include <cstdint>

namespace kahuna {

template <class Tag>
class Id {
 public:
  constexpr Id() = default;
  explicit constexpr Id(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }
  constexpr explicit operator bool() const { return value_ != 0; }
  friend constexpr auto operator<=>(Id, Id) = default;

  // For counters (terms, indexes, revisions): the successor.
  constexpr Id next() const { return Id(value_ + 1); }
  constexpr Id prev() const { return Id(value_ - 1); }

 private:
  uint64_t value_ = 0;
};

using ClusterId = Id<struct ClusterIdTag>;  // minted when a cluster is founded; 0 = not known yet
using NodeId = Id<struct NodeIdTag>;        // minted at format, random; 0 = none
using PartitionId = Id<struct PartitionIdTag>;  // never reused; 0 = the meta partition
using Term = Id<struct TermTag>;                // Raft term; 0 = before any election
using Index = Id<struct IndexTag>;              // Raft log index; 0 = before any log
// Highest timestamp or version that a node or client has heard of (DESIGN §7).
using Watermark = Id<struct WatermarkTag>;
// Milliseconds of a partition's log time (kahuna/partition/log_time.h); 0 = nothing was stamped
// yet.
using LogTime = Id<struct LogTimeTag>;
// The rules under which an entry, snapshot or journal is evaluated (DESIGN §6). 2: commands carry
// log time; those of level 1 carry none, and leave it as it is.
using SemanticLevel = Id<struct SemanticLevelTag>;
inline constexpr SemanticLevel kCurrentSemanticLevel{2};

// Revision of one key: -1 = never written, 0 = first write; a delete consumes one.
class Revision {
 public:
  constexpr Revision() = default;
  explicit constexpr Revision(int64_t value) : value_(value) {}
  constexpr int64_t value() const { return value_; }
  constexpr Revision next() const { return Revision(value_ + 1); }
  friend constexpr auto operator<=>(Revision, Revision) = default;

 private:
  int64_t value_ = -1;
};

// One replica of a group: a node in one of its incarnations. A wiped node has a new node id; a
// replica that was removed and re-added has a new incarnation (DESIGN §4, trap 25).
struct ReplicaId {
  NodeId node;
  uint64_t incarnation = 0;
  constexpr explicit operator bool() const { return bool(node); }
  friend constexpr auto operator<=>(ReplicaId, ReplicaId) = default;
};

// Names one client operation for exactly-once execution (DESIGN §8, trap 40). `client` is random
// per client object, `sequence` counts from 1. `birth` is the watermark the client knew when it
// first sent the operation; a retry carries the same three values.
struct OperationId {
  uint64_t client = 0;
  uint64_t sequence = 0;
  Watermark birth;
  friend constexpr auto operator<=>(const OperationId&, const OperationId&) = default;
};

}  // namespace kahuna
