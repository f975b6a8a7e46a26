#include "sim/minimiser.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "sim/command.h"
#include "sim/command_campaign.h"
#include "sim/command_child.h"
#include "sim/plan_file.h"

namespace kahuna::sim {

std::string class_of(const std::string& reason) {
  if (size_t check = reason.find("CHECK failed: "); check != std::string::npos) {
    size_t end = std::min(reason.find(" (", check), reason.find(" at ", check));
    return reason.substr(check, end - check);
  }
  size_t colon = std::min(reason.find(':'), reason.size());
  std::string kind = reason.substr(0, colon);
  if (kind == "raft") return reason.substr(0, reason.find(" in group"));
  if (kind == "fatal" && reason.ends_with(')'))
    return kind + ": " + reason.substr(reason.rfind('('));
  return kind;
}

namespace {

using WallClock = std::chrono::steady_clock;

struct Candidate {
  std::map<std::string, std::string> pins;
  std::optional<Selection> faults, operations;  // none: all that are drawn
};

// A choice of the run that has a plainest value.
struct Feature {
  std::string key, plain;
};
constexpr std::pair<std::string_view, std::string_view> kPlain[] = {
    {"groups", "1"},
    {"vacancies", "0"},
    {"nodes", "3"},
    {"loops", "1"},
    {"loops-vary", "off"},
    {"timeouts-vary", "off"},
    {"engine", "memory"},
    {"rot-journal", "off"},
    {"clients", "1"},
    {"processes", "1"},
    {"keys", "1"},
    {"buckets", "1"},
    {"mix.get", "0"},
    {"mix.delete", "0"},
    {"mix.exists", "0"},
    {"mix.scan", "0"},
    {"mix.if-absent", "0"},
    {"mix.if-exists", "0"},
    {"mix.if-value", "0"},
    {"mix.if-revision", "0"},
    {"mix.if-both", "0"},
    {"hot-percent", "0"},
    {"bursts", "off"},
    {"value-bytes-max", "40"},
    {"blank-percent", "0"},
    {"replace-clients", "off"},
    {"heal-all", "on"},
    {"faults-while-founding", "off"},
    {"judge-hurries", "off"},
    {"scrub-interval-ms", "0"},
    {"sessions-spare", "0"},
    {"raft-pace-percent", "100"},
    {"append-bytes-max", "262144"},
    {"inflight-bytes-max", "4194304"},
    {"segment-bytes", "1048576"},
    {"net.place", "rack"},
    {"net.jitter_percent", "5"},
    {"net.silent_crash", "0"},
    {"net.silent_refuse", "0"},
    {"disk.kind", "fast"},
    {"disk.tail_per_million", "0"},
    {"sched.fifo", "on"},
    {"fault.clients_too", "off"},
};

class Minimiser {
 public:
  explicit Minimiser(const CommandOptions& options) : options_(options) {}

  int run() {
    for (const auto& [name, value] : options_.run.pins) now_.pins[name] = value;
    if (!begin()) return status_;
    deadline_ = WallClock::now() + std::chrono::nanoseconds(options_.minimize_limit.nanos());
    fmt::print("failing in this way: {}\n", class_);
    progress("as drawn");
    for (size_t before = SIZE_MAX; in_time() && weight() < before;) {
      before = weight();
      less_time();
      fewer_features();
      fewer_faults();
      fewer_operations();
    }
    return finish();
  }

 private:
  // --- running ---

  RunOptions options_of(const Candidate& candidate) const {
    RunOptions run = options_.run;
    run.pins.assign(candidate.pins.begin(), candidate.pins.end());
    if (candidate.faults) run.pins.emplace_back("fault.only", candidate.faults->text());
    if (candidate.operations)
      run.pins.emplace_back("operations.only", candidate.operations->text());
    return run;
  }

  Job job_of(const Candidate& candidate, const std::vector<std::string>& more = {}) const {
    Job job;
    job.arguments = {"sim", "--machine", "--minimize"};
    job.arguments.insert(job.arguments.end(), more.begin(), more.end());
    std::vector<std::string> words = arguments_of(options_of(candidate));
    job.arguments.insert(job.arguments.end(), words.begin(), words.end());
    return job;
  }

