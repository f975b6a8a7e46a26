// When faults begin and end.
#include <algorithm>

#include "sim/fault_plan.h"

namespace kahuna::sim {
namespace {

// Mean distances between faults of one kind that are drawn from (log-uniformly).
struct Pace {
  Duration low, high;
};
Pace pace_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::kStall:
    case FaultKind::kMoveLeader:
    case FaultKind::kClog:
    case FaultKind::kReset:
    case FaultKind::kHalfOpen:
    case FaultKind::kBlackHole:
    case FaultKind::kSlowLink: return {Duration::millis(100), Duration::seconds(20)};
    case FaultKind::kRot:
    case FaultKind::kLatent:
    case FaultKind::kRollBack:  // most find nobody who may forget
    case FaultKind::kMisdirect: return {Duration::seconds(1), Duration::seconds(30)};
    case FaultKind::kWipe:
    case FaultKind::kSyncError:
    case FaultKind::kFullDisk: return {Duration::seconds(5), Duration::seconds(60)};
    default: return {Duration::millis(500), Duration::seconds(30)};
  }
}

}  // namespace

FaultPlan::FaultPlan(World& world, Spec& spec, FaultSet faults, FaultTarget& target)
    : world_(world), target_(target), faults_(faults) {
  size_t nodes = target.nodes();
  size_t minority = nodes > 0 ? (nodes - 1) / 2 : 0;
  down_max_ = spec.pick("fault.down_max", {{std::max<size_t>(minority, 1), 6}, {1, 2}, {nodes, 2}});
  span_max_ = spec.duration_log("fault.span_max", Duration::millis(200), Duration::seconds(30));
  clients_too_ = spec.flag("fault.clients_too", 1, 3);
  rate_ppb_max_ = world.world_options().clock.drift_ppb_max;
  for (size_t i = 0; i < kTimelineKinds; ++i) {
    auto kind = static_cast<FaultKind>(i);
    if (!faults.has(kind)) continue;
    timelines_[i].exists = true;
    Pace pace = pace_of(kind);
    timelines_[i].every =
        spec.duration_log("fault." + std::string(name_of(kind)) + ".every", pace.low, pace.high);
  }
  std::vector<std::string> names;
  for (size_t i = 0; i < kTimelineKinds; ++i)
    names.emplace_back(name_of(static_cast<FaultKind>(i)));
  only_ = spec.selection("fault.only", names);
  skipped_ = spec.selection("fault.skip", names).value_or(Selection());
  if (!faults.has(FaultKind::kPoints) && !faults.has(FaultKind::kStallEngine) &&
      !faults.has(FaultKind::kDeaf))
    return;
  auto active =
      static_cast<PerMillion>(spec.pick("fault.points.active", {{250'000, 4}, {1'000'000, 1}}));
  auto fires = static_cast<PerMillion>(
      spec.pick("fault.points.fires", {{100'000, 2}, {10'000, 3}, {250'000, 1}}));
  auto burst =
      static_cast<uint32_t>(spec.pick("fault.points.burst_max", {{1, 3}, {10, 1}, {100, 1}}));
  if (!faults.has(FaultKind::kPoints)) active = 0;
  points_ = std::make_unique<FaultPoints>(world.seed(), active, fires, burst, &world);
  if (auto only = spec.text("fault.points.only")) points_->restrict_to(split_list(*only, '+'));
}

FaultPlan::~FaultPlan() {
  for (Timeline& line : timelines_) world_.cancel(line.event);
  for (auto& [id, event] : pending_) world_.cancel(event);
  for (size_t node = 0; node < target_.nodes(); ++node)
    world_.on_next_write(target_.handle(node), {});
  if (points_) set_fault_injector(nullptr);
}

void FaultPlan::begin() {
  if (points_) set_fault_injector(points_.get());
  for (size_t i = 0; i < kTimelineKinds; ++i)
    if (timelines_[i].exists) arm(static_cast<FaultKind>(i));
}

void FaultPlan::hold(std::string_view point, size_t node, bool on) {
  if (!points_) {
    points_ = std::make_unique<FaultPoints>(world_.seed(), 0, 0, 1, &world_);
    set_fault_injector(points_.get());
  }
  const uint32_t index = target_.handle(node).index;
  on ? points_->hold(point, index) : points_->let_go(point, index);
}

bool FaultPlan::wanted(FaultKind kind, uint64_t number) const {
  return (!only_ || only_->has(name_of(kind), number)) && !skipped_.has(name_of(kind), number);
}

void FaultPlan::arm(FaultKind kind) {
  Timeline& line = timelines_[static_cast<size_t>(kind)];
  RandomStream random(world_.seed(), "fault.when", static_cast<uint64_t>(kind) << 40 | line.next);
  Duration wait = draw(random, Duration::micros(1), line.every * 2);
  line.event = world_.call_at(world_.now() + wait, [this, kind] { strike(kind); });
}

void FaultPlan::strike(FaultKind kind) {
  Timeline& line = timelines_[static_cast<size_t>(kind)];
  uint64_t number = line.next++;
  RandomStream random(world_.seed(), "fault.what", static_cast<uint64_t>(kind) << 40 | number);
  std::string text;
  if (wanted(kind, number) && apply(kind, random, text)) {
    ++line.fired;
    if (log_.size() < kLogMax) log_.push_back({world_.now(), kind, number, std::move(text)});
  }
  arm(kind);
}

void FaultPlan::later(TrueTime at, Callback<void()> task) {
  uint64_t id = next_id_++;
  pending_[id] = world_.call_at(at, [this, id, task = std::move(task)]() mutable {
    pending_.erase(id);
    task();
  });
}

// Log-uniform from 10 ms to span_max_.
Duration FaultPlan::span(RandomStream& random) const {
  Duration low = Duration::millis(10);
  int octaves = 0;
  while (low * (int64_t{2} << octaves) < span_max_) ++octaves;
  Duration scaled = low * (int64_t{1} << random.below(static_cast<uint64_t>(octaves) + 1));
  return std::min(draw(random, scaled, scaled * 2), span_max_);
}

size_t FaultPlan::pick_up(RandomStream& random) const {
  size_t n = target_.nodes(), start = random.below(std::max<size_t>(n, 1));
  for (size_t i = 0; i < n; ++i)
    if (size_t node = (start + i) % n; target_.up(node)) return node;
  return n;
}

bool FaultPlan::apply(FaultKind kind, RandomStream& random, std::string& text) {
  if (target_.nodes() == 0) return false;
  if (kind == FaultKind::kStop) return stop(random, text);
  if (kind == FaultKind::kWipe || kind == FaultKind::kRollBack) return forget(kind, random, text);
  if (kind == FaultKind::kMoveLeader) return target_.move_leader(random, text);
  if (kind == FaultKind::kMembers) return target_.replace_member(random, text);
  if (kind <= FaultKind::kStall) return apply_to_process(kind, random, text);
  if (kind <= FaultKind::kHalfOpen || kind == FaultKind::kBlackHole)
    return apply_to_network(kind, random, text);
  return apply_to_device(kind, random, text);
}

bool FaultPlan::apply_to_process(FaultKind kind, RandomStream& random, std::string& text) {
  if (kind == FaultKind::kCrash || kind == FaultKind::kPower) return crash(kind, random, text);
  size_t node = pick_up(random);
  if (node == target_.nodes()) return false;
  NodeHandle handle = target_.handle(node);
  if (world_.paused(handle)) return false;
  Duration length = kind == FaultKind::kPause
                        ? draw(random, Duration::millis(500), Duration::seconds(20))
                        : draw(random, Duration::millis(1), Duration::millis(800));
  text = node_name(node) + " for " + to_string(length);
  size_t loops = world_.loops(handle);
  if (kind == FaultKind::kStall && loops > 1 && random.chance(1, 2)) {
    size_t loop = random.below(loops);
    text += " on loop " + std::to_string(loop);
    world_.pause_loop(handle, loop);
  } else {
    world_.pause(handle);
  }
  later(world_.now() + length, [this, handle, incarnation = world_.incarnation(handle)] {
    if (world_.incarnation(handle) == incarnation) world_.resume(handle);
  });
  return true;
}

bool FaultPlan::crash(FaultKind kind, RandomStream& random, std::string& text) {
  // Ten times likelier where writes are in flight.
  std::vector<uint64_t> weights(target_.nodes(), 0);
  uint64_t total = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    NodeHandle handle = target_.handle(i);
    if (target_.up(i))
      weights[i] = world_.writes_in_flight(handle) > 0 || world_.disk(handle).unsynced() ? 10 : 1;
    total += weights[i];
  }
  uint64_t dice = random.next();
  bool aimed = random.chance(1, 2);
  Duration down = span(random);
  if (total == 0 || down_.size() >= down_max_) return false;
  dice %= total;
  size_t node = 0;
  while (dice >= weights[node]) dice -= weights[node++];
  NodeHandle handle = target_.handle(node);
  uint64_t incarnation = world_.incarnation(handle);
  CrashKind how = kind == FaultKind::kPower ? CrashKind::kPower : CrashKind::kProcess;
  text = node_name(node) + " for " + to_string(down) + (aimed ? ", while it writes" : "");
  if (!aimed) {
    crash_now(node, incarnation, how, down);
    return true;
  }
  uint64_t within = random.below(1000);
  world_.on_next_write(handle, [this, node, incarnation, how, down, within](Duration taken) {
    later(world_.now() + Duration::nanos(taken.nanos() / 1000 * static_cast<int64_t>(within)),
          [=, this] { crash_now(node, incarnation, how, down); });
  });
  later(world_.now() + Duration::seconds(1),
        [=, this] { crash_now(node, incarnation, how, down); });
  return true;
}

void FaultPlan::crash_now(size_t node, uint64_t incarnation, CrashKind kind, Duration down) {
  NodeHandle handle = target_.handle(node);
  if (frozen_ || !target_.up(node) || world_.incarnation(handle) != incarnation ||
      down_.size() >= down_max_)
    return;
  down_.insert(node);
  target_.crash(node, kind);
  later(world_.now() + down, [this, node] { bring_back(node); });
}

bool FaultPlan::stop(RandomStream& random, std::string& text) {
  size_t node = pick_up(random);
  Duration down = span(random);
  if (node == target_.nodes() || down_.size() >= down_max_) return false;
  if (world_.paused(target_.handle(node))) return false;
  text = node_name(node) + " for " + to_string(down);
  target_.stop(node, [this, node, down, incarnation = world_.incarnation(target_.handle(node))] {
    stopped(node, incarnation, down);
  });
  return true;
}

// Others may be down by now: it is then started again at once.
void FaultPlan::stopped(size_t node, uint64_t incarnation, Duration down) {
  if (!target_.up(node) || world_.incarnation(target_.handle(node)) != incarnation) return;
  target_.crash(node, CrashKind::kProcess);
  if (frozen_ || down_.size() >= down_max_) return target_.restart(node);
  down_.insert(node);
  later(world_.now() + down, [this, node] { bring_back(node); });
}

bool FaultPlan::forget(FaultKind kind, RandomStream& random, std::string& text) {
  const size_t nodes = target_.nodes(), first = pick_up(random);
  Duration down = span(random);
  if (first == nodes || down_.size() >= down_max_) return false;
  size_t node = first, tried = 0;
  while (tried < nodes && !(target_.up(node) && target_.may_forget(node, kind)))
    node = (first + ++tried) % nodes;
  if (tried == nodes) return false;
  text = node_name(node) + " for " + to_string(down);
  crash_now(node, world_.incarnation(target_.handle(node)), CrashKind::kPower, down);
  target_.forget(node, kind);
  return true;
}

void FaultPlan::bring_back(size_t node) {
  down_.erase(node);
  if (!target_.up(node)) target_.restart(node);
}

bool FaultPlan::apply_to_device(FaultKind kind, RandomStream& random, std::string& text) {
  size_t node = random.below(target_.nodes());
  NodeHandle handle = target_.handle(node);
  SimDisk& disk = world_.disk(handle);
  Duration length = span(random);
  text = node_name(node);
  switch (kind) {
    case FaultKind::kSlowDisk: {
      uint32_t factor = static_cast<uint32_t>(random.between(3, 100));
      disk.slow_until(world_.now() + length, factor);
      text += " by " + std::to_string(factor);
      break;
    }
    case FaultKind::kStallDisk: disk.stall_until(world_.now() + length); break;
    case FaultKind::kStallEngine:
      points_->hold(kEngineRefuses, handle.index);
      later(world_.now() + length,
            [this, handle] { points_->let_go(kEngineRefuses, handle.index); });
      break;
    case FaultKind::kDeaf:
      points_->hold(kHearsNothing, handle.index);
      later(world_.now() + length,
            [this, handle] { points_->let_go(kHearsNothing, handle.index); });
      break;
    case FaultKind::kFullDisk:
      disk.set_full(true);
      later(world_.now() + length, [&disk] { disk.set_full(false); });
      break;
    case FaultKind::kSyncError: disk.fail_next_sync(); return true;
    case FaultKind::kClockStep:
    case FaultKind::kClockRate:
    case FaultKind::kClockFreeze:
    case FaultKind::kClockLeap: return apply_to_clock(kind, node, random, text);
    case FaultKind::kRot:
    case FaultKind::kLatent:
    case FaultKind::kMisdirect: return target_.damage(node, kind, random, text);
    default: UNREACHABLE("not a device fault");
  }
  text += " for " + to_string(length);
  return true;
}

bool FaultPlan::apply_to_clock(FaultKind kind, size_t node, RandomStream& random,
                               std::string& text) {
  NodeHandle handle = target_.handle(node);
  const bool unbounded = world_.world_options().clock.unbounded;
  switch (kind) {
    case FaultKind::kClockStep: {
      // Mostly from a millisecond to an hour, else to 35 years, log-uniform, either way.
      int64_t by = int64_t{1'000'000}
                   << (random.chance(1, 6) ? 22 + random.below(19) : random.below(22));
      if (random.chance(1, 2)) by = -by;
      world_.clock(handle).step_wall(Duration::nanos(by));
      text +=
          " by " + to_string(Duration::nanos(by < 0 ? -by : by)) + (by < 0 ? " back" : " forth");
      return true;
    }
    case FaultKind::kClockRate: {
      if (rate_ppb_max_ == 0 || frozen_clocks_.contains(node)) return false;
      int64_t ppb =
          static_cast<int64_t>(random.below(static_cast<uint64_t>(rate_ppb_max_) * 2 + 1)) -
          rate_ppb_max_;
      world_.set_clock_rate(handle, ppb);
      text += " to " + std::to_string(ppb) + " ppb";
      return true;
    }
    case FaultKind::kClockFreeze: {
      Duration length = span(random);
      const bool both = random.chance(3, 4) && unbounded;
      text += (both ? " both for " : " wall for ") + to_string(length);
      if (!both) {
        world_.clock(handle).freeze_wall(world_.now());
        later(world_.now() + length, [this, handle] { world_.clock(handle).thaw_wall(); });
        return true;
      }
      if (!frozen_clocks_.emplace(node, world_.clock(handle).rate_ppb()).second) return false;
      world_.set_clock_rate(handle, kFrozenPpb);
      later(world_.now() + length, [this, node] { thaw(node); });
      return true;
    }
    case FaultKind::kClockLeap: {
      if (!unbounded) return false;
      Duration by = Duration::millis(int64_t{1} << random.below(22));
      world_.leap_clock(handle, by);
      text += " by " + to_string(by);
      return true;
    }
    default: UNREACHABLE("not a fault of clocks");
  }
}

void FaultPlan::thaw(size_t node) {
  auto frozen = frozen_clocks_.find(node);
  if (frozen == frozen_clocks_.end()) return;
  world_.set_clock_rate(target_.handle(node), frozen->second);
  frozen_clocks_.erase(frozen);
}

void FaultPlan::heal_device(size_t node) {
  thaw(node);
  world_.clock(target_.handle(node)).thaw_wall();
  SimDisk& disk = world_.disk(target_.handle(node));
  disk.slow_until(TrueTime(), 1);
  disk.stall_until(TrueTime());
  disk.set_full(false);
  disk.forgive_next_sync();
  disk.misdirect_none();
  disk.profile().read_error = disk.profile().write_error = disk.profile().sync_error = 0;
}

void FaultPlan::begin_liveness(const std::vector<size_t>& core) {
  frozen_ = true;
  for (Timeline& line : timelines_) world_.cancel(std::exchange(line.event, 0));
  for (auto& [id, event] : pending_) world_.cancel(event);
  pending_.clear();
  if (points_) points_->disable();
  std::set<uint32_t> whole;  // machines with nothing between them
  for (size_t node : core) whole.insert(target_.handle(node).index);
  std::set<uint32_t> servers;
  for (size_t node = 0; node < target_.nodes(); ++node) servers.insert(target_.handle(node).index);
  for (uint32_t i = 0; i < world_.nodes(); ++i)
    if (!servers.contains(i)) whole.insert(i);
  for (auto& [id, links] : blocks_) {
    std::erase_if(links, [&](const auto& link) {
      if (!whole.contains(link.first) || !whole.contains(link.second)) return false;
      world_.unblock({link.first}, {link.second});
      return true;
    });
  }
  NetworkProfile& net = world_.network().profile();
  net.random_reset = 0;
  net.frames = {};
  net.tail = std::min<PerMillion>(net.tail, 500);
  for (uint32_t from : whole)
    for (uint32_t to : whole) world_.network().set_slowness(from, to, 1);
  for (size_t node : core) {
    heal_device(node);
    NodeHandle handle = target_.handle(node);
    if (world_.paused(handle)) world_.resume(handle);
    down_.erase(node);
    if (!target_.up(node)) target_.restart(node);
  }
}

std::map<std::string, uint64_t> FaultPlan::counts() const {
  std::map<std::string, uint64_t> counts;
  auto put = [&](FaultKind kind, uint64_t count) {
    if (faults_.has(kind)) counts[std::string(name_of(kind))] = count;
  };
  for (size_t i = 0; i < kTimelineKinds; ++i) put(static_cast<FaultKind>(i), timelines_[i].fired);
  const NetworkCounters& net = world_.network().counters();
  uint64_t shorts = net.short_transfers, writes = 0, reads = 0, misdirected = 0;
  for (size_t node = 0; node < target_.nodes(); ++node) {
    const DiskCounters& disk = world_.disk(target_.handle(node)).counters();
    shorts += disk.short_transfers;
    writes += disk.write_errors;
    reads += disk.read_errors;
    misdirected += disk.misdirected;
  }
  put(FaultKind::kDelay, net.tails);
  put(FaultKind::kFrameLoss, net.frames.dropped);
  put(FaultKind::kFrameDuplication, net.frames.duplicated);
  put(FaultKind::kFrameReordering, net.frames.delayed);
  put(FaultKind::kRandomReset, net.random_resets);
  put(FaultKind::kShortIo, shorts);
  put(FaultKind::kMisdirect, misdirected);
  put(FaultKind::kWriteError, writes);
  put(FaultKind::kReadError, reads);
  put(FaultKind::kSkew, world_.world_options().clock.wall_skew_max.nanos() > 0);
  put(FaultKind::kDrift, world_.world_options().clock.drift_ppb_max > 0);
  put(FaultKind::kBatching, world_.postponed_turns());
  uint64_t fired = 0;
  if (points_)
    for (const auto& [name, count] : points_->fired()) {
      counts["point:" + name] = count;
      fired += count;
    }
  put(FaultKind::kPoints, fired);
  return counts;
}

std::string FaultPlan::describe() const {
  std::string text;
  for (size_t i = 0; i < kFaultKinds; ++i) {
    auto kind = static_cast<FaultKind>(i);
    if (!faults_.has(kind)) continue;
    if (!text.empty()) text += ", ";
    text += name_of(kind);
    if (i < kTimelineKinds) text += " every " + to_string(timelines_[i].every);
  }
  return text.empty() ? "no faults" : text;
}

}  // namespace kahuna::sim
