#include "sim/command_options.h"

#include <fmt/core.h>

#include <fstream>
#include <sstream>
#include <string_view>

#include "sim/plan_file.h"

namespace kahuna::sim {
namespace {

// Options that only pin a draw of the same name.
constexpr std::string_view kPins[] = {"nodes", "groups", "loops", "rate", "time", "engine"};

class Parser {
 public:
  Parser(int argc, char** argv) : argc_(argc), argv_(argv) {}

  Result<CommandOptions> parse() {
    while (at_ < argc_) {
      std::string_view argument = argv_[at_++];
      if (!argument.starts_with("--")) return usage(fmt::format("'{}' is not an option", argument));
      size_t equals = argument.find('=');
      name_ = argument.substr(2, equals == std::string_view::npos ? equals : equals - 2);
      inline_value_ = equals == std::string_view::npos
                          ? std::nullopt
                          : std::optional<std::string_view>(argument.substr(equals + 1));
      RETURN_IF_ERROR(take());
    }
    RETURN_IF_ERROR(combine());
    return std::move(options_);
  }

 private:
  static std::unexpected<Error> usage(std::string text) {
    return fail(ErrorCode::kInvalid, std::move(text) + "; see kahuna sim --help");
  }

  Result<std::string> value() {
    if (inline_value_) return std::string(*std::exchange(inline_value_, std::nullopt));
    if (at_ >= argc_) return usage(fmt::format("--{} needs a value", name_));
    return std::string(argv_[at_++]);
  }
  Result<> number(uint64_t& into) {
    ASSIGN_OR_RETURN(std::string text, value());
    auto parsed = parse_number(text);
    if (!parsed) return usage(fmt::format("--{}: {}", name_, parsed.error().text));
    into = *parsed;
    return {};
  }
  Result<> range(NumberRange& into) {
    ASSIGN_OR_RETURN(std::string text, value());
    auto parsed = parse_range(text);
    if (!parsed) return usage(fmt::format("--{}: {}", name_, parsed.error().text));
    into = *parsed;
    return {};
  }
  Result<> text(std::string& into, bool passed_on) {
    ASSIGN_OR_RETURN(into, value());
    if (passed_on) pass_on(into);
    return {};
  }
  void pass_on(const std::string& text) {
    options_.pass_on.push_back(fmt::format("--{}", name_));
    options_.pass_on.push_back(text);
  }
  Result<> flag(bool& into) {
    if (inline_value_) return usage(fmt::format("--{} takes no value", name_));
    into = true;
    return {};
  }

  Result<> pins() {
    ASSIGN_OR_RETURN(std::string list, value());
    Spec check(0);
    RETURN_IF_ERROR(check.pin_all(list));
    for (const std::string& part : split_list(list)) {
      size_t equals = part.find('=');
      options_.run.pins.emplace_back(part.substr(0, equals), part.substr(equals + 1));
    }
    pass_on(list);
    return {};
  }

  Result<> take() {
    for (std::string_view pin : kPins) {
      if (name_ != pin) continue;
      std::string text;
      RETURN_IF_ERROR(this->text(text, true));
      options_.run.pins.emplace_back(std::string(pin), text);
      return {};
    }
    if (name_ == "help") return flag(options_.help);
    if (name_ == "seed") {
      seeded_ = true;
      return number(options_.run.seed);
    }
    if (name_ == "seeds") return range(options_.seeds.emplace());
    if (name_ == "jobs") {
      uint64_t jobs = 0;
      RETURN_IF_ERROR(number(jobs));
      options_.jobs = jobs;
      return {};
    }
    if (name_ == "twin") return flag(options_.twin);
    if (name_ == "mutants") return flag(options_.mutants);
    if (name_ == "coverage") return flag(options_.coverage);
    if (name_ == "machine") return flag(options_.machine);
    if (name_ == "twin-child") return flag(options_.twin_child);
    if (name_ == "show-spec") return flag(options_.show_spec);
    if (name_ == "max-seeds") return number(options_.max_seeds);
    if (name_ == "wall-limit") return number(options_.wall_limit_s);
    if (name_ == "spec") return pins();
    if (name_ == "faults") return text(options_.run.faults, true);
    if (name_ == "workload") return text(options_.run.workload, true);
    if (name_ == "scenarios") return flag(options_.scenarios);
    if (name_ == "scenario") return text(options_.run.scenario, true);
    if (name_ == "mutant") return text(options_.run.mutant, true);
    if (name_ == "catalogue") return text(options_.catalogue, false);
    if (name_ == "until") return number(options_.run.until);
    if (name_ == "window") {
      NumberRange window;
      RETURN_IF_ERROR(range(window));
      options_.run.record_from = window.first;
      options_.run.record_to = window.last + 1;
      return {};
    }
    if (name_ == "trace") return text(options_.trace_file, false);
    if (name_ == "history") return text(options_.history_file, false);
    if (name_ == "plan") return text(options_.plan_file, false);
    if (name_ == "write-plan") return text(options_.write_plan_file, false);
    if (name_ == "report") {
      options_.run.record = true;
      return text(options_.report_file, false);
    }
    if (name_ == "minimize") return flag(options_.minimize);
    if (name_ == "minimize-limit") {
      ASSIGN_OR_RETURN(std::string limit, value());
      ASSIGN_OR_RETURN(options_.minimize_limit, parse_duration(limit));
      return {};
    }
    if (name_ == "check") return text(options_.check_file, false);
    return usage(fmt::format("unknown option --{}", name_));
  }

