// What a replica does for the leader of its term.
#include <algorithm>

#include "kahuna/raft/replica.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {

// Takes `leader` as the leader of the present term and notes that it lives. False when this term
// has another leader already: then the message is not believed.
bool Replica::follow(Time now, ReplicaId leader) {
  if (role_ == Role::kLeader) return false;
  if (role_ != Role::kFollower || !leader_) {
    become_follower(now, hard_state_.term, leader);
  } else if (leader_ != leader) {
    return false;
  }
  quiescence_.quiet = false;
  leader_contact_ = now;
  leader_contact_valid_ = true;
  timer_ = now + election_timeout_;
  return true;
}

void Replica::handle_append(Time now, Message& message) {
  if (!follow(now, message.from)) return;
  LogPosition prev = message.prev;
  LogPosition base = log_.base();
  Index end(prev.index.value() + message.entries.size());
  if (prev.index < base.index) {
    // The part up to the base is committed; every leader has the same there.
    SOMETIMES(raft_append_reaches_below_base);
    size_t known =
        std::min<size_t>(base.index.value() - prev.index.value(), message.entries.size());
    if (end >= base.index && message.entries[known - 1].term != base.term) return;
    message.entries.erase(message.entries.begin(),
                          message.entries.begin() + static_cast<ptrdiff_t>(known));
  } else if (!log_.holds(prev) &&
             !(MUTANT(skip_prev_term_check) && prev.index <= log_.last().index)) {
    refuse_append(message);
    return;
  }
  if (!stateless_ && !message.entries.empty() &&
      log_.bytes_between(applied_, commit_) >= options_.log_bytes_max &&
      !MUTANT(follower_takes_without_bound))
    return;  // as if it were lost: the leader asks again
  if (!store_entries(now, message.entries)) return;
  matched_ = std::max(matched_, end);
  set_commit(std::min(message.commit, MUTANT(commit_beyond_match) ? log_.last().index : matched_));
  set_trim(message.trim);
  if (MUTANT(configuration_from_commit) && configurations_.index() <= commit_)
    adopt_configuration(now);
  if (durability_.index() >= end) reply_owed_ = true;  // otherwise persisted() owes it
}

void Replica::handle_heartbeat(Time now, const Message& message) {
  if (!follow(now, message.from)) return;
  set_commit(std::min(message.commit, MUTANT(commit_beyond_match) ? log_.last().index : matched_));
  set_trim(message.trim);
  if (message.unanswered) return;
  Message& reply = send(MessageKind::kHeartbeatReply, message.from);
  reply.round = message.round;
  reply.commit = matched_;
  reply.needs_snapshot = stateless_;
  if (durability_.hard_state().term == hard_state_.term) reply.match = acknowledged_position();
  promise(now, reply);
  if (message.quiesce) reply.quiesce = fall_quiet(message);
}

// Makes the log agree with the leader's entries. False when they contradict what is committed,
// which no correct leader sends: nothing is changed then.
bool Replica::store_entries(Time now, std::vector<Entry>& entries) {
  size_t known = 0;
  while (
      known < entries.size() && entries[known].index <= log_.last().index &&
      (log_.holds({entries[known].index, entries[known].term}) || MUTANT(no_truncate_on_conflict)))
    ++known;
  if (known == entries.size()) return true;
  Index first = entries[known].index;
  bool changed = false;
  if (entries[known].term < log_.term_at(first.prev())) return false;
  if (first <= log_.last().index) {
    if (first <= commit_) return false;
    SOMETIMES(raft_truncates_tail);
    log_.truncate_after(first.prev());
    durability_.truncated(first.prev());
    unwritten_ = std::min(unwritten_, first);
    matched_ = std::min(matched_, first.prev());
    restored_ = std::min(restored_, first.prev());
    tail_.clear();
    changed = configurations_.truncate_after(first.prev());
    if (changed) SOMETIMES(raft_rolls_a_configuration_back);
  }
  for (size_t i = known; i < entries.size(); ++i) {
    LogPosition position{entries[i].index, entries[i].term};
    if (!tail_.empty() && tail_.take_place(position)) restored_ = position.index;
    if (entries[i].kind == EntryKind::kConfiguration) {
      configurations_.append(entries[i].index, *decode_configuration(entries[i].payload.view()));
      changed = true;
    }
    log_.append(std::move(entries[i]));
  }
  if (changed && !MUTANT(configuration_from_commit)) adopt_configuration(now);
  join_tail();
  return true;
}

// Names the highest position that may still match: what is above it has a later term than the
// anchor, or does not exist here (skips a whole term per round trip; thesis §5.3).
void Replica::refuse_append(const Message& message) {
  Index limit = std::min(message.prev.index.prev(), log_.last().index);
  if (limit < log_.base().index) return;  // contradicts the base: not a correct leader
  SOMETIMES(raft_refuses_anchor);
  LogPosition hint = log_.last_with_term_at_most(limit, message.prev.term);
  if (hint.index < commit_ && commit_ <= limit) hint = log_.position(commit_);
  Message& reply = send(MessageKind::kAppendReply, message.from);
  reply.rejected = true;
  reply.prev.index = message.prev.index;
  reply.match = hint;
}

// What may be promised to the leader of this term: it matches, and it is durable.
LogPosition Replica::acknowledged_position() const {
  Index index = MUTANT(ack_before_sync) ? matched_ : std::min(matched_, durability_.index());
  return log_.position(index);
}

bool Replica::append_reply_ready() const {
  if (!leader_ || role_ != Role::kFollower) return false;
  if (MUTANT(ack_before_sync)) return reply_owed_ || matched_ > acknowledged_;
  // The term must be durable too: otherwise a crash could take this replica back to an earlier
  // leader, which would cut what was promised to this one.
  return reply_owed_ &&
         (durability_.hard_state().term == hard_state_.term || MUTANT(ack_ignores_unsynced_term));
}

void Replica::send_append_reply() {
  Message& reply = send(MessageKind::kAppendReply, leader_);
  reply.needs_snapshot = stateless_;
  reply.match = acknowledged_position();
  acknowledged_ = reply.match.index;
  reply_owed_ = false;
}

}  // namespace kahuna::raft
