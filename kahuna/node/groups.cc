#include "kahuna/node/groups.h"

#include <algorithm>

#include "kahuna/node/groups_group.h"
#include "kahuna/partition/rows.h"
#include "kahuna/raft/recovery.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {

// Of a group: reads that may go on once more has been applied.
constexpr size_t kReadsWaitingMax = 65'536;

// `list` was worked off; its memory serves the next one.
template <class T>
static void use_again(std::vector<T>& next, std::vector<T>& list) {
  list.clear();
  if (next.empty()) next.swap(list);
}

Groups::Groups(Host& host, Hooks& hooks, journal::Journal& journal, engine::Engine& engine,
               NodeId self, const Options& options, Observer* observer)
    : host_(host),
      hooks_(hooks),
      journal_(journal),
      engine_(engine),
      self_(self),
      options_(options),
      observer_(observer),
      streams_(host, *this, engine, options),
      hand_overs_(
          [this](Token token, Result<> moved) { hooks_.on_transfer(token, std::move(moved)); }),
      disk_(
          *host.clock, [this](DiskWatch::Part part) { retry_full(part); },
          [this](std::string_view why) { hooks_.on_disk_full(why); }),
      slow_disk_(options.slow_disk) {
  journal_.set_memory([this](PartitionId id, Index index) { return held(id, index); });
}

Groups::~Groups() {
  journal_.set_memory(nullptr);
  host_.clock->cancel(timer_);
  host_.clock->cancel(round_timer_);
  host_.clock->cancel(stall_timer_);
  host_.clock->cancel(flush_timer_);
  host_.clock->cancel(hand_over_timer_);
  host_.clock->cancel(probe_timer_);
  host_.clock->cancel(members_timer_);
}

Result<> Groups::add(const partition::Descriptor& descriptor, std::vector<ReplicaId> founders,
                     bool alone, Duration promise, journal::RecoveredGroup found) {
  auto mark = engine_.applied().find(descriptor.id);
  const bool marked = mark != engine_.applied().end();
  raft::LogPosition applied = marked ? mark->second : raft::kFoundingBase;
  const bool nothing = found.entries.empty() && found.faulty.empty();
  const Index before = std::max(found.released, found.commit);
  raft::Recovered recovered = raft::recover(found.hard_state, std::move(found.entries),
                                            found.commit, applied, std::move(found.faulty));
  const auto founder =
      std::find_if(founders.begin(), founders.end(), [&](ReplicaId r) { return r.node == self_; });
  const bool state_lost = recovered.stateless;
  // Only founders have the state in which a group begins.
  const bool comes = founder == founders.end() && !marked && !state_lost;
  const bool gone = !marked && nothing && before > raft::kFoundingBase.index;
  if ((state_lost || comes || gone) && alone)
    return fail(ErrorCode::kDamaged,
                "partition " + std::to_string(descriptor.id.value()) + ": its state up to entry " +
                    std::to_string(std::max(recovered.applied, before).value()) +
                    " is lost, and no other replica has it; restore a backup");
  if (gone && !MUTANT(lost_state_counts_as_held))
    return fail(ErrorCode::kDamaged, "partition " + std::to_string(descriptor.id.value()) +
                                         ": neither its state nor its log "
                                         "is here any more, which reached entry " +
                                         std::to_string(before.value()) +
                                         ": what this node has promised of it is not known; remove "
                                         "it from the cluster and start a "
                                         "new one on an empty directory");
  std::optional<Install> install;
  RETURN_IF_ERROR(recover_install(descriptor, install));
  recovered.stateless =
      state_lost || install.has_value() || (comes && !MUTANT(comes_with_the_founding_state));
  ASSIGN_OR_RETURN(partition::StateMachine state,
                   recovered.stateless ? partition::StateMachine::make_empty(engine_, descriptor)
                                       : open_state(descriptor));
  const ReplicaId self_id = founder == founders.end() ? ReplicaId{self_, 1} : *founder;
  founders_ = std::move(founders);
  recovered.promise = promise;
  if (install && !MUTANT(committed_by_index_alone)) recovered.seen = install->position.term;
  recovered.configuration = configuration_of(state, recovered.stateless);
  size_t position = groups_.size();
  const raft::LogPosition base = recovered.base;
  const Index applied_to = recovered.applied;
  const Index journaled = recovered.entries.empty() ? base.index : recovered.entries.back().index;
  const bool cut = recovered.cut_journal;
  CHECK(groups_.empty() || groups_.back()->id < descriptor.id);
  groups_.push_back(std::make_unique<Group>(
      position, descriptor.id,
      raft::Replica(options_.raft, descriptor.id, self_id, std::move(recovered),
                    host_.random("raft", descriptor.id.value()), host_.clock->now()),
      std::move(state), applied_to));
  Group& group = *groups_.back();
  group.journaled = journaled;
  group.journaled_hard_state = found.hard_state;
  group.install = std::move(install);
  if (cut) cut_journal(group, base, false, false);
  group.faulty = !group.replica.is_whole();
  group.damage = std::move(found.damage);
  if (state_lost) report_lost_state(group);
  if (group.replica.status().stateless) begin_without_state(group);
  acquaint(group, founders_);
  return {};
}

