// The in-memory part of one replica's log: the entries after a base position, in a ring.
//
//   L1 entries are contiguous from base + 1; terms never decrease along them and are >= base's;
//   L2 nothing at or below the base is known except the base's own position;
//   L3 no allocation while empty.
//
// Knows nothing of commit, durability or roles: the caller says what may be cut or released.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "kahuna/raft/types.h"

namespace kahuna::raft {

// What an entry costs against the byte limits of Options: its payload and a fixed part, so that
// entries without payload are not free.
inline constexpr size_t kEntryOverheadBytes = 64;
inline size_t cost_of(const Entry& entry) {
  return entry.payload.size() + kEntryOverheadBytes;
}

class Log {
 public:
  explicit Log(LogPosition base) : base_(base), last_(base) {}

  LogPosition base() const { return base_; }
  LogPosition last() const { return last_; }
  size_t size() const { return count_; }

  // The entry at index, or nullptr outside (base, last].
  const Entry* at(Index index) const {
    if (index <= base_.index || index > last_.index) return nullptr;
    return &slot(index).entry;
  }
  // Term at index; nullopt outside [base, last].
  std::optional<Term> term_at(Index index) const {
    if (index == base_.index) return base_.term;
    const Entry* entry = at(index);
    return entry ? std::optional<Term>(entry->term) : std::nullopt;
  }
  // The position at an index inside [base, last] (CHECKed).
  LogPosition position(Index index) const;
  bool holds(LogPosition position) const { return term_at(position.index) == position.term; }

  // CHECKs L1.
  void append(Entry entry);
  // Drops everything above index; base <= index <= last.
  void truncate_after(Index index);
  // Forgets everything; the log now begins after `base`, which lies above the old base.
  void reset(LogPosition base);
  // Forgets entries up to index, which becomes the base; base <= index <= last.
  void release(Index index);

  // Sum of cost_of over (after, to]; both are clamped to [base, last].
  uint64_t bytes_between(Index after, Index to) const;
  // The highest index whose entries from after + 1 on cost at most `bytes`, but at least one entry
  // when there is one. `after` is inside [base, last].
  Index fit(Index after, size_t bytes) const;
  // The highest index behind which entries cost at least `bytes`; the base's when there is none.
  Index before_last(uint64_t bytes) const;
  // Appends the entries (after, to] to `out`.
  void copy(Index after, Index to, std::vector<Entry>& out) const;
  // The highest position at or below `limit` whose term is at most `term`; the base's position when
  // there is none above it.
  LogPosition last_with_term_at_most(Index limit, Term term) const;

 private:
  struct Slot {
    Entry entry;
    uint64_t bytes_through = 0;  // cost of every entry ever appended before and with this one
  };
  Slot& slot(Index index) {
    return ring_[(head_ + (index.value() - base_.index.value() - 1)) & (ring_.size() - 1)];
  }
  const Slot& slot(Index index) const { return const_cast<Log*>(this)->slot(index); }
  uint64_t bytes_through(Index index) const {
    return index <= base_.index ? base_bytes_ : slot(index).bytes_through;
  }
  void resize(size_t slots);

  LogPosition base_;
  LogPosition last_;
  uint64_t base_bytes_ = 0;
  std::vector<Slot> ring_;  // size is a power of two, or zero
  size_t head_ = 0;         // slot of base + 1
  size_t count_ = 0;
};

}  // namespace kahuna::raft
