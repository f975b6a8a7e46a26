// Servers with several event loops, and with another number of them at each start: nothing is lost.
#include <gtest/gtest.h>

#include <csignal>

#include "tests/cluster/cluster.h"
#include "tests/cluster/judge.h"
#include "tests/cluster/recorded_load.h"

namespace kahuna::testing {
namespace {

using namespace literals;

struct Kind {
  std::string io, engine;
};

class Loops : public ::testing::TestWithParam<Kind> {
 protected:
  std::vector<std::string> flags(int loops) const {
    return {"--loops",  std::to_string(loops), "--io",         GetParam().io,
            "--engine", GetParam().engine,     "--partitions", "8"};
  }
  // A server that fell over by itself must not pass for one that was killed.
  static void kill(Cluster& cluster, size_t node) {
    EXPECT_TRUE(cluster.process(node).running()) << cluster.log(node);
    cluster.kill(node);
  }
};

TEST_P(Loops, KillsAndRestartsWithOtherNumbersOfLoopsLoseNothing) {
  Cluster cluster(3, flags(2));
  cluster.start_all();
  ASSERT_TRUE(cluster.await_ready()) << cluster.log(0);
  RecordedLoad load(RecordedLoad::Options{.endpoints = cluster.addresses()});
  load.run_for(1_s);
  // The leader of most dies, and comes back with another number.
  const size_t leader = cluster.busiest();
  kill(cluster, leader);
  load.run_for(1500_ms);
  cluster.set_flags(flags(3));
  cluster.start(leader);
  load.run_for(1_s);
  // All die, several times.
  for (int loops : {1, 3, 2}) {
    for (size_t i = 0; i < cluster.size(); ++i) kill(cluster, i);
    for (size_t i = 0; i < cluster.size(); ++i) {
      cluster.set_flags(flags(i == 1 ? 2 : loops));
      cluster.start(i);
    }
    const Time started = load.now();
    load.run_for(3_s);
    ASSERT_TRUE(cluster.await_ready()) << cluster.log(0);
    for (int i = 0; i < 30 && !load.recovery_since(started); ++i) load.run_for(1_s);
    EXPECT_TRUE(load.recovery_since(started)) << cluster.log(0);
  }
  load.drain();
  ASSERT_TRUE(cluster.await_ready());
  EXPECT_TRUE(load.read_all());
  const std::string path = ::testing::TempDir() + "kahuna-loops-history.jsonl";
  EXPECT_EQ(judge_history(load.history(), path).wrong, "") << "the history is in " << path;
  EXPECT_GT(load.successes(), 200u);
  const Ran status = cluster.run({"status", "--json"});
  EXPECT_NE(status.out.find("\"loops\":2"), std::string::npos) << status.out;
  EXPECT_NE(status.out.find("\"loop\":1"), std::string::npos) << status.out;
  // And an orderly end.
  for (size_t i = 0; i < cluster.size(); ++i) cluster.signal(i, SIGTERM);
  for (size_t i = 0; i < cluster.size(); ++i) {
    auto exit = cluster.process(i).wait(Duration::seconds(30));
    ASSERT_TRUE(exit.has_value()) << cluster.log(i);
    EXPECT_EQ(*exit, 0) << cluster.log(i);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Loops,
                         ::testing::Values(Kind{"uring", "rocks"}, Kind{"epoll", "memory"}),
                         [](const auto& info) { return info.param.io + "_" + info.param.engine; });

}  // namespace
}  // namespace kahuna::testing
