// Whole runs, in process: short ones, on the in-memory engine.
#include "sim/runner.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

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

TEST(Runner, RefusesAClusterThatCannotBe) {
  const auto refusal = [](const char* scenario, const char* name, const char* value) {
    RunOptions options;
    options.scenario = scenario;
    options.pins = {{"time", "1s"}, {name, value}};
    auto report = run_seed(options);
    return report ? "" : report.error().text;
  };
  for (const char* scenario : {"", "H-R4"}) {
    EXPECT_EQ(refusal(scenario, "nodes", "0"), "nodes must be 1..9, not 0");
    EXPECT_EQ(refusal(scenario, "nodes", "10"), "nodes must be 1..9, not 10");
    EXPECT_EQ(refusal(scenario, "groups", "0"), "groups must be 1..16384, not 0");
    EXPECT_EQ(refusal(scenario, "groups", "16385"), "groups must be 1..16384, not 16385");
    EXPECT_EQ(refusal(scenario, "loops", "65"), "loops must be 1..64, not 65");
  }
  EXPECT_EQ(refusal("", "nodes", "9"), "");
  EXPECT_NE(refusal("", "nodes", "few").find("nodes"), std::string::npos);
}

TEST(Runner, AScenarioHasTheClusterItIsAbout) {
  for (const auto& [scenario, name, value] : {std::tuple{"H-R4", "nodes", "1"},
                                              {"H-R4", "nodes", "5"},
                                              {"T-19", "nodes", "1"},
                                              {"M-1", "nodes", "1"},
                                              {"T-21", "nodes", "1"},
                                              {"H-R33", "nodes", "1"},
                                              {"T-44", "nodes", "1"},
                                              {"H-R4", "groups", "2"}}) {
    RunOptions options;
    options.scenario = scenario;
    options.pins = {{name, value}};
    auto report = run_seed(options);
    ASSERT_FALSE(report) << scenario;
    EXPECT_NE(report.error().text.find("which cannot be chosen"), std::string::npos)
        << report.error().text;
  }
  RunOptions same;
  same.scenario = "H-R4";
  same.pins = {{"nodes", "03"}, {"groups", "1"}, {"loops", "2"}};
  EXPECT_TRUE(run_seed(same));
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
