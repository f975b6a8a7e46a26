#include "sim/cluster_damage.h"

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/journal/format.h"

namespace kahuna::sim {
namespace {

constexpr uint64_t kUnwrittenMax = 256;  // sectors in a row, after which a body zone has ended

struct Place {
  std::string path;
  uint64_t offset = 0;
};

// The sectors of the highest batch seen so far.
struct Newest {
  uint64_t batch = 0;
  std::vector<Place> sectors;
};

bool read_sector(SimDisk& disk, Inode& file, uint64_t offset, MutableByteView into) {
  auto got = disk.read(file, offset, into);
  return got && *got == into.size();
}

void look(SimDisk& disk, const std::string& path, Newest& newest) {
  auto file = disk.open(path, OpenOptions{});
  if (!file) return;
  std::array<std::byte, journal::kSectorBytes> sector;
  if (!read_sector(disk, **file, 0, sector)) return;
  auto header = journal::decode_segment_header(sector);
  if (!header) return;
  uint64_t unwritten = 0;
  for (uint64_t offset = journal::kBodyZone; unwritten < kUnwrittenMax;
       offset += journal::kSectorBytes) {
    if (!read_sector(disk, **file, offset, sector)) return;
    journal::Sector found = journal::inspect_sector(header->id, offset, sector);
    bool body = found.state == journal::SectorState::kWritten && found.zone == journal::Zone::kBody;
    unwritten = body ? 0 : unwritten + 1;
    if (!body || found.batch < newest.batch) continue;
    if (found.batch > newest.batch) newest = {found.batch, {}};
    newest.sectors.push_back({path, offset});
  }
}

}  // namespace

bool rot_journal_tail(SimDisk& disk, RandomStream& random) {
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
  Newest newest;
  for (const std::string& name : *names)
    if (journal::parse_segment_name(name)) look(disk, dir + "/" + name, newest);
  if (newest.sectors.empty()) return false;
  const Place& place = newest.sectors[random.below(newest.sectors.size())];
  return disk.rot(place.path, place.offset + random.below(journal::kSectorPayload)).has_value();
}

}  // namespace kahuna::sim