Result<partition::StateMachine> Groups::open_state(const partition::Descriptor& descriptor) {
  auto state =
      partition::StateMachine::open(engine_, descriptor, options_.limits,
                                    host_.random("hash tables", descriptor.id.value()).next());
  if (state && !state->members().empty() && !raft::decode_configuration(as_bytes(state->members())))
    return fail(ErrorCode::kDamaged,
                "partition " + std::to_string(descriptor.id.value()) + ": malformed members row");
  return state;
}

void Groups::start() {
  for (auto& group : groups_) {
    if (group->faulty) report_damage(*group);
    if (observer_ && !group->install && !group->replica.status().stateless)
      observer_->on_state(self_, group->id, group->state);
    touch(*group);
  }
}

Groups::Group* Groups::find(PartitionId id) const {
  // On a node's only loop ids are dense from 0; otherwise they are searched.
  if (id.value() < groups_.size() && groups_[id.value()]->id == id)
    return groups_[id.value()].get();
  auto at =
      std::lower_bound(groups_.begin(), groups_.end(), id,
                       [](const auto& group, PartitionId wanted) { return group->id < wanted; });
  return at != groups_.end() && (*at)->id == id ? at->get() : nullptr;
}

const raft::Replica* Groups::replica(PartitionId id) const {
  Group* group = find(id);
  return group ? &group->replica : nullptr;
}

partition::StateMachine* Groups::state(PartitionId id) {
  Group* group = find(id);
  return group && !group->install ? &group->state : nullptr;
}

std::vector<PartitionId> Groups::ids() const {
  std::vector<PartitionId> ids;
  for (const auto& group : groups_) ids.push_back(group->id);
  return ids;
}

std::vector<ReplicaStatus> Groups::statuses() const {
  std::vector<ReplicaStatus> statuses;
  for (const auto& group : groups_)
    statuses.push_back({group->replica.status(),
                        group->install ? LogTime() : group->state.log_time(),
                        std::any_of(group->replica.configuration().voters.begin(),
                                    group->replica.configuration().voters.end(),
                                    [this](ReplicaId voter) { return voter.node != self_; })});
  return statuses;
}

// --- inputs ---

void Groups::receive(raft::Message message) {
  Group* group = find(message.group);
  if (!group || stopped_ || FAULT_POINT(replica_hears_nothing)) return;
  bool matters = group->replica.receive(host_.clock->now(), std::move(message));
  // Most messages of an idle cluster say that a leader lives, and no more.
  if (matters || group->replica.deadline() < group->armed) touch(*group);
}

