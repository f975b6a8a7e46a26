// A machine's clocks in the simulation, and the Clock a process is given.
//
// The monotonic clock runs at a rate of its own, within the bound of its profile, and never goes
// back; it may stand still, and leap ahead; its origin is drawn anew for every process. The wall
// clock has an offset, may step both ways, and may stand still by itself. Neither is ever frozen
// inside a turn only: see Process for turns.
#pragma once

#include <cstdint>
#include <optional>

#include "runtime/callback.h"
#include "runtime/host.h"
#include "sim/event_queue.h"
#include "sim/world_kernel.h"

namespace kahuna::sim {

struct ClockProfile {
  // Each machine's wall clock starts within +- this of the truth.
  Duration wall_skew_max = Duration::millis(50);
  // Each machine's monotonic clock runs at 1 +- this; 1000 parts per billion = 1 microsecond/s.
  uint32_t drift_ppb_max = 50'000;
  // Monotonic clocks may stand still, and leap (World::set_clock_rate, leap_clock).
  bool unbounded = false;
};

// The rate of a clock that stands still.
inline constexpr int64_t kFrozenPpb = -1'000'000'000;

// Survives crashes of the processes on it.
class MachineClock {
 public:
  MachineClock() = default;
  MachineClock(const ClockProfile& profile, RandomStream random);

  Time monotonic(TrueTime now) const {
    int64_t elapsed = now.nanos() - anchor_true_;
    return Time::from_nanos(anchor_local_ + elapsed + scaled(elapsed));
  }
  // The earliest true time at which monotonic() >= `local`; TrueTime::max() when out of range.
  TrueTime true_time_of(Time local) const;
  WallTime wall(TrueTime now) const {
    if (frozen_wall_ns_) return WallTime::from_nanos(*frozen_wall_ns_);
    return WallTime::from_nanos(now.nanos() + wall_offset_ns_ + scaled(now.nanos() - anchor_true_));
  }

  // From now on the monotonic clock (and the wall clock with it) runs at 1 + ppb / 10^9; at least
  // kFrozenPpb.
  void set_rate(TrueTime now, int64_t ppb);
  // The monotonic clock alone is ahead from now on.
  void leap(TrueTime now, Duration by);
  // The wall clock alone stands still, until it is again what it would have been.
  void freeze_wall(TrueTime now) { frozen_wall_ns_ = wall(now).nanos(); }
  void thaw_wall() { frozen_wall_ns_.reset(); }
  int64_t rate_ppb() const { return ppb_; }
  void step_wall(Duration by) { wall_offset_ns_ += by.nanos(); }
  // How far the wall clock is from the truth.
  Duration wall_error(TrueTime now) const;
  // A new process sees a new monotonic origin.
  void restart(TrueTime now, uint64_t origin_ns);

 private:
  int64_t scaled(int64_t elapsed) const {
    if (ppb_ == 0) return 0;
    return static_cast<int64_t>(static_cast<__int128>(elapsed) * ppb_ / 1'000'000'000);
  }
  int64_t anchor_true_ = 0, anchor_local_ = 0;
  int64_t ppb_ = 0;
  int64_t wall_offset_ns_ = 0;
  std::optional<int64_t> frozen_wall_ns_;
};

// The Clock of one process: timers, and now() as of the turn.
class SimClock final : public Clock {
 public:
  SimClock(Kernel& kernel, MachineClock& machine, uint32_t node, uint64_t incarnation)
      : kernel_(kernel), machine_(machine), node_(node), incarnation_(incarnation) {}

  Time now() const override { return in_turn_ ? turn_now_ : machine_.monotonic(kernel_.now); }
  WallTime wall() const override { return in_turn_ ? turn_wall_ : machine_.wall(kernel_.now); }
  TimerId call_at(Time deadline, Callback<void()> task) override;
  void cancel(TimerId id) override;

  // `at_the_last`: at the time of the turn before; only mutants want that.
  void begin_turn(bool at_the_last = false);
  void end_turn();
  // Takes the next timer that is due in this turn; false when there is none.
  bool take_due(Callback<void()>& task);
  bool due();
  // Makes sure the world wakes this process at its earliest timer.
  void arm();
  // The same after the clock's rate has changed.
  void rearm();
  // The wakeup event fired.
  void woke() { armed_event_ = 0, armed_for_ = INT64_MAX; }
  void kill();

 private:
  Kernel& kernel_;
  MachineClock& machine_;
  const uint32_t node_;
  const uint64_t incarnation_;
  EventQueue<Callback<void()>> timers_;
  bool in_turn_ = false, dead_ = false;
  Time turn_now_;
  WallTime turn_wall_;
  EventId armed_event_ = 0;
  int64_t armed_for_ = INT64_MAX;  // local time the armed event stands for
};

}  // namespace kahuna::sim
