// Joins what a journal and an engine say about one replica into what the replica starts from.
#pragma once

#include <vector>

#include "kahuna/raft/replica.h"

namespace kahuna::raft {

// `stored` is what the journal returned: contiguous, of any start, possibly empty; `faulty` goes on
// behind it, when the journal has lost entries (raft/repair.h). `commit` is the highest commit
// index it noted. `applied` is the engine's position (kFoundingBase for an engine that has
// nothing).
//
// The caller adds the configuration that is in force at `applied`.
//
// The result is well formed (Replica's constructor CHECKs it). The base is the oldest position
// whose term is known, so that as much as possible can still be sent to a replica that lags; when
// the engine is ahead of the journal, or the journal contradicts it at the applied index, the base
// is the engine's position and nothing follows (trap 26); then the journal must be cut there before
// it is used.
//
// Stateless when the journal begins behind the engine's position: the engine has lost its state,
// for the journal is released only behind what was flushed. Log and vote are whole; the base is the
// first position that the journal holds, which was applied once. The state must come from another
// replica.
//
// Lost entries up to `applied` need no repair: what they did is in the engine. They are as if
// compacted, with all before them.
Recovered recover(HardState hard_state, std::vector<Entry> stored, Index commit,
                  LogPosition applied, std::vector<TailEntry> faulty = {});

}  // namespace kahuna::raft
