// An engine whose files are damaged is not mended but set up anew: the log and the other nodes have
// what it held. A file beside its directory says so from the moment the damage was found until the
// new engine is open, so that nothing of the old one is believed after a crash in between.
#pragma once

#include <string>

#include "runtime/fiber.h"
#include "runtime/host.h"

namespace kahuna::node {

Result<bool> is_engine_damaged(Suspend suspend, Disk& disk);
// Durable when it returns; fine if it was noted before.
Result<> note_damaged_engine(Suspend suspend, Disk& disk);
Result<> forget_damaged_engine(Suspend suspend, Disk& disk);
// Whether the directory says that some partition's state is, or was, in this node's engine alone:
// from the time when it was the only member until all partitions have other voters.
Result<bool> is_only_copy(Suspend suspend, Disk& disk);
// Durable when it returns.
Result<> note_only_copy(Suspend suspend, Disk& disk, bool only);
// Removes the files in `dir`; what is left after a crash opens as an older state, or not at all.
Result<> remove_engine(Suspend suspend, Disk& disk, const std::string& dir);

}  // namespace kahuna::node
