#include "sim/command_campaign.h"

#include <fmt/core.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>

#include "sim/command.h"
#include "sim/command_child.h"
#include "sim/scenario.h"

namespace kahuna::sim {

std::string replay_command(const CommandOptions& options, uint64_t seed) {
  if (!options.plan_file.empty()) return "kahuna sim --plan " + options.plan_file;
  std::string text = fmt::format("kahuna sim --seed {}", seed);
  for (const std::string& argument : options.pass_on) text += " " + argument;
  return text;
}

namespace {

constexpr std::string_view kProbeNames[] = {
#include "sim/probe_names.inc"
};

size_t parallel(const CommandOptions& options) {
  return options.jobs > 0 ? options.jobs : processors();
}

class Campaign {
 public:
  explicit Campaign(const CommandOptions& options) : options_(options) {}

  int run() {
    auto started = std::chrono::steady_clock::now();
    RunnerPool pool(parallel(options_), int(options_.wall_limit_s));
    uint64_t first = options_.seeds->first;
    uint64_t count = options_.seeds->last - first + 1;
    auto result = pool.run(
        [&](size_t index, Job& job) {
          if (index >= count) return false;
          job = child_job(options_, first + index);
          return true;
        },
        [&](size_t index, JobResult job) { return take(first + index, job); });
    if (!result) {
      fmt::print(stderr, "kahuna sim: cannot run seeds: {}\n", result.error().text);
      return kExitUsage;
    }
    if (usage_) return kExitUsage;
    wall_s_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    rusage used{};
    getrusage(RUSAGE_CHILDREN, &used);
    cpu_s_ = seconds(used.ru_utime) + seconds(used.ru_stime);
    print_faults();
    print_rare();
    if (options_.coverage) print_probes();
    return print_summary();
  }

 private:
  static double seconds(const timeval& time) {
    return double(time.tv_sec) + double(time.tv_usec) / 1e6;
  }

  bool take(uint64_t seed, const JobResult& job) {
    ChildReport report = parse_child(job);
    if (report.usage) {
      fmt::print(stderr, "{}", job.err);
      usage_ = true;
      return false;
    }
    ++seeds_;
    simulated_s_ += report.simulated_s;
    events_ += report.events;
    operations_ += report.operations;
    fault_count_ += report.fault_count;
    for (const FaultCount& fault : report.faults) {
      declared_[fault.kind] += fault.declared;
      fired_[fault.kind] += fault.fired > 0;
    }
    for (const auto& [name, hits] : report.probes) probes_[name] += hits > 0;
    if (report.verdict == Verdict::kPass) return true;
    ++(report.verdict == Verdict::kFail ? violations_ : unknown_);
    fmt::print("{} seed={} {} | {}\n", name_of(report.verdict), seed, report.reason,
               replay_command(options_, seed));
    std::fflush(stdout);
    if (report.last_line.empty())
      fmt::print(stderr, "--- seed {} said:\n{}\n", seed, tail(report.text));
    return true;
  }

  static std::string tail(const std::string& text) {
    constexpr size_t kMax = 4000;
    return text.size() <= kMax ? text : "..." + text.substr(text.size() - kMax);
  }

  double percent(uint64_t part) const { return seeds_ ? 100.0 * double(part) / double(seeds_) : 0; }

  void print_faults() const {
    for (const auto& [kind, declared] : declared_) {
      if (declared == 0 && !options_.run.scenario.empty()) continue;
      auto fired = fired_.find(kind);
      fmt::print("fault {:<24} allowed in {:5.1f} % of seeds, fired in {:5.1f} %\n", kind,
                 percent(declared), percent(fired == fired_.end() ? 0 : fired->second));
    }
  }
  // A kind that hardly ever fires is not tested, whatever else a campaign says. Few seeds, or seeds
  // that were told which kinds to have, as a scenario is, say nothing about it.
  void print_rare() const {
    constexpr uint64_t kSeedsMin = 100;
    if (seeds_ < kSeedsMin || !options_.run.faults.empty() || !options_.run.scenario.empty())
      return;
    for (const auto& [kind, declared] : declared_) {
      auto fired = fired_.find(kind);
      uint64_t seeds = fired == fired_.end() ? 0 : fired->second;
      if (seeds * 100 >= seeds_) continue;
      fmt::print("RARE fault {} fired in less than 1 % of the seeds ({} of {})\n", kind, seeds,
                 seeds_);
    }
  }
  void print_probes() const {
    for (const auto& [name, seeds] : probes_)
      fmt::print("probe {:<40} reached in {:5.1f} % of seeds\n", name, percent(seeds));
    size_t never = 0, steered = 0;
    for (std::string_view name : kProbeNames) {
      auto found = probes_.find(std::string(name));
      if (found != probes_.end() && found->second > 0) continue;
      if (const std::string_view scenario = steers_to(name); !scenario.empty()) {
        fmt::print("probe {:<40} is what scenario {} is for\n", name, scenario);
        ++steered;
        continue;
      }
      fmt::print("NEVER probe {}\n", name);
      ++never;
    }
    fmt::print("probes={} steered={} never={}\n", std::size(kProbeNames), steered, never);
  }

  static std::string_view steers_to(std::string_view probe) {
    for (const Scenario& scenario : scenarios())
      if (scenario.reaches == probe) return scenario.name;
    return {};
  }

