// Which members the groups of this loop have, and the way to those that are wanted (membership.h).
#include <algorithm>

#include "kahuna/node/groups_group.h"
#include "runtime/probe.h"

namespace kahuna::node {

// Without a state a replica does not know who belongs to its group, and does not guess: its log may
// name later configurations, and whoever asks for its vote knows.
raft::Configuration Groups::configuration_of(const partition::StateMachine& state,
                                             bool stateless) const {
  if (stateless && !MUTANT(founders_assumed_without_a_state)) return {};
  auto members = raft::decode_configuration(as_bytes(state.members()));
  return members ? *members : raft::Configuration{founders_, {}, {}};
}

// Nobody else tells such a replica where to look for a leader that is quiet.
void Groups::acquaint(Group& group, const std::vector<ReplicaId>& others) {
  if (!group.replica.configuration().known() && !MUTANT(stranger_asks_nobody))
    group.replica.acquaint(others);
}

void Groups::want(Wanted wanted) {
  wanted_ = std::move(wanted);
  std::vector<ReplicaId> all = wanted_.voters;
  all.insert(all.end(), wanted_.learners.begin(), wanted_.learners.end());
  for (auto& group : groups_) acquaint(*group, all);
  move_members_soon();
}

void Groups::move_members_soon() {
  members_pace_ = kMembersPaceMin;
  host_.clock->cancel(members_timer_);
  members_timer_ = host_.clock->call_at(host_.clock->now(), guarded([this] { move_members(); }));
}

// A few groups at a time, so that the others are served meanwhile. While nothing can be done it
// looks less and less often, and when all are there, not at all.
void Groups::move_members() {
  members_timer_ = 0;
  if (stopped_ || wanted_.voters.empty()) return;
  bool all_there = true;
  size_t steps = 0;
  for (auto& group : groups_) {
    if (group->replica.role() != raft::Role::kLeader || is_there(group->replica, wanted_)) continue;
    all_there = false;
    if (steps < kMemberStepsMax && move_members(*group)) ++steps;
  }
  if (all_there) return;
  members_pace_ = steps > 0 ? kMembersPaceMin : std::min(members_pace_ * 2, kMembersPaceMax);
  members_timer_ =
      host_.clock->call_at(host_.clock->now() + members_pace_, guarded([this] { move_members(); }));
}

bool Groups::move_members(Group& group) {
  const Time now = host_.clock->now();
  const Duration patience = options_.raft.election_timeout_max;
  // In a quiet group nobody was heard lately. It is woken, and falls quiet again when all have
  // answered.
  if (group.replica.quiet() && !group.woken_to_move) {
    SOMETIMES(members_wake_a_quiet_group);
    group.woken_to_move = now;
    wake(group);
    return true;
  }
  if (group.woken_to_move && !group.replica.quiet() && now - *group.woken_to_move <= patience)
    return false;
  group.woken_to_move.reset();
  auto step = next_step(group.replica, wanted_, now, patience);
  if (!step) return false;
  if (step->successor && group.replica.transfer(now, step->successor)) {
    SOMETIMES(members_leader_hands_over);
    touch(group);
    return true;
  }
  if (!group.replica.change(now, std::move(step->voters), std::move(step->learners))) return false;
  touch(group);
  return true;
}

bool Groups::does_without(const Group& group, NodeId node) const {
  const raft::Replica& replica = group.replica;
  return replica.can_serve() && replica.settled() && !replica.configuration().contains({node, 1});
}

void Groups::find_without(NodeId node, std::function<void(PartitionId)> each) {
  if (stopped_) return;
  if (without_.size() >= kLeaversMax && !without_.contains(node)) without_.clear();
  auto& found = without_[node];
  for (auto& group : groups_) {
    if (!does_without(*group, node)) continue;
    Without& without = found[group->id];
    // That nobody else had been elected when it was asked first stays true.
    if (without.confirmed == group->replica.term() || MUTANT(gone_by_an_old_leaders_word)) {
      each(group->id);
      continue;
    }
    if (std::exchange(without.asked, true)) continue;
    leaving_[next_own_token_] = {group->id, node, each};
    queued_reads_.push_back({group->id, next_own_token_--});
    touch(*group);
  }
}

void Groups::on_read(Token token, Result<> granted) {
  auto found = leaving_.empty() ? decltype(leaving_)::node_type() : leaving_.extract(token);
  if (found.empty()) return hooks_.on_read(token, std::move(granted));
  const Leaving& leaving = found.mapped();
  Without& without = without_[leaving.node][leaving.group];
  without.asked = false;
  if (!granted) SOMETIMES(group_is_not_led_by_whom_a_leaver_asks);
  const Group& group = *find(leaving.group);
  if (!granted || !does_without(group, leaving.node)) return;
  without.confirmed = group.replica.term();
  leaving.each(leaving.group);
}

}  // namespace kahuna::node
