// Handing leadership over, and taking it: see transfer.h.
#include <algorithm>

#include "kahuna/raft/replica.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {

Result<> Replica::transfer(Time now, ReplicaId target) {
  if (role_ != Role::kLeader) return fail(ErrorCode::kNotLeader, "this replica does not lead");
  if (const size_t slot = slot_of(target); slot == members_.size() || !members_.votes(slot))
    return fail(ErrorCode::kInvalid, "that node has no replica of this partition that may lead");
  if (target == self_) return {};
  if (has_told()) return fail_handing_over();
  stir(now);
  if (transfer_.stage != Transfer::Stage::kNone && transfer_.target == target) return {};
  transfer_ = {Transfer::Stage::kCatchUp, target, now + options_.election_timeout_max,
               log_.last().index};
  advance_transfer(now);
  return {};
}

// Of the followers that answer, the one that lacks least; among equals they take turns by group, so
// that a node that stops does not leave all of its groups to one other.
std::optional<ReplicaId> Replica::successor(Time now) const {
  if (role_ != Role::kLeader) return std::nullopt;
  std::optional<size_t> best;
  for (size_t i = 0; i < members_.size(); ++i) {
    size_t slot = (i + group_.value()) % members_.size();
    if (slot == self_slot_ || streaming_[slot] || !members_.votes(slot)) continue;
    const bool silent = now - progress_[slot].heard() > options_.election_timeout_max;
    if (silent && !quiescence_.quiet) continue;  // that of a quiet one was agreed
    if (!best || progress_[slot].match() > progress_[*best].match()) best = slot;
  }
  if (!best) return std::nullopt;
  return members_[*best];
}

std::optional<ReplicaId> Replica::quicker_successor(Time now) const {
  if (!holds_up_since_) return std::nullopt;
  auto target = successor(now);
  if (!target || progress_[slot_of(*target)].match() < awaited_) return std::nullopt;
  return target;
}

void Replica::advance_transfer(Time now) {
  if (transfer_.stage == Transfer::Stage::kNone || has_told()) return;
  const size_t target = slot_of(transfer_.target);
  if (target == members_.size() || !members_.votes(target)) {
    transfer_ = {};  // removed meanwhile
    return;
  }
  Index match = progress_[target].match();
  if (transfer_.stage == Transfer::Stage::kCatchUp && match >= transfer_.goal) {
    transfer_.stage = Transfer::Stage::kHold;
    transfer_.until = std::min(transfer_.until, now + options_.election_timeout_min);
  }
  if (MUTANT(hands_over_to_the_stale)) {
    tell_to_take_over(now);
  } else if (transfer_.stage == Transfer::Stage::kHold && match == log_.last().index &&
             commit_ == log_.last().index) {
    tell_to_take_over(now);
  }
}

void Replica::tell_to_take_over(Time now) {
  SOMETIMES(raft_tells_another_to_take_over);
  transfer_.stage = Transfer::Stage::kTold;
  transfer_.until = now + options_.election_timeout_max;
  send(MessageKind::kTimeoutNow, transfer_.target).prev = log_.last();
  if (MUTANT(serves_after_handing_over)) return;
  reads_.refuse_all(refused_);
  for (const ReadGrant& grant : granted_) refused_.push_back(grant.token);
  granted_.clear();
}

std::unexpected<Error> Replica::fail_handing_over() const {
  return fail(ErrorCode::kUnavailable, "leadership of this partition is being handed over");
}

// Whether leadership ended here.
bool Replica::end_late_transfer(Time now) {
  if (transfer_.stage == Transfer::Stage::kNone || now < transfer_.until) return false;
  if (!has_told() || MUTANT(transfer_resumes)) {
    SOMETIMES(raft_transfer_waits_in_vain);
    transfer_ = {};
    return false;
  }
  SOMETIMES(raft_transfer_was_not_taken);
  give_up_leading(now);
  return true;
}

// Nobody else may know that this term's leader serves no more: it asks for votes itself.
void Replica::give_up_leading(Time now) {
  become_follower(now, hard_state_.term, ReplicaId());
  on_election_timeout(now);
}

void Replica::handle_timeout_now(Time now, const Message& message) {
  if (!follow(now, message.from)) return;
  bool able = !retired_ && configurations_.may_lead(self_) && !stateless_ && tail_.empty() &&
              log_.holds(message.prev);
  if (!able && !MUTANT(hands_over_to_the_stale)) {
    SOMETIMES(raft_cannot_take_over);
    Message& reply = send(MessageKind::kTimeoutNowReply, message.from);
    reply.rejected = true;
    return;
  }
  SOMETIMES(raft_takes_over_when_told);
  start_election(now);
  marked_ = true;
}

void Replica::handle_timeout_now_reply(Time now, const Message& message) {
  if (!message.rejected || !has_told() || message.from != transfer_.target) return;
  give_up_leading(now);
}

}  // namespace kahuna::raft
