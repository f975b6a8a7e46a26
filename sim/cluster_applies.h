// What replicas apply: the same entries, in order, with the same replies, everywhere.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "kahuna/partition/state_machine.h"
#include "kahuna/raft/types.h"

namespace kahuna::sim {

class AppliedEntries {
 public:
  // The node was started: it may apply again what it had not flushed.
  void restarted(size_t node);
  // Its engine, or a snapshot, took the replica there.
  void goes_on(size_t node, PartitionId group, Index index) { groups_[group].last[node] = index; }
  // Text of the violation, if this application is one.
  std::optional<std::string> on_apply(size_t node, PartitionId group, const raft::Entry& entry,
                                      const partition::Reply& reply);
  uint64_t applied() const { return applied_; }

 private:
  struct Applied {
    Term term;
    uint64_t content = 0, reply = 0;
    uint32_t node = 0;  // who applied it first
  };
  struct Group {
    std::deque<Applied> entries;
    Index first;                   // of entries[0]
    std::map<size_t, Index> last;  // by node, since its start
  };
  std::map<PartitionId, Group> groups_;
  uint64_t applied_ = 0;
};

}  // namespace kahuna::sim
