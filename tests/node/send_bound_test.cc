#include "kahuna/node/send_bound.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace kahuna::node {
namespace {

constexpr Duration kPatience = Duration::seconds(1);

// A connection that carries so many bytes a millisecond.
struct Line {
  size_t pace;
  SendBound bound{kPatience};
  Time now = Time() + Duration::seconds(100);
  uint64_t sent = 0;
  size_t unsent = 0;

  bool ask(size_t bytes) {
    if (!bound.admits(now, sent, unsent)) return false;
    unsent += bytes;
    return true;
  }
  void pass(int64_t millis) {
    for (; millis > 0; --millis) {
      now = now + Duration::millis(1);
      const size_t left = std::min(pace, unsent);
      sent += left;
      unsent -= left;
    }
  }
};

TEST(SendBound, TakesAnyBurst) {
  Line line{1000 * 1000};
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(line.ask(1000 * 1000));
  line.pass(10);
  EXPECT_TRUE(line.ask(1000 * 1000));
}

TEST(SendBound, ALittleAheadOfABurstSaysNothingOfThePace) {
  Line line{1000 * 1000};
  EXPECT_TRUE(line.ask(200));
  EXPECT_TRUE(line.ask(4000 * 1000));
  line.pass(2);
  EXPECT_TRUE(line.ask(200));
}

TEST(SendBound, NothingWaitsMuchLongerThanItsPatience) {
  Line line{200};
  size_t most = 0, refused = 0;
  for (int ms = 0; ms < 60'000; ++ms) {
    refused += !line.ask(2000);
    line.pass(1);
    most = std::max(most, line.unsent);
  }
  EXPECT_GT(refused, 40'000u);
  EXPECT_LE(most, 1000 * line.pace + 4000);
  EXPECT_EQ(line.sent, 60'000 * line.pace) << "and the line never rests";
}

TEST(SendBound, RefusesBehindWhatDoesNotMove) {
  Line line{0};
  EXPECT_TRUE(line.ask(100'000));
  line.pass(900);
  EXPECT_TRUE(line.ask(100'000));
  line.pass(1100);
  EXPECT_FALSE(line.ask(1));
  line.pace = 100'000;
  line.pass(10);
  EXPECT_TRUE(line.ask(1)) << "all of it went";
}

TEST(SendBound, APauseIsForgottenWhenNothingWaits) {
  Line line{0};
  EXPECT_TRUE(line.ask(100));
  EXPECT_TRUE(line.ask(100));
  line.pass(60'000);
  EXPECT_TRUE(line.ask(SendBound::kLeast - 200)) << "little may always wait";
  EXPECT_TRUE(line.ask(1));
  EXPECT_FALSE(line.ask(1));
  line.pace = 1000;
  line.pass(1000);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(line.ask(10'000));
}

TEST(SendBound, FollowsALineThatGetsFaster) {
  Line line{200};
  for (int ms = 0; ms < 10'000; ++ms) line.ask(2000), line.pass(1);
  line.pace = 2000;
  for (int ms = 0; ms < 10'000; ++ms) line.ask(4000), line.pass(1);
  EXPECT_GT(line.unsent, 1'000'000u);
}

}  // namespace
}  // namespace kahuna::node
