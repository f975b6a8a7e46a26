#include "sim/cluster_damage.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
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

// What a write of a batch's body or header says; nothing when it is of neither, or only the rest of
// one.
struct Batch {
  uint64_t number = 0;
  uint32_t oldest_life = 0;  // lower lives are free
};
std::optional<Batch> batch_of(const journal::SegmentId& id, ByteView write) {
  for (; write.size() >= journal::kSectorBytes; write = write.subspan(journal::kSectorBytes)) {
    const ByteView sector = write.first(journal::kSectorBytes);
    const journal::Sector seen = journal::inspect_sector(id, 0, sector);
    if (seen.batch == 0) continue;
    if (seen.zone == journal::Zone::kHeader) {
      if (auto slot = journal::decode_slot(sector, nullptr))
        return Batch{seen.batch, slot->oldest_life};
    } else if (seen.first) {
      journal::Preamble preamble;
      std::memcpy(&preamble, sector.data(), sizeof(preamble));
      return Batch{seen.batch, preamble.oldest_life};
    }
  }
  return std::nullopt;
}

// The first batch in a segment; 0: there is none yet; nothing: damage keeps it from being known.
std::optional<uint64_t> first_batch_of(Inode& file, const journal::SegmentHeader& header) {
  bool unwritten = true;
  std::array<std::byte, journal::kSectorBytes> sector;
  for (uint64_t at : {journal::kBodyZone, header.bytes - journal::kSectorBytes}) {
    if (!SimDisk::peek(file, at, sector)) return std::nullopt;
    const journal::Sector seen = journal::inspect_sector(header.id, at, sector);
    if (seen.state == journal::SectorState::kWritten) return seen.batch;
    unwritten &= seen.state == journal::SectorState::kUnwritten;
  }
  return unwritten ? std::optional<uint64_t>(0) : std::nullopt;
}

// Something misdirected lies in that page, by which alone its loss elsewhere may be known.
bool has_a_write_astray(SimDisk& disk, const Place& place) {
  auto file = disk.open(place.path, OpenOptions{});
  auto header = file ? header_of(**file) : std::nullopt;
  std::array<std::byte, journal::kSectorBytes> sector;
  const uint64_t page = place.offset / kPageBytes * kPageBytes;
  for (uint64_t at = page; header && at < page + kPageBytes; at += journal::kSectorBytes)
    if (SimDisk::peek(**file, at, sector) &&
        journal::inspect_sector(header->id, at, sector).state == journal::SectorState::kForeign)
      return true;
  return false;
}

std::string text_of(const Place& place) {
  return fmt::format("{} at {}", place.path, place.offset);
}

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
    if (!disk.rot(place.path, place.offset + random.below(journal::kSectorPayload)))
      return std::nullopt;
    return text_of(place);
  }
  std::vector<Place> others = found.bodies;
  others.insert(others.end(), found.headers.begin(), found.headers.end());
  const std::vector<Place>& places = where < 9 ? found.tail : where < 19 ? others : found.heads;
  if (places.empty()) return std::nullopt;
  const Place& place = places[random.below(places.size())];
  if (damage.how == Damage::kUnreadable || (damage.how == Damage::kAny && random.chance(1, 4))) {
    if (has_a_write_astray(disk, place)) return std::nullopt;
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
        any |=
            disk.rot(place.path, place.offset + random.below(journal::kSectorPayload)).has_value();
  return any;
}

void remove_journals(SimDisk& disk) {
  auto top = disk.list("");
  if (!top) return;
  for (const std::string& dir : *top) {
    auto names = is_journal_path(dir) ? disk.list(dir) : Result<std::vector<std::string>>();
    if (!names || names->empty()) continue;
    for (const std::string& name : *names) CHECK(disk.remove(dir + "/" + name).has_value());
    CHECK(disk.sync_dir(dir).has_value());
  }
}

bool damage_identity(SimDisk& disk, uint64_t at) {
  auto file = disk.open("identity", OpenOptions{});
  return file && SimDisk::size(**file) > 0 &&
         disk.rot("identity", at % SimDisk::size(**file)).has_value();
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

bool is_written_journal_sector(SimDisk& disk, const std::string& path, uint64_t offset,
                               ByteView sector) {
  if (offset < journal::kBodyZone) return false;
  auto file = disk.open(path, OpenOptions{});
  if (!file) return false;
  auto header = header_of(**file);
  return header && journal::inspect_sector(header->id, offset, sector).state ==
                       journal::SectorState::kWritten;
}

std::set<std::string> lasting_segments(SimDisk& disk, const std::string& path, ByteView write) {
  auto own = disk.open(path, OpenOptions{});
  auto header = own ? header_of(**own) : std::nullopt;
  auto batch = header ? batch_of(header->id, write) : std::nullopt;
  auto first = batch ? first_batch_of(**own, *header) : std::nullopt;
  if (!first) return {};
  std::map<uint32_t, std::pair<std::string, std::optional<uint64_t>>> older;  // by life
  const std::string dir = path.substr(0, path.rfind('/'));
  auto names = disk.list(dir);
  if (!names) return {};
  for (const std::string& name : *names) {
    auto file = disk.open(dir + "/" + name, OpenOptions{});
    auto its = file && journal::parse_segment_name(name) ? header_of(**file) : std::nullopt;
    if (its && its->id.life >= batch->oldest_life && its->id.life < header->id.life)
      older[its->id.life] = {dir + "/" + name, first_batch_of(**file, *its)};
  }
  std::set<std::string> found{path};
  uint64_t taken =
      *first != 0 ? *first : batch->number;  // from there on later segments replace older ones
  for (auto it = older.rbegin(); it != older.rend() && it->second.second; ++it) {
    const uint64_t its = *it->second.second;
    if (its == 0 || its >= taken) continue;
    found.insert(it->second.first);
    taken = its;
  }
  return found;
}

}  // namespace kahuna::sim
