// A hash index from a 64-bit hash to slot numbers kept elsewhere: open addressing, linear probing,
// no tombstones. A cell takes eight bytes: of a large index nearly every look is a miss of the
// processor's caches, so it is kept small. It cannot be iterated, so its layout never leaks into
// results.
//
// Whoever can choose keys of equal hashes makes it slow, so hashes of what clients choose depend on
// a seed that they do not know, drawn by the process: it changes no answer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/check.h"

namespace kahuna::partition {

class FlatIndex {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // The slot with this hash for which equal(slot) holds, or kNone.
  template <class Equal>
  uint32_t find(uint64_t hash, Equal equal) const {
    if (cells_.empty()) return kNone;
    for (size_t at = hash & mask();; at = (at + 1) & mask()) {
      const Cell& cell = cells_[at];
      if (cell.slot == kNone) return kNone;
      if (cell.hash == uint32_t(hash) && equal(cell.slot)) return cell.slot;
    }
  }

  // Cells that the slowest find() looks at.
  size_t longest_run() const {
    size_t longest = 0, run = 0;
    // Twice around, for a run that crosses the end.
    for (size_t at = 0; at < 2 * cells_.size() && run < cells_.size(); ++at) {
      run = cells_[at & mask()].slot == kNone ? 0 : run + 1;
      longest = std::max(longest, run);
    }
    return longest;
  }

  // The caller knows that no equal slot is in it.
  void insert(uint64_t hash, uint32_t slot) {
    CHECK_NE(slot, kNone);
    if (8 * (size_ + 1) > 5 * cells_.size()) grow();
    place({uint32_t(hash), slot});
    ++size_;
  }

  // CHECKs that it is there.
  void erase(uint64_t hash, uint32_t slot) {
    CHECK_GT(size_, 0u);
    size_t at = hash & mask();
    while (cells_[at].slot != slot) {
      CHECK_NE(cells_[at].slot, kNone);
      at = (at + 1) & mask();
    }
    // Close the gap: move back every following cell whose home is not behind the gap.
    for (size_t next = (at + 1) & mask(); cells_[next].slot != kNone; next = (next + 1) & mask()) {
      size_t from_home = (next - cells_[next].hash) & mask();
      if (from_home < ((next - at) & mask())) continue;
      cells_[at] = cells_[next];
      at = next;
    }
    cells_[at] = Cell();
    --size_;
  }

 private:
  struct Cell {
    uint32_t hash = 0;  // its low bits; no index has more cells than they tell apart
    uint32_t slot = kNone;
  };

  size_t mask() const { return cells_.size() - 1; }
  void place(Cell cell) {
    size_t at = cell.hash & mask();
    while (cells_[at].slot != kNone) at = (at + 1) & mask();
    cells_[at] = cell;
  }
  void grow() {
    CHECK_LT(cells_.size(), size_t{1} << 32);
    std::vector<Cell> old(cells_.empty() ? 16 : 2 * cells_.size());
    old.swap(cells_);
    for (const Cell& cell : old)
      if (cell.slot != kNone) place(cell);
  }

  std::vector<Cell> cells_;  // power of two, at most five eighths full
  size_t size_ = 0;
};

}  // namespace kahuna::partition
