#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "runtime/fiber.h"
#include "tests/sim_world/fixture.h"

namespace kahuna::sim {
namespace {

TEST(SimClock, RunsTimersInOrderAtTheirDeadline) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Clock& clock = *world.start(n).clock;
  std::string order;
  Time base = clock.now();
  clock.call_at(base + 3_s, [&] {
    order += '3';
    EXPECT_EQ(clock.now(), base + 3_s);
  });
  clock.call_at(base + 1_s, [&] { order += '1'; });
  TimerId two = clock.call_at(base + 2_s, [&] { order += '2'; });
  clock.call_at(base + 1_s, [&, two] {
    order += 'c';
    clock.cancel(two);
  });
  clock.call_at(base - 1_s, [&] { order += '0'; });
  world.run_until(world.now() + 10_s);
  EXPECT_EQ(order, "01c3");
}

TEST(SimClock, ATimerInThePastRunsInTheNextTurn) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Clock& clock = *world.start(n).clock;
  int turn = 0, ran_in = 0;
  world.in_turn(n, [&] {
    turn = 1;
    clock.call_at(clock.now() - 1_s, [&] { ran_in = turn; });
  });
  turn = 2;
  world.run_until(world.now() + 1_s);
  EXPECT_EQ(ran_in, 2);
}

TEST(SimClock, DriftsWithinItsBoundAndTimersFollow) {
  WorldOptions options = calm();
  options.clock.drift_ppb_max = 1'000'000;
  World world(7, options);
  std::set<int64_t> rates;
  for (int i = 0; i < 5; ++i) {
    NodeHandle n = world.add_node("n" + std::to_string(i));
    Clock& clock = *world.start(n).clock;
    Time begun = clock.now();
    TrueTime true_begun = world.now();
    bool fired = false;
    clock.call_at(begun + 1000_s, [&] {
      fired = true;
      EXPECT_GE(clock.now(), begun + 1000_s);
      EXPECT_LT(clock.now(), begun + 1000_s + 1_us);
    });
    world.run_until([&] { return fired; }, world.now() + 2000_s);
    int64_t error = (world.now() - true_begun).nanos() - (1000_s).nanos();
    EXPECT_LE(std::abs(error), 1'001'000'000);
    rates.insert(error);
  }
  EXPECT_EQ(rates.size(), 5u);
}

TEST(SimClock, ChangesRateWithoutGoingBack) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Clock& clock = *world.start(n).clock;
  world.run_until(world.now() + 10_s);
  Time before = clock.now();
  bool fired = false;
  clock.call_at(before + 10_s, [&] { fired = true; });
  world.set_clock_rate(n, 1'000'000'000);  // twice as fast
  EXPECT_EQ(clock.now(), before);
  world.run_until(world.now() + 4999_ms);
  EXPECT_FALSE(fired);
  world.run_until(world.now() + 2_ms);
  EXPECT_TRUE(fired);
}

TEST(SimClock, WallStepsLeaveTheMonotonicClockAlone) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Clock& clock = *world.start(n).clock;
  WallTime wall = clock.wall();
  Time mono = clock.now();
  world.clock(n).step_wall(Duration::seconds(-3600));
  EXPECT_EQ(clock.wall() - wall, Duration::seconds(-3600));
  EXPECT_EQ(clock.now(), mono);
  EXPECT_EQ(world.clock(n).wall_error(world.now()), Duration::seconds(-3600));
}

TEST(SimWorld, MachinesMayBeAddedWhileProcessesRun) {
  World world(1);
  std::vector<int> ticks(40, 0);
  std::vector<std::function<void()>> beats(ticks.size());
  for (size_t i = 0; i < ticks.size(); ++i) {
    Clock& clock = *world.start(world.add_node("n" + std::to_string(i))).clock;
    beats[i] = [&, i] {
      ++ticks[i];
      clock.call_at(clock.now() + 1_s, [&, i] { beats[i](); });
    };
    beats[i]();
  }
  world.run_until(world.now() + 100500_ms);
  for (int count : ticks) EXPECT_EQ(count, 101);
}

TEST(SimWorld, NowIsConstantInATurnAndSampledAfterAPause) {
  World world(1, calm());
  NodeHandle a = world.add_node("a"), b = world.add_node("b");
  world.start(a);
  world.start(b);
  Server server(world, b);
  Dial dial(world, a, "b");
  world.run_until(world.now() + 1_s);
  Clock& clock = *world.host(b).clock;
  struct Reader : StreamHandler {
    Clock& clock;
    std::vector<Time> seen;
    explicit Reader(Clock& c) : clock(c) {}
    void on_data(ByteView) override { seen.push_back(clock.now()); }
    void on_writable() override {}
    void on_closed(Error) override {}
  } reader(clock);
  server.accepted[0]->stream->set_handler(&reader);
  bool timer = false;
  clock.call_at(clock.now() + 5_s, [&] {
    timer = true;
    EXPECT_EQ(clock.now(), reader.seen.back());
  });
  Time paused = clock.now();
  world.pause(b);
  for (int i = 0; i < 3; ++i) {
    world.in_turn(a, [&] { dial.endpoint->stream->write(as_bytes("x")); });
    world.run_until(world.now() + 10_s);
  }
  EXPECT_TRUE(reader.seen.empty());
  EXPECT_FALSE(timer);
  world.resume(b);
  world.run_until(world.now() + 1_s);
  ASSERT_EQ(reader.seen.size(), 3u);
  EXPECT_EQ(reader.seen[0], paused + 30_s);
  EXPECT_EQ(reader.seen[0], reader.seen[2]);
  EXPECT_TRUE(timer);
}

