// From an engine of which a file is damaged to a new one: partitions of which every row reads well
// are copied, the others begin without a state and have it from their leaders (trap 30: damage is a
// matter of a range, not of the node).
//
// On disk, beside the note that the engine is damaged (engine_damage.h):
//   G1 the damaged engine's files are moved to DIR.old; until a marker says that all are there, the
//   move goes on,
//      and nothing else is put into DIR;
//   G2 the new engine in DIR is worth nothing before the note is gone; a crash before that begins
//   the copy again; G3 without the note DIR.old is worth nothing; G4 nothing of it is given up but
//   for damage to itself: while there is no room for a copy, or the disk refuses
//      something else, the node does not start.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kahuna/engine/engine.h"
#include "kahuna/node/node.h"
#include "kahuna/partition/state_machine.h"
#include "runtime/fiber.h"
#include "runtime/host.h"

namespace kahuna::node {

struct Salvage {
  std::unique_ptr<engine::Engine> engine;  // in `dir`
  size_t kept = 0, lost = 0;               // partitions
};

// To be called while the engine is noted as damaged; the note is gone and the new engine flushed
// when it returns well. `partitions`: those to look for; of the others, and of those that are being
// replaced by a snapshot, nothing is kept. Suspends, and blocks the loop while it reads. Errors
// (G4) of the disk and of Options::open_engine, but for kDamaged of the old engine; the text says
// what to do.
Result<Salvage> salvage_engine(Suspend suspend, Host& host, Fibers& fibers, const Options& options,
                               const std::vector<partition::Descriptor>& partitions);
// What a salvage has left behind, if anything.
Result<> remove_salvaged(Suspend suspend, Disk& disk, const std::string& dir);

}  // namespace kahuna::node
