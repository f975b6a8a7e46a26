// Named scenarios: each steers a run into one situation that has broken systems like this one,
// proves that it got there, and leaves the judging to the judges of every run.
//
//   {"H-R2", "a deposed leader's orphan entries give way", "nodes=3", "",
//    [](Stage& s) {
//      size_t old = s.settle();
//      s.isolate(old);
//      ...
//      s.until("another node leads", [&] { return s.leader_but(old).has_value(); });
//      s.heal();
//      s.prove("its tail was truncated", s.probe("raft_truncates_tail") > 0);
//    }}
//
//   N1 a step that is not reached ends the script: what follows does nothing, and the run is
//      UNKNOWN, unless something was violated;
//   N2 what the script did is undone when it ends, but for what it did to wall clocks and disks;
//   N3 what the scenario is about is a must(), which fails the run; what leads there is an until()
//      or a prove();
//   N4 the script runs outside of any node's turn, in the place of the first phase's waiting; it
//      changes the cluster through Stage only.
//
// Names: H-R4 is row R4 of the table of known failures (Kommander), H-K20 row K20 (Kahuna), T-22 a
// protocol trap, M-: members that come and go, G-: nodes that live and are slow, L-: log time, C-:
// clients. kahuna sim --scenarios prints them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/cluster.h"
#include "sim/fault_plan.h"
#include "sim/recording.h"
#include "sim/world.h"

namespace kahuna::sim {

constexpr uint64_t kMeta = 0;  // the group of the meta partition

class Stage final : private ClusterListener {
 public:
  // All outlive the stage.
  Stage(World& world, Cluster& cluster, WorkloadState& workload, FaultPlan& plan);
  ~Stage() override;

  // --- looking ---
  size_t nodes() const { return cluster_.nodes(); }
  // The node runs and hosts a replica of the partition.
  bool hosts(size_t node, uint64_t group = 1) const;
  // Its log has no damage that was not repaired.
  bool whole(size_t node, uint64_t group = 1) const;
  // Of a node that does not host it: an empty one.
  raft::Status status(size_t node, uint64_t group = 1) const;
  bool leads(size_t node, uint64_t group = 1) const;
  uint64_t term(size_t node, uint64_t group = 1) const {
    return status(node, group).hard_state.term.value();
  }
  uint64_t last(size_t node, uint64_t group = 1) const {
    return status(node, group).last.index.value();
  }
  uint64_t commit(size_t node, uint64_t group = 1) const {
    return status(node, group).commit.value();
  }
  // Applied there, in milliseconds; 0 when it is down or has no state.
  uint64_t log_time(size_t node, uint64_t group = 1) const {
    return cluster_.log_time(node, PartitionId(group)).value_or(LogTime()).value();
  }
  // Of those that run and are not paused, the one that leads in the highest term.
  std::optional<size_t> leader(uint64_t group = 1) const;
  // ... other than `old`.
  std::optional<size_t> leader_but(size_t old, uint64_t group = 1) const;
  std::vector<size_t> others(size_t node) const;
  // Hits of a SOMETIMES probe in this run so far.
  uint64_t probe(std::string_view name) const;
  // The node has told people of damage, in these words.
  bool said(size_t node, std::string_view words) const;
  // Operations that clients asked for and that succeeded so far.
  uint64_t writes_done() const { return workload_.history.counts().writes_done; }
  // How long that many percent of the writes asked for since then took at most, those that wait
  // still included; zero when there were none.
  Duration write_latency(TrueTime since, size_t percent) const;
  uint64_t asked() const { return workload_.history.counts().invoked; }
  RandomStream& random() { return random_; }

