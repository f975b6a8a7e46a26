// The log time by which leaders stamp what they propose (kahuna/partition/log_time.h).
#include <algorithm>

#include "kahuna/node/groups_group.h"
#include "kahuna/partition/command.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {

// The newest command that is not applied yet has the greatest stamp (L1); what is applied is in the
// state.
LogTime Groups::last_log_time(const Group& group) {
  const raft::Replica& replica = group.replica;
  for (Index i = replica.status().last.index; i > group.applied && !MUTANT(log_time_of_the_state);
       i = i.prev()) {
    const raft::Entry* entry = replica.entry(i);
    CHECK(entry != nullptr);
    if (entry->kind != raft::EntryKind::kCommand) continue;
    auto command = partition::read_command(entry->payload.view());
    if (!command) continue;  // nor does it count when it is applied
    SOMETIMES(log_time_goes_on_from_the_log);
    return std::max(command->log_time, group.state.log_time());
  }
  return group.state.log_time();
}

// Called in the turn of the election, whatever comes first in it.
LogTime Groups::log_time(Group& group) {
  Time now = host_.clock->now();
  if (MUTANT(log_time_of_the_wall_clock)) now = Time::from_nanos(host_.clock->wall().nanos());
  if (!group.log_clock.runs_in(group.replica.term())) {
    LogTime last = last_log_time(group);
    if (MUTANT(log_time_of_the_uptime)) last = LogTime(uint64_t(now.nanos() / 1'000'000));
    group.log_clock.start(group.replica.term(), last, now);
  }
  return group.log_clock.at(now);
}

}  // namespace kahuna::node
