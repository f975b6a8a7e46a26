// Construction, inputs and their dispatch, effects, observers. What a replica does in each role is
// in election.cc, follower.cc and leader.cc.
#include "kahuna/raft/replica.h"

#include <algorithm>
#include <bit>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {
namespace {

// No group gets here by honest means; a message beyond is damage, and could stop all elections.
constexpr uint64_t kCounterMax = uint64_t{1} << 62;

bool well_formed_entries(const Message& message) {
  LogPosition previous = message.prev;
  for (const Entry& entry : message.entries) {
    if (entry.index != previous.index.next() || entry.term < previous.term) return false;
    switch (entry.kind) {
      case EntryKind::kNoop:
      case EntryKind::kCommand: break;
      case EntryKind::kConfiguration:
        if (!decode_configuration(entry.payload.view())) return false;
        break;
      default: return false;
    }
    previous = {entry.index, entry.term};
  }
  return previous.term <= message.term;
}

bool is_reply(MessageKind kind) {
  return kind == MessageKind::kAppendReply || kind == MessageKind::kHeartbeatReply ||
         kind == MessageKind::kPreVoteReply || kind == MessageKind::kVoteReply ||
         kind == MessageKind::kFetchReply || kind == MessageKind::kTimeoutNowReply;
}

}  // namespace

bool Ready::empty() const {
  return !persist && messages.empty() && committed.empty() && granted_reads.empty() &&
         refused_reads.empty() && snapshots_due.empty() && !lost_leadership;
}

// The driver has one Ready for many replicas, and these vectors change places with theirs: a large
// one would make its round and grow with every one of them.
template <class T>
static void empty_small(std::vector<T>& list) {
  constexpr size_t kKept = 16;
  if (list.capacity() > kKept) list = {};
  list.clear();
}

void Ready::clear() {
  persist.reset();
  empty_small(messages);
  committed.clear();
  empty_small(granted_reads);
  empty_small(refused_reads);
  empty_small(snapshots_due);
  lost_leadership = false;
  trim = Index();
}

