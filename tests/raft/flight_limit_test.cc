// How much is on the way, against a link of which only what it does is known.
#include "kahuna/raft/flight_limit.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/raft/solo.h"

namespace kahuna::raft::testing {
namespace {

constexpr size_t kMost = 4 << 20;
constexpr Duration kPatience = Duration::millis(250);

// As much as the limit allows is always on the way: how long what is sent behind it waits.
struct FullLink {
  int64_t bytes_per_second;
  Duration round_trip;
  Duration wait(size_t bytes) const {
    return round_trip + Duration::nanos(int64_t(bytes) * 1'000'000'000 / bytes_per_second);
  }
};

RC_GTEST_PROP(RaftFlightLimit, FindsWhatALinkCarries, ()) {
  const FullLink link{*rc::gen::inRange<int64_t>(50'000, 100'000'000), Duration::micros(*rc::gen::inRange(10, 200'000))};
  FlightLimit limit(kMost, kPatience);
  // What the first flight takes passes for the network's own.
  const Duration first = link.wait(limit.bytes()) - link.round_trip;
  Time now;
  for (int i = 0; i < 20; ++i) {
    limit.asked(now, true);
    const Duration wait = link.wait(limit.bytes()) - link.round_trip;
    now = now + wait + link.round_trip;
    limit.answered(now);
    RC_ASSERT(wait <= kPatience + first * 2);
  }
  // All that it may be, or what keeps a heartbeat waiting for at least a quarter of the patience.
  RC_ASSERT(limit.bytes() == kMost || link.wait(limit.bytes()) - link.round_trip >= kPatience / 4);
}

TEST(RaftFlightLimit, SaysNothingOfALinkThatWasNotFull) {
  FlightLimit limit(kMost, kPatience);
  Time now;
  for (int i = 0; i < 20; ++i) {
    limit.asked(now, false);
    limit.answered(now + Duration::millis(1));
  }
  EXPECT_EQ(limit.bytes(), FlightLimit::kFirst);
}

TEST(RaftFlightLimit, FallsWhileNoAnswerComesAndRisesAgain) {
  FlightLimit limit(kMost, kPatience);
  Time now;
  limit.asked(now, true);
  for (int i = 0; i < 10; ++i) limit.waits(now = now + Duration::millis(200));
  EXPECT_EQ(limit.bytes(), FlightLimit::kLeast);
  limit.answered(now);
  for (int i = 0; i < 20; ++i) {
    limit.asked(now, true);
    limit.answered(now = now + Duration::millis(1));
  }
  EXPECT_EQ(limit.bytes(), kMost);
  FlightLimit small(100, kPatience);
  small.asked(now, true);
  small.answered(now + Duration::seconds(1));
  small.asked(now, true);
  small.answered(now + Duration::seconds(2));
  EXPECT_EQ(small.bytes(), 100u) << "never below what it may be at most";
}

TEST(RaftLeader, RefusesProposalsWhileOneWaitsTooLong) {
  const Options options;
  Solo solo;
  solo.lead();
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, Payload("a")));
  solo.wait(options.election_timeout_max);
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, Payload("b")));
  solo.wait(Duration::millis(1));
  const auto refused = solo->propose(solo.now(), EntryKind::kCommand, Payload("c"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOverloaded);
  solo.drain();
  solo.acknowledge(2, solo->status().last);
  solo.drain();
  EXPECT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, Payload("c")));
}

}  // namespace
}  // namespace kahuna::raft::testing
