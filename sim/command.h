// The verb `kahuna sim`: options, what is printed, exit statuses.
#pragma once

namespace kahuna::sim {

inline constexpr int kExitPass = 0;
inline constexpr int kExitFail = 1;     // a violation; a twin mismatch; a surviving mutant
inline constexpr int kExitUsage = 2;    // ... or an UNKNOWN verdict: see kExitUnknown
inline constexpr int kExitUnknown = 3;  // nothing was violated, and nothing was shown either

// argv[0] is the verb. Returns the exit status.
int run_command(int argc, char** argv);

}  // namespace kahuna::sim
