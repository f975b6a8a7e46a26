// Every scenario gets where it says, and nothing is violated there. Few seeds of each: campaigns
// run more (kahuna sim --scenario NAME --seeds 1..200).
#include "sim/scenario.h"

#include <gtest/gtest.h>

#include <ostream>
#include <set>
#include <string>

#include "sim/runner.h"

namespace kahuna::sim {

static void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

namespace {

class Scenarios : public testing::TestWithParam<Scenario> {};

TEST_P(Scenarios, GetsThereAndPasses) {
  if (GetParam().spec.find("engine=rocks") != std::string_view::npos)
    GTEST_SKIP()
        << "this program has no interposer for that engine; the sim_rocks_scenario tests play it";
  size_t reached = 0;
  uint64_t hits = 0;  // of the probe that it is for
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    RunOptions options;
    options.seed = seed;
    options.scenario = std::string(GetParam().name);
    options.pins = {{"engine", "memory"}};  // this program has no interposer for the other
    auto report = run_seed(options);
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_NE(report->verdict, Verdict::kFail) << seed << " " << report->reason << report->details;
    reached += report->verdict == Verdict::kPass;
    for (const auto& [name, times] : report->probes)
      if (name == GetParam().reaches) hits += times;
  }
  EXPECT_GE(reached, 2u);
  EXPECT_TRUE(hits > 0 || GetParam().reaches.empty()) << GetParam().reaches;
}

std::string test_name(const testing::TestParamInfo<Scenario>& info) {
  std::string name(info.param.name);
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(All, Scenarios, testing::ValuesIn(scenarios()), test_name);

TEST(ScenarioList, HasOneOfEachName) {
  std::set<std::string_view> names;
  for (const Scenario& scenario : scenarios()) {
    EXPECT_TRUE(names.insert(scenario.name).second) << scenario.name;
    EXPECT_EQ(find_scenario(scenario.name)->text, scenario.text);
    EXPECT_LE(scenario.text.size(), 100u) << scenario.name;
  }
  EXPECT_EQ(find_scenario("H-R0"), nullptr);
}

// A scenario that is steered away from its goal shows nothing, and says so.
TEST(ScenarioVacuity, IsUnknown) {
  RunOptions options;
  options.seed = 1;
  options.scenario = "H-R27";
  options.pins = {{"engine", "memory"}, {"rate", "0"}};
  auto report = run_seed(options);
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(report->verdict, Verdict::kUnknown);
  EXPECT_NE(report->reason.find("did not get there"), std::string::npos) << report->reason;
}

}  // namespace
}  // namespace kahuna::sim
