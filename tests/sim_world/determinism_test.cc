#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/sim_world/toy.h"

namespace kahuna::sim {
namespace {

TEST(SimDeterminism, TheSameSeedGivesTheSameHash) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    ToyRun a = run_toy(seed, "on", 5_s), b = run_toy(seed, "on", 5_s);
    ASSERT_EQ(to_string(a.hash), to_string(b.hash)) << "seed " << seed;
    EXPECT_EQ(a.events, b.events);
    EXPECT_EQ(a.counts, b.counts);
    EXPECT_EQ(a.checkpoints, b.checkpoints);
  }
}

TEST(SimDeterminism, AnotherSeedGivesAnotherHash) {
  EXPECT_NE(run_toy(1, "on", 2_s).hash, run_toy(2, "on", 2_s).hash);
  EXPECT_NE(run_toy(1, "off", 2_s).hash, run_toy(2, "off", 2_s).hash);
}

// The child prints the hash of a run; address space layout and environment differ from ours.
TEST(SimDeterminism, AFreshProcessGivesTheSameHash) {
  if (const char* seed = std::getenv("SIM_WORLD_CHILD_SEED")) {
    std::printf("hash=%s\n",
                to_string(run_toy(std::strtoull(seed, nullptr, 10), "on", 5_s).hash).c_str());
    return;
  }
  char self[4096];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  ASSERT_GT(length, 0);
  self[length] = '\0';
  for (uint64_t seed = 30; seed < 33; ++seed) {
    std::string command = "SIM_WORLD_CHILD_SEED=" + std::to_string(seed) +
                          " MALLOC_PERTURB_=" + std::to_string(seed) + " '" + self +
                          "' --gtest_filter=SimDeterminism.AFreshProcessGivesTheSameHash";
    FILE* child = popen(command.c_str(), "r");
    ASSERT_NE(child, nullptr);
    std::string output;
    char buffer[512];
    while (size_t n = fread(buffer, 1, sizeof buffer, child)) output.append(buffer, n);
    EXPECT_EQ(pclose(child), 0);
    EXPECT_NE(output.find("hash=" + to_string(run_toy(seed, "on", 5_s).hash)), std::string::npos)
        << output;
  }
}

TEST(SimDeterminism, CheckpointsAndRecordsLocateADifference) {
  auto run = [](bool differs, uint64_t from, uint64_t to) {
    auto world = std::make_unique<World>(1, calm());
    world->trace().record(from, to);
    for (int i = 0; i < 5000; ++i)
      world->call_at(TrueTime::from_nanos(i * 10 + (differs && i == 3000)), [] {});
    world->run_until(world->now() + 1_s);
    return world;
  };
  auto a = run(false, 0, 0), b = run(true, 0, 0);
  EXPECT_NE(a->hash(), b->hash());
  TraceWindow window = first_difference(a->trace().checkpoints(), b->trace().checkpoints());
  EXPECT_EQ(window.from, 2049u);
  EXPECT_EQ(window.to, 3073u);
  a = run(false, window.from, window.to);
  b = run(true, window.from, window.to);
  const auto &x = a->trace().records(), &y = b->trace().records();
  ASSERT_EQ(x.size(), 1024u);
  size_t i = 0;
  while (x[i] == y[i]) ++i;
  EXPECT_EQ(x[i].number, 3001u);
  EXPECT_NE(to_string(x[i]), to_string(y[i]));
  auto c = run(false, 0, 0);
  window = first_difference(a->trace().checkpoints(), c->trace().checkpoints());
  EXPECT_EQ(window.from, window.to);
}

}  // namespace
}  // namespace kahuna::sim
