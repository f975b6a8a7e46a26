// What a replica does while it leads.
#include <algorithm>
#include <array>
#include <utility>

#include "kahuna/raft/replica.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {
namespace {

// Beats fall on multiples of the interval, so that all leaders of a loop beat in one turn.
int64_t beat_number(Time now, Duration interval) {
  return now.nanos() / interval.nanos();
}
Time next_beat(Time now, Duration interval) {
  return Time::from_nanos((beat_number(now, interval) + 1) * interval.nanos());
}

}  // namespace

void Replica::become_leader(Time now) {
  CHECK(role_ == Role::kCandidate);
  CHECK(hard_state_.vote == self_);
  if (MUTANT(faulty_campaigns)) tail_.clear();
  CHECK(tail_.empty());
  role_ = Role::kLeader;
  leader_ = self_;
  votes_requested_ = false;
  noop_index_ = log_.last().index.next();
  round_ = 0;
  round_times_.clear();
  asked_ = -1;
  timed_ = Index();
  awaited_ = Index();
  holds_up_since_.reset();
  transfer_ = {};
  quiescence_ = {};
  quiescence_.active = now - options_.quiesce_after;  // nothing was asked of it yet
  progress_.assign(members_.size(), Progress(noop_index_, now, flight_limit()));
  streaming_.assign(members_.size(), false);
  CHECK(reads_.empty());
  timer_ = Time::max();
  if (has_others()) rearm_heartbeat_timer(now);

  // Nothing inherited may be counted until an entry of this term is (paper §5.4.2).
  Entry noop;
  noop.index = noop_index_;
  noop.term = hard_state_.term;
  log_.append(std::move(noop));
  appends_due_ = true;
}

void Replica::rearm_heartbeat_timer(Time now) {
  timer_ = next_beat(now, options_.heartbeat_interval);
}

// A vote waits there and back, each behind such a flight: half of the shortest timeout is for both.
FlightLimit Replica::flight_limit() const {
  return {options_.inflight_bytes_max, options_.election_timeout_min / 2};
}

void Replica::stop_leading() {
  CHECK(role_ == Role::kLeader);
  reads_.refuse_all(refused_);
  transfer_ = {};
  progress_.clear();
  streaming_.clear();
  snapshots_due_.clear();
  holds_up_since_.reset();
  appends_due_ = false;
  lost_leadership_ = true;
}

void Replica::on_heartbeat_timeout(Time now) {
  if (end_late_transfer(now)) return;
  MemberSet heard = self_bit();
  for (size_t slot = 0; slot < members_.size(); ++slot) {
    if (slot != self_slot_ && now - progress_[slot].heard() <= options_.election_timeout_max)
      heard |= MemberSet{1} << slot;
  }
  if (!members_.is_quorum(heard) && !MUTANT(no_check_quorum)) {
    SOMETIMES(raft_steps_down_without_quorum);
    become_follower(now, hard_state_.term, ReplicaId());
    return;
  }
  if (holds_up_since_ && now - *holds_up_since_ > options_.election_timeout_max) {
    SOMETIMES(raft_steps_down_for_its_disk);
    become_follower(now, hard_state_.term, ReplicaId());
    return;
  }
  // The same beats for every leader of a loop, so that after the others nothing comes back at all.
  int64_t beats = options_.election_timeout_max.nanos() / options_.heartbeat_interval.nanos();
  int64_t every = std::max<int64_t>(beats / kAnswersPerTimeout, 1);
  int64_t asks = beat_number(now, options_.heartbeat_interval) / every;
  beat(now, std::exchange(asked_, asks) != asks);
  rearm_heartbeat_timer(now);
}

// What is committed and not durable here is not applied, and not answered: any of the others would
// serve better.
void Replica::watch_own_disk(Time now) {
  if (durability_.index() < awaited_) return;
  awaited_ = commit_;
  if (durability_.index() >= awaited_)
    holds_up_since_.reset();
  else
    holds_up_since_ = now;
}

