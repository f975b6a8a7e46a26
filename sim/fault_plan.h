// What goes wrong in a run, drawn from its seed: first which kinds of faults exist at all, then how
// often and how hard, then each fault by itself.
//
//   F1 fault k of a kind depends on (seed, kind, k) and the state of the world only: taking one out
//      (fault.skip), all but some (fault.only) or one kind does not shift the draws of the others;
//   F2 a fault that cannot happen now (nobody left to crash) is passed over, and not counted;
//   F3 what was durable is damaged by FaultTarget only, which asks the run's atlas (fault_atlas.h);
//   F4 after begin_liveness() no fault begins, and none holds among the chosen nodes and the
//   clients;
//      what was damaged, or forgotten, stays so.
//
// The plan does its work in the world's tasks and through FaultTarget, never inside a node's turn.
// A fifth of the seeds fire no in-code fault points; a twentieth have no faults.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/probe.h"
#include "sim/spec.h"
#include "sim/world.h"

namespace kahuna::sim {

enum class FaultKind : uint8_t {
  // On the time line.
  kCrash,         // a process dies (half of them while it writes), and is started again
  kPower,         // a machine loses power, and with it what was unsynced
  kPause,         // a process stops for a long time, as by SIGSTOP or a moved machine
  kStall,         // a process stops for a moment, as by a garbage collector
  kPartition,     // two sides, no link between them
  kOneWay,        // two sides, no link from one to the other
  kIsolate,       // one node alone, in one or both directions
  kRing,          // every node reaches its two neighbours
  kMajorityRing,  // every node reaches a majority, no two the same
  kBridge,        // two sides that one node alone can reach
  kFlap,          // a partition that comes and goes
  kClog,          // one link stops for a moment
  kSwizzle,       // some nodes are cut off one by one, and return in another order
  kSlowLink,      // one link is slow for a while
  kReset,         // a connection breaks
  kHalfOpen,      // a connection breaks, and one side does not know
  kSlowDisk,
  kStallDisk,    // nothing completes for a while
  kFullDisk,     // for a while
  kSyncError,    // one sync fails, and those after it lie
  kClockStep,    // the wall clock jumps, either way
  kClockRate,    // the monotonic clock changes its rate, within the bound
  kBlackHole,    // what a connection carries vanishes, one way or both, and nobody is told
  kStop,         // a process is asked to stop, does, and is started again
  kStallEngine,  // a node's engine takes no write for a while
  kMoveLeader,   // the leader of some partition is asked to let another node lead
  kDeaf,         // a node lives, and its replicas hear nothing of what others send them
  kClockFreeze,  // clocks stand still: both, or the wall clock alone where leases rest on the other
  kClockLeap,    // the monotonic clock leaps ahead; not where leases rest on it
  kRot,          // a bit flips in a journal or an engine
  kLatent,       // a sector of a journal or an engine cannot be read any more
  kMisdirect,    // a write goes to another place
  kWipe,         // a machine loses power and returns with an empty disk
  kRollBack,     // ... with its disk as it was in an earlier boot
  kMembers,      // a member is removed, and another one joins in its place
  // Always at work, at a rate.
  kDelay,      // latency tails
  kFrameLoss,  // single node-to-node frames
  kFrameDuplication,
  kFrameReordering,
  kRandomReset,  // connections break at any piece sent
  kShortIo,      // short reads and writes, of files and streams
  kWriteError,
  kReadError,
  kSkew,      // wall clocks start apart
  kDrift,     // monotonic clocks run at different rates
  kBatching,  // several inputs in one turn
  kPoints,    // in-code fault points
  kCount,
};
inline constexpr size_t kFaultKinds = static_cast<size_t>(FaultKind::kCount);
inline constexpr size_t kTimelineKinds = static_cast<size_t>(FaultKind::kDelay);
std::string_view name_of(FaultKind kind);  // "frame-loss"

class FaultSet {
 public:
  bool has(FaultKind kind) const { return bits_[static_cast<size_t>(kind)]; }
  void set(FaultKind kind, bool on) { bits_[static_cast<size_t>(kind)] = on; }
  bool empty() const { return bits_.none(); }
  friend bool operator==(const FaultSet&, const FaultSet&) = default;