  // --- waiting; true when it is so ---
  bool until(std::string what, const std::function<bool()>& reached,
             Duration limit = Duration::seconds(60));
  // ... and the run fails when it is not: for what must happen whatever else does.
  bool must(std::string what, const std::function<bool()>& reached,
            Duration limit = Duration::seconds(60));
  // ... for what must be so now.
  void must(std::string what, bool so);
  // ... without ending the script when it is not.
  bool happens(const std::function<bool()>& what, Duration limit);
  void run(Duration length);
  // A leader, whom all the others follow and have caught up with: that node.
  size_t settle(uint64_t group = 1);
  // A follower is down until the others' logs begin behind what it has: that node.
  size_t leave_one_behind();
  // Nothing is wrong and nothing was missed so far.
  bool going() const;
  // Fails the scenario, as vacuous, when it is not so.
  void prove(std::string what, bool so);
  // Plays `round` again and again until the probe was hit `times` more; proves that it was.
  void repeat_until_hit(std::string_view probe, int rounds_max, const std::function<void()>& round,
                        uint64_t times = 1);

  // --- doing ---
  void crash(size_t node, CrashKind kind = CrashKind::kPower);
  // Power fails in the middle of its next write; true when it did.
  bool crash_while_writing(size_t node);
  void start(size_t node);
  // Asks it to stop; it is down, and stays so, once it has.
  void stop(size_t node);
  bool up(size_t node) const { return cluster_.up(node); }
  void pause(size_t node);
  void resume(size_t node);
  // What is sent from one node to another is held back, until heal().
  void cut(size_t from, size_t to);
  // ... both ways between the node and all others; from clients and to them as well when asked.
  void isolate(size_t node, bool from_clients = false);
  // ... between the node and all clients, but for so many of their machines.
  void cut_clients(size_t node, size_t spared = 0);
  void heal();
  // The node lives, but its replicas hear nothing of what others send them; or they do again.
  void deafen(size_t node, bool on = true);
  // An in-code fault point fires at every hit there; or no more.
  void hold(std::string_view point, size_t node, bool on = true);
  // Both ways between two nodes.
  void mend(size_t one, size_t other);
  void reset_connection(size_t node, bool half_open);
  // The thread of one of its event loops hangs, until resume().
  void pause_loop(size_t node, size_t loop);
  // Asks the leader of the partition to let another node lead.
  void hand_over(uint64_t group, size_t to) {
    if (going()) cluster_.move_leader(PartitionId(group), to);
  }
  // ... until it leads; meta and partition 1.
  void lead(size_t node, uint64_t group);
  void lead_all(size_t node) {
    lead(node, 0);
    lead(node, 1);
  }
  // Members: see Cluster. A dead one is lost at once, with its disk. Who takes its place comes so.
  void remove(size_t node, bool dead = false, Coming next = Coming::kAsks);
  // The learner there is to vote.
  void promote(size_t node);
  // A member, where there is none.
  void add(size_t node, Coming how = Coming::kAsks);
  bool vacant(size_t node) const { return cluster_.vacant(node); }
  // Every machine has a member, and all partitions have exactly these as voters, and learners.
  void settle_members();
  bool members_settled() const { return cluster_.members_settled(); }
  // Of the member there; none while it is not known.
  NodeId member(size_t node) const { return cluster_.member(node); }
  // It was let in to learn, and nothing else is recorded.
  bool learns(size_t node) const { return cluster_.learns(node); }
  // By the word that the partition's leader has of it.
  bool has_state(size_t node, uint64_t group = 1) const;
  // In the configuration of the partition's leader, as far as it is committed.
  bool votes(NodeId member, uint64_t group = 1) const;
  // A client that has been there since the beginning, and was idle, reads.
  bool idle_client_is_answered(Duration limit);
  // The rate of the node's monotonic clock, in parts per billion off the truth; kFrozenPpb: it
  // stands still.
  void set_rate(size_t node, int64_t ppb);
  // Its monotonic clock leaps ahead.
  void leap(size_t node, Duration by) {
    if (going()) world_.leap_clock(cluster_.handle(node), by);
  }
  SimDisk& disk(size_t node) { return world_.disk(cluster_.handle(node)); }
  MachineClock& clock(size_t node) { return world_.clock(cluster_.handle(node)); }
  // To the disk of a node that is down: see Cluster.
  void damage_newest(size_t node) {
    if (going()) cluster_.damage(node, true);
  }
  // ... both copies of its newest batch; of its engine, some bits.
  void lose_newest(size_t node) {
    if (going()) cluster_.lose_newest(node);
  }
  // ... all of its journals.
  void lose_journals(size_t node) {
    if (going()) cluster_.lose_journals(node);
  }
  // ... while it runs, too.
  bool rot(size_t node) { return going() && cluster_.rot(node); }
  bool damage_engine(size_t node, size_t bits) {
    return going() && cluster_.damage_engine_of(node, bits);
  }
  void wipe(size_t node) {
    if (going()) cluster_.wipe(node);
  }
  DiskImage image(size_t node) { return disk(node).image(); }
  void roll_back(size_t node, const DiskImage& image) {
    if (going()) cluster_.roll_back(node, image);
  }
  void stop_clients() { cluster_.stop_clients(); }
  // Called for every message that a replica is about to send, in its node's turn; to act, soon().
  void on_message(std::function<void(size_t node, const raft::Message&)> hook) {
    hook_ = std::move(hook);
  }
  void soon(Callback<void()> task) { world_.call_soon(std::move(task)); }
  TrueTime now() const { return world_.now(); }

