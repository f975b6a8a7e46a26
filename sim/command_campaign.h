// `kahuna sim` over many runs, each in a process of its own: campaigns, twins, mutants.
#pragma once

#include <string>

#include "sim/command_options.h"

namespace kahuna::sim {

// Each prints a summary line last and returns the exit status.
int run_campaign(const CommandOptions& options);
int run_twins(const CommandOptions& options);
int run_mutants(const CommandOptions& options);

// The line to paste that runs this seed again, in sight.
std::string replay_command(const CommandOptions& options, uint64_t seed);

}  // namespace kahuna::sim