  std::optional<ChildReport> run_one(const Job& wanted) const {
    std::optional<ChildReport> report;
    RunnerPool pool(1, int(options_.wall_limit_s));
    auto result = pool.run(
        [&](size_t index, Job& job) {
          job = wanted;
          return index == 0;
        },
        [&](size_t, JobResult job) {
          report = parse_child(job);
          if (report->usage) fmt::print(stderr, "{}", job.err);
          return true;
        });
    if (!result) fmt::print(stderr, "kahuna sim: {}\n", result.error().text);
    return report;
  }

  bool begin() {
    auto started = WallClock::now();
    auto report = run_one(job_of(now_));
    status_ = kExitUsage;
    if (!report || report->usage) return false;
    if (report->verdict != Verdict::kFail) {
      fmt::print("{}{}\n", report->text, "there is nothing to shrink: the run does not fail");
      status_ = report->verdict == Verdict::kPass ? kExitPass : kExitUnknown;
      return false;
    }
    class_ = class_of(report->reason);
    take(now_, std::move(*report));
    auto took = std::chrono::duration_cast<std::chrono::seconds>(WallClock::now() - started);
    try_limit_s_ = std::min(int(options_.wall_limit_s), int(took.count()) * 4 + 10);
    spec_ = report_.spec;
    return true;
  }

  bool in_time() const { return WallClock::now() < deadline_; }

  // Runs them, in order, until one of them fails as the first run did; which becomes the present
  // one. Its number, or none.
  std::optional<size_t> advance(const std::vector<Candidate>& candidates) {
    std::optional<size_t> won;
    ChildReport report;
    std::vector<size_t> asked;  // by the pool's index
    size_t next = 0;
    RunnerPool pool(options_.jobs > 0 ? options_.jobs : processors(), try_limit_s_);
    auto result = pool.run(
        [&](size_t, Job& job) {
          while (next < candidates.size() && !tried_.insert(key_of(candidates[next])).second)
            ++next;
          if (won || next == candidates.size() || !in_time()) return false;
          job = job_of(candidates[next]);
          asked.push_back(next++);
          ++tries_;
          return true;
        },
        [&](size_t index, JobResult job) {
          ChildReport child = parse_child(job);
          if (child.usage || child.verdict != Verdict::kFail || class_of(child.reason) != class_ ||
              has_grown(child))
            return true;
          won = asked[index];
          report = std::move(child);
          return false;
        });
    if (!result || !won) return std::nullopt;
    take(candidates[*won], std::move(report));
    return won;
  }

  // A plainer cluster may do far more in its time, which is no gain.
  bool has_grown(const ChildReport& child) const {
    if (child.last_line.empty()) return false;
    size_t done = size_of(child.struck) + size_of(child.issued);
    return done > 2 * (struck_.size() + issued_.size()) + 50;
  }
  static size_t size_of(const std::string& text) {
    return Selection::parse(text).value_or(Selection()).size();
  }

  static std::string key_of(const Candidate& candidate) {
    std::string key;
    for (const auto& [name, value] : candidate.pins) key += name + "=" + value + ",";
    key += candidate.faults ? candidate.faults->text() : "*";
    return key + "," + (candidate.operations ? candidate.operations->text() : "*");
  }

  void take(Candidate candidate, ChildReport report) {
    now_ = std::move(candidate);
    // A run that died told nothing of itself: it is asked just before.
    if (report.last_line.empty()) {
      size_t event = report.text.rfind(" event=");
      uint64_t number = event == std::string::npos
                            ? 0
                            : std::strtoull(report.text.c_str() + event + 7, nullptr, 10);
      if (number > 1) {
        until_ = number - 1;
        if (auto before = run_one(job_of(now_, {"--until", std::to_string(until_)})))
          before->reason = report.reason, before->text = report.text, report = std::move(*before);
      }
    }
    report_ = std::move(report);
    struck_ = Selection::parse(report_.struck).value_or(Selection());
    issued_ = Selection::parse(report_.issued).value_or(Selection());
    if (now_.faults) now_.faults = struck_;
    if (now_.operations) now_.operations = issued_;
  }

