// How a replica comes to lead: pre-vote (thesis §9.6), vote, and what it owes to durability.
//
// A candidate asks for votes only after its own vote is durable. The same write carries the tail of
// its log, so the position it campaigns with cannot be lost any more; a late reply can then never
// elect it with a shorter log.
#include <algorithm>

#include "kahuna/raft/replica.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {

void Replica::rearm_election_timer(Time now) {
  auto low = static_cast<uint64_t>(options_.election_timeout_min.nanos());
  auto high = static_cast<uint64_t>(options_.election_timeout_max.nanos());
  uint64_t timeout = low + (high > low ? random_.below(high - low) : 0);
  election_timeout_ = Duration::nanos(static_cast<int64_t>(timeout));
  timer_ = now + election_timeout_;
}

bool Replica::leader_is_fresh(Time now) const {
  // Check-quorum ends the one when that stops being true, the driver the other.
  if (role_ == Role::kLeader || quiescence_.quiet) return true;
  return leader_ && leader_contact_valid_ && now - leader_contact_ < options_.election_timeout_min;
}

// Whether a log that ends at `candidate` holds all that this one may have promised (paper §5.4.1).
bool Replica::up_to_date(LogPosition candidate) const {
  if (MUTANT(grant_stale_log)) return true;
  LogPosition last = promised();
  return candidate.term != last.term ? candidate.term > last.term : candidate.index >= last.index;
}

void Replica::on_election_timeout(Time now) {
  if (role_ == Role::kCandidate && !votes_requested_) {
    SOMETIMES(raft_own_vote_slow);  // campaigning again would only queue another write behind it
    rearm_election_timer(now);
    return;
  }
  leader_ = ReplicaId();
  leader_contact_valid_ = false;
  if ((retired_ && !is_single()) ||
      (!configurations_.may_lead(self_) && !MUTANT(removed_campaigns))) {
    if (role_ != Role::kFollower) become_follower(now, hard_state_.term, ReplicaId());
    SOMETIMES(raft_does_not_campaign);
    if (!retired_) ask_others(now);
    rearm_election_timer(now);
    return;
  }
  if (stateless_ && !MUTANT(stateless_campaigns)) {
    SOMETIMES(raft_stateless_does_not_campaign);
    ask_others(now);
    rearm_election_timer(now);
    return;
  }
  if (!tail_.empty() && !MUTANT(faulty_campaigns)) {
    SOMETIMES(raft_faulty_does_not_campaign);
    ask_others(now);
    rearm_election_timer(now);
    return;
  }
  // The only voter has promised to nobody who still leads: but by a configuration that is not
  // committed for all it knows, the leader before may have taken itself out, and not know that it
  // is done.
  const bool free = is_single() && settled();
  if (is_bound_against(self_, now) && !free && !MUTANT(promise_binds_no_vote)) {
    SOMETIMES(raft_promise_delays_a_campaign);
    if (role_ != Role::kFollower) become_follower(now, hard_state_.term, ReplicaId());
    timer_ = promised_until_;
    return;
  }
  if (is_single() || MUTANT(prevote_ignored)) {
    start_election(now);
  } else {
    start_pre_vote(now);
  }
}

// By one who cannot campaign. What it has lost may be all that keeps its vote from another, or two
// that have lost different things from each other.
void Replica::ask_others(Time now) {
  if (stateless_ && !tail_.empty()) SOMETIMES(raft_stateless_and_faulty);
  const bool silent = stateless_ && MUTANT(stateless_asks_for_nothing);
  if (!tail_.empty() && !silent) ask_for_lost(now);
  ask_for_leader();
}

void Replica::start_pre_vote(Time now) {
  CHECK(role_ != Role::kLeader);
  role_ = Role::kPreCandidate;
  quiescence_.quiet = false;
  votes_ = self_bit();
  refusals_ = 0;
  asked_at_ = now;
  votes_requested_ = false;
  rearm_election_timer(now);
  for (size_t slot = 0; slot < members_.size(); ++slot) {
    if (slot == self_slot_ || !members_.votes(slot)) continue;
    Message& message = send(MessageKind::kPreVote, members_[slot]);
    message.term = hard_state_.term.next();
    message.prev = log_.last();
  }
}

void Replica::start_election(Time now) {
  CHECK(role_ != Role::kLeader);
  role_ = Role::kCandidate;
  quiescence_.quiet = false;
  hard_state_ = {hard_state_.term.next(), self_};
  leader_ = ReplicaId();
  matched_ = commit_;
  acknowledged_ = Index();
  reply_owed_ = false;
  vote_owed_ = false;
  marked_ = false;
  votes_ = 0;
  refusals_ = 0;
  votes_requested_ = false;
  rearm_election_timer(now);
  send_vote_if_durable(now);
}

