#include "sim/libc_guard.h"

#include <gtest/gtest.h>
#include <sys/random.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <random>
#include <thread>

#include "tests/sim_world/fixture.h"

namespace kahuna::sim {
namespace {

class LibcGuardDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!LibcGuard::compiled_in()) GTEST_SKIP() << "sanitizers intercept these calls";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
  // Runs `f` inside an event of a world.
  template <class F>
  static void simulated(F f) {
    World world(1, calm());
    world.call_soon(f);
    world.run_until(world.now());
  }
};

TEST_F(LibcGuardDeathTest, AbortsOnTheMachinesClocks) {
  EXPECT_DEATH(simulated([] { std::chrono::steady_clock::now(); }),
               "forbidden under simulation: clock_gettime");
  EXPECT_DEATH(simulated([] { (void)time(nullptr); }), "forbidden under simulation: time");
}
TEST_F(LibcGuardDeathTest, AbortsOnSleep) {
  EXPECT_DEATH(simulated([] { usleep(1); }), "forbidden under simulation");
  EXPECT_DEATH(simulated([] { std::this_thread::sleep_for(std::chrono::nanoseconds(1)); }),
               "forbidden under simulation");
}
TEST_F(LibcGuardDeathTest, AbortsOnEntropyAndThreads) {
  EXPECT_DEATH(simulated([] {
                 char byte;
                 (void)!getrandom(&byte, 1, 0);
               }),
               "forbidden under simulation: getrandom");
  EXPECT_DEATH(simulated([] { std::thread([] {}).join(); }),
               "forbidden under simulation: pthread_create");
}
TEST_F(LibcGuardDeathTest, LetsThroughWhatIsAllowedOrOutside) {
  simulated([] {
    LibcGuard::Allow allow;
    (void)time(nullptr);
  });
  (void)time(nullptr);
  std::thread([] {}).join();
  EXPECT_FALSE(LibcGuard::active());
}

}  // namespace
}  // namespace kahuna::sim
