// The options of `kahuna sim`, parsed. docs/simulation.md explains them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "sim/runner.h"
#include "sim/spec.h"

namespace kahuna::sim {

struct CommandOptions {
  RunOptions run;
  std::optional<NumberRange> seeds;
  size_t jobs = 0;          // 0 = one per processor
  bool twin_child = false;  // of --twin: print checkpoints and events
  bool twin = false, mutants = false, coverage = false, scenarios = false, help = false,
       machine = false;
  uint64_t max_seeds = 1000;    // --mutants
  uint64_t wall_limit_s = 600;  // per run
  bool minimize = false;
  Duration minimize_limit = Duration::seconds(300);  // of wall time
  std::string history_file, trace_file, check_file, catalogue;
  std::string plan_file;  // the run was read from it
  std::string plan_hash;  // ... and should have this hash; "" = not said
  std::string write_plan_file, report_file;
  bool show_spec = false;

  // What must be passed on so that another process runs the same thing, seed apart.
  std::vector<std::string> pass_on;
};

Result<CommandOptions> parse_options(int argc, char** argv);
const char* help_text();

}  // namespace kahuna::sim
