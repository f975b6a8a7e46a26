// Damage to what was durable, in a node's journals or its engine, while the node is down. The cluster does it to a
// minority of the nodes only, so every entry keeps intact copies on the others (reference: traps 21
// and 22).
#pragma once

#include "runtime/random.h"
#include "sim/sim_disk.h"

namespace kahuna::sim {

// Damages one sector of one of the node's journals, mostly of a written one: its newest batch, any
// batch's body or header, or the segment's own header. A bit is flipped, or the sector cannot be read
// any more. False when there is no journal.
// `newest`: always the body of the newest batch.
bool damage_journal(SimDisk& disk, RandomStream& random, bool newest = false);

// Flips a bit in one of the files of the node's engine. False when there is none.
bool damage_engine(SimDisk& disk, RandomStream& random);

}  // namespace kahuna::sim
