// One replica of one Raft group, as a value: inputs in, effects out. No I/O, no fiber, no clock.
//
// Source: Ongaro & Ousterhout 2014 (figure 2) and Ongaro's thesis (§3.8 persistence order, §6.4
// read-index, §9.6 pre-vote, §10.2.1 parallel leader write); reference/protocol-traps.md 20,
// 26, 35.
//
// The driver (node/) calls inputs in any order, then take_ready() once a turn, then carries out the
// effects. Duties of the driver, all of them:
//   D1 messages may be sent at once, in order per peer, before anything in `persist` is durable;
//   D2 persist effects are made durable in order of their write id; persisted(id) is called when
//      everything up to and including id is durable (acknowledgements and votes come out of that);
//   D3 committed entries are applied in order, then applied(index) is called;
//   D4 on_timer is called at or soon after deadline(); now never decreases.
//
// Invariants (checked by raft/invariants.h after every step in the simulator):
//   R1 at most one leader per term;
//   R2 a leader never overwrites its own log;
//   R3 log matching;
//   R4 leader completeness;
//   R5 commit never decreases and is at most the durable prefix of a quorum;
//   R6 term never decreases; at most one vote per term;
//   R7 nothing <= commit is ever truncated;
//   R8 only own-term entries are committed by counting;
//   R9 a read is granted at or after everything that was committed when it was asked;
//   R10 a leader has a state, and a log that is whole;
//   R11 a leader that told another to take over serves nothing more in its term (raft/transfer.h).
//   R12 the last configuration in the log is in force; one follows the other as may_follow() says,
//   each
//       committed before the next is appended, and none is before its leader has committed an entry
//       of its own term;
//   R13 a leader was elected by a quorum of its configuration, and it voted in that or, as long as
//   that
//       was not committed, in the one before.
//   R14 a quiet replica lacks nothing (raft/quiescence.h, Q1 and Q2).
//
// A leader steps down by itself when it has heard from no quorum, or when its own disk has held up
// what the others committed, for election_timeout_max. Before it comes to that, or when the disk is
// merely slow, its driver had better let one of the others lead (holds_up_since()).
//
// Of the heartbeats to followers that lack nothing only some are answered, kAnswersPerTimeout in an
// election timeout: what they keep from campaigning needs no reply, and a quorum is heard all the
// same. Those that carry a read round all are.
//
// Snapshots. The log may begin above what a follower holds (compact()). A leader then asks its
// driver to stream it the state (Ready::snapshots_due); the follower's driver asks
// snapshot_offered(), and, told to take it, calls discard_state() before the first row of the old
// state is touched, makes the new state durable, cuts the journal where it does not hold the
// position, and calls restore(). Between offer and discard_state() nothing may happen: else it asks
// again. A replica without a state (trap 27) votes and acknowledges with its log, which stays true,
// and neither applies nor campaigns.
//
// Damage. Recovery may know the identity of entries whose content the disk has lost: raft/repair.h
// says what such a replica does and does not do, and how it gets them back.
//
// Members. Who belongs to the group is an entry like others (configuration.h), in force from when
// it is appended. change() proposes one; a joint one is left by itself once it is committed. A
// leader that is not in the configuration it has committed steps down as soon as one of its voters
// holds it and has a state: nobody else could give them one. Learners get all that voters get. Who
// does not know that it votes grants a vote when asked: the candidate may know better. Messages are
// believed by their content, not by who is known to belong; answers from outside are ignored. An
// empty replica of a group starts without a state and without a configuration.
//
// Quiescence. A group of which nothing is asked falls silent, and has no deadlines:
// raft/quiescence.h says how, and what the driver owes it then.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/raft/configuration.h"
#include "kahuna/raft/configuration_log.h"
#include "kahuna/raft/durability.h"
#include "kahuna/raft/lease.h"
#include "kahuna/raft/log.h"
#include "kahuna/raft/progress.h"
#include "kahuna/raft/quiescence.h"
#include "kahuna/raft/read_rounds.h"
#include "kahuna/raft/repair.h"
#include "kahuna/raft/transfer.h"
#include "kahuna/raft/types.h"
#include "runtime/error.h"
#include "runtime/random.h"
#include "runtime/time.h"

