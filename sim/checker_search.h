// Linearizability of one key by plain search: the independent second opinion on checker_key.h.
//
// Source: Wing & Gong 1993 (search over the operations that could come next), Lowe 2017 (remember
// the visited pairs of done set and state). Knows nothing about revisions but that each mutation
// adds one; replies without revisions are fine. Exponential in the number of unknown outcomes: for
// small histories and for tests.
#pragma once

#include "sim/checker.h"
#include "sim/checker_key.h"

namespace kahuna::sim {

// kUndecided after `steps_max` steps.
Finding search_key(const History& history, const KeyHistory& key, uint64_t steps_max);

}  // namespace kahuna::sim