Replica::Replica(Options options, PartitionId group, ReplicaId self, Recovered recovered,
                 RandomStream random, Time now)
    : options_(options),
      group_(group),
      self_(self),
      configurations_(recovered.applied, std::move(recovered.configuration)),
      members_(configurations_.current()),
      self_slot_(members_.slot_of(self)),
      random_(random),
      hard_state_(recovered.hard_state),
      log_(recovered.base),
      commit_(recovered.commit),
      handed_(recovered.applied),
      applied_(recovered.applied),
      trim_(kFoundingBase.index),  // the base may be above what others hold (compact())
      released_(recovered.base.index),
      stateless_(recovered.stateless),
      tail_(std::move(recovered.faulty)),
      durability_(recovered.hard_state, recovered.base.index),
      handed_hard_state_(recovered.hard_state),
      matched_(recovered.commit) {
  CHECK(bool(self_));
  CHECK_GE(recovered.base.index, Index(1));
  CHECK_GE(recovered.base.term, Term(1));
  CHECK_GT(options_.heartbeat_interval, Duration());
  CHECK_GT(options_.election_timeout_min, options_.heartbeat_interval);
  CHECK_GE(options_.election_timeout_max, options_.election_timeout_min);
  CHECK_GT(options_.disconnect_timeout, Duration());
  CHECK_LT(options_.clock_drift_ppm_max, 500'000u);

  for (Entry& entry : recovered.entries) {
    if (entry.kind == EntryKind::kConfiguration && entry.index > applied_) {
      auto configuration = decode_configuration(entry.payload.view());
      CHECK(configuration.has_value());
      configurations_.append(entry.index, std::move(*configuration));
    }
    log_.append(std::move(entry));
  }
  if (!tail_.empty()) {
    CHECK_EQ(tail_.first().index, log_.last().index.next());
    CHECK_GE(tail_.first().term, log_.last().term);
  }
  configurations_.committed(commit_);
  adopt_configuration(now);
  CHECK_LE(log_.base().index, applied_);
  CHECK_LE(applied_, commit_);
  CHECK_LE(commit_, log_.last().index);
  durability_ = Durability(hard_state_, log_.last().index);
  unwritten_ = log_.last().index.next();
  trim_told_ = trim_;

  // The engine may hold entries of a later term than the journal knows (trap 26), or a part of such
  // a state. No vote of that term can have been told: it would have been durable first.
  if (const Term seen = std::max(promised().term, recovered.seen); seen > hard_state_.term) {
    SOMETIMES(raft_term_from_log);
    hard_state_ = {seen, ReplicaId()};
  }
  tail_term_ = hard_state_.term;
  promise_at_start(now, recovered);
  rearm_election_timer(now);
  if (is_single() || !tail_.empty()) timer_ = now;
}

// --- inputs ---

bool Replica::receive(Time now, Message message) {
  struct Visible {
    Role role;
    ReplicaId leader;
    HardState hard_state;
    LogPosition base, last;
    Index commit;
    size_t lost;
    uint32_t no_help;
    bool quiet;
    bool operator==(const Visible&) const = default;
  };
  auto visible = [this] {
    return Visible{role_,   leader_,      hard_state_,         log_.base(),      log_.last(),
                   commit_, tail_.lost(), answers_.of_no_help, quiescence_.quiet};
  };
  const Visible before = visible();
  take(now, std::move(message));
  if (role_ == Role::kLeader) settle_configuration(now);
  return has_ready() || !(visible() == before);
}

void Replica::take(Time now, Message message) {
  if (!acceptable(message)) return;
  if (slot_of(message.from) == members_.size()) {
    // Of somebody who was removed, or is to be added by a change that is not known here yet. A
    // later term in an answer of the former ends nothing, and neither does a candidacy while a
    // leader lives.
    if (is_reply(message.kind) || message.kind == MessageKind::kWake) return;
    if (message.kind == MessageKind::kVote && leader_is_fresh(now)) {
      SOMETIMES(raft_ignores_candidate_from_outside);
      return;
    }
  } else if (message.kind == MessageKind::kPreVote || message.kind == MessageKind::kWake) {
    // The sender hears no leader: if there is one, it had better be heard.
    wake(now);
    if (message.kind == MessageKind::kWake) return;
  }
  if (message.kind == MessageKind::kFetch) return handle_fetch(now, message);
  if (message.kind == MessageKind::kFetchReply) return handle_fetch_reply(now, message);
  bool prospective = message.kind == MessageKind::kPreVote ||
                     (message.kind == MessageKind::kPreVoteReply && !message.rejected);
  if (message.term > hard_state_.term && !prospective) {
    become_follower(now, message.term, ReplicaId());
  } else if (message.term < hard_state_.term && message.kind != MessageKind::kPreVote) {
    answer_stale_sender(message);
    return;
  }
  dispatch(now, message);
}

bool Replica::acceptable(const Message& message) const {
  if (message.group != group_ || message.to != self_ || message.from == self_) return false;
  if (!message.from) return false;
  uint64_t largest = std::max({message.term.value(), message.prev.index.value(),
                               message.match.index.value(), message.commit.value(), message.round});
  if (largest >= kCounterMax) return false;
  bool carries = message.kind == MessageKind::kAppend || message.kind == MessageKind::kFetchReply;
  return message.entries.empty() || (carries && well_formed_entries(message));
}

void Replica::dispatch(Time now, Message& message) {
  switch (message.kind) {
    case MessageKind::kAppend: return handle_append(now, message);
    case MessageKind::kAppendReply: return handle_append_reply(now, message);
    case MessageKind::kHeartbeat: return handle_heartbeat(now, message);
    case MessageKind::kHeartbeatReply: return handle_heartbeat_reply(now, message);
    case MessageKind::kPreVote: return handle_pre_vote(now, message);
    case MessageKind::kVote: return handle_vote(now, message);
    case MessageKind::kPreVoteReply:
    case MessageKind::kVoteReply: return handle_vote_reply(now, message);
    case MessageKind::kTimeoutNow: return handle_timeout_now(now, message);
    case MessageKind::kTimeoutNowReply: return handle_timeout_now_reply(now, message);
    case MessageKind::kFetch:
    case MessageKind::kFetchReply:
    case MessageKind::kWake: break;  // taken before the terms were compared
  }
}

// The sender must learn of the later term, or it would go on as leader or candidate for ever.
void Replica::answer_stale_sender(const Message& message) {
  MessageKind reply;
  switch (message.kind) {
    case MessageKind::kAppend: reply = MessageKind::kAppendReply; break;
    case MessageKind::kHeartbeat: reply = MessageKind::kHeartbeatReply; break;
    case MessageKind::kVote: reply = MessageKind::kVoteReply; break;
    default: return;  // replies to a campaign or a leadership that is over
  }
  SOMETIMES(raft_answers_stale_sender);
  Message& answer = send(reply, message.from);
  answer.rejected = true;
  answer.round = message.round;
  answer.prev.index = message.prev.index;
  if (MUTANT(heartbeat_from_stale_term) && message.kind == MessageKind::kHeartbeat) {
    answer.rejected = false;
    answer.term = message.term;
  }
}

void Replica::become_follower(Time now, Term term, ReplicaId leader) {
  CHECK_GE(term, hard_state_.term);
  bool led = role_ == Role::kLeader;
  bool was_quiet = std::exchange(quiescence_.quiet, false);
  if (term > hard_state_.term) {
    hard_state_ = {term, ReplicaId()};
    vote_owed_ = false;
    matched_ = commit_;  // every later leader has what is committed
    acknowledged_ = Index();
    reply_owed_ = false;
    if (MUTANT(stepdown_ignored) && led) return;
  }
  if (led) stop_leading();
  role_ = Role::kFollower;
  leader_ = leader;
  leader_contact_valid_ = false;
  votes_ = 0;
  votes_requested_ = false;
  if (led || was_quiet) rearm_election_timer(now);
}

Result<LogPosition> Replica::propose(Time now, EntryKind kind, Payload payload) {
  if (role_ != Role::kLeader) return fail(ErrorCode::kNotLeader, "this replica does not lead");
  if (transfer_.stage >= Transfer::Stage::kHold && !MUTANT(serves_after_handing_over))
    return fail_handing_over();
  LogPosition last = log_.last();
  if (log_.bytes_between(applied_, last.index) >= options_.uncommitted_bytes_max)
    return fail(ErrorCode::kOverloaded,
                "too many bytes in this partition are not yet committed and applied");
  if (log_.bytes_between(log_.base().index, last.index) >= options_.log_bytes_max)
    return fail(ErrorCode::kOverloaded, "a replica is too far behind to release the log");
  // One proposal at a time tells how long all wait.
  if (applied_ >= timed_) {
    timed_ = last.index.next();
    timed_since_ = now;
  } else if (now - timed_since_ > options_.election_timeout_max &&
             !MUTANT(proposals_wait_without_end)) {
    SOMETIMES(raft_refuses_while_proposals_wait);
    return fail(ErrorCode::kOverloaded,
                "what this partition was given before waits too long to be committed and applied");
  }
  Entry entry;
  entry.index = last.index.next();
  entry.term = hard_state_.term;
  entry.kind = kind;
  entry.payload = std::move(payload);
  log_.append(std::move(entry));
  appends_due_ = true;
  stir(now);
  return log_.last();
}

Result<> Replica::read(Time now, ReadToken token) {
  if (role_ != Role::kLeader) return fail(ErrorCode::kNotLeader, "this replica does not lead");
  if (has_told() && !MUTANT(serves_after_handing_over)) return fail_handing_over();
  reads_.ask(token);
  read_at_ = now;
  stir(now);
  return {};
}

void Replica::on_timer(Time now) {
  if (now < timer_) return;
  if (role_ == Role::kLeader) {
    on_heartbeat_timeout(now);
  } else {
    on_election_timeout(now);
  }
}

void Replica::persisted(Time now, WriteId up_to) {
  durability_.persisted(up_to);
  if (role_ != Role::kLeader) {
    if (leader_ && std::min(matched_, durability_.index()) > acknowledged_) reply_owed_ = true;
    send_vote_if_durable(now);
  } else {
    advance_commit(now);
    advance_trim();
    advance_transfer(now);
    settle_configuration(now);
  }
}

void Replica::applied(Index index) {
  CHECK_GE(index, applied_);
  CHECK_LE(index, handed_);
  applied_ = index;
  release(released_);
}

void Replica::release(Index index) {
  released_ = std::max(released_, index);
  Index up_to = std::min({released_, trim_, applied_, durability_.index()});
  if (up_to > log_.base().index) log_.release(up_to);
}

void Replica::compact(Index index) {
  Index up_to = std::min({index, applied_, durability_.index()});
  if (up_to <= log_.base().index || stateless_) return;
  if (up_to > trim_) SOMETIMES(raft_compacts_what_others_lack);
  released_ = std::max(released_, up_to);
  log_.release(up_to);
}

Offer Replica::snapshot_offered(Time now, ReplicaId from, Term term, LogPosition position) {
  if (!from || from == self_ || term < hard_state_.term) return Offer::kStale;
  if (position.index.value() >= kCounterMax || position.term > term) return Offer::kStale;
  if (term > hard_state_.term) become_follower(now, term, ReplicaId());
  if (!follow(now, from)) return Offer::kStale;
  if (stateless_) return position.index >= applied_ ? Offer::kTake : Offer::kStale;
  // What a leader offers is committed.
  if (position.index > commit_ && log_.holds(position)) set_commit(position.index);
  if (position.index > commit_) return Offer::kTake;
  SOMETIMES(raft_has_what_a_snapshot_offers);
  reply_owed_ = true;
  return Offer::kHave;
}

void Replica::heard_committed(LogPosition position) {
  if (role_ != Role::kLeader || position.index <= commit_) return;
  const bool known =
      MUTANT(committed_by_index_alone) ? position.index <= log_.last().index : log_.holds(position);
  if (!known) return;  // deposed without knowing, or still to commit what it was deposed with
  SOMETIMES(raft_commits_what_a_state_shows);
  set_commit(position.index);
}

void Replica::resign(Time now) {
  if (role_ != Role::kFollower) become_follower(now, hard_state_.term, ReplicaId());
}

void Replica::discard_state(Time now) {
  CHECK(role_ != Role::kLeader);
  if (role_ != Role::kFollower) become_follower(now, hard_state_.term, ReplicaId());
  wake(now);
  stateless_ = true;
}

void Replica::restore(LogPosition position, Configuration configuration) {
  CHECK(role_ != Role::kLeader);
  CHECK_GE(position.index, applied_);
  bool held = log_.holds(position) && !MUTANT(restore_drops_the_log);
  configurations_.restored(position.index, std::move(configuration), held);
  // Behind a position that holds no less than what was lost the tail goes on.
  bool in_tail = tail_.term_at(position.index) == position.term;
  if (held) {
    SOMETIMES(raft_snapshot_joins_the_log);
    log_.release(position.index);
    unwritten_ = std::max(unwritten_, position.index.next());
  } else {
    log_.reset(position);
    unwritten_ = position.index.next();
    matched_ = std::min(matched_, position.index);
    restored_ = std::min(restored_, position.index);
    if (in_tail) {
      SOMETIMES(raft_snapshot_joins_the_tail);
      tail_.drop_through(position.index);
      join_tail();
    } else {
      tail_.clear();
    }
  }
  adopt_configuration(Time());
  acquaintances_.clear();
  stateless_ = false;
  durability_.restored(position.index, held);
  handed_ = applied_ = position.index;
  released_ = std::max(released_, position.index);
  matched_ = std::max(matched_, position.index);
  set_commit(position.index);
  reply_owed_ = bool(leader_);
}

void Replica::peer_disconnected(Time now, ReplicaId peer) {
  size_t slot = slot_of(peer);
  if (peer == self_) return;
  if (role_ == Role::kLeader) {
    if (slot < members_.size()) progress_[slot].disconnected(round_);
  } else if (role_ == Role::kFollower && peer == leader_) {
    SOMETIMES(raft_leader_disconnected);
    if (quiescence_.quiet) SOMETIMES(raft_quiet_leader_disconnected);
    quiescence_.quiet = false;
    leader_contact_valid_ = false;
    auto window = static_cast<uint64_t>(options_.disconnect_timeout.nanos());
    // Before its promise has ended this replica could only ask in vain.
    Time soon = std::max(now, promised_until_) +
                Duration::nanos(static_cast<int64_t>(random_.below(window)));
    timer_ = std::min(timer_, soon);
  }
}

// --- effects ---

void Replica::set_commit(Index index) {
  CHECK_LE(index, log_.last().index);
  commit_ = std::max(commit_, index);
  matched_ = std::max(matched_, commit_);
  configurations_.committed(commit_);
}

void Replica::set_trim(Index index) {
  Index up_to = std::min(index, commit_);
  if (up_to <= trim_) return;
  trim_ = up_to;
  release(released_);
}

Message& Replica::send(MessageKind kind, ReplicaId to) {
  CHECK(to != self_);
  Message& message = messages_.emplace_back();
  message.kind = kind;
  message.group = group_;
  message.from = self_;
  message.to = to;
  message.term = hard_state_.term;
  return message;
}

// An engine that ran ahead of its journal would, after a crash, make a leader whose log starts
// above what others still need (trap 26).
Index Replica::applicable() const {
  if (stateless_ && !MUTANT(stateless_applies)) return handed_;
  return MUTANT(apply_before_durable) ? commit_ : std::min(commit_, durability_.index());
}

bool Replica::has_ready() const {
  return !messages_.empty() || unwritten_ <= log_.last().index ||
         hard_state_ != handed_hard_state_ || handed_ < applicable() || appends_due_ ||
         !snapshots_due_.empty() || reads_.unstarted() || !granted_.empty() || !refused_.empty() ||
         lost_leadership_ || trim_ != trim_told_ || append_reply_ready();
}

void Replica::take_ready(Ready& ready) {
  if (role_ == Role::kLeader) {
    if (reads_.unstarted()) start_read_round();
    if (appends_due_) send_appends();
  }
  appends_due_ = false;
  if (append_reply_ready()) send_append_reply();

  std::vector<Entry> entries;
  if (ready.persist) entries = std::move(ready.persist->entries);
  ready.clear();
  bool hard_state_changed = hard_state_ != handed_hard_state_;
  if (hard_state_changed || unwritten_ <= log_.last().index) {
    Persist& persist = ready.persist.emplace();
    persist.hard_state = handed_hard_state_ = hard_state_;
    persist.hard_state_changed = hard_state_changed;
    entries.clear();
    log_.copy(unwritten_.prev(), log_.last().index, entries);
    persist.restored = !entries.empty() && restored_ >= entries.front().index &&
                               !MUTANT(repaired_entries_cut_the_log)
                           ? restored_
                           : Index();
    persist.entries = std::move(entries);
    persist.commit = commit_;
    unwritten_ = log_.last().index.next();
    persist.id = durability_.handed(hard_state_, log_.last().index);
  }
  if (Index end = applicable(); handed_ < end) {
    log_.copy(handed_, end, ready.committed);
    handed_ = end;
  }
  ready.messages.swap(messages_);
  ready.granted_reads.swap(granted_);
  ready.refused_reads.swap(refused_);
  ready.snapshots_due.swap(snapshots_due_);
  ready.lost_leadership = std::exchange(lost_leadership_, false);
  ready.trim = trim_told_ = trim_;
}

Time Replica::deadline() const {
  return timer_;
}

// --- observers ---

Status Replica::status() const {
  Status status;
  status.group = group_;
  status.self = self_;
  status.role = role_;
  status.hard_state = hard_state_;
  status.leader = leader_;
  status.base = log_.base();
  status.last = log_.last();
  status.commit = commit_;
  status.applied = applied_;
  status.durable = durability_.index();
  status.stateless = stateless_;
  status.quiet = quiescence_.quiet;
  status.promised = tail_.empty() ? log_.last() : tail_.last();
  status.lost = tail_.lost();
  status.lost_asked = static_cast<size_t>(std::popcount(answers_.of_no_help));
  status.lost_with_most =
      answers_.of_no_help != 0 && members_.blocks(answers_.of_no_help | self_bit());
  status.configuration = configurations_.shared();
  status.configuration_index = configurations_.index();
  return status;
}

Role Replica::role() const {
  return role_;
}
Term Replica::term() const {
  return hard_state_.term;
}
ReplicaId Replica::leader() const {
  return leader_;
}
bool Replica::can_serve() const {
  return role_ == Role::kLeader && commit_ >= noop_index_ &&
         (!has_told() || MUTANT(serves_after_handing_over));
}
const Entry* Replica::entry(Index index) const {
  return log_.at(index);
}
std::optional<Term> Replica::term_at(Index index) const {
  return log_.term_at(index);
}

size_t Replica::slot_of(ReplicaId replica) const {
  return members_.slot_of(replica);
}

}  // namespace kahuna::raft
