// The mutants driver: proves the simulator by planted bugs that it must find.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <optional>
#include <vector>

#include "sim/command.h"
#include "sim/command_campaign.h"
#include "sim/command_child.h"

namespace kahuna::sim {
namespace {

// A line of the catalogue: NAME | FLAGS | what the bug is.
struct Mutant {
  std::string name, description;
  std::vector<std::string> flags;
};

std::string trimmed(std::string_view text) {
  size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

Result<std::vector<Mutant>> read_catalogue(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(ErrorCode::kNotFound, fmt::format("cannot read the catalogue {}", path));
  std::vector<Mutant> mutants;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    size_t first = line.find('|');
    size_t second = line.find('|', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos)
      return fail(ErrorCode::kInvalid, fmt::format("{}: not NAME | FLAGS | TEXT: {}", path, line));
    Mutant mutant;
    mutant.name = trimmed(line.substr(0, first));
    mutant.flags = split_list(trimmed(line.substr(first + 1, second - first - 1)), ' ');
    mutant.description = trimmed(line.substr(second + 1));
    mutants.push_back(std::move(mutant));
  }
  return mutants;
}

struct Kill {
  uint64_t seed = 0;
  std::string reason;
};

class Driver {
 public:
  explicit Driver(const CommandOptions& options) : options_(options) {}

  int run() {
    std::string path = options_.catalogue.empty() ? "tests/mutants.txt" : options_.catalogue;
    auto mutants = read_catalogue(path);
    if (!mutants) {
      fmt::print(stderr, "kahuna sim: {}\n", mutants.error().text);
      return kExitUsage;
    }
    fmt::print("{:<34} {:>6}  {}\n", "mutant", "seeds", "killed by");
    size_t asked = 0;
    std::vector<uint64_t> killed;  // by so many seeds
    for (const Mutant& mutant : *mutants) {
      if (!options_.run.mutant.empty() && options_.run.mutant != mutant.name) continue;
      ++asked;
      auto kill = hunt(mutant);
      if (usage_) return kExitUsage;
      if (kill) {
        killed.push_back(kill->seed - first_seed() + 1);
        fmt::print("{:<34} {:>6}  {}seed {}: {}\n", mutant.name, killed.back(), scenario_of(mutant),
                   kill->seed, kill->reason.substr(0, 110));
      } else {
        fmt::print("{:<34} {:>6}  {}SURVIVED ({})\n", mutant.name, options_.max_seeds,
                   scenario_of(mutant), mutant.description);
      }
      std::fflush(stdout);
    }
    std::sort(killed.begin(), killed.end());
    fmt::print("{} mutants={} killed={} survived={} max-seeds={} median={} most={}\n",
               killed.size() == asked ? "PASS" : "FAIL", asked, killed.size(),
               asked - killed.size(), options_.max_seeds,
               killed.empty() ? 0 : killed[killed.size() / 2], killed.empty() ? 0 : killed.back());
    return killed.size() == asked ? kExitPass : kExitFail;
  }

 private:
  uint64_t first_seed() const { return options_.seeds ? options_.seeds->first : 1; }

  // "T-19, " when the catalogue names one.
  static std::string scenario_of(const Mutant& mutant) {
    const auto flag = std::find(mutant.flags.begin(), mutant.flags.end(), "--scenario");
    return flag == mutant.flags.end() || flag + 1 == mutant.flags.end() ? "" : flag[1] + ", ";
  }

  // The first seed that fails with the mutant and passes without it.
  std::optional<Kill> hunt(const Mutant& mutant) {
    uint64_t from = first_seed();
    uint64_t end = first_seed() + options_.max_seeds;
    while (from < end && !usage_) {
      auto kill = first_failure(mutant, from, end);
      if (!kill) return std::nullopt;
      if (passes_without(mutant, kill->seed)) return kill;
      fmt::print("  seed {} fails without {} too: {}\n", kill->seed, mutant.name, kill->reason);
      from = kill->seed + 1;
    }
    return std::nullopt;
  }

  Job job_of(const Mutant& mutant, uint64_t seed, bool planted) const {
    std::vector<std::string> more = mutant.flags;
    if (planted) more.insert(more.end(), {"--mutant", mutant.name});
    CommandOptions bare = options_;
    bare.pass_on.clear();
    for (size_t i = 0; i + 1 < options_.pass_on.size(); i += 2) {
      if (options_.pass_on[i] == "--mutant") continue;
      bare.pass_on.push_back(options_.pass_on[i]);
      bare.pass_on.push_back(options_.pass_on[i + 1]);
    }
    return child_job(bare, seed, more);
  }

  std::optional<Kill> first_failure(const Mutant& mutant, uint64_t from, uint64_t end) {
    std::map<uint64_t, std::string> failures;
    RunnerPool pool(options_.jobs > 0 ? options_.jobs : processors(), int(options_.wall_limit_s));
    auto result = pool.run(
        [&](size_t index, Job& job) {
          if (!failures.empty() || from + index >= end) return false;
          job = job_of(mutant, from + index, true);
          return true;
        },
        [&](size_t index, JobResult job) {
          ChildReport report = parse_child(job);
          if (report.usage) {
            fmt::print(stderr, "{}", job.err);
            usage_ = true;
            return false;
          }
          if (report.verdict == Verdict::kFail) failures[from + index] = report.reason;
          return true;
        });
    if (!result) usage_ = true;
    if (failures.empty()) return std::nullopt;
    return Kill{failures.begin()->first, failures.begin()->second};
  }

  bool passes_without(const Mutant& mutant, uint64_t seed) {
    bool passes = false;
    RunnerPool pool(1, int(options_.wall_limit_s));
    auto result = pool.run(
        [&](size_t index, Job& job) {
          if (index > 0) return false;
          job = job_of(mutant, seed, false);
          return true;
        },
        [&](size_t, JobResult job) {
          passes = parse_child(job).verdict != Verdict::kFail;
          return true;
        });
    return result && passes;
  }

  const CommandOptions& options_;
  bool usage_ = false;
};

}  // namespace

int run_mutants(const CommandOptions& options) {
#ifndef KAHUNA_MUTANTS
  (void)options;
  fmt::print(stderr,
             "kahuna sim: --mutants needs a build with planted bugs: "
             "cmake --preset mutants && cmake --build --preset mutants\n");
  return kExitUsage;
#else
  return Driver(options).run();
#endif
}

}  // namespace kahuna::sim