  // --- reductions ---

  void less_time() {
    int64_t first = phase_ns();
    // A violation that stopped the run: nothing after it matters.
    if (report_.ended_ns > report_.faults_from_ns && report_.faults_from_ns > 0 &&
        report_.ended_ns - report_.faults_from_ns < first)
      advance({with_time(report_.ended_ns - report_.faults_from_ns + 1'000'000)});
    while (in_time()) {
      int64_t length = phase_ns();
      if (length < 10'000'000) break;
      if (!advance({with_time(length / 16), with_time(length / 4), with_time(length / 2),
                    with_time(length / 4 * 3)}))
        break;
    }
    progress("less time");
  }
  int64_t phase_ns() const {
    auto time = parse_duration(value_of("time"));
    return time ? time->nanos() : 0;
  }
  Candidate with_time(int64_t ns) const {
    Candidate candidate = now_;
    candidate.pins["time"] =
        to_string(Duration::nanos(std::max<int64_t>(ns / 1'000'000, 1) * 1'000'000));
    return candidate;
  }

  // Of the present run: "" when it was not asked for.
  std::string value_of(std::string_view key) const {
    for (const std::string& part : split_list(report_.spec.empty() ? spec_ : report_.spec, ' '))
      if (part.starts_with(key) && part.size() > key.size() && part[key.size()] == '=')
        return part.substr(key.size() + 1);
    return {};
  }

  void fewer_features() {
    std::vector<Feature> features;
    for (size_t kind = 0; kind < kFaultKinds; ++kind) {
      std::string key = "fault." + std::string(name_of(static_cast<FaultKind>(kind)));
      if (value_of(key) == "on") features.push_back({key, "off"});
    }
    for (const auto& [key, plain] : kPlain) {
      std::string value = value_of(key);
      if (!value.empty() && value != plain)
        features.push_back({std::string(key), std::string(plain)});
    }
    // Those that are not kept get their plainest value.
    std::vector<Feature> all = features;
    reduce<Feature>(features, [&](const std::vector<Feature>& kept) {
      Candidate candidate = now_;
      for (const Feature& feature : all)
        if (std::none_of(kept.begin(), kept.end(),
                         [&](const Feature& other) { return other.key == feature.key; }))
          candidate.pins[feature.key] = feature.plain;
      return candidate;
    });
    progress("fewer features");
  }

  void fewer_faults() {
    reduce<Selection::Item>(struck_.items(), [&](const std::vector<Selection::Item>& kept) {
      Candidate candidate = now_;
      candidate.faults = selection_of(kept);
      return candidate;
    });
    progress("fewer faults");
  }

  // The faults begin when they did, though fewer operations are done by then; or, if that alone
  // undoes the failure, when the cluster has done as much.
  void fewer_operations() {
    if (!now_.operations) {
      Candidate all = now_;
      all.operations = issued_;
      Candidate pinned = all;
      if (report_.faults_from_ns > 0)
        pinned.pins["peace"] = to_string(Duration::nanos(report_.faults_from_ns));
      if (!advance({pinned}) && !advance({all})) return;
    }
    reduce<Selection::Item>(issued_.items(), [&](const std::vector<Selection::Item>& kept) {
      Candidate candidate = now_;
      candidate.operations = selection_of(kept);
      return candidate;
    });
    progress("fewer operations");
  }

  static Selection selection_of(const std::vector<Selection::Item>& items) {
    Selection selection;
    for (const auto& [name, number] : items) selection.add(name, number);
    return selection;
  }

