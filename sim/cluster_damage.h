// Damage to what was durable, in a node's journals or its engine. What may be damaged is the
// atlas's to say (fault_atlas.h; reference: traps 21, 22, 44).
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kahuna/journal/format.h"
#include "runtime/random.h"
#include "sim/sim_disk.h"

namespace kahuna::sim {

enum class Damage : uint8_t {
  kAny,         // a bit flips, or (one in four) the sector cannot be read any more
  kRot,         // a bit flips
  kUnreadable,  // the sector cannot be read until it is written again
};

struct JournalDamage {
  Damage how = Damage::kAny;
  // Always the body of the newest batch.
  bool newest = false;
  // Given: a bit of the body of a batch whose header is whole and says which entries are lost with
  // it; only when this agrees to lose them.
  std::function<bool(const std::vector<journal::RangeItem>&)> may_lose;
};

// Damages one sector of one of the node's journals, mostly of a written one: its newest batch, any
// batch's body or header, or the segment's own header. Where it was; nothing when there is no such
// place.
std::optional<std::string> damage_journal(SimDisk& disk, RandomStream& random,
                                          const JournalDamage& damage = {});

// A bit flips in every sector of the newest batch, body and header. False when there is none.
bool lose_newest_batch(SimDisk& disk, RandomStream& random);

// Removes the files of all journals, for good.
void remove_journals(SimDisk& disk);

// A bit flips in what the directory says about itself. False when it says nothing.
bool damage_identity(SimDisk& disk, uint64_t at);

// The same to one of the files of the node's engine, wherever in it.
std::optional<std::string> damage_engine(SimDisk& disk, RandomStream& random,
                                         Damage how = Damage::kRot);

// The sector belongs where it is in one of the node's journals: written in this life of its
// segment.
bool is_written_journal_sector(SimDisk& disk, const std::string& path, uint64_t offset,
                               ByteView sector);

// The segments of a journal where a write to one of them, `path`, would be found until a later
// batch is begun: its own and those that its batch still needs; others may be removed by then. None
// for a write that does not begin with a batch's body or header.
std::set<std::string> lasting_segments(SimDisk& disk, const std::string& path, ByteView write);

inline bool is_journal_path(std::string_view path) {
  return path.starts_with("journal");
}
inline bool is_engine_path(std::string_view path) {
  return path.starts_with("engine/") || path.starts_with("engine.old/");
}

}  // namespace kahuna::sim
