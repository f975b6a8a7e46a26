// The second phase: a healed quorum, everything else frozen, must serve.
//
//   1. the clients stop asking and hear how their operations ended;
//   2. a new write is acknowledged in every partition;
//   3. every key that any client named is read (so a lost write cannot hide);
//   4. the healed replicas apply the same and hold the same rows.
// Each step has a bound in virtual time, which starts anew with every operation that completes: a
// minute, beyond the time after which the simulated network tells a sender that its peer is gone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/cluster.h"
#include "sim/world.h"

namespace kahuna::sim {

// `core`: the healed nodes. The violation, if there is one; none as well when the world was stopped
// on the way (see Cluster::violation and World::stopped).
std::optional<Violation> run_liveness(World& world, Cluster& cluster, WorkloadState& workload,
                                      const std::vector<size_t>& core, Duration give_up_max);

}  // namespace kahuna::sim
