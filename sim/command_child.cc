#include "sim/command_child.h"

#include <fmt/core.h>

#include <cstdlib>
#include <sstream>

#include "sim/command.h"

namespace kahuna::sim {

Job child_job(const CommandOptions& options, uint64_t seed, const std::vector<std::string>& more) {
  Job job;
  job.arguments = {"sim", "--machine", "--seed", std::to_string(seed)};
  job.arguments.insert(job.arguments.end(), options.pass_on.begin(), options.pass_on.end());
  job.arguments.insert(job.arguments.end(), more.begin(), more.end());
  return job;
}

namespace {

void parse_machine_line(std::istringstream& line, ChildReport& report) {
  std::string what;
  line >> what;
  if (what == "fault") {
    FaultCount fault;
    int declared = 0;
    line >> fault.kind >> declared >> fault.fired;
    fault.declared = declared != 0;
    report.faults.push_back(fault);
  } else if (what == "probe") {
    std::pair<std::string, uint64_t> probe;
    line >> probe.first >> probe.second;
    report.probes.push_back(probe);
  } else if (what == "checkpoint") {
    std::pair<uint64_t, std::string> checkpoint;
    line >> checkpoint.first >> checkpoint.second;
    report.checkpoints.push_back(checkpoint);
  } else if (what == "event") {
    std::string text;
    std::getline(line >> std::ws, text);
    report.event_lines.push_back(text);
  } else if (what == "struck") {
    line >> report.struck;
  } else if (what == "issued") {
    line >> report.issued;
  } else if (what == "faults-from") {
    line >> report.faults_from_ns;
  } else if (what == "ended") {
    line >> report.ended_ns;
  } else if (what == "spec") {
    std::getline(line >> std::ws, report.spec);
  }
}

bool parse_last_line(const std::string& text, ChildReport& report) {
  std::istringstream line(text);
  std::string verdict;
  line >> verdict;
  if (verdict == "PASS")
    report.verdict = Verdict::kPass;
  else if (verdict == "FAIL")
    report.verdict = Verdict::kFail;
  else if (verdict == "UNKNOWN")
    report.verdict = Verdict::kUnknown;
  else
    return false;
  std::map<std::string, std::string> fields;
  for (std::string field; line >> field;) {
    size_t equals = field.find('=');
    if (equals != std::string::npos) fields[field.substr(0, equals)] = field.substr(equals + 1);
  }
  if (!fields.contains("seed") || !fields.contains("hash")) return false;
  report.hash = fields["hash"];
  report.events = std::strtoull(fields["events"].c_str(), nullptr, 10);
  report.operations = std::strtoull(fields["ops"].c_str(), nullptr, 10);
  report.fault_count = std::strtoull(fields["faults"].c_str(), nullptr, 10);
  report.simulated_s = std::strtod(fields["sim"].c_str(), nullptr);
  report.wall_s = std::strtod(fields["wall"].c_str(), nullptr);
  report.last_line = text;
  return true;
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// The line of standard error that says why a process died.
std::string cause_of_death(const JobResult& result) {
  if (result.timed_out) return "hung: it took longer than --wall-limit";
  std::string how = result.status > 128 ? fmt::format("died of signal {}", result.status - 128)
                                        : fmt::format("exited with {}", result.status);
  if (result.err.empty()) return how;
  size_t at = result.err.find("CHECK");
  if (at == std::string::npos) at = result.err.find("ERROR: ");
  return how + ": " + first_line(result.err.substr(at == std::string::npos ? 0 : at));
}

}  // namespace

ChildReport parse_child(const JobResult& result) {
  ChildReport report;
  std::istringstream lines(result.out);
  std::string previous;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("! ")) {
      std::istringstream rest(line.substr(2));
      parse_machine_line(rest, report);
      continue;
    }
    report.text += line + "\n";
    previous = line;
  }
  bool ended = !result.timed_out && result.status <= kExitUnknown && result.status != kExitUsage &&
               parse_last_line(previous, report);
  report.usage = result.status == kExitUsage && !result.timed_out;
  if (!ended) {
    report.verdict = Verdict::kFail;
    report.last_line.clear();
    report.reason = cause_of_death(result);
    report.text += result.err;
    return report;
  }
  if (report.verdict != Verdict::kPass) report.reason = first_line(report.text);
  return report;
}

}  // namespace kahuna::sim
