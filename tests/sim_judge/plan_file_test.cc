#include "sim/plan_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "sim/command_options.h"
#include "sim/minimiser.h"

namespace kahuna::sim {
namespace {

TEST(Selection, IsItsText) {
  for (const char* text : {"none", "crash#3", "clog#0+crash#3..9+crash#11", "c1#0..1+c12#7"}) {
    auto selection = Selection::parse(text);
    ASSERT_TRUE(selection) << text;
    EXPECT_EQ(selection->text(), text);
  }
  EXPECT_EQ(Selection::parse("crash:4+crash:3")->text(), "crash#3..4");
  EXPECT_TRUE(Selection::parse("crash#3..9")->has("crash", 9));
  EXPECT_FALSE(Selection::parse("crash#3..9")->has("clog", 9));
  EXPECT_EQ(Selection::parse("crash#3..9+clog#1")->size(), 8u);
  for (const char* text : {"crash", "#3", "crash#", "crash#x", "crash#9..3", "a#0..99999999"})
    EXPECT_FALSE(Selection::parse(text)) << text;
}

TEST(PlanFile, NamesTheLineThatIsWrong) {
  EXPECT_TRUE(parse_plan("# hello\nkahuna sim plan 1\nseed 4  # four\n\nfault none\n"));
  for (const char* text :
       {"", "seed 4\n", "kahuna sim plan 1\n", "kahuna sim plan 1\nseed\n",
        "kahuna sim plan 1\nseed 4\nspec nodes\n", "kahuna sim plan 1\nseed 4\nfault crash\n",
        "kahuna sim plan 1\nseed 4\ncolour red\n"}) {
    auto plan = parse_plan(text);
    ASSERT_FALSE(plan) << text;
    EXPECT_NE(plan.error().text.find("line"), std::string::npos) << plan.error().text;
  }
}

RunOptions busy(uint64_t seed) {
  RunOptions options;
  options.seed = seed;
  options.faults = "crash,power,clog,partition,reset,half-open,frame-loss,clock-step,stop,pause";
  options.pins = {{"time", "8s"},
                  {"engine", "memory"},
                  {"rate", "30"},
                  {"fault.crash.every", "2s"},
                  {"fault.clog.every", "500ms"}};
  return options;
}

TEST(PlanFile, ReplaysTheRunItWasWrittenAfter) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    RunOptions options = busy(seed);
    auto run = run_seed(options);
    ASSERT_TRUE(run) << run.error().text;
    EXPECT_FALSE(run->fault_log.empty());
    std::string text = write_plan(options, *run);
    auto plan = parse_plan(text);
    ASSERT_TRUE(plan) << plan.error().text;
    EXPECT_EQ(plan->hash, to_string(run->hash));
    auto again = run_seed(plan->run);
    ASSERT_TRUE(again) << again.error().text;
    EXPECT_EQ(again->hash, run->hash);
    EXPECT_EQ(write_plan(plan->run, *again), text);
  }
}

TEST(PlanFile, ListsOperationsThatWereChosen) {
  RunOptions options = busy(3);
  options.pins.emplace_back("clients", "2");
  options.pins.emplace_back("processes", "4");
  options.pins.emplace_back("operations.only", "c1#0..20+c2#3+c2#5");
  auto run = run_seed(options);
  ASSERT_TRUE(run) << run.error().text;
  Selection asked = *Selection::parse("c1#0..20+c2#3+c2#5"), issued = run->issued();
  EXPECT_GT(issued.size(), 5u);
  for (const auto& [name, number] : issued.items()) EXPECT_TRUE(asked.has(name, number));
  auto plan = parse_plan(write_plan(options, *run));
  ASSERT_TRUE(plan) << plan.error().text;
  EXPECT_EQ(run_seed(plan->run)->hash, run->hash);
}

