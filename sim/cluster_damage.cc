#include "sim/cluster_damage.h"

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/journal/format.h"
#include "runtime/probe.h"
#include "sim/sim_disk_inode.h"

namespace kahuna::sim {
namespace {

constexpr uint64_t kUnwrittenMax = 256;  // sectors in a row, after which a body zone has ended

struct Place {
  std::string path;
  uint64_t offset = 0;
};

// The written sectors of a journal.
struct Sectors {
  uint64_t newest = 0;        // batch
  std::vector<Place> tail;    // of its body
  std::vector<Place> others;  // of every batch, bodies and headers
  std::vector<Place> heads;   // of segments
};

bool read_sector(SimDisk& disk, Inode& file, uint64_t offset, MutableByteView into) {
  auto got = disk.read(file, offset, into);
  return got && *got == into.size();
}

// From both ends of the segment, as far as batches reach.
void look(SimDisk& disk, const std::string& path, Sectors& found) {
  auto file = disk.open(path, OpenOptions{});
  if (!file) return;
  std::array<std::byte, journal::kSectorBytes> sector;
  if (!read_sector(disk, **file, 0, sector)) return;
  auto header = journal::decode_segment_header(sector);
  if (!header) return;
  found.heads.push_back({path, 0});
  found.heads.push_back({path, journal::kBodyZone / 2});
  auto take = [&](uint64_t offset, journal::Zone zone) {
    if (!read_sector(disk, **file, offset, sector)) return false;
    journal::Sector seen = journal::inspect_sector(header->id, offset, sector);
    if (seen.state != journal::SectorState::kWritten || seen.zone != zone) return false;
    found.others.push_back({path, offset});
    if (zone == journal::Zone::kHeader || seen.batch < found.newest) return true;
    if (seen.batch > found.newest) found.tail.clear();
    found.newest = seen.batch;
    found.tail.push_back({path, offset});
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

}  // namespace

bool damage_journal(SimDisk& disk, RandomStream& random, bool newest) {
  // A node has a journal for each of its event loops.
  std::vector<std::string> journals;
  auto top = disk.list("");
  if (!top) return false;
  for (const std::string& name : *top)
    if (name.starts_with("journal")) journals.push_back(name);
  if (journals.empty()) return false;
  const std::string& dir = journals[journals.size() == 1 ? 0 : random.below(journals.size())];
  auto names = disk.list(dir);
  if (!names) return false;
  Sectors found;
  for (const std::string& name : *names)
    if (journal::parse_segment_name(name)) look(disk, dir + "/" + name, found);
  uint64_t where = newest ? 0 : random.below(20);
  const std::vector<Place>& places = where < 9 ? found.tail : where < 19 ? found.others : found.heads;
  if (places.empty()) return false;
  const Place& place = places[random.below(places.size())];
  if (random.chance(1, 4)) {
    SOMETIMES(sim_journal_sector_unreadable);
    return disk.lose_sector(place.path, place.offset).has_value();
  }
  return disk.rot(place.path, place.offset + random.below(journal::kSectorPayload)).has_value();
}

bool damage_engine(SimDisk& disk, RandomStream& random) {
  auto names = disk.list("engine");
  if (!names || names->empty()) return false;
  const std::string path = "engine/" + (*names)[random.below(names->size())];
  auto file = disk.open(path, OpenOptions{});
  if (!file || (*file)->size == 0) return false;
  return disk.rot(path, random.below((*file)->size)).has_value();
}

}  // namespace kahuna::sim