 private:
  std::bitset<kFaultKinds> bits_;
};

// `faults`: "" = drawn; "on" = drawn, but not none; "off" = none; else a list of names: exactly
// those. Asks the spec for "faults.level" and "fault.NAME" (on, off). kInvalid names an unknown
// kind.
Result<FaultSet> draw_faults(Spec& spec, std::string_view faults);

// How far the monotonic clocks' rates may be from the truth, and so on.
struct FaultLimits {
  uint32_t drift_ppb_max = 500'000;
  Duration wall_skew_max = Duration::seconds(10);
  // Monotonic clocks may also stand still, and leap.
  bool clocks_unbounded = false;
};
// The world's options under these faults, and its ordinary variety (latencies, windows, disks).
WorldOptions draw_world(Spec& spec, const FaultSet& faults, const FaultLimits& limits);

// Who owns the product's objects.
class FaultTarget {
 public:
  virtual ~FaultTarget() = default;
  virtual size_t nodes() const = 0;
  virtual NodeHandle handle(size_t node) const = 0;
  // A process runs there.
  virtual bool up(size_t node) const = 0;
  // Ends the process by World::crash.
  virtual void crash(size_t node, CrashKind kind) = 0;
  // Asks the process to stop in its own time; `done` runs when it has, unless it ended otherwise.
  virtual void stop(size_t node, Callback<void()> done) = 0;
  // Asks the leader of a partition, if there is one, to let another node lead; `dice` says which.
  virtual bool move_leader(RandomStream& dice, std::string& text) = 0;
  // Begins to replace a member by a new one, if that can be done now; `dice` says which and how.
  virtual bool replace_member(RandomStream& dice, std::string& text) = 0;
  // Starts one; called only when none runs.
  virtual void restart(size_t node) = 0;
  // kRot, kLatent, kMisdirect: what was durable on the node's disk is damaged, now or (kMisdirect)
  // by one of its next writes. False when nothing may be damaged there.
  virtual bool damage(size_t node, FaultKind kind, RandomStream& dice, std::string& text) = 0;
  // kWipe, kRollBack: whether the node may forget. If so it is crashed, and then forgets.
  virtual bool may_forget(size_t node, FaultKind kind) = 0;
  virtual void forget(size_t node, FaultKind kind) = 0;
};

struct FaultRecord {
  TrueTime at;
  FaultKind kind;
  uint64_t number;  // of its kind, from 0
  std::string text;
};

// Decides FAULT_POINT: a site is active in a run with probability `active`, and then fires at a
// share `firing` of its hits, 1 to burst_max of them in a row. Besides, a site held on a node fires
// at every hit there.
class FaultPoints final : public FaultInjector {
 public:
  FaultPoints(uint64_t seed, PerMillion active, PerMillion firing, uint32_t burst_max = 1,
              const World* world = nullptr)
      : seed_(seed), active_(active), firing_(firing), burst_max_(burst_max), world_(world) {}
  bool fires(const FaultSite& point) override;
  // Only these are active, and always.
  void restrict_to(std::vector<std::string> points) { only_ = std::move(points); }
  // Counted, so that holds may overlap; needs the world.
  void hold(std::string_view point, uint32_t node) { held_.insert({std::string(point), node}); }
  void let_go(std::string_view point, uint32_t node) {
    held_.erase(held_.find({std::string(point), node}));
  }
  void disable() { enabled_ = false; }
  const std::map<std::string, uint64_t, std::less<>>& fired() const { return fired_; }

 private:
  struct Site {
    bool active;
    RandomStream random;
    uint64_t left = 0;  // of the burst
  };
  bool fires(Site& site) const;
  Site& find(const FaultSite& point);

  uint64_t seed_;
  PerMillion active_, firing_;
  uint32_t burst_max_;
  const World* world_;
  std::vector<std::string> only_;  // empty: drawn
  std::multiset<std::pair<std::string, uint32_t>> held_;
  bool enabled_ = true;
  std::map<std::string, Site, std::less<>> sites_;
  std::vector<Site*> by_number_;  // into sites_
  std::map<std::string, uint64_t, std::less<>> fired_;
};

// In-code points that are held on one node.
inline constexpr std::string_view kEngineRefuses = "engine_refuses_a_write";
inline constexpr std::string_view kHearsNothing = "replica_hears_nothing";

class FaultPlan {
 public:
  // All outlive the plan; `target` has its nodes. Draws the rates; begins nothing. Asks the spec
  // for "fault.NAME.every", "fault.down_max", "fault.skip" and "fault.only" (selections of the time
  // line's faults: sim/selection.h) and a few more. The in-code fault points are installed on this
  // thread by begin().
  FaultPlan(World& world, Spec& spec, FaultSet faults, FaultTarget& target);
  ~FaultPlan();
  FaultPlan(const FaultPlan&) = delete;
  FaultPlan& operator=(const FaultPlan&) = delete;