Result<> Groups::propose(PartitionId id, const partition::Command& command, Token token) {
  Group* group = find(id);
  if (!group) return fail(ErrorCode::kWrongPartition, "this node does not host the partition");
  if (stopped_) return fail(ErrorCode::kUnavailable, "this node is stopping");
  if (disk_.is_full())
    return fail(ErrorCode::kNoSpace, "the disk of node '" + options_.name +
                                         "' is full: it takes no writes until there "
                                         "is room (reads go on); free some space there");
  if (!group->stalled_persists.empty())
    return fail(ErrorCode::kOverloaded,
                "the disk of node '" + options_.name + "' cannot keep up at the moment");
  partition::Command const* proposed = &command;
  partition::Command judged;
  if (MUTANT(condition_at_propose) && group->replica.role() == raft::Role::kLeader) {
    auto record = group->state.get(command.key);
    bool exists = record && record->has_value();
    const partition::Conditions& c = command.conditions;
    if ((c.if_exists && !exists) || (c.if_absent && exists) ||
        (c.if_value && (exists ? (*record)->value : std::string()) != *c.if_value) ||
        (c.if_revision && exists && (*record)->revision != *c.if_revision)) {
      partition::Reply reply{
          partition::Outcome::kNotSet, exists ? (*record)->revision : Revision(), {}, false};
      host_.scheduler->post(guarded([this, token, reply] { hooks_.on_write(token, reply); }));
      return {};
    }
    judged = command;
    judged.conditions = {};
    proposed = &judged;
  }
  const bool leads = group->replica.role() == raft::Role::kLeader;
  if (!leads) wake(*group);
  ASSIGN_OR_RETURN(
      raft::LogPosition at,
      group->replica.propose(host_.clock->now(), raft::EntryKind::kCommand,
                             partition::encode(*proposed, leads ? log_time(*group) : LogTime())));
  CHECK(group->writes.empty() || group->writes.back().at.index < at.index);
  group->writes.push_back({at, token});
  touch(*group);
  return {};
}

Result<> Groups::read(PartitionId id, Token token) {
  Group* group = find(id);
  if (!group) return fail(ErrorCode::kWrongPartition, "this node does not host the partition");
  if (stopped_) return fail(ErrorCode::kUnavailable, "this node is stopping");
  if (group->replica.role() != raft::Role::kLeader) {
    wake(*group);
    return fail(ErrorCode::kNotLeader, "this node does not lead the partition");
  }
  if (disk_.is_full() && !group->stalled_entries.empty())
    return fail(ErrorCode::kNoSpace,
                "the disk of node '" + options_.name +
                    "' is full: it could not apply all that was "
                    "written and answers no reads until there is room; free some space there");
  // They are asked anew when their time is over, and what holds them up may last: a full disk, a
  // busy engine.
  if (group->reads.size() >= kReadsWaitingMax)
    return fail(ErrorCode::kOverloaded,
                "too many reads wait until this node has applied what was written");
  if (auto index = group->replica.lease_read(host_.clock->now())) {
    SOMETIMES(read_needs_no_round);
    group->reads.push_back({*index, token});
    touch(*group);
    return {};
  }
  queued_reads_.push_back({id, token});
  touch(*group);
  return {};
}

// --- leadership handed over ---

Result<> Groups::transfer(PartitionId id, NodeId to, Token token) {
  Group* group = find(id);
  if (!group) return fail(ErrorCode::kWrongPartition, "this node does not host the partition");
  if (stopped_) return fail(ErrorCode::kUnavailable, "this node is stopping");
  RETURN_IF_ERROR(hand_overs_.ask(group->replica, host_.clock->now(), to, token));
  touch(*group);
  return {};
}

void Groups::hand_over(Callback<void()> done) {
  handed_over_ = std::move(done);
  const Time now = host_.clock->now();
  for (auto& group : groups_) {
    hand_overs_.retire(group->replica, now);
    if (group->replica.has_ready()) touch(*group);
  }
  hand_over_timer_ =
      host_.clock->call_at(now + options_.raft.election_timeout_max * 2, guarded([this] {
                             SOMETIMES(node_hands_over_in_vain);
                             hand_over_timer_ = 0;
                             std::exchange(handed_over_, {})();
                           }));
  consider_handed_over();
}

void Groups::consider_handed_over() {
  if (!hand_over_timer_ || hand_overs_.leaving() > 0) return;
  host_.clock->cancel(std::exchange(hand_over_timer_, 0));
  host_.scheduler->post(std::exchange(handed_over_, {}));
}

void Groups::touch(Group& group) {
  if (!group.dirty) {
    group.dirty = true;
    dirty_.push_back(&group);
  }
  schedule();
}

void Groups::schedule() {
  if (std::exchange(process_scheduled_, true)) return;
  host_.scheduler->defer(guarded([this] { process(); }));
}