namespace kahuna::raft {

// How a leader confirms that it leads, for a read.
enum class Reads : uint8_t {
  kQuorum,  // by a round of heartbeats that begins after the read arrived
  kLease,   // not at all while it has a lease (raft/lease.h)
};

struct Options {
  Duration heartbeat_interval = Duration::millis(100);
  // A follower that heard nothing campaigns after a time drawn from [min, max).
  Duration election_timeout_min = Duration::millis(500);
  Duration election_timeout_max = Duration::millis(1000);
  // After the transport says the leader's connection broke: campaign after [0, this) instead.
  Duration disconnect_timeout = Duration::millis(100);
  // Of a leader of which nothing was asked for so long the group falls quiet; zero: never, and as a
  // follower this replica does not agree to it.
  Duration quiesce_after = Duration::seconds(2);
  Reads reads = Reads::kQuorum;
  // Parts per million by which any node's monotonic clock may be too fast or too slow, at most.
  // Only leases depend on it.
  uint32_t clock_drift_ppm_max = 1000;
  size_t append_bytes_max = 256 * 1024;  // payload bytes in one kAppend
  // Sent and unacknowledged, per follower, where the network carries so much (raft/flight_limit.h).
  size_t inflight_bytes_max = 4 * 1024 * 1024;
  // Proposed and not yet committed and applied; beyond it propose() answers kOverloaded, as it does
  // while a proposal waits for that longer than an election timeout: more would be answered even
  // later.
  size_t uncommitted_bytes_max = 16 * 1024 * 1024;
  // Kept in memory, because the engine has not flushed it or some follower lacks it; beyond it
  // propose() answers kOverloaded.
  size_t log_bytes_max = size_t{1} << 30;
};

enum class Role : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };

// Everything the replica knows after recovery. The driver keeps the record of the base itself (it
// releases the journal one entry short), because the term of the base must be known. When the
// engine is ahead of the journal, or the journal's entry at the applied index has another term, the
// base is the engine's applied position and no entries follow it (trap 26; raft/recovery.h does
// it).
struct Recovered {
  HardState hard_state;
  LogPosition base = kFoundingBase;  // the log starts after this; state up to it is in the engine
  std::vector<Entry> entries;        // contiguous from base.index + 1
  std::vector<TailEntry> faulty;     // goes on behind them; begins with a lost one (raft/repair.h)
  Index commit;                      // highest known committed; base.index <= commit <= last
  Index applied;                     // the engine holds this; <= commit
  // The engine's state is incomplete: it was being replaced. Then `applied` is what it held before.
  bool stateless = false;
  Term seen;  // of whatever else says how far terms have come: a state that was being installed
  // In force at `applied`; later ones are in `entries`. Unknown only when stateless.
  Configuration configuration;
  // The journal does not hold the base: before anything else is appended it must be released up to
  // just before the base, and given the base as an entry of kBase.
  bool cut_journal = false;
  // The longest promise (raft/lease.h) that it may have made; taken for election_timeout_min when
  // shorter.
  Duration promise;
};

struct Persist {
  WriteId id = 0;        // counts from 1 in each process life
  HardState hard_state;  // always complete, changed or not
  bool hard_state_changed = false;
  // When entries is not empty: the stored log is cut to entries[0].index - 1 and these follow.
  // Those up to `restored` were in the stored log, which the disk has lost in part: they cut
  // nothing, each takes its own place again, and what is stored behind them stays.
  std::vector<Entry> entries;
  Index restored;
  Index commit;  // to be noted beside; loses nothing when lost
};