// `answered`: all are to answer; otherwise those of whom something may be missing.
void Replica::broadcast_heartbeat(Time now, bool answered) {
  ++round_;
  if (options_.reads == Reads::kLease) round_times_.sent(round_, now);
  answered = answered || !reads_.empty();
  messages_.reserve(messages_.size() + members_.size());
  for (size_t slot = 0; slot < members_.size(); ++slot) {
    if (slot == self_slot_) continue;
    Progress& peer = progress_[slot];
    Message& message = send(MessageKind::kHeartbeat, members_[slot]);
    message.commit = MUTANT(commit_beyond_match) ? commit_ : std::min(peer.match(), commit_);
    message.trim = trim_;
    message.round = round_;
    message.quiesce = quiescence_.since != 0;
    message.unanswered = (!answered && !peer.probing() && peer.match() == log_.last().index) ||
                         MUTANT(answers_not_asked_for);
    if (!message.unanswered) peer.heartbeat_sent(round_, now);
  }
}

void Replica::send_appends() {
  for (size_t slot = 0; slot < members_.size(); ++slot) {
    if (slot == self_slot_) continue;
    while (const size_t room = progress_[slot].room(log_)) send_append(slot, room);
  }
}

void Replica::send_append(size_t slot, size_t room) {
  Progress& peer = progress_[slot];
  if (peer.next() <= log_.base().index) peer.skip_to(log_.base().index);
  Index anchor = peer.next().prev();
  // What is being sent a state refuses every anchor but the last one: nothing goes along with the
  // question.
  const bool asks = peer.probing() && streaming_[slot] && !MUTANT(appends_beside_a_state);
  Index end = asks ? anchor : log_.fit(anchor, std::min(options_.append_bytes_max, room));
  Message& message = send(MessageKind::kAppend, members_[slot]);
  message.prev = log_.position(anchor);
  message.commit = commit_;
  message.trim = trim_;
  log_.copy(anchor, end, message.entries);
  peer.sent(end);
}

// Whether a position named by a follower can be true of this log.
bool Replica::plausible(LogPosition position) const {
  return position.index < log_.base().index || log_.holds(position);
}

// The driver streams to a follower until it says that it has ended; then the next sign that the
// follower lacks something asks again.
void Replica::want_snapshot(size_t slot) {
  if (streaming_[slot]) return;
  SOMETIMES(raft_wants_snapshot);
  streaming_[slot] = true;
  snapshots_due_.push_back(members_[slot]);
}

void Replica::snapshot_ended(ReplicaId to, Term term) {
  size_t slot = slot_of(to);
  if (role_ == Role::kLeader && term == hard_state_.term && slot < members_.size())
    streaming_[slot] = false;
}

Index Replica::matched(ReplicaId follower) const {
  size_t slot = slot_of(follower);
  return role_ == Role::kLeader && slot < members_.size() ? progress_[slot].match() : Index();
}

void Replica::handle_append_reply(Time now, const Message& message) {
  if (role_ != Role::kLeader) return;
  wake(now);
  size_t slot = slot_of(message.from);
  Progress& peer = progress_[slot];
  peer.heard_at(now);
  if (message.needs_snapshot) want_snapshot(slot);
  if (!message.rejected) {
    peer.state_told(!message.needs_snapshot);
    if (!plausible(message.match)) return;
    peer.accepted(message.match.index);
    advance_commit(now);
    advance_trim();
    advance_transfer(now);
  } else {
    Index anchor = message.prev.index;
    if (!anchor) return;
    Index candidate = message.match.index;
    if (anchor <= log_.base().index && peer.match() < log_.base().index) want_snapshot(slot);
    if (candidate >= log_.base().index)
      candidate = log_.last_with_term_at_most(candidate, message.match.term).index;
    if (!peer.rejected(anchor, std::min(candidate, anchor.prev()), log_.base().index)) return;
  }
  if (peer.room(log_) > 0) appends_due_ = true;
}

