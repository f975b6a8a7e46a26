// Log time as leaders stamp it and replicas hold it (kahuna/partition/log_time.h):
//
//   - a leader's stamps are the greatest in its log when it was elected, and what its own monotonic
//   clock
//     has measured since;
//   - they never decrease from one applied entry to the next (L1);
//   - between any two of them no more log time passes, but for a millisecond, than the fastest
//   clock can
//     have measured (L2): whoever led, no deadline, stamp + length, has passed before its length
//     has;
//   - at equal applied index it is equal on all replicas, whether they applied, restarted or were
//   sent a
//     snapshot.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "kahuna/raft/replica.h"
#include "kahuna/raft/types.h"

namespace kahuna::sim {

class LogTimes {
 public:
  // Now: a machine's monotonic clock, and World::fastest_clock().
  struct Clocks {
    Time own;
    Duration fastest;
  };
  explicit LogTimes(std::function<Clocks(size_t node)> clocks) : clocks_(std::move(clocks)) {}

  // Each returns the text of the violation, if there is one.
  // After every step of a replica.
  std::optional<std::string> on_step(size_t node, const raft::Replica& replica);
  // The entry was applied there, and then log time was that.
  std::optional<std::string> applied(size_t node, PartitionId group, const raft::Entry& entry,
                                     LogTime held);
  // The replica's state is that after `index`, not applied there: of its disk, or of a snapshot.
  std::optional<std::string> holds(size_t node, PartitionId group, Index index, LogTime held);

  // What on_step() tells of a leader: it was elected, at this moment, with `greatest` in its log;
  // it has appended this.
  void elected(size_t node, PartitionId group, Term term, LogTime greatest);
  std::optional<std::string> appended(size_t node, PartitionId group, const raft::Entry& entry);

 private:
  struct Leading {
    Term term;
    LogTime greatest;
    Time since;         // its own clock
    Index seen;         // of what it has appended
    bool over = false;  // it leads no more
  };
  struct Stamp {
    LogTime time;
    Duration fastest;  // when it was made
  };
  struct Group {
    std::map<size_t, Leading> leading;                // by node, the last term that it led
    std::map<std::pair<Index, Term>, Stamp> stamped;  // not applied anywhere yet
    std::deque<LogTime> applied;                      // after each entry
    Index first = raft::kFoundingBase.index.next();   // of applied[0]
    Term last_term;                                   // of the last stamp applied
    Duration least_ahead;  // the least that log time was ahead of the fastest clock; it begins at
                           // 0, as they do
  };
  // What replicas hold after that entry; nullopt when nobody applied it yet.
  static std::optional<LogTime> after(const Group& group, Index index);
  std::optional<std::string> judge_stamp(Group& group, const raft::Entry& entry);

  std::function<Clocks(size_t)> clocks_;
  std::map<PartitionId, Group> groups_;
};

}  // namespace kahuna::sim
