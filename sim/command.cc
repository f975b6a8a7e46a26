#include "sim/command.h"

#include <fmt/core.h>
#include <malloc.h>
#include <signal.h>

#include <chrono>
#include <climits>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "sim/checker.h"
#include "sim/command_campaign.h"
#include "sim/command_options.h"
#include "sim/minimiser.h"
#include "sim/plan_file.h"
#include "sim/report.h"
#include "sim/runner.h"
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

int usage_error(const std::string& text) {
  fmt::print(stderr, "kahuna sim: {}\n", text);
  return kExitUsage;
}

Result<> write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  if (!file) return fail(ErrorCode::kIo, fmt::format("cannot write {}", path));
  return {};
}

bool debugger_attached() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("TracerPid:"))
      return line.substr(10).find_first_not_of(" \t0") != line.npos;
  return false;
}

Result<> write_files(const CommandOptions& options, const RunReport& report) {
  if (!options.history_file.empty())
    RETURN_IF_ERROR(write_file(options.history_file, report.history.to_json_lines()));
  if (!options.report_file.empty())
    RETURN_IF_ERROR(
        write_file(options.report_file,
                   report_page(options.run, report, replay_command(options, options.run.seed))));
  if (!options.write_plan_file.empty())
    RETURN_IF_ERROR(write_file(options.write_plan_file, write_plan(options.run, report)));
  if (options.trace_file.empty()) return {};
  std::string text;
  for (const EventRecord& record : report.records) (text += to_string(record)) += '\n';
  return write_file(options.trace_file, text);
}

// What another process of this program reads (command_campaign.cc).
void print_machine_lines(const CommandOptions& options, const RunReport& report) {
  for (const FaultCount& fault : report.faults)
    fmt::print("! fault {} {} {}\n", fault.kind, int(fault.declared), fault.fired);
  for (const auto& [name, hits] : report.probes) fmt::print("! probe {} {}\n", name, hits);
  if (options.minimize) {
    fmt::print("! struck {}\n", report.fault_log_whole ? report.struck().text() : "");
    fmt::print("! issued {}\n", report.issued().text());
    fmt::print("! faults-from {}\n", report.faults_from.nanos());
    fmt::print("! ended {}\n", report.simulated.nanos());
    fmt::print("! spec {}\n", report.spec);
  }
  if (!options.twin_child) return;
  for (const TraceCheckpoint& checkpoint : report.checkpoints)
    fmt::print("! checkpoint {} {}\n", checkpoint.number, to_string(checkpoint.hash));
  for (const EventRecord& record : report.records) fmt::print("! event {}\n", to_string(record));
}

int status_of(const RunReport& report) {
  switch (report.verdict) {
    case Verdict::kPass: return kExitPass;
    case Verdict::kFail: return kExitFail;
    default: return kExitUnknown;
  }
}

// Memory that a run gives back is soon asked for again: it is kept, since getting pages from the
// kernel, one fault each, took a quarter of the time of an average run.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 4 << 20);
}

int run_one(const CommandOptions& options) {
  keep_freed_memory();
  auto started = std::chrono::steady_clock::now();
  auto result = run_seed(options.run);
  if (!result) return usage_error(result.error().text);
  RunReport& report = *result;
  report.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (auto written = write_files(options, report); !written)
    return usage_error(written.error().text);
  if (options.show_spec) fmt::print("{}\n", report.spec);
  if (options.machine) print_machine_lines(options, report);
  if (report.stopped) {
    fmt::print("stopped after event {} at {:.9f}s\n{}", report.events,
               double(report.simulated.nanos()) / 1e9, report.details);
    return kExitPass;
  }
  if (!report.reason.empty()) fmt::print("{}\n", report.reason);
  if (!report.details.empty()) fmt::print("{}\n", report.details);
  if (report.verdict != Verdict::kPass && !options.machine)
    fmt::print("replay: {}\n", replay_command(options, options.run.seed));
  if (const Selection none = not_met(options.run, report); !none.empty() && !options.machine)
    fmt::print("note: the run had nothing of that name and number: {}\n", none.text());
  if (!options.plan_hash.empty() && options.plan_hash != to_string(report.hash))
    fmt::print(
        "note: the run the plan was written after had another hash, {}: another build, or\n"
        "      other options\n",
        options.plan_hash);
  fmt::print("{}\n", report.last_line(options.run.seed));
  return status_of(report);
}

int check_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  if (!file) return usage_error(fmt::format("cannot read {}", path));
  auto history = History::from_json_lines(content.str());
  if (!history) return usage_error(history.error().text);
  Judgement judgement = check_registers(*history);
  if (judgement.finding != Finding::kViolation) {
    Judgement stamps = check_stamps(*history);
    if (stamps.finding == Finding::kViolation) judgement = stamps;
  }
  if (!judgement.text.empty())
    fmt::print("{}{}\n", judgement.kind.empty() ? "" : judgement.kind + ": ", judgement.text);
  const char* verdict = judgement.finding == Finding::kOk          ? "PASS"
                        : judgement.finding == Finding::kViolation ? "FAIL"
                                                                   : "UNKNOWN";
  fmt::print("{} ops={} checked={} undecided={}\n", verdict, history->counts().invoked,
             judgement.checked, judgement.undecided);
  return judgement.finding == Finding::kOk          ? kExitPass
         : judgement.finding == Finding::kViolation ? kExitFail
                                                    : kExitUnknown;
}

}  // namespace

int run_command(int argc, char** argv) {
  auto options = parse_options(argc, argv);
  if (!options) return usage_error(options.error().text);
  if (options->help) {
    fmt::print("{}", help_text());
    return kExitPass;
  }
  if (options->scenarios) {
    for (const Scenario& scenario : scenarios())
      fmt::print("{:<16} {}\n", scenario.name, scenario.text);
    fmt::print("\nnone, and why:\n");
    for (const Unsteered& none : unsteered()) fmt::print("{:<16} {}\n", none.name, none.why);
    return kExitPass;
  }
  if (!options->check_file.empty()) return check_file(options->check_file);
  if (options->mutants) return run_mutants(*options);
  if (options->twin) return run_twins(*options);
  if (options->seeds) return run_campaign(*options);
  if (options->minimize && !options->machine) return run_minimiser(*options);
  int status = run_one(*options);
  std::fflush(stdout);
  if (options->run.until > 0 && debugger_attached()) raise(SIGTRAP);
  return status;
}

}  // namespace kahuna::sim
