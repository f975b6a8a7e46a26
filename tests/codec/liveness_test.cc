#include "net/codec/liveness.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/codec/test_stream.h"

namespace kahuna::codec {
namespace {

using namespace literals;

class TestClock final : public Clock {
 public:
  Time now() const override { return now_; }
  WallTime wall() const override { return WallTime(); }
  TimerId call_at(Time deadline, Callback<void()> task) override {
    timers_[{deadline, ++last_}] = std::move(task);
    return last_;
  }
  void cancel(TimerId id) override {
    std::erase_if(timers_, [id](const auto& timer) { return timer.first.second == id; });
  }
  void advance(Duration by) {
    const Time end = now_ + by;
    while (!timers_.empty() && timers_.begin()->first.first <= end) {
      auto first = timers_.extract(timers_.begin());
      now_ = std::max(now_, first.key().first);
      first.mapped()();
    }
    now_ = end;
  }
  // As for a process that was stopped: time passes, timers run late.
  void jump(Duration by) { now_ = now_ + by; }
  size_t timers() const { return timers_.size(); }

 private:
  Time now_ = Time::from_nanos(1'000'000'000);
  TimerId last_ = 0;
  std::map<std::pair<Time, TimerId>, Callback<void()>> timers_;
};

class LivenessTest : public testing::Test, public FrameConnection::Owner {
 protected:
  LivenessTest() : liveness(clock, [this] { ++deaths; }) {}
  void open(FrameConnection::Options options = {}) {
    connection = std::make_unique<FrameConnection>(scheduler, std::make_unique<TestStream>(wire),
                                                   *this, options);
    liveness.begin(*connection);
  }
  void on_frame(FrameConnection&, FrameKind, ByteView) override {}
  void on_disconnect(FrameConnection&, Error) override {}
  void use(size_t bytes = 8) {
    (void)connection->send(FrameKind::kPeer, as_bytes(std::string(bytes, 'x')));
    liveness.on_use();
    scheduler.end_turn();
  }
  size_t pings() {
    size_t count = 0;
    FrameReader reader;
    EXPECT_TRUE(reader.feed(as_bytes(wire.sent),
                            [&](FrameKind kind, ByteView) { count += kind == FrameKind::kPing; }));
    return count;
  }

  TestClock clock;
  TestScheduler scheduler;
  Wire wire;
  std::unique_ptr<FrameConnection> connection;
  int deaths = 0;
  Liveness liveness;
};

TEST_F(LivenessTest, AsksNothingOfAConnectionThatIsNotUsed) {
  open();
  clock.advance(3'600_s);
  EXPECT_EQ(pings(), 0u);
  EXPECT_EQ(clock.timers(), 0u);
  EXPECT_EQ(deaths, 0);
}

TEST_F(LivenessTest, AsksOncePerQuietSecondOfUse) {
  open();
  for (int i = 0; i < 100; ++i) {
    clock.advance(100_ms);
    const size_t before = pings();
    use();
    if (pings() > before) liveness.on_heard();
    EXPECT_EQ(clock.timers(), 0u);
  }
  EXPECT_EQ(pings(), 10u);
  EXPECT_EQ(deaths, 0);
}

TEST_F(LivenessTest, AnswersOfTheOwnersOwnAreEnough) {
  open();
  for (int i = 0; i < 100; ++i) {
    clock.advance(100_ms);
    use();
    liveness.on_heard();
  }
  EXPECT_EQ(pings(), 0u);
}

TEST_F(LivenessTest, FindsAConnectionDeadThatNeverAnswers) {
  open();
  clock.advance(1_s);
  use();
  EXPECT_EQ(pings(), 1u);
  clock.advance(2'400_ms);
  EXPECT_EQ(deaths, 0);
  clock.advance(600_ms);
  EXPECT_EQ(deaths, 1);
  EXPECT_EQ(clock.timers(), 0u);
}

TEST_F(LivenessTest, FindsABlockedConnectionDead) {
  open();
  wire.room = 0;
  use(1'000);
  clock.advance(1_s);
  use(1'000);
  clock.advance(3_s);
  EXPECT_EQ(deaths, 1);
}

// Not even the ping fits: what waits in front of it says enough.
TEST_F(LivenessTest, FindsAFullConnectionDead) {
  open({.unsent_bytes_max = 1'100});
  wire.room = 0;
  use(1'000);
  clock.advance(1_s);
  use(1'000);
  clock.advance(3_s);
  EXPECT_EQ(pings(), 0u);
  EXPECT_EQ(deaths, 1);
}

TEST_F(LivenessTest, WaitsForTheSlow) {
  open();
  wire.room = 0;
  use(100'000);
  clock.advance(1_s);
  use(100'000);
  for (int i = 0; i < 20; ++i) {
    clock.advance(1_s);
    wire.room = 10'000;
    wire.handler->on_writable();
    EXPECT_EQ(deaths, 0) << i;
  }
  EXPECT_EQ(pings(), 0u) << "it waits behind the rest";
  wire.room = 1'000'000;
  wire.handler->on_writable();
  EXPECT_EQ(pings(), 1u);
  clock.advance(2_s);
  liveness.on_heard();
  clock.advance(60_s);
  EXPECT_EQ(deaths, 0);
}

TEST_F(LivenessTest, AStopOfItsOwnCountsAsOneLook) {
  open();
  clock.advance(1_s);
  use();
  clock.jump(20_s);
  clock.advance(1_ms);
  EXPECT_EQ(deaths, 0);
  liveness.on_heard();
  EXPECT_EQ(clock.timers(), 0u);
}

TEST_F(LivenessTest, ForgetsAConnectionThatEnds) {
  open();
  clock.advance(1_s);
  use();
  liveness.end();
  EXPECT_EQ(clock.timers(), 0u);
  open();
  clock.advance(500_ms);
  use();
  EXPECT_EQ(clock.timers(), 0u) << "has just been greeted";
}

}  // namespace
}  // namespace kahuna::codec
