#include "sim/cluster_damage.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>

#include "runtime/probe.h"
#include "sim/sim_disk_inode.h"

namespace kahuna::sim {
namespace {

constexpr uint64_t kUnwrittenMax = 256;  // sectors in a row, after which a body zone has ended

struct Place {
  std::string path;
  uint64_t offset = 0;
  uint64_t batch = 0;
};

// The written sectors of a journal.
struct Sectors {
  uint64_t newest = 0;         // batch
  std::vector<Place> tail;     // of its body
  std::vector<Place> bodies;   // of every batch
  std::vector<Place> headers;  // of every batch
  std::vector<Place> heads;    // of segments
};

std::optional<journal::SegmentHeader> header_of(Inode& file) {
  std::array<std::byte, journal::kSectorBytes> sector;
  if (!SimDisk::peek(file, 0, sector)) return std::nullopt;
  auto header = journal::decode_segment_header(sector);
  if (!header) return std::nullopt;
  return *header;
}

// From both ends of the segment, as far as batches reach.
void look(SimDisk& disk, const std::string& path, Sectors& found) {
  auto file = disk.open(path, OpenOptions{});
  if (!file) return;
  auto header = header_of(**file);
  if (!header) return;
  found.heads.push_back({path, 0});
  found.heads.push_back({path, journal::kBodyZone / 2});
  std::array<std::byte, journal::kSectorBytes> sector;
  auto take = [&](uint64_t offset, journal::Zone zone) {
    if (!SimDisk::peek(**file, offset, sector)) return false;
    journal::Sector seen = journal::inspect_sector(header->id, offset, sector);
    if (seen.state != journal::SectorState::kWritten || seen.zone != zone) return false;
    const Place place{path, offset, seen.batch};
    (zone == journal::Zone::kHeader ? found.headers : found.bodies).push_back(place);
    if (zone == journal::Zone::kHeader || seen.batch < found.newest) return true;
    if (seen.batch > found.newest) found.tail.clear();
    found.newest = seen.batch;
    found.tail.push_back(place);
    return true;
  };
  uint64_t unwritten = 0;
  for (uint64_t at = journal::kBodyZone; unwritten < kUnwrittenMax && at < header->bytes;
       at += journal::kSectorBytes)
    unwritten = take(at, journal::Zone::kBody) ? 0 : unwritten + 1;
  unwritten = 0;
  for (uint64_t at = header->bytes; unwritten < kUnwrittenMax && at > journal::kBodyZone;)
    unwritten = take(at -= journal::kSectorBytes, journal::Zone::kHeader) ? 0 : unwritten + 1;
}

// What the header of that body's batch says is in it; nothing when the header is not whole.
std::optional<std::vector<journal::RangeItem>> ranges_of(SimDisk& disk, const Sectors& found,
                                                         const Place& body) {
  journal::HeaderItems items;
  size_t parts = 0, seen = 0;
  for (const Place& place : found.headers) {
    if (place.batch != body.batch || place.path != body.path) continue;
    auto file = disk.open(place.path, OpenOptions{});
    std::array<std::byte, journal::kSectorBytes> sector;
    if (!file || !SimDisk::peek(**file, place.offset, sector)) return std::nullopt;
    auto slot = journal::decode_slot(sector, &items);
    if (!slot) return std::nullopt;
    parts = slot->parts;
    ++seen;
  }
  if (seen == 0 || seen != parts) return std::nullopt;
  return std::move(items.ranges);
}

// A node has a journal for each of its event loops.
Sectors look_at_one(SimDisk& disk, RandomStream& random) {
  std::vector<std::string> journals;
  Sectors found;
  auto top = disk.list("");
  if (!top) return found;
  for (const std::string& name : *top)
    if (is_journal_path(name)) journals.push_back(name);
  if (journals.empty()) return found;
  const std::string& dir = journals[journals.size() == 1 ? 0 : random.below(journals.size())];
  auto names = disk.list(dir);
  if (!names) return found;
  for (const std::string& name : *names)
    if (journal::parse_segment_name(name)) look(disk, dir + "/" + name, found);
  return found;
}

std::string text_of(const Place& place) { return fmt::format("{} at {}", place.path, place.offset); }

}  // namespace

std::optional<std::string> damage_journal(SimDisk& disk, RandomStream& random,
                                          const JournalDamage& damage) {
  Sectors found = look_at_one(disk, random);
  uint64_t where = damage.newest ? 0 : random.below(20);
  if (damage.may_lose) {
    const std::vector<Place>& places = where < 9 ? found.tail : found.bodies;
    if (places.empty()) return std::nullopt;
    const Place& place = places[random.below(places.size())];
    auto lost = ranges_of(disk, found, place);
    if (!lost || !damage.may_lose(*lost)) return std::nullopt;
    if (!disk.rot(place.path, place.offset + random.below(journal::kSectorPayload))) return std::nullopt;
    return text_of(place);
  }
  std::vector<Place> others = found.bodies;
  others.insert(others.end(), found.headers.begin(), found.headers.end());
  const std::vector<Place>& places = where < 9 ? found.tail : where < 19 ? others : found.heads;
  if (places.empty()) return std::nullopt;
  const Place& place = places[random.below(places.size())];
  if (damage.how == Damage::kUnreadable || (damage.how == Damage::kAny && random.chance(1, 4))) {
    SOMETIMES(sim_journal_sector_unreadable);
    if (!disk.lose_sector(place.path, place.offset)) return std::nullopt;
  } else if (!disk.rot(place.path, place.offset + random.below(journal::kSectorPayload))) {
    return std::nullopt;
  }
  return text_of(place);
}

bool lose_newest_batch(SimDisk& disk, RandomStream& random) {
  Sectors found = look_at_one(disk, random);
  for (const Place& place : found.headers) found.newest = std::max(found.newest, place.batch);
  bool any = false;
  for (const auto* places : {&found.bodies, &found.headers})
    for (const Place& place : *places)
      if (place.batch == found.newest)
        any |= disk.rot(place.path, place.offset + random.below(journal::kSectorPayload)).has_value();
  return any;
}

std::optional<std::string> damage_engine(SimDisk& disk, RandomStream& random, Damage how) {
  auto names = disk.list("engine");
  if (!names || names->empty()) return std::nullopt;
  Place place{"engine/" + (*names)[random.below(names->size())], 0, 0};
  auto file = disk.open(place.path, OpenOptions{});
  if (!file || (*file)->size == 0) return std::nullopt;
  place.offset = random.below((*file)->size);
  auto done = how == Damage::kUnreadable ? disk.lose_sector(place.path, place.offset)
                                         : disk.rot(place.path, place.offset);
  if (!done) return std::nullopt;
  return text_of(place);
}

bool is_written_journal_sector(SimDisk& disk, const std::string& path, uint64_t offset, ByteView sector) {
  if (offset < journal::kBodyZone) return false;
  auto file = disk.open(path, OpenOptions{});
  if (!file) return false;
  auto header = header_of(**file);
  return header && journal::inspect_sector(header->id, offset, sector).state == journal::SectorState::kWritten;
}

}  // namespace kahuna::sim