struct Ready {
  std::optional<Persist> persist;
  std::vector<Message> messages;
  std::vector<Entry> committed;  // apply these, in order; durable here, too
  std::vector<ReadGrant> granted_reads;
  std::vector<ReadToken> refused_reads;  // leadership lost; nothing was answered
  // Own proposals (index, term) that can no longer commit as proposed or whose fate is unknown
  // because leadership was lost: the driver answers "unknown" for those not already applied.
  bool lost_leadership = false;
  Index trim;  // the log up to here is on every replica; the driver may release it when flushed
  // These followers need the state, at the base or above: stream it, then call snapshot_ended().
  std::vector<ReplicaId> snapshots_due;
  bool empty() const;
  // Empties it, keeping what memory it has.
  void clear();
};

// What a status page and the invariant checker see.
struct Status {
  PartitionId group;
  ReplicaId self;
  Role role;
  HardState hard_state;
  ReplicaId leader;  // none when unknown
  LogPosition base, last;
  Index commit, applied, durable;
  bool stateless = false;
  bool quiet = false;
  LogPosition promised;         // the end of the log, lost entries included
  size_t lost = 0;              // entries that wait for repair
  size_t lost_asked = 0;        // voters that could not help with the first of them
  bool lost_with_most = false;  // without these and this one there is no quorum
  std::shared_ptr<const Configuration> configuration;  // in force; never null
  Index configuration_index;                           // of its entry, or above
};

// What a leader knows of another member.
struct Follower {
  Index match;
  Time heard;
  bool has_state = false;  // nothing is to be streamed to it
};

// What a follower does with a snapshot that it is offered.
enum class Offer : uint8_t {
  kTake,   // install it, then restore()
  kHave,   // has as much already
  kStale,  // the sender does not lead (any more)
};

class Replica {
 public:
  static constexpr int64_t kAnswersPerTimeout = 3;

  // CHECKs that `recovered` is well formed. `self` need not be in the configuration.
  Replica(Options options, PartitionId group, ReplicaId self, Recovered recovered,
          RandomStream random, Time now);

  // --- inputs ---
  // Ignores a message that is malformed or not for this replica. False when
  // it did no more than move the deadline later: nothing is ready, and nothing in status() changed.
  bool receive(Time now, Message message);
  // Appends an entry if this replica leads. Returns its position, or kNotLeader, kOverloaded.
  Result<LogPosition> propose(Time now, EntryKind kind, Payload payload);
  // Starts confirming leadership for a read that arrived now; ends in granted_ or refused_reads.
  // kNotLeader at once when it does not lead. Reads asked for before one take_ready share a round.
  Result<> read(Time now, ReadToken token);
  // A read that arrived now needs no confirmation: it may be answered from state applied up to
  // there. nullopt: ask read().
  std::optional<Index> lease_read(Time now);
  // Leader: proposes these voters and learners, through a joint configuration when the voters
  // change. Returns where the change begins; configuration() says when it has ended. kNotLeader;
  // kUnavailable while another is on its way, nothing of this term is committed, or one who is to
  // come to vote, or all who are to vote, have no state yet; kInvalid when one step does not lead
  // there (C3). Whether the new voters are near enough is for the caller to judge (follower()).
  Result<LogPosition> change(Time now, std::vector<ReplicaId> voters,
                             std::vector<ReplicaId> learners);
  void on_timer(Time now);
  void persisted(Time now, WriteId up_to);
  void applied(Index index);
  // The engine has flushed: entries at or below min(index, trim) may leave memory.
  void release(Index index);
  // The same whatever the others hold: those who lack it will need a snapshot.
  void compact(Index index);
  // Leader: a stream for snapshots_due, asked for in `term`, ended, well or not.
  void snapshot_ended(ReplicaId to, Term term);
  // Leader: somebody holds a part of the state at `position`, which a leader had committed. With
  // the one that knew gone, and without the acknowledgement of one that has no state, it could not
  // be counted again. A leader that has been deposed without knowing has another entry there, if
  // any.
  void heard_committed(LogPosition position);
  // Follower: the leader of `term` offers its state at `position`.
  Offer snapshot_offered(Time now, ReplicaId from, Term term, LogPosition position);
  // Gives up leadership, or a candidacy. Others campaign.
  void resign(Time now);
  // The state is about to be replaced. CHECKs that it does not lead.
  void discard_state(Time now);
  // The engine holds, durably, the state at `position`, which some leader had committed, and in
  // which `configuration` is in force; above applied() unless the state was discarded. The driver
  // releases the journal up to there first.
  void restore(LogPosition position, Configuration configuration);
  // Hands leadership over, in its time: raft/transfer.h. kNotLeader, kInvalid when `target` cannot
  // lead, kUnavailable when another was told to take over already. Done at once when it leads
  // itself.
  Result<> transfer(Time now, ReplicaId target);
  // The node is about to stop: from now on this replica never campaigns, and takes leadership from
  // nobody. It goes on leading if it does; the only voter of a group always leads.
  void retire() { retired_ = true; }
  // Liveness hint only: the transport lost its connection to that peer, or its node gives no sign
  // of life.
  void peer_disconnected(Time now, ReplicaId peer);
  // Somebody wants something of the group, or wants to know whether its leader lives: quiescence.h.
  void wake(Time now);
  // Whom to ask for a leader while the configuration is not known. They count for nothing.
  void acquaint(std::vector<ReplicaId> others);

