// `kahuna server`: one node on one production loop, until it is told to stop or cannot go on.
#pragma once

#include "kahuna/cli/options.h"

namespace kahuna {

// Returns the exit status: 0 after SIGINT or SIGTERM, 1 when the node could not start or go on. One
// that stopped to set up its store anew is started again in place of this process
// (Node::renews_engine).
int run_server(const cli::ServerOptions& options);

}  // namespace kahuna