TEST(SimWorld, DefersToTheEndOfTheTurnInOrder) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Scheduler& s = *world.start(n).scheduler;
  std::string order;
  world.in_turn(n, [&] {
    s.defer([&] {
      order += 'd';
      s.defer([&] { order += 'f'; });
    });
    s.defer([&] { order += 'e'; });
    s.post([&] { order += 'p'; });
    order += 'c';
  });
  EXPECT_EQ(order, "cpdef");
}

TEST(SimWorld, DrawsTheOrderOfPostedTasks) {
  std::set<std::string> orders;
  for (uint64_t seed = 1; seed < 60; ++seed) {
    World world(seed, calm());
    NodeHandle n = world.add_node("n");
    std::string order;
    Scheduler& s = *world.start(n).scheduler;
    world.in_turn(n, [&] {
      for (char c : {'a', 'b', 'c'}) s.post([&order, c] { order += c; });
    });
    EXPECT_EQ(order.size(), 3u);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 6u);
}

TEST(SimWorld, PostsOutsideATurnRunSoon) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  bool ran = false;
  world.start(n).scheduler->post([&] { ran = true; });
  EXPECT_FALSE(ran);
  world.run_until(world.now());
  EXPECT_TRUE(ran);
}

TEST(SimWorld, OffloadsWorkAfterADelay) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  std::string order;
  world.start(n).offload->run([&] { order += 'w'; }, [&] { order += 'd'; });
  EXPECT_EQ(order, "");
  world.run_until(world.now() + 1_s);
  EXPECT_EQ(order, "wd");
}

TEST(SimWorld, ACrashDropsEverythingWithoutRunningIt) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Host& host = world.start(n);
  auto token = std::make_shared<int>(1);
  auto never = [token](auto&&...) { ADD_FAILURE(); };
  host.scheduler->post(never);
  host.scheduler->defer(never);
  host.clock->call_at(host.clock->now() + 1_s, never);
  host.offload->run(never, never);
  host.disk->open("f", kCreate, never);
  host.network->connect({"n", 1}, 1_s, never);
  bool destroyed = false;
  world.crash(n, CrashKind::kProcess, [&] {
    destroyed = true;
    host.scheduler->post(never);
    host.clock->call_at(host.clock->now(), never);
  });
  EXPECT_TRUE(destroyed);
  EXPECT_EQ(token.use_count(), 2);  // ours, and `never`'s
  world.start(n);
  world.run_until(world.now() + 10_s);
}

TEST(SimWorld, HaltStopsAProcessInsideItsTurn) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Host& host = world.start(n);
  bool after = false;
  world.in_turn(n, [&] {
    host.scheduler->post([&] { after = true; });
    world.halt(n);
    host.scheduler->post([&] { after = true; });
    world.call_soon([&] { world.crash(n, CrashKind::kProcess); });
  });
  world.run_until(world.now() + 1_s);
  EXPECT_FALSE(after);
  EXPECT_FALSE(world.running(n));
}

TEST(SimWorld, FibersRunOnIt) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Host& host = world.start(n);
  std::string text;
  auto fibers = std::make_unique<Fibers>(*host.clock, *host.scheduler);
  fibers->spawn("io", [&](Suspend s) {
    auto file = open(s, *host.disk, "f", kCreate);
    ASSERT_TRUE(file);
    ASSERT_TRUE(write_whole(s, **file, 0, as_bytes("from a fiber")));
    ASSERT_TRUE(kahuna::sync(s, **file));
    text.resize(12);
    auto got = read_whole(s, **file, 0, {reinterpret_cast<std::byte*>(text.data()), 12});
    ASSERT_TRUE(got);
    s.sleep_until(host.clock->now() + 1_s);
    text += '!';
  });
  world.run_until(world.now() + 10_s);
  EXPECT_EQ(text, "from a fiber!");
}

TEST(SimWorld, StopsAtAnEvent) {
  World world(1, calm());
  for (int i = 0; i < 10; ++i) world.call_at(world.now() + Duration::millis(i), [] {});
  world.stop_at(4);
  world.run_until(world.now() + 1_s);
  EXPECT_EQ(world.events(), 4u);
  EXPECT_TRUE(world.stopped());
}

TEST(SimWorld, RunsTasksAndCancelsThem) {
  World world(1, calm());
  std::string order;
  world.call_at(world.now() + 2_s, [&] { order += 'b'; });
  EventId cancelled = world.call_at(world.now() + 1_s, [&] { order += 'x'; });
  world.call_at(world.now() + 1_s, [&] { order += 'a'; });
  world.cancel(cancelled);
  EXPECT_TRUE(world.run_until([&] { return order == "ab"; }, world.now() + 5_s));
  EXPECT_EQ(world.now().nanos(), (2_s).nanos());
}

}  // namespace
}  // namespace kahuna::sim