// --- once a turn ---

void Groups::process() {
  process_scheduled_ = false;
  if (stopped_) return;
  if (!queued_reads_.empty() && (round_outstanding_ == 0 || host_.clock->now() >= round_deadline_))
    start_round();
  // process_group never makes another group dirty; answers may (a hook may propose), and then a new
  // deferred process() follows in this same turn.
  std::vector<Group*> batch;
  batch.swap(dirty_);
  for (Group* group : batch) {
    group->dirty = false;
    process_group(*group);
    if (stopped_) return;
  }
  streams_.send_due();
  hooks_.messages_sent();
  finish_applied();
  if (stopped_) return;
  for (Group* group : batch) arm(*group);
  use_again(dirty_, batch);
  arm_timer();
  consider_handed_over();
  consider_save();
  consider_flush();
}

void Groups::process_group(Group& group) {
  while (group.replica.has_ready()) {
    raft::Ready& ready = ready_;
    group.replica.take_ready(ready);
    for (const raft::Message& message : ready.messages) {
      if (observer_) observer_->on_send(group.replica, message);
      hooks_.send(message);
    }
    if (ready.persist) persist(group, *ready.persist);
    if (!ready.committed.empty()) apply(group, ready.committed);
    if (ready.lost_leadership) {
      fail_writes(group);
      streams_.leadership_lost(group.id);
    }
    streams_.keep_members(group.replica);
    for (ReplicaId to : ready.snapshots_due)
      streams_.want({group.state.descriptor(), group.replica.status().self, to,
                     group.replica.term(), group.applied});
    for (const raft::ReadGrant& grant : ready.granted_reads) {
      group.reads.push_back({grant.index, grant.token});
      round_part_done();
    }
    for (raft::ReadToken token : ready.refused_reads) {
      round_part_done();
      on_read(token, fail(ErrorCode::kNotLeader, "leadership was lost before it was confirmed"));
    }
    group.trim = std::max(group.trim, ready.trim);
    if (stopped_) return;
  }
  release_reads(group);
  if (group.replica.role() == raft::Role::kLeader) log_time(group);  // runs from the election on
  if (bool serves = group.replica.can_serve();
      serves != std::exchange(group.serves, serves) && serves) {
    const bool goes_on =
        !members_timer_ && !wanted_.voters.empty() && !is_there(group.replica, wanted_);
    if (goes_on && !MUTANT(next_leader_forgets_a_wish)) move_members_soon();
    hooks_.on_serving(group.id);
  }
  if (NodeId leader = group.replica.leader().node; leader != group.leader) {
    group.leader = leader;
    hooks_.on_leader(group.id, leader);
  }
  if (group.replica.quiet() && group.replica.role() == raft::Role::kFollower) arm_quiet_probe();
  if (group.faulty || group.state_lost) look_at_damage(group);
  if (observer_) observer_->on_step(group.replica);
  consider_giving_way(group);
  if (hand_overs_.active()) hand_overs_.look(group.replica, host_.clock->now());
  if (group.replica.has_ready()) touch(group);
}

void Groups::persist(Group& group, const raft::Persist& persist) {
  if (!group.stalled_persists.empty()) {
    group.stalled_persists.push_back(persist);
    return;
  }
  raft::WriteId id = persist.id;
  PartitionId partition = group.id;
  auto queued = FAULT_POINT(journal_refuses_an_append)
                    ? Result<>(fail(ErrorCode::kOverloaded, "fault point"))
                    : journal_.append(partition, persist,
                                      guarded([this, partition, id, began = host_.clock->now()] {
                                        on_persisted(partition, id, began);
                                      }));
  if (queued) {
    group.journaled_hard_state = persist.hard_state;
    if (!persist.entries.empty()) group.journaled = persist.entries.back().index;
    return;
  }
  SOMETIMES(journal_refused_an_append);
  if (queued.error().code != ErrorCode::kOverloaded && queued.error().code != ErrorCode::kNoSpace) {
    stopped_ = true;
    hooks_.on_stopped(queued.error());
    return;
  }
  group.stalled_persists.push_back(persist);
  if (queued.error().code == ErrorCode::kNoSpace)
    disk_.found_full(DiskWatch::Part::kJournal, queued.error().text);
  if (!stall_timer_)
    stall_timer_ = host_.clock->call_at(host_.clock->now() + kStallRetry,
                                        guarded([this] { retry_stalled(); }));
}