  // Faults happen from now on.
  void begin();
  // The second phase: every fault ends on the chosen nodes, between them, and between them and the
  // clients; those that are down are restarted, those that are paused go on. The others stay as
  // they are, for good: what was down stays down.
  void begin_liveness(const std::vector<size_t>& core);
  // The plan stopped this node and has not restarted it yet.
  bool holds_down(size_t node) const { return down_.contains(node); }

  const FaultSet& faults() const { return faults_; }
  // From outside, by a script: this place in the code acts up on that node at every hit, or no
  // more.
  void hold(std::string_view point, size_t node, bool on);
  // How often each kind has fired, by name; kinds that exist in this run and never fired count 0.
  // In-code points appear as "point:NAME" besides.
  std::map<std::string, uint64_t> counts() const;
  // In order of time; the first kLogMax.
  static constexpr size_t kLogMax = 20'000;
  const std::vector<FaultRecord>& log() const { return log_; }
  // For people: which kinds, how often.
  std::string describe() const;

 private:
  struct Timeline {
    bool exists = false;
    Duration every;     // mean distance
    uint64_t next = 0;  // number of the next fault
    uint64_t fired = 0;
    EventId event = 0;
  };
  using Links = std::vector<std::pair<uint32_t, uint32_t>>;

  bool wanted(FaultKind kind, uint64_t number) const;
  void arm(FaultKind kind);
  void strike(FaultKind kind);
  // False when it cannot happen now. `text` says what was done.
  bool apply(FaultKind kind, RandomStream& random, std::string& text);
  bool apply_to_process(FaultKind kind, RandomStream& random, std::string& text);
  bool apply_to_network(FaultKind kind, RandomStream& random, std::string& text);
  bool apply_to_device(FaultKind kind, RandomStream& random, std::string& text);
  bool apply_to_clock(FaultKind kind, size_t node, RandomStream& random, std::string& text);

  bool crash(FaultKind kind, RandomStream& random, std::string& text);
  // Nothing when that process has ended meanwhile, or too many nodes are down.
  void crash_now(size_t node, uint64_t incarnation, CrashKind kind, Duration down);
  bool stop(RandomStream& random, std::string& text);
  bool forget(FaultKind kind, RandomStream& random, std::string& text);
  void stopped(size_t node, uint64_t incarnation, Duration down);
  void bring_back(size_t node);
  Links shape(FaultKind kind, RandomStream& random, std::string& text) const;
  // The links that a division of the nodes cuts: side[node] is 0 or 1, 2 = touches nothing.
  Links across(const std::vector<int>& side, bool one_way) const;
  void flap(Links links, uint32_t times, Duration on, Duration off);
  void block_for(Links links, Duration span);
  Duration span(RandomStream& random) const;
  size_t pick_up(RandomStream& random) const;  // a node that runs; nodes() when none does
  std::string node_name(size_t node) const { return world_.name(target_.handle(node)); }
  // Runs `task` then, unless the second phase begins before.
  void later(TrueTime at, Callback<void()> task);
  void heal_device(size_t node);
  void thaw(size_t node);

  World& world_;
  FaultTarget& target_;
  const FaultSet faults_;
  Timeline timelines_[kTimelineKinds];
  std::optional<Selection> only_;
  Selection skipped_;
  size_t down_max_ = 0;
  Duration span_max_;
  int64_t rate_ppb_max_ = 0;
  bool clients_too_ = false;  // partitions cut clients off as well
  bool frozen_ = false;
  std::set<size_t> down_;
  std::map<size_t, int64_t> frozen_clocks_;  // nodes, and the rates to go on at
  std::map<uint64_t, Links> blocks_;         // in force
  std::map<uint64_t, EventId> pending_;
  uint64_t next_id_ = 1;
  std::unique_ptr<FaultPoints> points_;
  std::vector<FaultRecord> log_;
};

}  // namespace kahuna::sim
