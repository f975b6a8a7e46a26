// `kahuna local`: a cluster of server processes on this machine, in the foreground.
//
// 1. Nodes are children of this process and die with it, however it dies.
// 2. DIR/n1, DIR/n2, … are the nodes' directories and logs; DIR/local.toml says how the cluster was
//    made, so that a later run starts the same one.
// 3. A node that dies is reported and stays dead; the others go on.
#pragma once

#include "kahuna/cli/options.h"
#include "kahuna/cli/world.h"

namespace kahuna::cli {

int run_verb(World& world, const ConnectOptions& connect, const LocalOptions& options);

}  // namespace kahuna::cli
