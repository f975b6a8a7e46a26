// `kahuna sim --minimize`: from a run that fails to a plan (plan_file.h) that still fails in the
// same way, with little else in it. Each try is a run in a process of its own.
//
//   M1 every step keeps a violation of the same class: the same judge, the same Raft invariant, the
//      same CHECK (class_of);
//   M2 it ends: after --minimize-limit of wall time, or when nothing can be taken out any more.
//
// In turn, until nothing helps: less time, fewer features (kinds of faults and operations, nodes,
// partitions, loops, …: whatever has a plainest value), fewer faults, fewer operations. Sets are
// reduced by delta debugging (Zeller and Hildebrandt 2002), which works since leaving one element
// out does not shift the others.
#pragma once

#include <string>

#include "sim/command_options.h"

namespace kahuna::sim {

// Prints progress, the violation that is left, and how to replay it. Returns the exit status: that
// of the run.
int run_minimiser(const CommandOptions& options);

// What makes two failures the same, out of a reason: "linearizability", "raft: R6 violated",
// "CHECK failed: a == b".
std::string class_of(const std::string& reason);

}  // namespace kahuna::sim
