// The command line to options. The only user of CLI11.
#pragma once

#include <expected>

#include "kahuna/cli/options.h"

namespace kahuna::cli {

// Precedence of the server's settings: flag, then KAHUNA_* environment, then the --config file.
// On help or an error it has printed what there is to say; the error is the exit status.
std::expected<Invocation, int> parse(int argc, char** argv);

}  // namespace kahuna::cli