  // --- effects ---
  bool has_ready() const;
  // Replaces what is in `ready`, whose memory is used again.
  void take_ready(Ready& ready);
  Ready take_ready() {
    Ready ready;
    take_ready(ready);
    return ready;
  }
  // Time::max() = none. Moves later with every word from the leader: look again before waking up
  // for what it once said.
  Time deadline() const;

  // --- observers ---
  Status status() const;
  PartitionId group() const { return group_; }
  bool quiet() const { return quiescence_.quiet; }
  Role role() const;
  Term term() const;
  ReplicaId leader() const;
  // Nothing of the log waits for repair, and what was repaired is durable.
  bool is_whole() const { return tail_.empty() && durability_.index() >= restored_; }
  const FaultyTail& tail() const { return tail_; }
  // Leader: what that follower called durable and matching; zero when that is not known.
  Index matched(ReplicaId follower) const;
  // Leads, has committed an entry of its own term, and has told nobody to take over.
  bool can_serve() const;
  // Leads, and has begun to hand leadership over.
  bool transferring() const { return transfer_.stage != Transfer::Stage::kNone; }
  // Leader: since when something that the others committed has waited for this replica's own disk,
  // and with it everybody who asked for it.
  std::optional<Time> holds_up_since() const { return holds_up_since_; }
  // To whom to hand it, if to anybody; nullopt unless it leads.
  std::optional<ReplicaId> successor(Time now) const;
  // ... who has on disk what its own holds the others up with.
  std::optional<ReplicaId> quicker_successor(Time now) const;
  // The entry at index, or nullptr when not in memory. For invariant checks.
  const Entry* entry(Index index) const;
  // The entry at index as the replica's disk should have it: of the log, when it is durable there
  // as it stands; of the tail, when it is intact; in place of the base, whose content is not in
  // memory, one of kind kBase.
  std::optional<Entry> durable_entry(Index index) const;
  // Term at index; nullopt when outside [base, last].
  std::optional<Term> term_at(Index index) const;
  // The same up to status().promised: what was acknowledged once, lost or not.
  std::optional<Term> promised_term_at(Index index) const;
  const Configuration& configuration() const { return configurations_.current(); }
  // It is committed, and is no joint one.
  bool settled() const { return configurations_.index() <= commit_ && !configuration().joint(); }
  // Leader: of another member; nullopt for anybody else.
  std::optional<Follower> follower(ReplicaId replica) const;
  // Of the log in memory: its cost, the highest index behind which it costs at least `bytes`, and
  // its entries (after, to].
  uint64_t log_bytes() const { return log_.bytes_between(log_.base().index, log_.last().index); }
  Index before_last(uint64_t bytes) const { return log_.before_last(bytes); }
  void copy_log(Index after, Index to, std::vector<Entry>& out) const { log_.copy(after, to, out); }

