// Drives the replicas of one event loop: carries out their effects, in the order their duties ask.
//
// Once a turn, for every replica that was touched: messages go out, entries go to the journal,
// committed entries are applied, then replies and reads are released. Applied state lives in memory
// (the journal has the entries) and is saved to the engine behind the turns' back, one batch for
// all groups at a time.
//
//   G1 a reply to a write is given after its entry was applied, never before;
//   G2 a read is released after leadership was confirmed, by a round started after it arrived or by
//   a
//      lease that held then, and after everything committed at its arrival was applied (DESIGN §5);
//   G3 at most one confirmation round at a time over all groups, unless one takes longer than
//      kRoundPatience: reads that arrive meanwhile share the next one;
//   G4 every token handed in is answered exactly once, unless the object is destroyed;
//   G5 the log is compacted no further than the engine has flushed, and whoever lacks what is gone
//   is
//      sent the state (snapshot_streams.h);
//   G6 a state is replaced in place, by ordinary writes. The first of them says so in the engine,
//   the
//      last one takes that back with the new applied mark: an engine that was cut in between
//      tells, and the replica has no state until another snapshot is whole and flushed.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <vector>

#include "kahuna/engine/engine.h"
#include "kahuna/journal/journal.h"
#include "kahuna/node/disk_watch.h"
#include "kahuna/node/hand_overs.h"
#include "kahuna/node/membership.h"
#include "kahuna/node/node.h"
#include "kahuna/node/slow_disk.h"
#include "kahuna/node/snapshot_streams.h"
#include "kahuna/partition/log_time.h"
#include "kahuna/partition/state_machine.h"
#include "kahuna/raft/replica.h"
#include "runtime/host.h"

namespace kahuna::node {

// What a node tells people of a replica.
struct ReplicaStatus {
  raft::Status raft;
  LogTime log_time;     // applied; 0 while there is no state
  bool shared = false;  // somebody else votes on it, who therefore has a state
};

// ... of a partition of which the node has lost a part that is not back yet: of its log, or the
// state when nobody leads who could send it.
struct Damage {
  PartitionId partition;
  std::string text;
  bool stopped = false;  // nobody leads, nor will until one that has what is lost is back
};

class Groups final : private SnapshotStreams::Hooks {
 public:
  class Hooks {
   public:
    virtual ~Hooks() = default;
    virtual void send(const raft::Message& message) = 0;
    virtual void send(const SnapshotPart& part) { (void)part; }
    virtual void send(const SnapshotReply& reply) { (void)reply; }
    virtual void messages_sent() = 0;  // end of the turn's messages
    // kUnknown: leadership was lost.
    virtual void on_write(Token token, Result<partition::Reply> reply) = 0;
    // Leadership confirmed and state recent enough: read now. Or why not (nothing was read).
    virtual void on_read(Token token, Result<> granted) = 0;
    // `to` leads, or why not.
    virtual void on_transfer(Token token, Result<> moved) = 0;
    // The replica has begun to lead and to serve (again, in a later term).
    virtual void on_serving(PartitionId partition) = 0;
    virtual void on_stopped(Error reason) = 0;  // engine or journal failed; the node must stop
    // ... because what the engine has on disk is damaged.
    virtual void on_engine_damaged(Error reason) { on_stopped(std::move(reason)); }
    // What a disk was found to have lost, or that it has been made good again: a sentence for
    // people.
    virtual void on_damage(std::string text) { (void)text; }
    // The disk is full, and no writes are taken; "": they are again.
    virtual void on_disk_full(std::string_view why) { (void)why; }
    // A partition that is led here is given away, because of this node's disk: a sentence for
    // people.
    virtual void on_slow_disk(std::string text) { (void)text; }
    // Entries were applied, or another state has come.
    virtual void on_applied(PartitionId partition) { (void)partition; }
    // Another leader is known, or none any more.
    virtual void on_leader(PartitionId partition, NodeId leader) { (void)partition, (void)leader; }
  };

  static constexpr Duration kRoundPatience = Duration::millis(2);
  // How often groups are looked at that are not where they should be, and how many move at a time.
  static constexpr Duration kMembersPaceMin = Duration::millis(20),
                            kMembersPaceMax = Duration::seconds(1);
  static constexpr size_t kMemberStepsMax = 16;
  static constexpr Duration kStallRetry = Duration::millis(5);
  // Replicas of a loop that begin to campaign in one turn, at most; see Options::campaign_pace.
  static constexpr size_t kCampaignsPerTurn = 64;
  // Flushes that refused writes and a fault point may add to each regular one. Without a bound an
  // engine does little else: every few flushes it compacts all there is.
  static constexpr int64_t kExtraFlushes = 16;

  Groups(Host& host, Hooks& hooks, journal::Journal& journal, engine::Engine& engine, NodeId self,
         const Options& options, Observer* observer);
  ~Groups() override;

