// `kahuna completion bash`.
#pragma once

namespace kahuna::cli {

// Prints a script to source; returns the exit status.
int print_bash_completion();

}  // namespace kahuna::cli
