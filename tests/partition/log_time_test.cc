#include "kahuna/partition/log_time.h"

#include <gtest/gtest.h>

namespace kahuna::partition {
namespace {

Time at(int64_t micros) {
  return Time() + Duration::micros(micros);
}

TEST(LogClock, GoesOnFromTheLastStampByItsOwnClock) {
  LogClock clock;
  clock.start(Term(3), LogTime(5000), at(77'000'000));
  EXPECT_TRUE(clock.runs_in(Term(3)));
  EXPECT_FALSE(clock.runs_in(Term(4)));
  EXPECT_EQ(clock.at(at(77'000'000)), LogTime(5000));
  EXPECT_EQ(clock.at(at(77'000'999)), LogTime(5000));
  EXPECT_EQ(clock.at(at(77'001'000)), LogTime(5001));
  EXPECT_EQ(clock.at(at(80'000'000)), LogTime(8000));
}

TEST(LogClock, CountsNoTimeBetweenTwoTerms) {
  LogClock clock;
  clock.start(Term(3), LogTime(0), at(0));
  const LogTime last = clock.at(at(10'000'000));
  clock.start(Term(5), last, at(3'600'000'000));
  EXPECT_EQ(clock.at(at(3'600'500'000)), LogTime(10'500));
}

// L2: whoever waits until log time is greater than the deadline waits no less than the length.
TEST(LogClock, NeverCutsADeadlineShort) {
  LogClock clock;
  clock.start(Term(1), LogTime(0), at(0));
  for (int64_t micros = 0; micros < 3000; micros += 100) {
    const LogTime deadline(clock.at(at(micros)).value() + 5);
    int64_t passed = micros;
    while (clock.at(at(passed)) <= deadline) passed += 50;
    EXPECT_GE(passed - micros, 5000);
  }
}

TEST(LogClockDeathTest, DoesNotRunBackwards) {
  LogClock clock;
  clock.start(Term(3), LogTime(0), at(1000));
  EXPECT_DEATH(clock.at(at(999)), "");
  EXPECT_DEATH(clock.start(Term(3), LogTime(0), at(2000)), "");
}

}  // namespace
}  // namespace kahuna::partition
