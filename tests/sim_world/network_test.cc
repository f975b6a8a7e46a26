#include <gtest/gtest.h>

#include "tests/sim_world/fixture.h"

namespace kahuna::sim {
namespace {

struct Pair {
  explicit Pair(WorldOptions options = calm(), uint64_t seed = 1) : world(seed, options) {
    a = world.add_node("a");
    b = world.add_node("b");
    world.start(a);
    world.start(b);
    server = std::make_unique<Server>(world, b);
  }
  void connect() {
    dial = std::make_unique<Dial>(world, a, "b");
    ASSERT_TRUE(world.run_until([&] { return dial->endpoint && !server->accepted.empty(); },
                                world.now() + 5_s));
  }
  Endpoint& near() { return *dial->endpoint; }
  Endpoint& far() { return *server->accepted[0]; }
  void run(Duration d) { world.run_until(world.now() + d); }

  World world;
  NodeHandle a, b;
  std::unique_ptr<Server> server;
  std::unique_ptr<Dial> dial;
};

TEST(SimNetwork, CarriesBytesBothWaysInOrder) {
  Pair p;
  p.connect();
  p.near().stream->write(as_bytes("hello "));
  p.world.in_turn(p.a, [&] { p.near().stream->write(as_bytes("world")); });
  p.world.in_turn(p.b, [&] { p.far().stream->write(as_bytes("back")); });
  p.run(1_s);
  EXPECT_EQ(p.far().received, "hello world");
  EXPECT_EQ(p.near().received, "back");
  EXPECT_EQ(p.far().stream->peer().host, "a");
  EXPECT_EQ(to_string(p.near().stream->peer()), "b:2073");
}

TEST(SimNetwork, RefusesWhereNobodyListens) {
  Pair p;
  p.server->listener.reset();
  Dial dial(p.world, p.a, "b");
  Dial nowhere(p.world, p.a, "no-such-host");
  p.run(1_s);
  ASSERT_TRUE(dial.error && nowhere.error);
  EXPECT_EQ(dial.error->code, ErrorCode::kUnavailable);
  EXPECT_EQ(nowhere.error->code, ErrorCode::kUnavailable);
}

TEST(SimNetwork, TellsThatAnAddressIsTaken) {
  Pair p;
  auto second = p.world.host(p.b).network->listen({"0.0.0.0", 2073}, [](auto) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kInUse);
}

TEST(SimNetwork, PicksAPort) {
  Pair p;
  auto listener = p.world.host(p.b).network->listen({"0.0.0.0", 0}, [](auto) {});
  ASSERT_TRUE(listener);
  EXPECT_NE((*listener)->address().port, 0);
}

TEST(SimNetwork, DeliversWhatWasWrittenBeforeClosing) {
  Pair p;
  p.connect();
  p.world.in_turn(p.a, [&] {
    p.near().stream->write(as_bytes("last words"));
    p.near().stream.reset();
  });
  p.run(1_s);
  EXPECT_EQ(p.far().received, "last words");
  ASSERT_TRUE(p.far().closed);
  EXPECT_EQ(p.far().closed->code, ErrorCode::kClosed);
  p.world.in_turn(p.b, [&] { EXPECT_EQ(p.far().stream->write(as_bytes("x")), 1u); });
  p.far().stream.reset();
  p.run(1_s);
  EXPECT_EQ(p.world.network().open_connections(), 0u);
}

TEST(SimNetwork, ABlackHoleTellsNobody) {
  int dead_ways[3] = {};  // out, in, both
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Pair p(calm(), seed);
    p.connect();
    uint32_t other = 0;
    ASSERT_TRUE(p.world.network().swallow_one(p.a.index, other));
    EXPECT_EQ(other, p.b.index);
    p.world.in_turn(p.a, [&] { p.near().stream->write(as_bytes("there")); });
    p.world.in_turn(p.b, [&] { p.far().stream->write(as_bytes("back")); });
    p.run(3'600_s);
    const bool out = p.far().received.empty(), in = p.near().received.empty();
    ASSERT_TRUE(out || in);
    ++dead_ways[out && in ? 2 : in];
    EXPECT_FALSE(p.near().closed || p.far().closed);
    // Its window fills, and nothing else happens.
    std::string text(1 << 20, 'x');
    size_t taken = 1;
    while (out && taken > 0) {
      p.world.in_turn(p.a, [&] { taken = p.near().stream->write(as_bytes(text)); });
      p.run(1_s);
    }
    // A new connection between the same two works.
    Dial dial(p.world, p.a, "b");
    p.run(1_s);
    ASSERT_TRUE(dial.endpoint);
    p.world.in_turn(p.a, [&] { dial.endpoint->stream->write(as_bytes("anew")); });
    p.run(1_s);
    EXPECT_EQ(p.server->accepted.back()->received, "anew");
    p.world.in_turn(p.a, [&] { p.near().stream.reset(); });
    p.run(3'600_s);
    EXPECT_EQ(p.far().closed.has_value(), !out);
  }
  for (int seen : dead_ways) EXPECT_GT(seen, 3);
}

TEST(SimNetwork, LimitsUnreadBytesAndOffersMore) {
  WorldOptions options = calm();
  options.network.window_bytes = 1000;
  Pair p(options);
  p.connect();
  p.far().stream->pause_reading();
  std::string text(1500, 'x');
  size_t taken = 0;
  p.world.in_turn(p.a, [&] { taken = p.near().stream->write(as_bytes(text)); });
  EXPECT_EQ(taken, 1000u);
  p.run(1_s);
  EXPECT_EQ(p.near().writable, 0);
  EXPECT_EQ(p.far().received.size(), 0u);
  p.far().stream->resume_reading();
  p.run(1_s);
  EXPECT_EQ(p.near().writable, 1);
  EXPECT_EQ(p.far().received.size(), 1000u);
}

TEST(SimNetwork, SplitsReadsAndShortensWrites) {
  WorldOptions options = calm();
  options.network.split_read = 1'000'000;
  options.network.short_write = 500'000;
  Pair p(options);
  p.connect();
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>('a' + i % 26);
  size_t at = 0;
  while (at < text.size()) {
    p.world.in_turn(p.a, [&] { at += p.near().stream->write(as_bytes(text).subspan(at)); });
    p.run(10_ms);
  }
  p.run(1_s);
  EXPECT_EQ(p.far().received, text);
  EXPECT_GT(p.far().pieces, 5);
}

TEST(SimNetwork, HoldsBytesWhileALinkIsBlocked) {
  Pair p;
  p.connect();
  p.world.block(p.a, p.b);
  p.world.in_turn(p.a, [&] { p.near().stream->write(as_bytes("one ")); });
  p.world.in_turn(p.b, [&] { p.far().stream->write(as_bytes("other way")); });
  p.run(2_s);
  EXPECT_EQ(p.far().received, "");
  EXPECT_EQ(p.near().received, "other way");
  p.world.unblock(p.a, p.b);
  p.world.in_turn(p.a, [&] { p.near().stream->write(as_bytes("two")); });
  p.run(1_s);
  EXPECT_EQ(p.far().received, "one two");
  p.run(60_s);
  EXPECT_FALSE(p.near().closed);
}

TEST(SimNetwork, GivesUpOnOneSideOnly) {
  Pair p;
  p.connect();
  p.world.block(p.a, p.b);
  p.world.block(p.b, p.a);
  p.world.in_turn(p.a, [&] { p.near().stream->write(as_bytes("never")); });
  p.run(60_s);
  ASSERT_TRUE(p.near().closed);
  EXPECT_EQ(p.near().closed->code, ErrorCode::kIo);
  EXPECT_FALSE(p.far().closed);
  p.world.unblock(p.a, p.b);
  p.world.unblock(p.b, p.a);
  p.run(1_s);
  EXPECT_EQ(p.far().received, "");
  // It learns when it speaks.
  p.world.in_turn(p.b, [&] { p.far().stream->write(as_bytes("hello?")); });
  p.run(1_s);
  EXPECT_TRUE(p.far().closed);
}

TEST(SimNetwork, TimesOutConnectingAcrossAPartition) {
  Pair p;
  p.world.block(p.a, p.b);
  Dial dial(p.world, p.a, "b");
  TrueTime begun = p.world.now();
  p.world.run_until([&] { return dial.error.has_value(); }, begun + 5_s);
  ASSERT_TRUE(dial.error);
  EXPECT_EQ(dial.error->code, ErrorCode::kTimeout);
  EXPECT_EQ((p.world.now() - begun).nanos(), (1_s).nanos());
  p.world.unblock(p.a, p.b);
  p.run(5_s);
  EXPECT_TRUE(p.server->accepted.empty());
  EXPECT_EQ(p.world.network().open_connections(), 0u);
}

TEST(SimNetwork, LeavesAHalfOpenStreamWhenTheAnswerIsLost) {
  Pair p;
  p.world.block(p.b, p.a);
  Dial dial(p.world, p.a, "b");
  p.run(5_s);
  ASSERT_TRUE(dial.error);
  EXPECT_EQ(p.server->accepted.size(), 1u);
  EXPECT_FALSE(p.far().closed);
  p.world.unblock(p.b, p.a);
  p.run(5_s);
  EXPECT_TRUE(p.far().closed);
}

TEST(SimNetwork, TellsPeersOfADeadProcess) {
  Pair p;
  p.connect();
  p.world.crash(p.b, CrashKind::kProcess, [&] { p.server.reset(); });
  p.run(1_s);
  ASSERT_TRUE(p.near().closed);
  EXPECT_EQ(p.near().closed->code, ErrorCode::kIo);
}

TEST(SimNetwork, LeavesPeersOfADeadMachineInTheDarkUntilItIsBack) {
  Pair p;
  p.connect();
  p.world.crash(p.b, CrashKind::kPower, [&] { p.server.reset(); });
  p.run(60_s);
  EXPECT_FALSE(p.near().closed);
  p.world.start(p.b);
  p.run(1_s);
  EXPECT_FALSE(p.near().closed);
  p.world.in_turn(p.a, [&] { p.near().stream->write(as_bytes("still there?")); });
  p.run(1_s);
  EXPECT_TRUE(p.near().closed);
}

TEST(SimNetwork, WritesOfATurnThatDiesAreNotSent) {
  Pair p;
  p.connect();
  p.world.in_turn(p.a, [&] {
    p.near().stream->write(as_bytes("unsent"));
    p.world.halt(p.a);
  });
  p.world.crash(p.a, CrashKind::kProcess, [&] { p.dial.reset(); });
  p.run(1_s);
  EXPECT_EQ(p.far().received, "");
  EXPECT_TRUE(p.far().closed);
}

TEST(SimNetwork, BytesSentBeforeACrashStillArrive) {
  Pair p;
  p.connect();
  p.world.in_turn(p.a, [&] { p.near().stream->write(as_bytes("sent")); });
  p.world.crash(p.a, CrashKind::kPower, [&] { p.dial.reset(); });
  p.world.start(p.a);
  p.run(1_s);
  EXPECT_EQ(p.far().received, "sent");
}

TEST(SimNetwork, ResetsBothSidesOrOne) {
  Pair p;
  p.connect();
  EXPECT_TRUE(p.world.network().reset_one(p.a.index, false));
  p.run(1_s);
  EXPECT_TRUE(p.near().closed && p.far().closed);
  EXPECT_FALSE(p.world.network().reset_one(p.a.index, false));
  Pair q;
  q.connect();
  EXPECT_TRUE(q.world.network().reset_one(q.a.index, true));
  q.run(1_s);
  EXPECT_NE(q.near().closed.has_value(), q.far().closed.has_value());
}

TEST(SimNetwork, StreamMayBeDestroyedInItsHandler) {
  struct Suicidal : StreamHandler {
    std::unique_ptr<Stream> stream;
    void on_data(ByteView) override { stream.reset(); }
    void on_writable() override {}
    void on_closed(Error) override { ADD_FAILURE(); }
  };
  WorldOptions options = calm();
  options.network.split_read = 1'000'000;
  Pair p(options);
  p.connect();
  Suicidal handler;
  handler.stream = std::move(p.far().stream);
  handler.stream->set_handler(&handler);
  p.world.in_turn(p.a, [&] { p.near().stream->write(as_bytes("several pieces")); });
  p.run(1_s);
  EXPECT_EQ(handler.stream, nullptr);
  EXPECT_TRUE(p.near().closed);
}

}  // namespace
}  // namespace kahuna::sim
