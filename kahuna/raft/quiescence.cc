// Falling quiet, and waking up: see quiescence.h.
#include "kahuna/raft/quiescence.h"

#include <utility>

#include "kahuna/raft/replica.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {

void Replica::acquaint(std::vector<ReplicaId> others) {
  acquaintances_ = std::move(others);
}

// Leader: nothing is under way, and everybody has everything.
bool Replica::is_at_rest() const {
  const Index last = log_.last().index;
  if (commit_ != last || applied_ != last || unwritten_ <= last) return false;
  if (appends_due_ || !reads_.empty() || transferring() || !settled()) return false;
  for (size_t slot = 0; slot < members_.size(); ++slot) {
    if (slot == self_slot_) continue;
    const Progress& peer = progress_[slot];
    if (streaming_[slot] || peer.probing() || !peer.has_state()) return false;
    if (peer.match() != last && !MUTANT(quiet_without_the_behind)) return false;
  }
  return trim_ == last || MUTANT(quiet_without_the_behind);
}

// Something was asked of the leader.
void Replica::stir(Time now) {
  quiescence_.active = now;
  quiescence_.since = 0;
  if (!quiescence_.quiet) return;
  SOMETIMES(raft_quiet_leader_is_asked);
  wake_leader(now);
}

void Replica::wake_leader(Time now) {
  CHECK(role_ == Role::kLeader);
  quiescence_.quiet = false;
  quiescence_.since = 0;
  // Their silence was agreed.
  for (Progress& peer : progress_) peer.heard_at(now);
  rearm_heartbeat_timer(now);
}

// The heartbeats of this instant; the group is asked to be quiet if it may be.
void Replica::beat(Time now, bool answered) {
  Quiescence& q = quiescence_;
  const bool rests = options_.quiesce_after > Duration() &&
                     now - q.active >= options_.quiesce_after && is_at_rest();
  if (!rests) {
    q.since = 0;
  } else if (q.since == 0) {
    q.since = round_ + 1;
    q.agreed = self_bit();
  }
  broadcast_heartbeat(now, answered || rests);
}

// Follower: the leader asks it to be quiet. Whether it is from now on.
bool Replica::fall_quiet(const Message& heartbeat) {
  const Index last = log_.last().index;
  if (options_.quiesce_after <= Duration() || retired_ || stateless_ || !tail_.empty())
    return false;
  const bool equal = heartbeat.commit == last && matched_ == last && commit_ == last;
  const bool settled =
      durability_.hard_state() == hard_state_ && durability_.index() == last && applied_ == last;
  if (!(equal && settled) && !MUTANT(quiet_although_behind)) return false;
  SOMETIMES(raft_follower_falls_quiet);
  quiescence_.quiet = true;
  timer_ = Time::max();
  return true;
}

// Leader: a member has agreed.
void Replica::count_agreement(const Message& reply, size_t slot) {
  Quiescence& q = quiescence_;
  if (q.since == 0 || reply.round < q.since || !is_at_rest()) return;
  q.agreed |= MemberSet{1} << slot;
  for (size_t other = 0; other < members_.size(); ++other)
    if ((q.agreed & (MemberSet{1} << other)) == 0) return;
  SOMETIMES(raft_leader_falls_quiet);
  q.quiet = true;
  q.since = 0;
  timer_ = Time::max();
}

void Replica::wake(Time now) {
  if (!quiescence_.quiet) return;
  if (role_ == Role::kLeader) {
    SOMETIMES(raft_quiet_leader_is_woken);
    wake_leader(now);
    beat(now, true);
    return;
  }
  CHECK(role_ == Role::kFollower && leader_);
  SOMETIMES(raft_quiet_follower_is_woken);
  quiescence_.quiet = false;
  leader_contact_ = now;
  rearm_election_timer(now);
  send(MessageKind::kWake, leader_);
}

// No leader is heard, and this replica may not look for one by itself.
void Replica::ask_for_leader() {
  if (members_.size() == 0) {
    SOMETIMES(raft_stranger_asks_for_a_leader);
    for (ReplicaId each : acquaintances_)
      if (each != self_) send(MessageKind::kWake, each);
    return;
  }
  for (size_t slot = 0; slot < members_.size(); ++slot)
    if (slot != self_slot_) send(MessageKind::kWake, members_[slot]);
}

}  // namespace kahuna::raft