 private:
  // Any role (replica.cc).
  bool acceptable(const Message& message) const;
  void take(Time now, Message message);
  void dispatch(Time now, Message& message);
  void answer_stale_sender(const Message& message);
  void become_follower(Time now, Term term, ReplicaId leader);
  Index applicable() const;
  void set_commit(Index index);
  void set_trim(Index index);
  Message& send(MessageKind kind, ReplicaId to);
  size_t slot_of(ReplicaId replica) const;  // members_.size() when it is no member
  MemberSet self_bit() const {
    return self_slot_ < members_.size() ? MemberSet{1} << self_slot_ : 0;
  }
  // Also of a leader that is taking itself out.
  bool has_others() const { return members_.size() > (self_slot_ < members_.size() ? 1u : 0u); }
  bool is_single() const { return members_.is_quorum(self_bit()); }  // needs nobody else

  // Members (membership.cc).
  LogPosition append_configuration(Time now, Configuration next);
  void settle_configuration(Time now);
  void adopt_configuration(Time now);
  // Entries behind `after` have joined the log; some may name configurations.
  void follow_configurations(Index after);

  // Elections (election.cc).
  void rearm_election_timer(Time now);
  bool leader_is_fresh(Time now) const;
  bool up_to_date(LogPosition candidate) const;
  void on_election_timeout(Time now);
  void start_pre_vote(Time now);
  void start_election(Time now);
  bool goes_first(Time now, const Message& rival) const;
  void handle_pre_vote(Time now, const Message& message);
  void handle_vote(Time now, const Message& message);
  void note_refusal(Time now, const Message& message);
  void handle_vote_reply(Time now, const Message& message);
  void send_vote_if_durable(Time now);

  // Handing over (transfer.cc).
  bool has_told() const { return transfer_.stage == Transfer::Stage::kTold; }
  void advance_transfer(Time now);
  void tell_to_take_over(Time now);
  std::unexpected<Error> fail_handing_over() const;
  bool end_late_transfer(Time now);
  void give_up_leading(Time now);
  void handle_timeout_now(Time now, const Message& message);
  void handle_timeout_now_reply(Time now, const Message& message);

  // Leases (lease.cc).
  void promise_at_start(Time now, const Recovered& recovered);
  void promise(Time now, Message& reply);
  bool is_bound_against(ReplicaId candidate, Time now) const;
  Time lease_until() const;

  // Silence (quiescence.cc).
  bool is_at_rest() const;
  void stir(Time now);
  void wake_leader(Time now);
  void beat(Time now, bool answered);
  bool fall_quiet(const Message& heartbeat);
  void count_agreement(const Message& reply, size_t slot);
  void ask_for_leader();

  // Following (follower.cc).
  void handle_append(Time now, Message& message);
  void handle_heartbeat(Time now, const Message& message);
  bool follow(Time now, ReplicaId leader);
  bool store_entries(Time now, std::vector<Entry>& entries);
  void refuse_append(const Message& message);
  LogPosition acknowledged_position() const;
  bool append_reply_ready() const;
  void send_append_reply();

  // With a faulty tail, or asked by one who has it (repair.cc).
  LogPosition promised() const;
  const Entry* intact_at(Index index) const;
  void join_tail();
  void ask_for_lost(Time now);
  void ask_others(Time now);
  void start_over_if_moved();
  void send_fetch(ReplicaId to);
  void handle_fetch(Time now, const Message& message);
  bool never_had(LogPosition position) const;
  void copy_intact(Index first, Index last, std::vector<Entry>& out) const;
  void offer_log(const Message& candidacy);
  bool take_offer(Time now, const Message& message);
  bool drop_overruled(Time now, const Message& offer);
  void consider_discarding();
  void handle_fetch_reply(Time now, Message& message);

