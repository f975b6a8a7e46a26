// The planted bugs of runtime/ that the simulator cannot be counted on to meet. Only in builds with
// KAHUNA_MUTANTS. Each test is one of fiber_test.cc or timer_queue_test.cc, which must then end
// otherwise.
#ifdef KAHUNA_MUTANTS

#include <gtest/gtest.h>

#include "runtime/fiber.h"
#include "runtime/probe.h"
#include "runtime/timer_queue.h"
#include "tests/runtime/manual_loop.h"

namespace kahuna {
namespace {

struct Planted {
  explicit Planted(const char* name) { set_active_mutant(name); }
  ~Planted() { set_active_mutant(""); }
};

size_t left_after_a_wake_before_parking() {
  ManualLoop loop;
  Fibers fibers(loop, loop);
  fibers.spawn("sleeper", [](Suspend s) {
    s.waker()();
    s.park();
  });
  loop.settle();
  return fibers.live();
}

TEST(RuntimeMutant, ALostWakeupLeavesAFiberAsleep) {
  EXPECT_EQ(left_after_a_wake_before_parking(), 0u);
  Planted bug("lost_wakeup");
  EXPECT_EQ(left_after_a_wake_before_parking(), 1u);
}

bool runs_although_cancelled() {
  TimerQueue queue;
  TimerId victim = 0;
  bool ran = false;
  queue.add(Time::from_nanos(10), [&] { queue.cancel(victim); });
  victim = queue.add(Time::from_nanos(10), [&] { ran = true; });
  queue.run_due(Time::from_nanos(10));
  return ran;
}

TEST(RuntimeMutant, ATimerCancelledWhileItIsDueRuns) {
  EXPECT_FALSE(runs_although_cancelled());
  Planted bug("cancelled_timer_runs");
  EXPECT_TRUE(runs_although_cancelled());
}

}  // namespace
}  // namespace kahuna

#endif  // KAHUNA_MUTANTS
