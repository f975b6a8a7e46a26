// Reads a journal directory and decides what was in it. Changes nothing on disk.
//
// The rules, and why they hold: format.md, "Recovery".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kahuna/journal/format.h"
#include "kahuna/journal/replay.h"
#include "kahuna/journal/segment.h"

namespace kahuna::journal {

struct Recovery {
  uint64_t journal = 0;            // id; 0 = there was no journal
  std::vector<SegmentPtr> used;    // ascending life, positions set; the last one was written last
  std::vector<SegmentPtr> free;    // nothing in them is needed
  std::vector<SegmentPtr> retired;  // not needed once the seal is synced
  std::vector<std::string> leftovers;  // names of unfinished files, to be removed
  uint64_t next_batch = 1;
  uint32_t next_life = 1, next_file = 1;
  uint64_t oldest_batch = 1;       // where the next recovery must start
  uint32_t oldest_life = 0;        // 0 = at the next segment that is begun
  // The last batch is whole and nothing lies beyond it: appending may continue in used.back().
  // Otherwise a seal must open another segment.
  bool clean = false;
  // For the seal: what its records must say of a last batch whose body is lost. Already applied to
  // `replay`, as lying in life `next_life`, which the seal's segment must therefore get.
  std::vector<std::byte> seal_records;
  Replay replay;
};

// Suspends. Errors: kDamaged, kVersion, kIo.
Result<Recovery> recover(Suspend suspend, const SegmentPlace& place, bool distrust_tears);

}  // namespace kahuna::journal