  // Leading (leader.cc).
  void become_leader(Time now);
  void on_heartbeat_timeout(Time now);
  void rearm_heartbeat_timer(Time now);
  void watch_own_disk(Time now);
  void broadcast_heartbeat(Time now, bool answered);
  void send_appends();
  void send_append(size_t slot, size_t room);
  void handle_append_reply(Time now, const Message& message);
  void handle_heartbeat_reply(Time now, const Message& message);
  bool plausible(LogPosition position) const;
  void advance_commit(Time now);
  void advance_trim();
  void start_read_round();
  void grant_reads();
  void stop_leading();
  FlightLimit flight_limit() const;
  void want_snapshot(size_t slot);

  Options options_;
  PartitionId group_;
  ReplicaId self_;
  ConfigurationLog configurations_;
  Members members_;       // of the one in force
  size_t self_slot_ = 0;  // members_.size() when outside
  RandomStream random_;

  Role role_ = Role::kFollower;
  ReplicaId leader_;
  HardState hard_state_;
  Log log_;
  Index commit_;
  Index handed_;    // committed entries up to here were handed out
  Index applied_;   // <= handed_
  Index trim_;      // <= commit_; on the disk of every voter
  Index released_;  // the driver's word
  bool stateless_ = false;
  FaultyTail tail_;      // behind the log
  Index restored_;       // up to here the log is what the disk once had (Persist::restored)
  Term tail_term_;       // in which the damage was found
  struct FetchAnswers {  // bits by slot
    LogPosition about;   // the tail's first
    uint32_t of_no_help = 0;
    uint32_t never_had = 0;        // in whatever term
    uint32_t never_had_later = 0;  // in a term after tail_term_
  };
  FetchAnswers answers_;

  // Persistence.
  Durability durability_;
  HardState handed_hard_state_;
  Index unwritten_;  // the first entry not yet handed out in a Persist

  // Election.
  Time timer_ = Time::max();  // the next heartbeat, or campaign
  Duration election_timeout_;
  Time leader_contact_;                // when the leader was last heard from
  bool leader_contact_valid_ = false;  // false: never, or its connection broke since
  MemberSet votes_ = 0;                // by slot, in the present campaign
  MemberSet refusals_ = 0;             // ... who refused
  Time asked_at_;                      // kPreCandidate: since when it asks
  bool votes_requested_ = false;       // kCandidate: own vote is durable and requests are out
  bool vote_owed_ = false;             // the vote in hard_state_ is to be told once durable
  bool marked_ = false;                // kCandidate: the leader of the term before asked for it
  bool retired_ = false;
  Quiescence quiescence_;
  std::vector<ReplicaId> acquaintances_;  // none unless the configuration was unknown
  // Until then nobody but promised_to_ gets this replica's vote, itself included.
  Time promised_until_;
  ReplicaId promised_to_;  // none: whoever it was before the restart

  // Following.
  Index matched_;       // the log up to here equals the leader's, in this term
  Index acknowledged_;  // highest match told to this leader in this term
  bool reply_owed_ = false;

  // Leading.
  std::vector<Progress> progress_;  // by slot; empty unless leading; own slot unused
  std::vector<bool> streaming_;     // by slot: the driver was asked for a snapshot
  Index noop_index_;                // own term's first entry
  uint64_t round_ = 0;
  RoundTimes round_times_;  // when they were sent; not later
  Time read_at_;            // when the last read arrived
  int64_t asked_ = -1;      // when all were last asked to answer, in parts of an election timeout
  ReadRounds reads_;
  Transfer transfer_;
  bool appends_due_ = false;
  Index timed_;                         // a proposal of this term, not yet applied when it was made
  Time timed_since_;                    // ... when that was
  Index awaited_;                       // committed, and not durable here when it was looked at
  std::optional<Time> holds_up_since_;  // ... which was then; none: it is durable by now

  // Effects gathered since the last take_ready.
  std::vector<Message> messages_;
  std::vector<ReadGrant> granted_;
  std::vector<ReadToken> refused_;
  std::vector<ReplicaId> snapshots_due_;
  bool lost_leadership_ = false;
  Index trim_told_;
};

}  // namespace kahuna::raft
