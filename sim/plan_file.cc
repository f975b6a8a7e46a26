#include "sim/plan_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

namespace kahuna::sim {
namespace {

constexpr std::string_view kTitle = "kahuna sim plan 1";
constexpr std::string_view kFaults = "fault.only", kOperations = "operations.only";

std::string_view trimmed(std::string_view text) {
  size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::string_view without_comment(std::string_view line) {
  if (line.starts_with('#')) return {};
  size_t mark = std::min(line.find(" #"), line.find("\t#"));
  return trimmed(line.substr(0, mark));
}

class Parser {
 public:
  Result<PlanFile> parse(std::string_view text) {
    bool titled = false;
    for (size_t number = 1; !text.empty(); ++number) {
      size_t end = text.find('\n');
      std::string_view line = without_comment(text.substr(0, end));
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (line.empty()) continue;
      if (!std::exchange(titled, true)) {
        if (line != kTitle) return bad(number, fmt::format("a plan begins with '{}'", kTitle));
        continue;
      }
      if (auto taken = take(line); !taken) return bad(number, taken.error().text);
    }
    if (!titled) return bad(1, "the file is empty");
    if (!seeded_) return bad(1, "no seed");
    for (const auto& [name, selection] : selections_)
      plan_.run.pins.emplace_back(name, selection.text());
    return std::move(plan_);
  }

 private:
  static std::unexpected<Error> bad(size_t line, std::string_view text) {
    return fail(ErrorCode::kInvalid, fmt::format("plan, line {}: {}", line, text));
  }

  Result<> take(std::string_view line) {
    size_t blank = std::min(line.find_first_of(" \t"), line.size());
    std::string_view word = line.substr(0, blank);
    std::string value(trimmed(line.substr(blank)));
    if (value.empty()) return fail(ErrorCode::kInvalid, fmt::format("'{}' needs a value", word));
    if (word == "seed") {
      ASSIGN_OR_RETURN(plan_.run.seed, parse_number(value));
      seeded_ = true;
    } else if (word == "mutant") {
      plan_.run.mutant = value;
    } else if (word == "scenario") {
      plan_.run.scenario = value;
    } else if (word == "faults") {
      plan_.run.faults = value;
    } else if (word == "workload") {
      plan_.run.workload = value;
    } else if (word == "hash") {
      plan_.hash = value;
    } else if (word == "spec") {
      size_t equals = value.find('=');
      if (equals == std::string::npos || equals == 0)
        return fail(ErrorCode::kInvalid, fmt::format("'{}' is not KEY=VALUE", value));
      plan_.run.pins.emplace_back(value.substr(0, equals), value.substr(equals + 1));
    } else if (word == "fault" || word == "operation") {
      ASSIGN_OR_RETURN(Selection more, Selection::parse(value));
      Selection& selection = selections_[word == "fault" ? kFaults : kOperations];
      for (const auto& [name, number] : more.items()) selection.add(name, number);
    } else {
      return fail(
          ErrorCode::kInvalid,
          fmt::format("'{}' is none of seed, mutant, scenario, faults, workload, spec, fault, "
                      "operation, hash",
                      word));
    }
    return {};
  }

  PlanFile plan_;
  bool seeded_ = false;
  std::map<std::string_view, Selection> selections_;
};

bool chooses_operations(const RunOptions& run) {
  return std::any_of(run.pins.begin(), run.pins.end(),
                     [](const auto& pin) { return pin.first == kOperations; });
}

std::string padded(std::string line, const std::string& comment) {
  constexpr size_t kColumn = 30;
  if (line.size() < kColumn) line.resize(kColumn, ' ');
  return line + "  # " + comment + "\n";
}

std::string fault_lines(const RunReport& report) {
  if (!report.fault_log_whole) return "# Too many faults to list: all that are drawn strike.\n";
  if (report.fault_log.empty()) return "fault none\n";
  std::string text;
  for (const FaultRecord& fault : report.fault_log)
    text += padded(fmt::format("fault {}#{}", name_of(fault.kind), fault.number),
                   fmt::format("{:.6f}s {}", double(fault.at.nanos()) / 1e9, fault.text));
  return text;
}

std::string operation_lines(const RunReport& report) {
  std::string text;
  const auto& operations = report.history.operations();
  for (OperationNumber i = 0; i < operations.size(); ++i) {
    if (operations[i].arrival == kNoArrival) continue;
    text += padded(fmt::format("operation c{}#{}", operations[i].host + 1, operations[i].arrival),
                   fmt::format("{:.6f}s {}", double(operations[i].invoked_at.nanos()) / 1e9,
                               report.history.describe(i)));
  }
  return text.empty() ? "operation none\n" : text;
}

}  // namespace

Result<PlanFile> parse_plan(std::string_view text) {
  return Parser().parse(text);
}

std::string write_plan(const RunOptions& run, const RunReport& report) {
  std::string text(kTitle);
  text += "\n# " + report.last_line(run.seed) + "\n";
  if (!report.reason.empty()) text += "# " + report.reason + "\n";
  text += fmt::format("# Replay: kahuna sim --plan FILE\n\nseed {}\n", run.seed);
  if (!run.mutant.empty()) text += "mutant " + run.mutant + "\n";
  if (!run.scenario.empty()) text += "scenario " + run.scenario + "\n";
  if (!run.faults.empty()) text += "faults " + run.faults + "\n";
  if (!run.workload.empty()) text += "workload " + run.workload + "\n";
  std::map<std::string, std::string> pins;  // a later pin of a name counts
  for (const auto& [name, value] : run.pins) pins[name] = value;
  for (const auto& [name, value] : pins)
    if (name != kFaults && name != kOperations) text += fmt::format("spec {}={}\n", name, value);
  text += fmt::format("\n# {}\n{}", report.plan, fault_lines(report));
  if (chooses_operations(run)) text += "\n" + operation_lines(report);
  return text + fmt::format("\nhash {}\n", to_string(report.hash));
}

Selection not_met(const RunOptions& run, const RunReport& report) {
  const Selection struck = report.struck(), issued = report.issued();
  std::map<std::string_view, Selection> missing;  // a later pin of a name counts
  for (const auto& [name, value] : run.pins) {
    if (name != kOperations && (name != kFaults || !report.fault_log_whole)) continue;
    Selection& none = missing[name] = Selection();
    const auto asked = Selection::parse(value);
    if (!asked) continue;
    for (const auto& [item, number] : asked->items())
      if (!(name == kFaults ? struck : issued).has(item, number)) none.add(item, number);
  }
  Selection all;
  for (const auto& each : missing)
    for (const auto& [item, number] : each.second.items()) all.add(item, number);
  return all;
}

std::vector<std::string> arguments_of(const RunOptions& run) {
  std::vector<std::string> words = {"--seed", std::to_string(run.seed)};
  auto put = [&](const char* option, const std::string& value) {
    if (value.empty()) return;
    words.push_back(option);
    words.push_back(value);
  };
  put("--mutant", run.mutant);
  put("--scenario", run.scenario);
  put("--faults", run.faults);
  put("--workload", run.workload);
  std::string pins;
  for (const auto& [name, value] : run.pins)
    pins += fmt::format("{}{}={}", pins.empty() ? "" : ",", name, value);
  put("--spec", pins);
  return words;
}

}  // namespace kahuna::sim
