// Members of a real cluster are replaced under recorded load; the simulator's judges decide.
#include <gtest/gtest.h>

#include "kahuna/cli/json.h"
#include "tests/cluster/cluster.h"
#include "tests/cluster/judge.h"
#include "tests/cluster/recorded_load.h"

namespace kahuna::testing {
namespace {

using namespace literals;

class Members : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_.start_all();
    ASSERT_TRUE(cluster_.await_ready()) << cluster_.log(0);
    load_ = std::make_unique<RecordedLoad>(RecordedLoad::Options{.endpoints = cluster_.addresses()});
    load_->run_for(1_s);
  }

  // Those that `members list` calls members, which vote everywhere.
  size_t members() {
    const Result<cli::Json> list = cli::parse_json(cluster_.run({"members", "list", "--json"}).out);
    if (!list) return 0;
    size_t count = 0;
    for (const cli::Json& member : list->items) count += member["state"].text == "member";
    return count;
  }
  // The dead one is removed, and a new one joins in its place.
  void replace(size_t dead) {
    const Ran removed = cluster_.run({"members", "remove", "n" + std::to_string(dead + 1)});
    ASSERT_EQ(removed.status, 0) << removed.err;
    cluster_.start_anew(dead);
    for (int i = 0; i < 150 && members() < cluster_.size(); ++i) load_->run_for(200_ms);
    ASSERT_EQ(members(), cluster_.size()) << cluster_.run({"members", "list"}).out << cluster_.log(dead);
  }

  Cluster cluster_{3};
  std::unique_ptr<RecordedLoad> load_;
};

TEST_F(Members, ReplacingADeadOneUnderLoadLosesNothing) {
  const size_t dead = cluster_.busiest();
  cluster_.kill(dead);
  load_->run_for(1_s);
  ASSERT_NO_FATAL_FAILURE(replace(dead));
  // Now the majority needs the new one.
  const size_t other = (dead + 1) % cluster_.size();
  cluster_.kill(other);
  const Time killed = load_->now();
  load_->run_for(4_s);
  EXPECT_TRUE(load_->recovery_since(killed)) << "some key was never written again";
  cluster_.start(other);
  load_->run_for(1_s);
  expect_right(cluster_, *load_);
}

}  // namespace
}  // namespace kahuna::testing
