// `kahuna bench`: load on a running cluster, and how long each operation took.
//
// Closed loop: connections x pipeline operations are always in flight. Open loop (--rate):
// operation i starts at its scheduled instant, start + i / rate, and its latency counts from that
// instant even when it had to wait for a free slot; so a stall shows in every operation it delayed.
#pragma once

#include "kahuna/cli/options.h"
#include "kahuna/cli/world.h"

namespace kahuna::cli {

int run_verb(World& world, const ConnectOptions& connect, const BenchOptions& options);

}  // namespace kahuna::cli