void Groups::on_persisted(PartitionId id, raft::WriteId write, Time began) {
  Group* group = find(id);
  const Time now = host_.clock->now();
  if (group->replica.role() == raft::Role::kLeader)
    slow_disk_.synced(began, group->replica.holds_up_since(), now);
  group->replica.persisted(now, write);
  touch(*group);
}

void Groups::retry_stalled() {
  stall_timer_ = 0;
  if (stopped_) return;
  for (auto& group : groups_) {
    std::deque<raft::Persist> waiting;
    waiting.swap(group->stalled_persists);
    while (!waiting.empty()) {
      raft::Persist next = std::move(waiting.front());
      waiting.pop_front();
      persist(*group, std::move(next));
      if (stopped_) return;
    }
  }
  if (std::exchange(save_refused_, false)) write_batch();
}

// --- apply ---

bool Groups::too_much_unsaved() const {
  return unsaved_entries_ >= options_.save_entries * options_.unsaved_factor ||
         unsaved_bytes_ >= options_.save_bytes * options_.unsaved_factor;
}

void Groups::apply(Group& group, std::vector<raft::Entry>& entries) {
  size_t next = 0;
  if (group.stalled_entries.empty()) {
    if (MUTANT(apply_out_of_order) && entries.size() >= 2) std::swap(entries[0], entries[1]);
    for (; next < entries.size() && !too_much_unsaved(); ++next) {
      apply_one(group, entries[next]);
      if (stopped_) return;
    }
  }
  if (next > 0) {
    if (std::find(applied_.begin(), applied_.end(), &group) == applied_.end())
      applied_.push_back(&group);
    if (!std::exchange(group.unsaved, true)) unsaved_.push_back(&group);
  }
  if (next == entries.size()) return;
  SOMETIMES(apply_waits_for_the_engine);
  apply_stalled_ = true;
  group.stalled_entries.insert(
      group.stalled_entries.end(),
      std::make_move_iterator(entries.begin() + static_cast<ptrdiff_t>(next)),
      std::make_move_iterator(entries.end()));
}

void Groups::apply_one(Group& group, const raft::Entry& entry) {
  if (!MUTANT(apply_out_of_order)) CHECK_EQ(entry.index, group.applied.next());
  auto reply = group.state.apply(entry);
  if (!reply) return engine_failed(reply.error());
  group.applied = std::max(group.applied, entry.index);
  ++unsaved_entries_;
  unsaved_bytes_ += entry.payload.size();
  unflushed_bytes_ += entry.payload.size();
  stamp_seen_ = std::max(stamp_seen_, reply->stamp);
  if (observer_) observer_->on_apply(self_, group.id, entry, *reply, group.state);
  while (!group.writes.empty() && group.writes.front().at.index <= entry.index) {
    const auto& write = group.writes.front();
    // fail_writes() comes before another leader's entry is durable here.
    CHECK_EQ(write.at.index, entry.index);
    CHECK_EQ(write.at.term, entry.term);
    answers_.push_back({write.token, *reply});
    group.writes.pop_front();
  }
}

void Groups::finish_applied() {
  std::vector<Group*> groups;
  groups.swap(applied_);
  for (Group* group : groups) {
    group->replica.applied(group->applied);
    release_reads(*group);
    if (group->replica.has_ready()) touch(*group);
    hooks_.on_applied(group->id);
  }
  use_again(applied_, groups);
  std::vector<Answer> answers;
  answers.swap(answers_);
  for (const Answer& answer : answers) hooks_.on_write(answer.token, answer.reply);
  use_again(answers_, answers);
}

void Groups::apply_stalled() {
  if (!std::exchange(apply_stalled_, false)) return;
  for (auto& group : groups_) {
    if (group->stalled_entries.empty()) continue;
    std::vector<raft::Entry> entries;
    entries.swap(group->stalled_entries);
    apply(*group, entries);
    if (stopped_) return;
  }
  finish_applied();
}

