// Processes with several event loops.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/sim_world/fixture.h"

namespace kahuna::sim {
namespace {

struct Arrival {
  size_t from;
  int number;
};

// Every loop posts `count` tasks to every other; what arrives where.
std::vector<std::vector<Arrival>> exchange(World& world, NodeHandle node, size_t loops, int count) {
  Host& home = world.start(node, loops);
  std::vector<std::vector<Arrival>> arrived(loops);
  auto post_all = [&](Host& host) {
    for (int n = 0; n < count; ++n)
      for (size_t to = 0; to < loops; ++to) {
        size_t from = host.loops->self();
        if (to == from) continue;
        Callback<void()> task([&arrived, to, from, n] { arrived[to].push_back({from, n}); });
        EXPECT_TRUE(host.loops->post(to, std::move(task)));
      }
  };
  for (size_t loop = 0; loop < loops; ++loop) {
    Host& host = loop == 0 ? home : home.loops->host(loop);
    EXPECT_EQ(host.loops->count(), loops);
    EXPECT_EQ(host.loops->self(), loop);
    host.scheduler->post([&post_all, &host] { post_all(host); });
  }
  world.run_until(world.now() + 1_s);
  return arrived;
}

TEST(SimLoops, TasksBetweenTwoLoopsArriveInOrder) {
  World world(3, calm());
  auto arrived = exchange(world, world.add_node("n"), 3, 200);
  bool mixed = false;
  for (size_t to = 0; to < arrived.size(); ++to) {
    ASSERT_EQ(arrived[to].size(), 400u);
    std::vector<int> next(3);
    for (size_t i = 0; i < arrived[to].size(); ++i) {
      EXPECT_EQ(arrived[to][i].number, next[arrived[to][i].from]++);
      mixed = mixed || (i > 1 && arrived[to][i].from != arrived[to][i - 1].from &&
                        arrived[to][i - 1].from == arrived[to][i - 2].from);
    }
  }
  EXPECT_TRUE(mixed);  // ... but not the same everywhere
}

TEST(SimLoops, RunsRepeat) {
  auto hash = [] {
    World world(9);
    (void)exchange(world, world.add_node("n"), 4, 50);
    return world.hash();
  };
  EXPECT_EQ(hash(), hash());
}

TEST(SimLoops, AProcessOfOneLoopHasNoOthers) {
  World world(1, calm());
  EXPECT_EQ(world.start(world.add_node("n")).loops, nullptr);
}

TEST(SimLoops, ShareTheClockTheDiskAndTheEnd) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Host& first = world.start(n, 2);
  Host& second = first.loops->host(1);
  EXPECT_EQ(first.clock->now(), second.clock->now());
  EXPECT_NE(first.random_seed, second.random_seed);
  std::unique_ptr<File> file;
  second.disk->open("shared", {.create = true, .write = true}, [&](auto opened) {
    ASSERT_TRUE(opened.has_value());
    file = std::move(*opened);
  });
  world.run_until(world.now() + 1_s);
  std::vector<std::string> names;
  first.disk->list("", [&](auto found) { names = *found; });
  world.run_until(world.now() + 1_s);
  EXPECT_EQ(names, std::vector<std::string>{"shared"});

  int ran = 0;
  second.clock->call_at(second.clock->now() + 2_s, [&] { ++ran; });
  Callback<void()> task([&] { ++ran; });
  first.loops->post(1, std::move(task));
  second.scheduler->post([&] { ++ran; });
  world.crash(n, CrashKind::kProcess, [&] { file.reset(); });
  world.run_until(world.now() + 5_s);
  EXPECT_EQ(ran, 0);
  // The next process may have another number of loops.
  EXPECT_EQ(world.start(n, 3).loops->count(), 3u);
}

TEST(SimLoops, APausedProcessRunsNothingOnAnyLoop) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Host& first = world.start(n, 2);
  Host& second = first.loops->host(1);
  world.pause(n);
  int ran = 0;
  second.clock->call_at(second.clock->now() + 1_s, [&] { ++ran; });
  world.run_until(world.now() + 5_s);
  EXPECT_EQ(ran, 0);
  world.resume(n);
  world.run_until(world.now() + 1_s);
  EXPECT_EQ(ran, 1);
}

TEST(SimLoops, OneLoopMayStallWhileTheOthersRun) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  Host& first = world.start(n, 2);
  Host& second = first.loops->host(1);
  world.pause_loop(n, 1);
  EXPECT_TRUE(world.paused(n));
  int ran_first = 0, ran_second = 0;
  first.clock->call_at(first.clock->now() + 1_s, [&] {
    ++ran_first;
    Callback<void()> task([&] { ++ran_second; });
    first.loops->post(1, std::move(task));
  });
  world.run_until(world.now() + 5_s);
  EXPECT_EQ(ran_first, 1);
  EXPECT_EQ(ran_second, 0);
  world.resume(n);
  EXPECT_FALSE(world.paused(n));
  world.run_until(world.now() + 1_s);
  EXPECT_EQ(ran_second, 1);
}

}  // namespace
}  // namespace kahuna::sim
