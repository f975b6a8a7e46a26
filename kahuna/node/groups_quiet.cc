// What a driver owes to quiet groups (raft/quiescence.h): they are woken when their leader's node
// is lost, when somebody wants something of them, and one after the other from time to time.
#include "kahuna/node/groups_group.h"
#include "runtime/probe.h"

namespace kahuna::node {

void Groups::peer_disconnected(NodeId peer) {
  const Time now = host_.clock->now();
  for (auto& group : groups_) {
    const ReplicaId leader = group->replica.leader();
    if (leader.node != peer) continue;
    group->replica.peer_disconnected(now, leader);
    touch(*group);
  }
}

// Thousands of groups that lose their leader at once, or have just been founded, would drown each
// other: they begin one after the other, and those that hear of a leader meanwhile need not.
bool Groups::defer_campaign(Group& group, Time now, size_t& begun) {
  if (group.replica.role() == raft::Role::kLeader) return false;
  const bool its_turn = group.campaign_at != Time() || campaign_slot_ <= now;
  if (its_turn && begun < kCampaignsPerTurn) {
    if (group.campaign_at == Time()) campaign_slot_ = now + options_.campaign_pace;
    group.campaign_at = Time();
    ++begun;
    return false;
  }
  SOMETIMES(campaign_waits_for_others);
  campaign_slot_ = std::max(campaign_slot_, now) + options_.campaign_pace;
  group.campaign_at = campaign_slot_;
  return true;
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
  probe_timer_ =
      host_.clock->call_at(host_.clock->now() + options_.quiet_probe_interval, guarded([this] {
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
