#include "tests/cluster/judge.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string_view>

#include "runtime/check.h"
#include "sim/checker.h"
#include "tests/cluster/cluster.h"
#include "tests/cluster/recorded_load.h"

namespace kahuna::testing {
namespace {

// Real histories hold more doubtful writes than a simulated run of the same length.
constexpr uint64_t kStepsMax = 5'000'000;
constexpr std::string_view kRead = R"("type":"ok","f":"read")";

// From `name` to the next `end`, exclusive; empty when it is not there.
std::string_view part(std::string_view line, std::string_view name, std::string_view end) {
  const size_t from = line.find(name);
  if (from == std::string_view::npos) return {};
  return line.substr(from, line.find(end, from + name.size()) - from);
}

}  // namespace

Verdict judge_history(const sim::History& history, const std::string& path) {
  Verdict verdict;
  for (const sim::Judgement& judgement :
       {sim::check_registers(history, {.steps_max = kStepsMax}), sim::check_stamps(history)}) {
    if (judgement.finding == sim::Finding::kViolation)
      verdict.wrong += judgement.kind + ": " + judgement.text + "\n";
    verdict.undecided += judgement.undecided;
  }
  if (!path.empty()) std::ofstream(path) << history.to_json_lines();
  return verdict;
}

std::string with_a_stale_read(const std::string& lines) {
  // What is read of a value in state: value, revision, stamp. The last such read is the victim.
  const auto answer = [](std::string_view line) {
    return part(line, "\"revision\"", ",\"time\"").empty() ? std::string_view()
                                                           : part(line, "\"value\"", ",\"time\"");
  };
  std::string_view victim;
  for (size_t at = 0, end; at < lines.size(); at = end + 1) {
    end = lines.find('\n', at);
    const std::string_view line = std::string_view(lines).substr(at, end - at);
    if (line.find(kRead) != std::string_view::npos && !answer(line).empty()) victim = line;
  }
  CHECK(!victim.empty());
  const std::string key(part(victim, "\"key\"", ",\"value\""));
  for (size_t at = 0, end; at < lines.size(); at = end + 1) {
    end = lines.find('\n', at);
    const std::string_view line = std::string_view(lines).substr(at, end - at);
    if (line.find(kRead) == std::string_view::npos || line.find(key) == std::string_view::npos)
      continue;
    if (answer(line).empty()) continue;
    CHECK(answer(line) != answer(victim));
    std::string spoilt = lines;
    return spoilt.replace(static_cast<size_t>(answer(victim).data() - lines.data()),
                          answer(victim).size(), answer(line));
  }
  CHECK(false);
  return {};
}

void expect_right(Cluster& cluster, RecordedLoad& load) {
  load.drain();
  ASSERT_TRUE(cluster.await_ready());
  EXPECT_TRUE(load.read_all());
  const std::string path = ::testing::TempDir() + "kahuna-history.jsonl";
  EXPECT_EQ(judge_history(load.history(), path).wrong, "") << "the history is in " << path;
  EXPECT_GT(load.successes(), 200u);
  std::printf("  %lu ok, %lu failed, %lu unknown\n", load.successes(), load.failures(),
              load.unknown());
}

}  // namespace kahuna::testing
