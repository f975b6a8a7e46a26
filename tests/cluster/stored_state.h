// What is in the engine of a stopped node.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kahuna::testing {

// Rows as they are on disk, ascending and whole, but for what two replicas of one state may do
// differently: of each position the newest record only (compaction drops the others at its own
// time), and of operations one row each (the engine's hold as many as were saved at a time), but
// for those below the floor, which go a row at a time. Not: what says how far the log was applied.
// CHECKs on an engine that does not open.
std::vector<std::string> stored_state(const std::string& directory);

}  // namespace kahuna::testing