  // Undoes what the script did.
  void finish();
  // "" when the scenario got where it wanted to.
  const std::string& missed() const { return missed_; }
  // What it did and reached so far, for people.
  const std::vector<Recording::Step>& steps() const { return steps_; }

 private:
  void message(size_t node, const raft::Message& message) override;
  void block(NodeHandle from, NodeHandle to);
  void tell(std::string text);

  World& world_;
  Cluster& cluster_;
  WorkloadState& workload_;
  FaultPlan& plan_;
  RandomStream random_;
  std::vector<std::pair<NodeHandle, NodeHandle>> blocked_;
  std::set<size_t> down_, deaf_;
  std::map<size_t, int64_t> rates_;  // as they were
  std::set<std::pair<std::string, size_t>> held_;
  std::function<void(size_t, const raft::Message&)> hook_;
  std::string missed_;
  std::vector<Recording::Step> steps_;
};

struct Scenario {
  std::string_view name;
  std::string_view text;    // one line: what it is
  std::string_view spec;    // pins, on top of kScenarioSpec; "KEY=VALUE,…"
  std::string_view faults;  // kinds that the seed may add; "" = none
  void (*play)(Stage&);
  bool at_founding = false;  // plays from the first instant, before there is a cluster
  std::string_view reaches =
      {};  // a probe that hardly any seed gets to without being steered there
};

// What all scenarios pin: a small cluster that clients keep busy.
inline constexpr std::string_view kScenarioSpec =
    "nodes=3,groups=1,rate=100,clients=3,processes=10,keys=5,mix.set=40,mix.get=40,blank-percent=0,"
    "value-bytes-max=200,faults-while-founding=off,rot-journal=off,atlas=nodes,distrust-tears=off,"
    "judge-hurries=off,joins-wait=off,crash-installing=off,scrub-interval-ms=0,time=2s,"
    "net.place=rack,raft-pace-percent=100,lulls=off,in-flight-max=65536,founding-disturbed=off,"
    "answer-bytes-max=16777216,vacancies=0";

// All of them, by name.
std::vector<Scenario> scenarios();

// What one would look for among them and not find, and why.
struct Unsteered {
  std::string_view name, why;
};
std::span<const Unsteered> unsteered();
const Scenario* find_scenario(std::string_view name);

// Where they are told: sim/scenarios/*.cc.
std::span<const Scenario> election_scenarios();
std::span<const Scenario> log_scenarios();
std::span<const Scenario> read_scenarios();
std::span<const Scenario> disk_scenarios();
std::span<const Scenario> damage_scenarios();
std::span<const Scenario> snapshot_scenarios();
std::span<const Scenario> quiescence_scenarios();
std::span<const Scenario> lease_scenarios();
std::span<const Scenario> time_scenarios();
std::span<const Scenario> away_scenarios();
std::span<const Scenario> members_scenarios();
std::span<const Scenario> learners_scenarios();
std::span<const Scenario> slow_scenarios();

}  // namespace kahuna::sim
