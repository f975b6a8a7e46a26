// What a driver owes to quiet groups (raft/quiescence.h): they are woken when their leader's node is lost,
// when somebody wants something of them, and one after the other from time to time.
#include "kahuna/node/groups_group.h"
#include "runtime/probe.h"

namespace kahuna::node {

void Groups::peer_disconnected(NodeId peer) {
  size_t quiet = 0;
  for (const auto& group : groups_)
    quiet += group->replica.quiet() && group->replica.leader().node == peer;
  // A quiet group has nobody waiting for it: so that thousands do not campaign at once.
  const Duration window =
      options_.raft.disconnect_timeout + kQuietCampaignPace * static_cast<int64_t>(quiet);
  const Time now = host_.clock->now();
  for (auto& group : groups_) {
    const ReplicaId leader = group->replica.leader();
    if (leader.node != peer) continue;
    if (group->replica.quiet())
      group->replica.peer_disconnected(now, leader, window);
    else
      group->replica.peer_disconnected(now, leader);
    touch(*group);
  }
}

void Groups::wake(PartitionId id) {
  Group* group = find(id);
  if (group && !stopped_) wake(*group);
}

void Groups::wake(Group& group) {
  if (!group.replica.quiet()) return;
  SOMETIMES(quiet_group_is_wanted);
  group.replica.wake(host_.clock->now());
  touch(group);
}

void Groups::arm_quiet_probe() {
  if (probe_timer_ || MUTANT(quiet_leader_never_probed)) return;
  probe_timer_ = host_.clock->call_at(host_.clock->now() + options_.quiet_probe_interval, guarded([this] {
                                        probe_timer_ = 0;
                                        probe_quiet();
                                      }));
}

// The next quiet follower hears whether its leader, and not only its leader's node, is alive.
void Groups::probe_quiet() {
  if (stopped_) return;
  for (size_t i = 0; i < groups_.size(); ++i) {
    Group& group = *groups_[(probe_next_ + i) % groups_.size()];
    if (!group.replica.quiet() || group.replica.role() != raft::Role::kFollower) continue;
    SOMETIMES(quiet_group_is_probed);
    probe_next_ = group.position + 1;
    group.replica.wake(host_.clock->now());
    touch(group);
    return arm_quiet_probe();
  }
}

}  // namespace kahuna::node