  Result<> combine() {
    CommandOptions& o = options_;
    if (!o.plan_file.empty()) RETURN_IF_ERROR(load_plan());
    bool files = !o.history_file.empty() || !o.trace_file.empty() || !o.write_plan_file.empty() ||
                 !o.report_file.empty();
    if (o.seeds && (files || o.minimize))
      return usage(
          "--history, --trace, --report, --write-plan and --minimize are for one run; use --seed");
    if (o.twin && !o.seeds) o.seeds = NumberRange{o.run.seed, o.run.seed};
    if (o.twin && o.mutants) return usage("--twin and --mutants exclude each other");
    if (!o.trace_file.empty() && o.run.record_to == 0) {
      o.run.record_from = 1;
      o.run.record_to = UINT64_MAX;
    }
    return {};
  }

  // What the command line says besides counts more than what the plan says.
  Result<> load_plan() {
    CommandOptions& o = options_;
    if (seeded_ || o.seeds) return usage("--plan names the seed itself");
    std::ifstream file(o.plan_file, std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    if (!file) return fail(ErrorCode::kInvalid, fmt::format("cannot read {}", o.plan_file));
    ASSIGN_OR_RETURN(PlanFile plan, parse_plan(content.str()));
    o.run.seed = plan.run.seed;
    o.plan_hash = plan.hash;
    for (std::string RunOptions::*text :
         {&RunOptions::faults, &RunOptions::workload, &RunOptions::mutant, &RunOptions::scenario})
      if ((o.run.*text).empty()) o.run.*text = plan.run.*text;
    o.run.pins.insert(o.run.pins.begin(), plan.run.pins.begin(), plan.run.pins.end());
    std::vector<std::string> words = arguments_of(plan.run);
    o.pass_on.insert(o.pass_on.begin(), words.begin() + 2, words.end());  // without the seed
    return {};
  }

  int argc_;
  char** argv_;
  int at_ = 1;
  bool seeded_ = false;
  std::string_view name_;
  std::optional<std::string_view> inline_value_;
  CommandOptions options_;
};

}  // namespace

Result<CommandOptions> parse_options(int argc, char** argv) {
  return Parser(argc, argv).parse();
}

const char* help_text() {
  return R"(kahuna sim: run a whole cluster in virtual time, under faults, and judge what it did.

  kahuna sim --seed N                 replay one seed; the last line says PASS, FAIL or UNKNOWN
  kahuna sim --seeds A..B [--jobs J]  run many; a line per seed that does not pass, a summary last
  kahuna sim --plan FILE              replay a run that was written down
  kahuna sim --seed N --minimize      shrink a failing run; leaves a plan, seed-N.plan
  kahuna sim --scenario NAME          steer a run into a known bad situation, and prove that it got there
  kahuna sim --scenarios              list them
  kahuna sim --twin --seeds A..B      run each twice in fresh processes and compare every event
  kahuna sim --check FILE             judge a history file (docs/history-format.md)
  kahuna sim --mutants                score the simulator against planted bugs (mutants builds)

What is not pinned is drawn from the seed:
  --nodes N --groups N                server nodes, 1..9; user partitions (a scenario has its own)
  --loops N                           event loops of a node, at most
  --rate OPS                          operations per virtual second; 0 = idle
  --time 60s                          length of the first phase, in virtual time
  --faults on|off|LIST                kinds of faults that may happen
  --engine rocks|memory               the store of each node
  --workload LIST                     register, set, get, delete, exists, scan, cas
  --spec KEY=VALUE,...                any other choice; --show-spec prints them all

Looking closer:
  --history FILE                      write the clients' history
  --trace FILE [--window A..B]        write the events (all, or those numbered A..B)
  --report FILE                       write a page that shows the run: open it in a browser
  --write-plan FILE                   write the run down: its faults, one by one (for --plan)
  --until EVENT                       stop there (and break into a debugger, if one is attached)
  --show-spec                         print every choice of the run
  --coverage                          with --seeds: probes reached, in % of seeds
  --wall-limit SECONDS                a run that takes longer has failed (600)
  --minimize-limit 5m                 wall time that --minimize may take
  --mutant NAME, --max-seeds N, --catalogue FILE    mutants builds only

Exit status: 0 pass, 1 violation, 2 usage, 3 unknown (nothing violated, and nothing shown).
)";
}

}  // namespace kahuna::sim