  // Before start(): one hosted partition with what the journal found of it. A replica of a node
  // that is not among the founders begins without a state. `alone`: no other node has what this one
  // has. `promise`: the longest that it may have given.
  Result<> add(const partition::Descriptor& descriptor, std::vector<ReplicaId> founders, bool alone,
               Duration promise, journal::RecoveredGroup found);
  void start();

  void receive(raft::Message message);
  void receive(SnapshotPart part);
  void receive(const SnapshotReply& reply);
  // The connection to it broke, or it gives no sign of life.
  void peer_disconnected(NodeId peer);
  // Somebody wants something of the partition, and asks its leader.
  void wake(PartitionId id);
  // Ends in on_write(token), unless an error is returned at once (then it never does).
  Result<> propose(PartitionId id, const partition::Command& command, Token token);
  // Ends in on_read(token), unless an error is returned at once.
  Result<> read(PartitionId id, Token token);
  // Hands leadership to that node's replica. Ends in on_transfer(token), unless an error is
  // returned at once.
  Result<> transfer(PartitionId id, NodeId to, Token token);
  // The node is about to stop: no replica here will begin to lead, and those that do hand over to
  // others, if there are any. `done` runs when they have, or when that has taken too long.
  void hand_over(Callback<void()> done);
  // Flushes the engine; `done` runs when the flush ended, well or not.
  void flush(Callback<void()> done);
  // The engine's flushed marks may have moved at another's wish.
  void flushed();

  // From now on the groups that are led here move to these members.
  void want(Wanted wanted);
  // Partitions led here whose members, as committed, do not include that node: `each` runs for
  // every one of which it is confirmed afterwards that it is led here still. Who leads for all it
  // knows may know of older members only.
  void find_without(NodeId node, std::function<void(PartitionId)> each);

  // Throws the replica's state away and asks its leader for another: for rows that are damaged. Its
  // log and its vote go on counting. kUnavailable: there is nobody to ask.
  Result<> reseed(PartitionId id);

  // journal::Memory
  std::optional<raft::Entry> held(PartitionId id, Index index) const;

  const raft::Replica* replica(PartitionId id) const;
  // Null when there is no such replica, or it has no state at present.
  partition::StateMachine* state(PartitionId id);
  std::vector<PartitionId> ids() const;
  std::vector<ReplicaStatus> statuses() const;  // in that order
  std::vector<Damage> damaged() const;
  Watermark last_stamp_seen() const { return stamp_seen_; }

 private:
  struct Group;
  struct Install;

  // Members (groups_members.cc). Who is in force where the state ends, if there is one.
  raft::Configuration configuration_of(const partition::StateMachine& state, bool stateless) const;
  void move_members_soon();
  void move_members();
  bool move_members(Group& group);
  static void acquaint(Group& group, const std::vector<ReplicaId>& others);

  // Log time (groups_time.cc): the leader's, and the greatest stamp that a replica holds.
  LogTime log_time(Group& group);
  static LogTime last_log_time(const Group& group);

  void touch(Group& group);
  void process();
  void process_group(Group& group);
  void persist(Group& group, const raft::Persist& persist);
  void on_persisted(PartitionId id, raft::WriteId write, Time began);
  void consider_giving_way(Group& group);
  void retry_stalled();
  // As many of them as may be unsaved; the others are taken away, and wait.
  void apply(Group& group, std::vector<raft::Entry>& entries);
  void apply_one(Group& group, const raft::Entry& entry);
  void finish_applied();
  void apply_stalled();
  bool too_much_unsaved() const;
  bool states_due() const;
  void consider_save();
  void save();
  void collect_states();
  // It is being saved, or thrown away.
  void forget_unsaved(Group& group);
  void write_batch();
  void on_saved(Result<> result);
  void release_reads(Group& group);
  bool does_without(const Group& group, NodeId node) const;
  void on_read(Token token, Result<> granted);
  void fail_writes(Group& group);
  void report_damage(Group& group);
  void report_repaired(Group& group);
  // A log with damage, after a step.
  void look_at_damage(Group& group);
  void report_lost_state(Group& group);
  void begin_without_state(Group& group);
  void engine_failed(const Error& error);
  void start_round();
  void round_part_done();
  Time deadline_of(const Group& group) const;
  void arm(Group& group);
  Time next_due();
  void arm_timer();
  void on_timer();
  void consider_flush();
  void start_flush();
  void flush_engine();
  void on_flushed(Result<> flushed);
  void retry_full(DiskWatch::Part part);
  void release_flushed();
  void consider_handed_over();
  void wake(Group& group);
  void arm_quiet_probe();
  void probe_quiet();
  bool defer_campaign(Group& group, Time now, size_t& begun);
  Index releasable(const Group& group, uint64_t keep_bytes);
  void schedule();

