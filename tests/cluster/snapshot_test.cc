// A server that was away until the others' logs begin behind what it has is sent the state, while
// clients go on.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

#include "tests/cluster/cluster.h"
#include "tests/cluster/judge.h"
#include "tests/cluster/recorded_load.h"

namespace kahuna::testing {
namespace {

using namespace literals;

class Snapshots : public ::testing::TestWithParam<const char*> {
 protected:
  Snapshots()
      : cluster_(3, {"--engine", GetParam(), "--loops", "2", "--partitions", "2", "--log-keep-mib",
                     "0", "--flush-mib", "1"}) {}
  // What each server that answers says of a partition.
  std::vector<uint64_t> numbers(const std::string& field, int partition) {
    const std::string out = cluster_.run({"status", "--json"}).out;
    const std::regex pattern("\"id\":" + std::to_string(partition) + ",[^}]*\"" + field +
                             "\":([0-9]+)");
    std::vector<uint64_t> found;
    for (std::sregex_iterator at(out.begin(), out.end(), pattern), end; at != end; ++at)
      found.push_back(std::stoull((*at)[1]));
    return found;
  }
  bool all_above(const std::string& field, int partition, uint64_t bound, size_t servers) {
    const std::vector<uint64_t> found = numbers(field, partition);
    return found.size() == servers &&
           std::all_of(found.begin(), found.end(), [&](uint64_t n) { return n > bound; });
  }
  void write_much() {
    const Ran ran =
        cluster_.run({"bench", "--workload", "put", "--value-size", "1000", "--keys", "2000",
                      "--connections", "4", "--warmup", "0", "--duration", "2"});
    EXPECT_EQ(ran.status, 0) << ran.err;
  }

  Cluster cluster_;
};

TEST_P(Snapshots, AServerThatWasAwayForLongCatchesUpUnderLoad) {
  cluster_.start_all();
  ASSERT_TRUE(cluster_.await_ready()) << cluster_.log(0);
  RecordedLoad load(RecordedLoad::Options{.endpoints = cluster_.addresses()});
  load.run_for(1_s);
  cluster_.kill(2);
  std::vector<uint64_t> had(3);
  for (int partition : {1, 2}) {
    const std::vector<uint64_t> last = numbers("last", partition);
    ASSERT_FALSE(last.empty());
    had[size_t(partition)] = *std::max_element(last.begin(), last.end());
  }
  auto compacted = [&](size_t servers) {
    return all_above("base", 1, had[1], servers) && all_above("base", 2, had[2], servers);
  };
  for (int i = 0; i < 20 && !compacted(2); ++i) {
    write_much();
    load.run_for(100_ms);
  }
  ASSERT_TRUE(compacted(2)) << cluster_.run({"status", "--json"}).out;
  cluster_.start(2);
  for (int i = 0; i < 60 && !compacted(3); ++i) load.run_for(500_ms);
  EXPECT_TRUE(compacted(3)) << cluster_.run({"status", "--json"}).out << cluster_.log(2);
  // Without another that has been there all the while.
  cluster_.kill(0);
  load.run_for(3_s);
  cluster_.start(0);
  load.drain();
  ASSERT_TRUE(cluster_.await_ready());
  EXPECT_TRUE(load.read_all());
  const std::string path = ::testing::TempDir() + "kahuna-snapshot-history.jsonl";
  EXPECT_EQ(judge_history(load.history(), path).wrong, "") << "the history is in " << path;
  EXPECT_GT(load.successes(), 200u);
}

INSTANTIATE_TEST_SUITE_P(Engines, Snapshots, ::testing::Values("rocks", "memory"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace kahuna::testing
