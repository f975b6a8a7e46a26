#include "sim/sim_clock.h"

#include "runtime/probe.h"

namespace kahuna::sim {
namespace {
// 2026-01-01 UTC: the wall clock's truth at the beginning of a run.
constexpr int64_t kWallEpochNs = 1'767'225'600'000'000'000;
// Timers beyond this never fire in a run: 100 years.
constexpr int64_t kHorizonNs = int64_t{100} * 365 * 86'400 * 1'000'000'000;

int64_t draw_signed(RandomStream& random, int64_t magnitude) {
  if (magnitude <= 0) return 0;
  return static_cast<int64_t>(random.below(static_cast<uint64_t>(magnitude) * 2 + 1)) - magnitude;
}
}  // namespace

MachineClock::MachineClock(const ClockProfile& profile, RandomStream random) {
  wall_offset_ns_ = kWallEpochNs + draw_signed(random, profile.wall_skew_max.nanos());
  ppb_ = draw_signed(random, profile.drift_ppb_max);
}

TrueTime MachineClock::true_time_of(Time local) const {
  if (local.nanos() > anchor_local_ && local.nanos() - anchor_local_ > kHorizonNs)
    return TrueTime::max();
  int64_t wanted = local.nanos() - anchor_local_;
  if (wanted <= 0) return TrueTime::from_nanos(anchor_true_);
  if (ppb_ <= kFrozenPpb) return TrueTime::max();
  int64_t elapsed = wanted;
  if (ppb_ != 0)
    elapsed = static_cast<int64_t>(static_cast<__int128>(wanted) * 1'000'000'000 /
                                   (1'000'000'000 + ppb_));
  while (elapsed + scaled(elapsed) < wanted) ++elapsed;
  return TrueTime::from_nanos(anchor_true_ + elapsed);
}

void MachineClock::set_rate(TrueTime now, int64_t ppb) {
  CHECK_GE(ppb, kFrozenPpb);
  Time local = monotonic(now);
  wall_offset_ns_ += scaled(now.nanos() - anchor_true_);
  anchor_local_ = local.nanos();
  anchor_true_ = now.nanos();
  ppb_ = ppb;
}

void MachineClock::leap(TrueTime now, Duration by) {
  set_rate(now, ppb_);
  anchor_local_ += by.nanos();
}

Duration MachineClock::wall_error(TrueTime now) const {
  return Duration::nanos(wall(now).nanos() - kWallEpochNs - now.nanos());
}

void MachineClock::restart(TrueTime now, uint64_t origin_ns) {
  set_rate(now, ppb_);
  anchor_local_ = static_cast<int64_t>(origin_ns);
}

TimerId SimClock::call_at(Time deadline, Callback<void()> task) {
  if (dead_) return 0;
  int64_t at = deadline.nanos();
  // A deadline in the past means the next turn, never this one.
  if (in_turn_ && at <= turn_now_.nanos()) at = turn_now_.nanos() + 1;
  TimerId id = timers_.push(at, std::move(task));
  if (!in_turn_) arm();
  return id;
}

void SimClock::cancel(TimerId id) {
  if (in_turn_ && MUTANT(cancelled_timer_runs) && due())
    return;  // as if those due had left the queue
  timers_.cancel(id);
}

void SimClock::begin_turn(bool at_the_last) {
  in_turn_ = true;
  if (at_the_last) return;
  turn_now_ = machine_.monotonic(kernel_.now);
  turn_wall_ = machine_.wall(kernel_.now);
}

void SimClock::end_turn() {
  in_turn_ = false;
  arm();
}

bool SimClock::take_due(Callback<void()>& task) {
  if (timers_.next_time() > turn_now_.nanos()) return false;
  task = std::move(timers_.pop().payload);
  return true;
}

bool SimClock::due() {
  return timers_.next_time() <= now().nanos();
}

void SimClock::arm() {
  if (dead_) return;
  int64_t next = timers_.next_time();
  // A wakeup that comes too early is harmless, and cheaper than moving it at every re-arming.
  if (next >= armed_for_) return;
  TrueTime at = machine_.true_time_of(Time::from_nanos(next));
  if (at == TrueTime::max()) return;
  if (armed_event_) kernel_.queue.cancel(armed_event_);
  armed_for_ = next;
  armed_event_ = kernel_.schedule(at, {EventKind::kWakeup, node_, incarnation_});
}

void SimClock::rearm() {
  kernel_.queue.cancel(armed_event_);
  woke();
  if (!in_turn_) arm();
}

void SimClock::kill() {
  dead_ = true;
  in_turn_ = false;
  if (armed_event_) kernel_.queue.cancel(armed_event_);
  armed_event_ = 0;
  timers_.clear();
}

}  // namespace kahuna::sim