void Groups::fail_writes(Group& group) {
  std::deque<Group::PendingWrite> writes;
  writes.swap(group.writes);
  if (!writes.empty()) SOMETIMES(leadership_lost_with_writes_pending);
  for (const auto& write : writes)
    hooks_.on_write(write.token, fail(ErrorCode::kUnknown,
                                      "leadership was lost before the write's outcome was known"));
}

// --- reads ---

void Groups::start_round() {
  host_.clock->cancel(round_timer_);
  round_timer_ = 0;
  round_outstanding_ = 0;
  round_deadline_ = host_.clock->now() + kRoundPatience;
  std::vector<QueuedRead> reads;
  reads.swap(queued_reads_);
  for (const QueuedRead& read : reads) {
    Group* group = find(read.group);
    auto started = group->replica.read(host_.clock->now(), read.token);
    if (!started) {
      on_read(read.token, fail(started.error()));
      continue;
    }
    ++round_outstanding_;
    touch(*group);
  }
}

void Groups::round_part_done() {
  // A late answer of an abandoned round may be counted for the next: it only starts one earlier.
  if (round_outstanding_ > 0) --round_outstanding_;
  if (queued_reads_.empty()) return;
  if (round_outstanding_ == 0) {
    // Another pass of this turn starts the next round.
    touch(*find(queued_reads_.front().group));
  }
}

void Groups::release_reads(Group& group) {
  if (group.reads.empty()) return;
  std::vector<Group::WaitingRead> waiting;
  waiting.swap(group.reads);
  if (group.install) {
    for (const auto& read : waiting)
      on_read(read.token,
              fail(ErrorCode::kNotLeader, "this node's state is being replaced by a newer one"));
    return;
  }
  for (const auto& read : waiting) {
    if (group.applied >= read.index || MUTANT(read_before_applied)) {
      on_read(read.token, {});
    } else {
      SOMETIMES(read_waits_for_the_state);
      group.reads.push_back(read);
    }
  }
}

// --- timers ---

Time Groups::deadline_of(const Group& group) const {
  const Time deadline = group.replica.deadline();
  return group.replica.role() == raft::Role::kLeader ? deadline
                                                     : std::max(deadline, group.campaign_at);
}

void Groups::arm(Group& group) {
  Time deadline = deadline_of(group);
  if (deadline < group.armed) {
    group.armed = deadline;
    due_.push({deadline, group.position});
  }
}

// The earliest deadline. Those of followers move later with every heartbeat; entries of due_ learn
// of it here, when they have come to the top, so that nothing wakes up for a deadline that has
// moved.
Time Groups::next_due() {
  while (!due_.empty()) {
    auto [at, position] = due_.top();
    Group& group = *groups_[position];
    Time deadline = deadline_of(group);
    if (at == group.armed && deadline <= at) return at;
    due_.pop();
    if (at != group.armed) continue;  // superseded
    group.armed = deadline;
    if (deadline != Time::max()) due_.push({deadline, position});
  }
  return Time::max();
}

void Groups::arm_timer() {
  Time next = next_due();
  if (!queued_reads_.empty() && round_outstanding_ > 0 && !round_timer_) {
    round_timer_ = host_.clock->call_at(round_deadline_, guarded([this] {
                                          round_timer_ = 0;
                                          if (!queued_reads_.empty())
                                            touch(*find(queued_reads_.front().group));
                                        }));
  }
  if (next >= timer_at_) return;
  host_.clock->cancel(timer_);
  timer_at_ = next;
  timer_ = host_.clock->call_at(next, guarded([this] { on_timer(); }));
}

void Groups::on_timer() {
  timer_ = 0;
  timer_at_ = Time::max();
  Time now = host_.clock->now();
  size_t begun = 0;
  while (!due_.empty() && due_.top().first <= now) {
    Group& group = *groups_[due_.top().second];
    Time at = due_.top().first;
    due_.pop();
    if (at != group.armed) continue;  // superseded
    group.armed = Time::max();
    if (group.replica.deadline() <= now && !defer_campaign(group, now, begun)) {
      group.replica.on_timer(now);
      touch(group);
    }
    arm(group);
  }
  arm_timer();
}

}  // namespace kahuna::node