TEST(PlanFile, WhatNamesNothingIsTold) {
  RunOptions options = busy(3);
  auto run = run_seed(options);
  ASSERT_TRUE(run) << run.error().text;
  const std::string text = write_plan(options, *run);
  auto plan = parse_plan(text);
  ASSERT_TRUE(plan);
  EXPECT_TRUE(not_met(plan->run, *run_seed(plan->run)).empty());
  auto more = parse_plan(text + "fault crash#99..100\noperation c1#0..200\noperation c99#1\n");
  ASSERT_TRUE(more) << more.error().text;
  const Selection none = not_met(more->run, *run_seed(more->run));
  for (const auto& [name, number] : {std::pair{"crash", 99}, {"crash", 100}, {"c99", 1}})
    EXPECT_TRUE(none.has(name, static_cast<uint64_t>(number))) << none.text();
  EXPECT_FALSE(none.has("c1", 0)) << none.text();
  // Nor is there a kind of that name.
  auto kind = parse_plan(text + "fault crush#1\n");
  ASSERT_TRUE(kind);
  EXPECT_FALSE(run_seed(kind->run));
}

// Leaving operations out shifts no other: what an arrival asks for stays the same.
TEST(PlanFile, LeavingOperationsOutShiftsNoOther) {
  RunOptions options = busy(4);
  options.faults = "off";
  options.pins = {
      {"time", "3s"}, {"engine", "memory"}, {"rate", "30"}, {"clients", "1"}, {"processes", "40"}};
  auto all = run_seed(options);
  options.pins.emplace_back("operations.only", "c1#5..25");
  options.pins.emplace_back("peace", to_string(Duration::nanos(all->faults_from.nanos())));
  auto some = run_seed(options);
  ASSERT_TRUE(all && some);
  auto asked = [](const RunReport& report) {
    std::map<uint64_t, std::string> operations;
    for (const Operation& operation : report.history.operations())
      if (operation.arrival != kNoArrival)
        operations[operation.arrival] = report.history.text(operation.key) + " " +
                                        std::to_string(int(operation.function)) + " " +
                                        std::to_string(operation.value) + " " +
                                        std::to_string(operation.invoked_at.nanos());
    return operations;
  };
  auto before = asked(*all), after = asked(*some);
  EXPECT_EQ(after.size(), 21u);
  for (const auto& [arrival, text] : after) EXPECT_EQ(before[arrival], text) << arrival;
}

TEST(Minimiser, ComparesFailuresByClass) {
  EXPECT_EQ(class_of("linearizability: key b0/k3: …"), "linearizability");
  EXPECT_EQ(class_of("raft: R6 violated in group 3 by n1"), "raft: R6 violated");
  EXPECT_EQ(class_of("died of signal 6: CHECK failed: a == b (1, 2) at x.cc:3 node=n1"),
            "CHECK failed: a == b");
  EXPECT_EQ(class_of("fatal: n1 stopped: bad things (damaged)"), "fatal: (damaged)");
  EXPECT_EQ(class_of("hung: it took longer"), "hung");
}

// A made-up violation that needs two faults and one operation: exactly those are left.
TEST(Minimiser, LeavesWhatTheFailureNeeds) {
  RunOptions options = busy(2);
  auto run = run_seed(options);
  ASSERT_TRUE(run) << run.error().text;
  std::vector<Selection::Item> struck = run->struck().items(), issued = run->issued().items();
  ASSERT_GT(struck.size(), 8u);
  ASSERT_GT(issued.size(), 30u);
  Selection needed;
  needed.add(struck[1].first, struck[1].second);
  needed.add(struck[struck.size() - 2].first, struck[struck.size() - 2].second);
  needed.add(issued[issued.size() / 2].first, issued[issued.size() / 2].second);
  CommandOptions command;
  command.run = options;
  command.run.pins.emplace_back("canary", needed.text());
  command.jobs = 2;
  command.write_plan_file = testing::TempDir() + "minimised.plan";
  EXPECT_EQ(run_minimiser(command), 1);
  std::ifstream file(command.write_plan_file);
  std::stringstream text;
  text << file.rdbuf();
  auto plan = parse_plan(text.str());
  ASSERT_TRUE(plan) << plan.error().text;
  auto again = run_seed(plan->run);
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_EQ(again->verdict, Verdict::kFail);
  EXPECT_EQ(to_string(again->hash), plan->hash);
  EXPECT_EQ(again->struck().size() + again->issued().size(), 3u) << text.str();
  std::remove(command.write_plan_file.c_str());
}

}  // namespace
}  // namespace kahuna::sim
