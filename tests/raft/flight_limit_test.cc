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
  const FullLink link{*rc::gen::inRange<int64_t>(50'000, 100'000'000),
                      Duration::micros(*rc::gen::inRange(10, 200'000))};
  FlightLimit limit(kMost, kPatience);
  // What the first flight takes passes for the network's own.
  const Duration first = link.wait(FlightLimit::kFirst) - link.round_trip;
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

TEST(RaftFlightLimit, FollowsALinkThatGetsSlow) {
  FlightLimit limit(kMost, kPatience);
  Time now;
  auto fill = [&](FullLink link) {
    limit.asked(now, true);
    limit.answered(now = now + link.wait(limit.bytes()));
  };
  const FullLink fast{100'000'000, Duration::millis(1)}, slow{1'000'000, Duration::millis(1)};
  for (int i = 0; i < 20; ++i) fill(fast);
  ASSERT_EQ(limit.bytes(), kMost);
  for (int i = 0; i < 8; ++i) fill(slow);
  EXPECT_LE(slow.wait(limit.bytes()), kPatience + Duration::millis(1));
  // What is far away is not slow.
  const FullLink far{100'000'000, Duration::millis(600)};
  for (int i = 0; i < 30; ++i) fill(far);
  EXPECT_EQ(limit.bytes(), kMost);
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

// However often it is asked, once in a patience it halves.
TEST(RaftFlightLimit, HalvesOnceInAPatience) {
  FlightLimit limit(kMost, kPatience);
  Time now;
  limit.asked(now, true);
  now = now + kPatience;
  for (int i = 0; i < 50; ++i) limit.waits(now = now + Duration::millis(2));
  EXPECT_EQ(limit.bytes(), FlightLimit::kFirst / 2);
}

// A busy leader: something is acknowledged before each heartbeat.
TEST(RaftLeader, SendsMoreAtOnceWhenAnswersComeSoon) {
  Options options;
  options.reads = Reads::kLease;
  Solo solo(Solo::fresh(), options);
  solo.lead();
  const Payload payload(std::string(10'000, 'x'));
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, payload));
  solo.drain();
  size_t most = 0;
  for (int beat = 0; beat < 20; ++beat) {
    const auto appends = solo.sent(MessageKind::kAppend, 2);
    if (appends.empty()) break;
    size_t bytes = 0;
    for (const Message& append : appends)
      for (const Entry& entry : append.entries) bytes += entry.payload.size();
    most = std::max(most, bytes);
    const LogPosition has{appends.back().entries.back().index, Term(2)};
    solo.clear();
    solo.acknowledge(2, has);
    solo.fire();
    solo.drain();
    solo.answer_heartbeat(2, solo.sent(MessageKind::kHeartbeat, 2).back().round, has.index.value(),
                          has);
    solo.drain();
  }
  EXPECT_GT(most, size_t{2} << 20);
}

}  // namespace
}  // namespace kahuna::raft::testing