  // Delta debugging: leaves out ever smaller chunks. After a success it goes on behind the chunk
  // that went, since those before it were needed a moment ago.
  template <class Item>
  void reduce(std::vector<Item> items,
              const std::function<Candidate(const std::vector<Item>& kept)>& make) {
    if (items.empty() || advance({make({})})) return;
    size_t chunks = 2;
    while (in_time() && items.size() > 1) {
      std::vector<std::vector<Item>> kept;
      auto edge = [&](size_t chunk) {
        return items.begin() + ptrdiff_t(items.size() * chunk / chunks);
      };
      if (chunks <= 4)
        for (size_t i = 0; i < chunks; ++i) kept.emplace_back(edge(i), edge(i + 1));
      size_t complements = kept.size();
      if (chunks > 2)
        for (size_t i = 0; i < chunks; ++i) {
          kept.emplace_back(edge(i + 1), items.end());
          kept.back().insert(kept.back().end(), items.begin(), edge(i));
        }
      std::vector<Candidate> candidates;
      for (const auto& each : kept) candidates.push_back(make(each));
      if (auto won = advance(candidates)) {
        chunks = *won < complements ? 2 : std::max<size_t>(chunks - 1, 2);
        items = kept[*won];
        chunks = std::min(chunks, items.size());
      } else if (chunks >= items.size()) {
        break;
      } else {
        chunks = std::min(chunks * 2, items.size());
      }
    }
  }

  // --- telling ---

  size_t weight() const {
    size_t kinds = 0;
    for (size_t kind = 0; kind < kFaultKinds; ++kind)
      kinds += value_of("fault." + std::string(name_of(static_cast<FaultKind>(kind)))) == "on";
    return struck_.size() + issued_.size() + kinds;
  }

  // Kinds that are at work all the time.
  size_t rates() const {
    size_t on = value_of("rot-journal") == "on";
    for (size_t kind = kTimelineKinds; kind < kFaultKinds; ++kind)
      on += value_of("fault." + std::string(name_of(static_cast<FaultKind>(kind)))) == "on";
    return on;
  }

  void progress(const char* step) {
    double wall = std::chrono::duration<double>(WallClock::now() - started_).count();
    fmt::print("{:<18} faults={}+{} ops={} nodes={} groups={} time={} ({} runs, {:.0f} s)\n", step,
               struck_.size(), rates(), issued_.size(), value_of("nodes"), value_of("groups"),
               value_of("time"), tries_, wall);
    std::fflush(stdout);
  }

  int finish() {
    std::string path = options_.write_plan_file.empty()
                           ? fmt::format("seed-{}.plan", options_.run.seed)
                           : options_.write_plan_file;
    std::vector<std::string> more = {"--write-plan", path};
    bool died = report_.last_line.empty();
    if (died && until_ > 0) more.insert(more.end(), {"--until", std::to_string(until_)});
    // What was kept and did nothing is not worth mentioning.
    if (!now_.faults) now_.faults = struck_;
    auto last = run_one(job_of(now_, more));
    if (!last) return kExitUsage;
    fmt::print("{}", died ? report_.text : last->text);
    fmt::print("minimised: faults={}+{} ops={} runs={}\n", struck_.size(), rates(), issued_.size(),
               tries_);
    std::string line = "kahuna sim";
    for (const std::string& word : arguments_of(options_of(now_))) line += " " + word;
    constexpr size_t kLineMax = 4000;  // characters that a shell's history is happy with
    fmt::print("plan: {}\nreplay: kahuna sim --plan {}\n", path, path);
    if (line.size() <= kLineMax) fmt::print("as one line: {}\n", line);
    return kExitFail;
  }

  const CommandOptions& options_;
  int status_ = kExitUsage;
  std::string class_;
  Candidate now_;       // the smallest that fails so far
  ChildReport report_;  // ... and what it said
  Selection struck_, issued_;
  std::string spec_;  // of the first run
  uint64_t until_ = 0;
  int try_limit_s_ = 600;
  std::set<std::string> tried_;
  size_t tries_ = 0;
  WallClock::time_point started_ = WallClock::now(), deadline_;
};

}  // namespace

int run_minimiser(const CommandOptions& options) {
  return Minimiser(options).run();
}

}  // namespace kahuna::sim
