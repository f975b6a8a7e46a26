// One random run of a small cluster, everything drawn from a seed: which faults exist, how often,
// and what happens next. Ends with a healed cluster that must make progress.
#pragma once

#include <cstdint>
#include <string>

namespace kahuna::raft::testing {

struct RunResult {
  std::string violation;  // of safety; empty when none
  bool stalled = false;   // the healed cluster did not elect, commit and converge
  uint64_t steps = 0;
  uint64_t committed = 0;
  uint64_t elections = 0;
  uint64_t reads = 0;
  uint64_t terms = 0;
  uint64_t installs = 0;  // snapshots
  uint64_t rotten = 0;    // entries lost by disks
  uint64_t repairs = 0;   // ... and written again in their place
  uint64_t changes = 0;   // of members, begun
  uint64_t quiet = 0;     // replicas found quiet after a while of silence
};

RunResult run_seed(uint64_t seed);

}  // namespace kahuna::raft::testing
