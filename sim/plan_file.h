// A run as a file: what a person reads, changes and replays, and what the minimiser leaves.
// docs/simulation.md shows one.
//
//   kahuna sim plan 1
//   seed 533
//   mutant vote_twice              as --mutant; likewise `faults`, `workload`, `scenario`
//   spec nodes=3                   a pinned choice each; all others are drawn from the seed
//   fault crash#3                  the faults of the time line that strike, by kind and number;
//   fault none                     ... none; without such a line: all that are drawn
//   operation c1#17                the arrivals of clients that become operations; likewise
//   hash 1723…                     of the run the plan was written after
//
// What follows a `#` with a blank before it is for people.
//
//   L1 parse(write(run)) is the same run, event by event: numbers name streams, and leaving one
//      out does not shift the others (FaultPlan F1, workload O1).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/runner.h"

namespace kahuna::sim {

struct PlanFile {
  RunOptions run;
  std::string hash;  // "" = not said
};

// kInvalid names the line.
Result<PlanFile> parse_plan(std::string_view text);
// The plan of a run that ended: the run's options and, of its faults, those that struck. Its
// operations are listed only when the options already chose among them.
std::string write_plan(const RunOptions& run, const RunReport& report);

// Faults and operations that the run was told to have (as a plan tells it) and that it had not.
Selection not_met(const RunOptions& run, const RunReport& report);

// The options as arguments of `kahuna sim`, each word by itself.
std::vector<std::string> arguments_of(const RunOptions& run);

}  // namespace kahuna::sim