// Tells a vote, or counts the own one and asks for more, as soon as it cannot be forgotten.
void Replica::send_vote_if_durable(Time now) {
  bool durable = durability_.hard_state() == hard_state_;
  if (vote_owed_ && (durable || MUTANT(vote_not_persisted))) {
    CHECK(bool(hard_state_.vote));
    vote_owed_ = false;
    send(MessageKind::kVoteReply, hard_state_.vote);
  }
  if (role_ != Role::kCandidate || votes_requested_) return;
  if (!durable && !MUTANT(candidate_counts_unsynced_vote)) return;
  CHECK_EQ(hard_state_.vote.node, self_.node);
  votes_requested_ = true;
  votes_ |= self_bit();
  for (size_t slot = 0; slot < members_.size(); ++slot) {
    if (slot == self_slot_ || !members_.votes(slot)) continue;
    Message& message = send(MessageKind::kVote, members_[slot]);
    message.prev = log_.last();
    message.transfer = marked_;
  }
  if (is_single()) become_leader(now);
}

// Of two that are about to campaign, and hear of each other before either does, one waits: both
// would take the other's vote away. So does one that has been refused, or has not been answered for
// long.
bool Replica::goes_first(Time now, const Message& rival) const {
  const bool open = !(refusals_ & (MemberSet{1} << slot_of(rival.from))) &&
                    now - asked_at_ < options_.disconnect_timeout;
  return open && rival.term == hard_state_.term.next() && rival.prev == promised() &&
         self_ < rival.from && !MUTANT(rivals_split_votes);
}

void Replica::handle_pre_vote(Time now, const Message& message) {
  // A leader that asks for votes has ceased to lead.
  bool fresh = (leader_is_fresh(now) && message.from != leader_) ||
               (is_bound_against(message.from, now) && !MUTANT(promise_binds_no_vote));
  bool granted = message.term > hard_state_.term && !fresh && up_to_date(message.prev);
  if (granted && role_ == Role::kPreCandidate) {
    granted = !goes_first(now, message);
    if (granted) become_follower(now, hard_state_.term, ReplicaId());
    if (granted) rearm_election_timer(now);
  }
  if (fresh) SOMETIMES(raft_refuses_pre_vote_for_fresh_leader);
  Message& reply = send(MessageKind::kPreVoteReply, message.from);
  reply.rejected = !granted;
  if (granted) reply.term = message.term;
  if (!granted && !fresh) offer_log(message);
}

void Replica::handle_vote(Time now, const Message& message) {
  bool free = !hard_state_.vote || hard_state_.vote == message.from || MUTANT(vote_twice);
  bool leaderless = !leader_ || leader_ == message.from;
  bool complete = up_to_date(message.prev) || (message.transfer && MUTANT(hands_over_to_the_stale));
  bool bound = is_bound_against(message.from, now) && !message.transfer;
  if (bound) SOMETIMES(raft_promise_refuses_a_vote);
  if (MUTANT(promise_binds_no_vote)) bound = false;
  if (!complete || !free || !leaderless || bound || role_ == Role::kLeader) {
    send(MessageKind::kVoteReply, message.from).rejected = true;
    return;
  }
  hard_state_.vote = message.from;
  vote_owed_ = true;
  if (stateless_) SOMETIMES(raft_votes_without_a_state);
  if (role_ != Role::kFollower) become_follower(now, hard_state_.term, ReplicaId());
  rearm_election_timer(now);
  send_vote_if_durable(now);
}

void Replica::note_refusal(Time now, const Message& message) {
  const bool pre_vote = message.kind == MessageKind::kPreVoteReply;
  if (pre_vote ? role_ != Role::kPreCandidate : role_ != Role::kCandidate) return;
  // Votes are asked for of those who would have given them: another was quicker. If it does not win
  // either, waiting for long is of no use.
  if (!pre_vote && refusals_ == 0 && !MUTANT(split_vote_is_waited_out)) {
    const auto window = static_cast<uint64_t>(options_.disconnect_timeout.nanos());
    timer_ = std::min(timer_,
                      now + Duration::nanos(static_cast<int64_t>(window + random_.below(window))));
  }
  refusals_ |= MemberSet{1} << slot_of(message.from);
}

void Replica::handle_vote_reply(Time now, const Message& message) {
  if (message.rejected) return note_refusal(now, message);
  bool pre_vote = message.kind == MessageKind::kPreVoteReply;
  if (pre_vote && (role_ != Role::kPreCandidate || message.term != hard_state_.term.next())) return;
  if (!pre_vote && (role_ != Role::kCandidate || !votes_requested_)) return;
  votes_ |= MemberSet{1} << slot_of(message.from);
  if (!members_.is_quorum(votes_)) return;
  if (pre_vote) {
    start_election(now);
  } else {
    become_leader(now);
  }
}

}  // namespace kahuna::raft
