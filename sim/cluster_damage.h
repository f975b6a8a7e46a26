// Damage to what was durable, made where it hurts: the newest batch of a node's journal rots while
// the node is down. At most one node of a run is hit, so every entry keeps a majority of intact
// copies (reference: traps 21 and 22).
#pragma once

#include "runtime/random.h"
#include "sim/sim_disk.h"

namespace kahuna::sim {

// Flips one bit in the body of the newest batch found in one of the node's journals. False when there
// is none.
bool rot_journal_tail(SimDisk& disk, RandomStream& random);

}  // namespace kahuna::sim