  int print_summary() const {
    const char* verdict = violations_ ? "FAIL" : unknown_ * 100 > seeds_ ? "UNKNOWN" : "PASS";
    fmt::print(
        "{} seeds={} violations={} unknown={} sim={:.0f}s wall={:.1f}s cpu={:.1f}s "
        "events={} ops={} faults={}\n",
        verdict, seeds_, violations_, unknown_, simulated_s_, wall_s_, cpu_s_, events_, operations_,
        fault_count_);
    if (violations_) return kExitFail;
    return unknown_ * 100 > seeds_ ? kExitUnknown : kExitPass;
  }

  const CommandOptions& options_;
  bool usage_ = false;
  uint64_t seeds_ = 0, violations_ = 0, unknown_ = 0;
  uint64_t events_ = 0, operations_ = 0, fault_count_ = 0;
  double simulated_s_ = 0, wall_s_ = 0, cpu_s_ = 0;
  std::map<std::string, uint64_t> declared_, fired_, probes_;
};

// --- twins ---

// The two processes of a pair differ in everything that must not matter.
Job twin_job(const CommandOptions& options, uint64_t seed, bool second,
             std::vector<std::string> more = {}) {
  more.push_back("--twin-child");
  Job job = child_job(options, seed, more);
  job.fresh = true;
  job.environment.push_back(second ? "MALLOC_PERTURB_=165" : "MALLOC_PERTURB_=90");
  job.environment.push_back("KAHUNA_TWIN=" + std::string(second ? 3000 : 1, 'x'));
  job.environment.push_back(second ? "TZ=Asia/Kathmandu" : "TZ=UTC");
  job.directory = second ? "/" : "/tmp";
  return job;
}

class Twins {
 public:
  explicit Twins(const CommandOptions& options) : options_(options) {}

  int run() {
    uint64_t first = options_.seeds->first;
    uint64_t count = options_.seeds->last - first + 1;
    std::map<uint64_t, ChildReport> waiting;
    RunnerPool pool(parallel(options_), int(options_.wall_limit_s));
    auto result = pool.run(
        [&](size_t index, Job& job) {
          if (index >= 2 * count) return false;
          job = twin_job(options_, first + index / 2, index % 2 == 1);
          return true;
        },
        [&](size_t index, JobResult job) {
          uint64_t seed = first + index / 2;
          ChildReport report = parse_child(job);
          if (report.usage) {
            fmt::print(stderr, "{}", job.err);
            usage_ = true;
            return false;
          }
          auto other = waiting.find(seed);
          if (other == waiting.end()) {
            waiting.emplace(seed, std::move(report));
            return true;
          }
          compare(seed, other->second, report);
          waiting.erase(other);
          return true;
        });
    if (!result || usage_) return kExitUsage;
    for (const auto& [seed, window] : differing_) locate(seed, window);
    fmt::print("{} seeds={} mismatches={} failing={} events={}\n", mismatches_ ? "FAIL" : "PASS",
               seeds_, mismatches_, failing_, events_);
    return mismatches_ ? kExitFail : kExitPass;
  }

 private:
  struct Window {
    uint64_t from = 0, to = 0;
  };
  static constexpr size_t kLocatedMax = 5;

  void compare(uint64_t seed, const ChildReport& a, const ChildReport& b) {
    ++seeds_;
    events_ += a.events;
    failing_ += a.verdict == Verdict::kFail;
    bool same =
        a.hash == b.hash && a.last_line.empty() == b.last_line.empty() && a.reason == b.reason;
    if (same) return;
    ++mismatches_;
    Window window = first_difference(a, b);
    fmt::print("MISMATCH seed={} events {}..{}: {} against {} | {} --twin\n", seed, window.from,
               window.to, a.last_line.empty() ? a.reason : a.last_line,
               b.last_line.empty() ? b.reason : b.last_line, replay_command(options_, seed));
    std::fflush(stdout);
    if (differing_.size() < kLocatedMax) differing_.emplace_back(seed, window);
  }

  static Window first_difference(const ChildReport& a, const ChildReport& b) {
    uint64_t from = 1;
    size_t both = std::min(a.checkpoints.size(), b.checkpoints.size());
    for (size_t i = 0; i < both; ++i) {
      if (a.checkpoints[i] != b.checkpoints[i]) return {from, a.checkpoints[i].first};
      from = a.checkpoints[i].first + 1;
    }
    return {from, std::max({from, a.events, b.events})};
  }

  // Runs the pair again, keeping the events of the window, and shows the first that differs.
  void locate(uint64_t seed, Window window) const {
    std::vector<ChildReport> reports(2);
    RunnerPool pool(2, int(options_.wall_limit_s));
    std::vector<std::string> more = {"--window", fmt::format("{}..{}", window.from, window.to)};
    auto result = pool.run(
        [&](size_t index, Job& job) {
          if (index == 2) return false;
          job = twin_job(options_, seed, index == 1, more);
          return true;
        },
        [&](size_t index, JobResult job) {
          reports[index] = parse_child(job);
          return true;
        });
    if (!result) return;
    const auto& a = reports[0].event_lines;
    const auto& b = reports[1].event_lines;
    size_t at = 0;
    while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
    fmt::print("seed={} first differing event:\n  {}\n  {}\n", seed,
               at < a.size() ? a[at] : "(none: the first run has ended)",
               at < b.size() ? b[at] : "(none: the second run has ended)");
  }

  const CommandOptions& options_;
  bool usage_ = false;
  uint64_t seeds_ = 0, mismatches_ = 0, failing_ = 0, events_ = 0;
  std::vector<std::pair<uint64_t, Window>> differing_;
};

}  // namespace

int run_campaign(const CommandOptions& options) {
  return Campaign(options).run();
}
int run_twins(const CommandOptions& options) {
  return Twins(options).run();
}

}  // namespace kahuna::sim
