// The newest record of recently used positions, so that conditions and reads of hot keys never ask
// the engine. It also is the overlay of what is applied and not yet in the engine: a written head
// is unsaved until collect() hands it out, and pinned until the saved() that follows.
//
//   H1 a pinned head is never evicted;
//   H2 otherwise about the least recently used goes first, once entries or bytes pass their
//   maximum; about the half
//      that was used last stays;
//   H3 what is cached changes no answer, only who gives it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kahuna/partition/flat_index.h"
#include "runtime/bytes.h"
#include "runtime/check.h"
#include "runtime/hash.h"
#include "runtime/ids.h"

namespace kahuna::partition {

struct Head {
  bool alive = false;  // false: never written (revision -1), or deleted
  Revision revision;
  Watermark stamp;
  Index index;             // of the entry that wrote it; of unsaved heads only
  Payload holder;          // keeps `value` valid
  std::string_view value;  // alive only
};

class HeadCache {
 public:
  struct Limits {
    size_t entries = 64 * 1024;
    size_t bytes = size_t{16} << 20;
  };
  // `seed`: see FlatIndex; clients choose positions.
  explicit HeadCache(Limits limits, uint64_t seed = 0) : limits_(limits), seed_(seed) {}

  // Null when not cached. Valid until the next put. Counts as a use.
  const Head* find(std::string_view position);
  // Caches what the engine said. The position is not cached yet.
  const Head* add(std::string_view position, Head head);
  // Replaces or adds; unsaved from now on.
  void write(std::string_view position, Head head);
  // Calls visit(position, head) for every unsaved head, in order of first write: they are being
  // saved from now on. Not again before saved().
  template <class Visit>
  void collect(Visit visit) {
    CHECK(saving_.empty());
    saving_.swap(unsaved_);
    for (uint32_t slot : saving_) {
      slots_[slot].unsaved = false;
      slots_[slot].saving = true;
      visit(std::string_view(slots_[slot].position), slots_[slot].head);
    }
  }
  // The engine holds what was collected.
  void saved();

  // Calls visit(position, head) for every pinned head.
  template <class Visit>
  void for_each_pinned(Visit visit) const {
    for (uint32_t slot : saving_) visit(std::string_view(slots_[slot].position), slots_[slot].head);
    for (uint32_t slot : unsaved_)
      if (!slots_[slot].saving) visit(std::string_view(slots_[slot].position), slots_[slot].head);
  }
  size_t entries() const { return used_; }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr uint32_t kNone = FlatIndex::kNone;
  struct Slot {
    std::string position;
    uint64_t hash = 0;
    Head head;
    bool unsaved = false, saving = false;   // either: pinned
    uint32_t newer = kNone, older = kNone;  // use order
    uint64_t linked = 0;                    // links_ when it became the newest
  };

  uint64_t hash(std::string_view position) const { return hash64(as_bytes(position), seed_); }
  uint32_t lookup(uint64_t hash, std::string_view position) const;
  uint32_t insert(uint64_t hash, std::string_view position);
  void set_head(uint32_t slot, Head head);
  void use(uint32_t slot);
  void unlink(uint32_t slot);
  void link_newest(uint32_t slot);
  void link_behind_newest(uint32_t slot);
  void evict();
  size_t cost(const Slot& slot) const;

  Limits limits_;
  uint64_t seed_;
  FlatIndex index_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_, unsaved_, saving_;
  uint32_t newest_ = kNone, oldest_ = kNone;
  uint64_t links_ = 0;
  size_t used_ = 0, bytes_ = 0;
};

}  // namespace kahuna::partition