  // Snapshots (groups_install.cc).
  void send(const SnapshotPart& part) override { hooks_.send(part); }
  void stream_ended(PartitionId id, ReplicaId to, Term term) override;
  void was_committed(PartitionId id, raft::LogPosition position) override;
  void read_failed(const Error& error) override;
  void parts_due() override { schedule(); }
  uint64_t log_bytes(PartitionId id) const override;
  Result<> recover_install(const partition::Descriptor& descriptor,
                           std::optional<Install>& install);
  bool begin_install(Group& group, const SnapshotPart& part);
  void accept_part(Group& group, SnapshotPart part);
  void discard(Group& group);
  void answer(Group& group, const SnapshotPart& part, SnapshotAnswer answer, uint64_t parts,
              const std::string& row, raft::LogPosition position = {});
  void collect_installs();
  void installs_saved();
  void finish_installs();
  void finish_install(Group& group);
  Result<partition::StateMachine> open_state(const partition::Descriptor& descriptor);
  void cut_journal(Group& group, raft::LogPosition position, bool held, bool in_place);
  Group* find(PartitionId id) const;

  // Wraps a callback so that it does nothing once this object is gone.
  template <class F>
  auto guarded(F f) {
    return [alive = std::weak_ptr<char>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!alive.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  Host& host_;
  Hooks& hooks_;
  journal::Journal& journal_;
  engine::Engine& engine_;
  const NodeId self_;
  const Options& options_;
  Observer* observer_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();

  std::vector<std::unique_ptr<Group>> groups_;  // ascending by partition id
  std::vector<Group*> dirty_;
  raft::Ready ready_;  // of the replica being processed
  bool process_scheduled_ = false;
  bool stopped_ = false;

  struct Answer {
    Token token;
    partition::Reply reply;
  };
  std::vector<Answer> answers_;
  std::vector<Group*> applied_;  // groups that applied entries in this pass

  // Saving. What is applied is in groups' states (unsaved), then in batch_ (being saved, or refused
  // by the engine and to be tried again), then in the engine.
  size_t unsaved_entries_ = 0, unsaved_bytes_ = 0;
  std::deque<Group*>
      unsaved_;  // groups with unsaved entries, in the order in which they had the first
  std::vector<Group*> saving_;                 // groups in batch_
  std::shared_ptr<engine::WriteBatch> batch_;  // null: nothing is being saved
  bool save_refused_ = false;                  // batch_ waits for the stall timer
  bool apply_stalled_ = false;                 // some group has stalled_entries

  // Snapshots.
  SnapshotStreams streams_;
  std::vector<Group*> installs_due_;  // with something for the next batch
  struct InstallSaving {
    Group* group;
    uint64_t stream, parts;
    std::string row;
    bool whole;
  };
  std::vector<InstallSaving> installs_saving_;  // in batch_

  std::vector<ReplicaId> founders_;  // of every partition
  Wanted wanted_;                    // no voters: not known yet
  TimerId members_timer_ = 0;
  Duration members_pace_ = kMembersPaceMin;

  // Read rounds (G3).
  struct QueuedRead {
    PartitionId group;
    Token token;
  };
  std::vector<QueuedRead> queued_reads_;
  // Reads of its own (find_without). Their tokens count down: the lower half of
  // others' is a place in a list (Service), which is shorter.
  struct Leaving {
    PartitionId group;
    NodeId node;
    std::function<void(PartitionId)> each;
  };
  std::map<Token, Leaving> leaving_;
  // What was found so: asked at present, and the term in which it was confirmed last. Kept of a few
  // nodes.
  struct Without {
    bool asked = false;
    Term confirmed;
  };
  static constexpr size_t kLeaversMax = 9;
  std::map<NodeId, std::map<PartitionId, Without>> without_;
  Token next_own_token_ = ~Token{0};
  size_t round_outstanding_ = 0;
  Time round_deadline_;
  TimerId round_timer_ = 0;

  // Lazy heap of (deadline, position in groups_).
  using Due = std::pair<Time, size_t>;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  TimerId timer_ = 0;
  Time timer_at_ = Time::max();

  HandOvers hand_overs_;
  Callback<void()> handed_over_;  // to be told
  TimerId hand_over_timer_ = 0;

  // Quiet followers, and campaigns (groups_quiet.cc).
  Time campaign_slot_;  // the next one begins then, or later
  TimerId probe_timer_ = 0;
  size_t probe_next_ = 0;  // position in groups_

  DiskWatch disk_;
  SlowDisk slow_disk_;
  TimerId stall_timer_ = 0;
  TimerId flush_timer_ = 0;
  bool flush_wanted_ =
      false;  // a flush begins once what was unsaved when it was asked for is saved:
  size_t unsaved_before_flush_ = 0;  // the first so many of unsaved_
  bool flush_follows_ = false;       // ... by the batch under way
  bool flushing_ = false;
  Time extra_flush_from_;       // no flush is added before
  size_t unflushed_bytes_ = 0;  // of entries applied since the last flush began
  std::vector<Callback<void()>> flush_waiters_;
  Watermark stamp_seen_;
};

}  // namespace kahuna::node
