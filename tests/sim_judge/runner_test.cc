// Whole runs, in process: short ones, on the in-memory engine.
#include "sim/runner.h"

#include <gtest/gtest.h>

#include <string>

#include "sim/checker.h"

namespace kahuna::sim {
namespace {

RunOptions short_run(uint64_t seed) {
  RunOptions options;
  options.seed = seed;
  options.pins = {{"time", "3s"}, {"engine", "memory"}, {"nodes", "3"}, {"rate", "100"}};
  return options;
}

TEST(Runner, PassesAFewSeedsWithAndWithoutFaults) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    RunOptions options = short_run(seed);
    if (seed % 3 == 0) options.faults = "off";
    auto report = run_seed(options);
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_NE(report->verdict, Verdict::kFail) << report->reason << "\n" << report->details;
    EXPECT_GT(report->history.counts().invoked, 0u);
    EXPECT_EQ(report->last_line(seed).substr(0, 5), std::string(name_of(report->verdict)) + " ");
  }
}

TEST(Runner, RepeatsItself) {
  auto first = run_seed(short_run(5));
  auto second = run_seed(short_run(5));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->hash, second->hash);
  EXPECT_EQ(first->history.to_json_lines(), second->history.to_json_lines());
  EXPECT_EQ(first->checkpoints, second->checkpoints);
}

TEST(Runner, StopsWhereItIsTold) {
  RunOptions options = short_run(5);
  options.until = 500;
  options.record_from = 490;
  options.record_to = 501;
  auto report = run_seed(options);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->stopped);
  EXPECT_EQ(report->events, 500u);
  EXPECT_EQ(report->records.size(), 11u);
  EXPECT_FALSE(report->details.empty());
}

TEST(Runner, RefusesWhatItDoesNotKnow) {
  RunOptions unknown = short_run(1);
  unknown.pins.emplace_back("colour", "red");
  EXPECT_FALSE(run_seed(unknown));
  RunOptions faults = short_run(1);
  faults.faults = "earthquake";
  EXPECT_FALSE(run_seed(faults));
  RunOptions workload = short_run(1);
  workload.workload = "dance";
  EXPECT_FALSE(run_seed(workload));
}

TEST(Runner, ItsHistoryCanBeJudgedAgain) {
  auto report = run_seed(short_run(9));
  ASSERT_TRUE(report);
  auto again = History::from_json_lines(report->history.to_json_lines());
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_EQ(again->counts().invoked, report->history.counts().invoked);
  EXPECT_NE(check_registers(*again).finding, Finding::kViolation);
}

}  // namespace
}  // namespace kahuna::sim