void Replica::handle_heartbeat_reply(Time now, const Message& message) {
  if (role_ != Role::kLeader || message.rejected) return;
  size_t slot = slot_of(message.from);
  Progress& peer = progress_[slot];
  peer.heard_at(now);
  if (message.needs_snapshot) wake(now), want_snapshot(slot);
  peer.state_told(!message.needs_snapshot);
  if (message.match.index > peer.match() && plausible(message.match)) {
    peer.accepted(message.match.index);
    advance_commit(now);
    advance_trim();
    advance_transfer(now);
  }
  if (message.round > round_ || message.commit > log_.last().index) return;
  peer.heartbeat_answered(message.round, message.commit, now);
  if (message.promise > Duration()) {
    std::optional<Time> sent = round_times_.of(message.round);
    if (MUTANT(lease_counted_from_receipt)) sent = now;
    uint32_t drift = MUTANT(lease_ignores_drift) ? 0 : options_.clock_drift_ppm_max;
    if (sent) peer.promised(*sent + counted(message.promise, drift));
  }
  if (message.quiesce) count_agreement(message, slot);
  if (peer.room(log_) > 0) appends_due_ = true;
  grant_reads();
}

void Replica::advance_commit(Time now) {
  std::array<uint64_t, kMembersMax> matches;
  for (size_t slot = 0; slot < members_.size(); ++slot)
    matches[slot] = progress_[slot].match().value();
  if (MUTANT(commit_minority)) matches[self_slot_ == 0 ? 1 : 0] = log_.last().index.value();
  if (self_slot_ < members_.size())
    matches[self_slot_] =
        (MUTANT(leader_counts_itself_unsynced) ? log_.last().index : durability_.index()).value();
  Index index(members_.quorum_value(matches));
  if (MUTANT(slow_replica_holds_up))
    index = Index(*std::min_element(matches.begin(), matches.begin() + members_.size()));
  bool first = commit_ < noop_index_;
  if (index > commit_ &&
      (log_.term_at(index) == hard_state_.term || MUTANT(commit_old_term_by_count)))
    set_commit(index);
  watch_own_disk(now);
  if (first && commit_ >= noop_index_) grant_reads();
}

void Replica::advance_trim() {
  Index everywhere = durability_.index();
  for (size_t slot = 0; slot < members_.size(); ++slot)
    if (slot != self_slot_) everywhere = std::min(everywhere, progress_[slot].match());
  set_trim(everywhere);
}

void Replica::start_read_round() {
  Index index = std::max(commit_, noop_index_);
  if (MUTANT(read_before_own_term)) index = commit_;
  if (is_single()) {
    ++round_;
  } else {
    broadcast_heartbeat(read_at_, true);
  }
  reads_.start(round_, index);
  grant_reads();
}

Time Replica::lease_until() const {
  std::array<uint64_t, kMembersMax> until;
  for (size_t slot = 0; slot < members_.size(); ++slot)
    until[slot] = static_cast<uint64_t>(progress_[slot].promised_until().nanos());
  if (self_slot_ < members_.size()) until[self_slot_] = static_cast<uint64_t>(Time::max().nanos());
  if (MUTANT(lease_asks_only_the_new))
    for (size_t slot = 0; slot < members_.size(); ++slot)
      if (!configuration().left().votes(members_[slot]))
        until[slot] = static_cast<uint64_t>(Time::max().nanos());
  return Time::from_nanos(static_cast<int64_t>(members_.quorum_value(until)));
}

void Replica::grant_reads() {
  if (reads_.empty()) return;
  if (has_told() && !MUTANT(serves_after_handing_over)) return;
  if (!can_serve() && !MUTANT(read_before_own_term)) return;
  std::array<uint64_t, kMembersMax> rounds;
  for (size_t slot = 0; slot < members_.size(); ++slot)
    rounds[slot] = progress_[slot].confirmed_round();
  if (self_slot_ < members_.size()) rounds[self_slot_] = round_;
  uint64_t confirmed = members_.quorum_value(rounds);
  reads_.confirm(MUTANT(stale_leader_read) ? round_ : confirmed, granted_);
}

}  // namespace kahuna::raft
