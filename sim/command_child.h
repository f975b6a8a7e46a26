// One run in a process of its own, and what it printed, parsed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sim/command_options.h"
#include "sim/runner_pool.h"

namespace kahuna::sim {

struct ChildReport {
  Verdict verdict = Verdict::kFail;
  std::string reason;     // one line; "" in a pass
  std::string text;       // everything it said, but for machine lines
  std::string last_line;  // "" when it died
  std::string hash;
  uint64_t events = 0, operations = 0, fault_count = 0;
  double simulated_s = 0, wall_s = 0;
  std::vector<FaultCount> faults;
  std::vector<std::pair<std::string, uint64_t>> probes;
  std::vector<std::pair<uint64_t, std::string>> checkpoints;
  std::vector<std::string> event_lines;
  // Asked for by --minimize.
  std::string struck, issued;  // Selections
  std::string spec;
  int64_t faults_from_ns = 0, ended_ns = 0;
  bool usage = false;  // the options were refused
};

Job child_job(const CommandOptions& options, uint64_t seed,
              const std::vector<std::string>& more = {});
ChildReport parse_child(const JobResult& result);

}  // namespace kahuna::sim
