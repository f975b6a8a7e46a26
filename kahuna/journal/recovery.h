// Reads a journal directory and decides what was in it. Changes nothing on disk.
//
// The rules, and why they hold: format.md, "Recovery".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kahuna/journal/format.h"
#include "kahuna/journal/journal.h"
#include "kahuna/journal/replay.h"
#include "kahuna/journal/segment.h"

namespace kahuna::journal {

struct Recovery {
  uint64_t journal = 0;          // id; 0 = there was no journal
  std::vector<SegmentPtr> used;  // ascending life; they hold the batches before the seal
  std::vector<SegmentPtr> free;  // nothing in them is needed
  // All that was in them is in later ones. Ascending life; the first stays until something newer
  // than the last batch is synced.
  std::vector<SegmentPtr> superseded;
  SegmentPtr last;                     // the one written last; null in an empty journal
  std::vector<std::string> leftovers;  // names of unfinished files, to be removed
  uint32_t next_life = 1, next_file = 1;
  uint64_t oldest_batch = 1;  // where the next recovery must start
  uint32_t oldest_life = 0;   // 0 = at the seal

  // The seal: the batch that opens a new segment and takes the place of the last one found. Its
  // records are already applied to `replay`, as lying in life `next_life`, which its segment gets.
  bool needs_seal = false;  // false only in an empty journal
  uint64_t seal_batch = 1;
  std::vector<std::byte> seal_records;
  // The last batch is whole and nothing lies beyond it: for want of a new segment, appending may
  // go on in `last` behind it, at these positions.
  bool may_go_on = false;
  uint64_t body_next = 0, header_low = 0;
  Replay replay;
};

// Suspends. Errors: kDamaged, kVersion, kIo.
Result<Recovery> recover(Suspend suspend, const SegmentPlace& place, const Options& options);

}  // namespace kahuna::journal
