// Drawing: which kinds exist, and the world's options under them.
#include "sim/fault_plan.h"

#include <algorithm>

namespace kahuna::sim {
namespace {
constexpr std::string_view kNames[kFaultKinds] = {"crash",
                                                  "power",
                                                  "pause",
                                                  "stall",
                                                  "partition",
                                                  "one-way",
                                                  "isolate",
                                                  "ring",
                                                  "majority-ring",
                                                  "bridge",
                                                  "flap",
                                                  "clog",
                                                  "swizzle",
                                                  "slow-link",
                                                  "reset",
                                                  "half-open",
                                                  "slow-disk",
                                                  "stall-disk",
                                                  "full-disk",
                                                  "sync-error",
                                                  "clock-step",
                                                  "clock-rate",
                                                  "black-hole",
                                                  "stop",
                                                  "stall-engine",
                                                  "move-leader",
                                                  "deaf",
                                                  "clock-freeze",
                                                  "clock-leap",
                                                  "rot",
                                                  "latent",
                                                  "misdirect",
                                                  "wipe",
                                                  "roll-back",
                                                  "members",
                                                  "delay",
                                                  "frame-loss",
                                                  "frame-duplication",
                                                  "frame-reordering",
                                                  "random-reset",
                                                  "short-io",
                                                  "write-error",
                                                  "read-error",
                                                  "skew",
                                                  "drift",
                                                  "batching",
                                                  "points"};

std::string field(FaultKind kind, std::string_view what = {}) {
  std::string name = "fault." + std::string(name_of(kind));
  if (!what.empty()) name += "." + std::string(what);
  return name;
}

// How often a kind that may exist does exist, per level of the run.
struct Level {
  std::string_view name;
  uint32_t chance_percent;
};
constexpr Level kLevels[] = {{"none", 0}, {"few", 12}, {"some", 35}, {"most", 75}};

// Kinds a node cannot survive by itself: rarer.
bool is_grave(FaultKind kind) {
  return kind == FaultKind::kSyncError || kind == FaultKind::kWriteError ||
         kind == FaultKind::kReadError || kind == FaultKind::kFullDisk || kind == FaultKind::kRot ||
         kind == FaultKind::kLatent || kind == FaultKind::kMisdirect || kind == FaultKind::kWipe ||
         kind == FaultKind::kRollBack;
}

PerMillion rate(Spec& spec, const FaultSet& faults, FaultKind kind, uint64_t low, uint64_t high) {
  if (!faults.has(kind)) return 0;
  return static_cast<PerMillion>(spec.number_log(field(kind, "per_million"), low, high));
}
}  // namespace

std::string_view name_of(FaultKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

Result<FaultSet> draw_faults(Spec& spec, std::string_view faults) {
  FaultSet set;
  bool drawn = faults.empty() || faults == "on";
  if (!drawn && faults != "off") {
    for (const std::string& name : split_list(faults)) {
      auto found = std::find(std::begin(kNames), std::end(kNames), name);
      if (found == std::end(kNames)) {
        std::string known;
        for (std::string_view n : kNames) known += (known.empty() ? "" : ", ") + std::string(n);
        return fail(ErrorCode::kInvalid, "--faults: no kind '" + name + "'; there are: " + known);
      }
      set.set(static_cast<FaultKind>(found - std::begin(kNames)), true);
    }
  }
  std::string level = "none";
  if (drawn)
    level = faults.empty() ? spec.choice("faults.level",
                                         {{"none", 5}, {"few", 30}, {"some", 45}, {"most", 20}})
                           : spec.choice("faults.level", {{"few", 30}, {"some", 45}, {"most", 20}});
  auto chosen = std::find_if(std::begin(kLevels), std::end(kLevels),
                             [&](const Level& l) { return l.name == level; });
  for (size_t i = 0; i < kFaultKinds; ++i) {
    auto kind = static_cast<FaultKind>(i);
    uint32_t percent = chosen->chance_percent;
    if (is_grave(kind)) percent /= 3;
    // In-code points are off in a fifth of the seeds that have faults, whatever the level.
    if (kind == FaultKind::kPoints && percent > 0) percent = 80;
    // A kind named by the user exists; the spec may still pin any.
    set.set(kind,
            set.has(kind) ? spec.flag(field(kind), 1, 1) : spec.flag(field(kind), percent, 100));
  }
  return set;
}

namespace {

void draw_network(Spec& spec, const FaultSet& faults, NetworkProfile& net) {
  std::string place = spec.choice("net.place", {{"rack", 50}, {"city", 35}, {"world", 15}});
  Duration low = Duration::micros(40), high = Duration::micros(300);
  if (place == "city") low = Duration::micros(300), high = Duration::millis(3);
  if (place == "world") low = Duration::millis(5), high = Duration::millis(80);
  net.latency_min = low;
  net.latency_max = high;
  net.jitter_percent =
      static_cast<uint32_t>(spec.pick("net.jitter_percent", {{5, 2}, {30, 4}, {200, 1}}));
  net.window_bytes = spec.pick("net.window_bytes", {{16 * 1024, 1}, {256 * 1024, 4}, {4 << 20, 2}});
  net.ns_per_kib =
      static_cast<uint32_t>(spec.pick("net.ns_per_kib", {{800, 4}, {8'000, 2}, {80'000, 1}}));
  net.silent_crash = static_cast<PerMillion>(
      spec.pick("net.silent_crash", {{0, 1}, {300'000, 2}, {1'000'000, 1}}));
  net.silent_refuse = static_cast<PerMillion>(
      spec.pick("net.silent_refuse", {{0, 2}, {200'000, 2}, {1'000'000, 1}}));
  net.give_up_max =
      spec.duration_log("net.give_up_max", Duration::seconds(1), Duration::seconds(60));
  net.give_up_min = net.give_up_max / 4;
  net.tail = 0;
  if (faults.has(FaultKind::kDelay)) {
    net.tail = rate(spec, faults, FaultKind::kDelay, 200, 50'000);
    net.tail_factor = static_cast<uint32_t>(spec.number_log("net.tail_factor", 5, 500));
  }
  net.frames.drop = rate(spec, faults, FaultKind::kFrameLoss, 200, 300'000);
  net.frames.duplicate = rate(spec, faults, FaultKind::kFrameDuplication, 200, 500'000);
  net.frames.delay = rate(spec, faults, FaultKind::kFrameReordering, 200, 300'000);
  if (net.frames.delay)
    net.frames.delay_max =
        spec.duration_log("net.frame_delay_max", Duration::millis(1), Duration::seconds(2));
  net.random_reset = rate(spec, faults, FaultKind::kRandomReset, 2, 2'000);
}

void draw_disk(Spec& spec, const FaultSet& faults, DiskProfile& disk) {
  std::string kind = spec.choice("disk.kind", {{"fast", 45}, {"ordinary", 40}, {"old", 15}});
  if (kind == "ordinary") {
    disk.read_min = Duration::micros(80), disk.read_max = Duration::micros(400);
    disk.sync_min = Duration::micros(500), disk.sync_max = Duration::millis(4);
  } else if (kind == "old") {
    disk.read_min = Duration::millis(1), disk.read_max = Duration::millis(10);
    disk.write_max = Duration::micros(500);
    disk.sync_min = Duration::millis(4), disk.sync_max = Duration::millis(25);
    disk.per_kib = Duration::micros(8);
  }
  disk.tail =
      static_cast<PerMillion>(spec.pick("disk.tail_per_million", {{0, 1}, {500, 2}, {10'000, 1}}));
  disk.crash_loses_all = static_cast<PerMillion>(
      spec.pick("disk.crash_loses_all", {{300'000, 3}, {1'000'000, 1}, {0, 1}}));
  disk.unordered_names = static_cast<PerMillion>(
      spec.pick("disk.unordered_names", {{300'000, 2}, {0, 1}, {1'000'000, 1}}));
  disk.write_error = rate(spec, faults, FaultKind::kWriteError, 10, 3'000);
  disk.read_error = rate(spec, faults, FaultKind::kReadError, 200, 50'000);
}

}  // namespace

WorldOptions draw_world(Spec& spec, const FaultSet& faults, const FaultLimits& limits) {
  WorldOptions options;
  draw_network(spec, faults, options.network);
  draw_disk(spec, faults, options.disk);
  if (PerMillion few = rate(spec, faults, FaultKind::kShortIo, 500, 500'000)) {
    options.disk.short_transfer = few;
    options.network.short_write = few;
    options.network.split_read = few;
  }
  options.clock.wall_skew_max = Duration();
  options.clock.drift_ppb_max = 0;
  options.clock.unbounded = limits.clocks_unbounded;
  if (faults.has(FaultKind::kSkew))
    options.clock.wall_skew_max =
        spec.duration_log("clock.skew_max", Duration::millis(1), limits.wall_skew_max);
  if (faults.has(FaultKind::kDrift) && limits.drift_ppb_max > 0)
    options.clock.drift_ppb_max = static_cast<uint32_t>(
        spec.pick("clock.drift_ppb_max",
                  {{limits.drift_ppb_max, 2}, {std::min(limits.drift_ppb_max, 20'000u), 1}}));
  options.scheduler.fifo = spec.flag("sched.fifo", 1, 3);
  if (faults.has(FaultKind::kBatching)) {
    options.scheduler.batch = rate(spec, faults, FaultKind::kBatching, 1'000, 800'000);
    options.scheduler.batch_max =
        spec.duration_log("sched.batch_max", Duration::micros(5), Duration::millis(5));
  }
  return options;
}

// A burst of mean length m begins at a share p of the hits outside of bursts, so that f of all hits
// fire: f = pm / (pm + 1 - p).
bool FaultPoints::fires(Site& site) const {
  if (site.left > 0) {
    --site.left;
    return true;
  }
  uint64_t mean_twice = uint64_t{burst_max_} + 1, f = firing_, whole = 1'000'000;
  uint64_t begins = 2 * f * whole / (mean_twice * (whole - f) + 2 * f);
  if (!happens(site.random, static_cast<PerMillion>(std::max<uint64_t>(begins, 1)))) return false;
  site.left = burst_max_ > 1 ? site.random.below(burst_max_) : 0;
  return true;
}

FaultPoints::Site& FaultPoints::find(const FaultSite& point) {
  if (point.number < by_number_.size() && by_number_[point.number])
    return *by_number_[point.number];
  auto found = sites_.find(std::string_view(point.name));
  if (found == sites_.end()) {
    RandomStream random(seed_, point.name, 0x706f696e74);
    bool active = happens(random, active_);
    if (!only_.empty()) active = std::find(only_.begin(), only_.end(), point.name) != only_.end();
    found = sites_.emplace(point.name, Site{active, random}).first;
  }
  if (by_number_.size() <= point.number) by_number_.resize(point.number + 1);
  by_number_[point.number] = &found->second;
  return found->second;
}

bool FaultPoints::fires(const FaultSite& point) {
  if (!enabled_) return false;
  if (!held_.empty() && held_.contains({point.name, world_->running_node()})) return true;
  Site& site = find(point);
  if (!site.active || !fires(site)) return false;
  ++fired_[point.name];
  return true;
}

}  // namespace kahuna::sim
