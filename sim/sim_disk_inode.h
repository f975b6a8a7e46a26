// The inside of a simulated file. Private to sim_disk*.cc; see sim_disk.h for the fault model.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/sim_disk.h"

namespace kahuna::sim {

inline constexpr size_t kPageSectors = kPageBytes / kSectorBytes;
static_assert(kPageSectors == 8, "a page's sectors are the bits of a byte");

// The sectors of a page that [inside, inside + length) touches; length >= 1.
inline uint8_t sector_mask(size_t inside, size_t length) {
  size_t first = inside / kSectorBytes, last = (inside + length - 1) / kSectorBytes;
  return static_cast<uint8_t>((0xffu << first) & (0xffu >> (kPageSectors - 1 - last)));
}

struct Page {
  std::byte* data = nullptr;   // as the process sees it; null = zeros
  std::byte* floor = nullptr;  // durable content of the dirty sectors; null = zeros
  uint8_t dirty = 0;           // sectors whose durable content is in floor; the others': in data
  uint8_t unreadable = 0;
  bool allocated = false;  // takes space on the device
};

class Inode {
 public:
  Inode(SimDisk& owner, uint64_t number, std::string first_path, bool is_directory)
      : disk(owner), id(number), path(std::move(first_path)), directory(is_directory) {}
  ~Inode();
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;

  void mark_dirty();
  // [inside, inside + bytes.size()) within one existing page.
  void store_page(size_t number, size_t inside, ByteView bytes);
  // These sectors are durable as they are now.
  void clean(size_t number, uint8_t mask);
  // Rebuilds dirty_pages and the dirty flag.
  void refresh_dirty();
  void release_pages_past_end();

  SimDisk& disk;
  const uint64_t id;
  std::string path;  // the last name it was given
  const bool directory;
  uint64_t size = 0, durable_size = 0;
  std::vector<Page> pages;
  std::vector<uint32_t> dirty_pages;  // pages with a dirty sector
  std::vector<SyncTicket*> syncs;     // in flight
  bool dirty = false;                 // anything here is not durable
  bool locked = false;
  bool poisoned = false;  // a sync failed: nothing becomes durable any more
  uint32_t read_errors_in_row = 0;
  uint64_t syncs_begun = 0;
  uint64_t synced_through = 0;  // the latest sync that finished; earlier ones have no effect
};

struct SyncTicket {
  struct Cover {
    uint32_t page;
    uint8_t sectors;
  };
  struct Saved {
    uint32_t page;
    uint8_t sector;
    std::array<std::byte, kSectorBytes> bytes;
  };
  ~SyncTicket();
  // Called before `sectors` of a page are overwritten.
  void save(Inode& file, size_t page, uint8_t sectors);

  InodeRef file;
  uint64_t number = 0;  // counts the file's syncs
  uint64_t size = 0;
  std::vector<Cover> covers;  // ascending by page
  std::vector<Saved> saved;   // covered sectors overwritten since, as they were
};

}  // namespace kahuna::sim
