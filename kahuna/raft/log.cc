#include "kahuna/raft/log.h"

#include <algorithm>

#include "runtime/check.h"

namespace kahuna::raft {
namespace {
constexpr size_t kFirstSlots = 16;
constexpr size_t kShrinkAbove = 1024;  // slots; smaller rings are never given back
}  // namespace

LogPosition Log::position(Index index) const {
  std::optional<Term> term = term_at(index);
  CHECK(term.has_value());
  return {index, *term};
}

void Log::append(Entry entry) {
  CHECK_EQ(entry.index, last_.index.next());
  CHECK_GE(entry.term, last_.term);
  if (count_ == ring_.size()) resize(std::max(kFirstSlots, ring_.size() * 2));
  uint64_t bytes = bytes_through(last_.index) + cost_of(entry);
  last_ = {entry.index, entry.term};
  ++count_;
  slot(entry.index) = Slot{std::move(entry), bytes};
}

void Log::truncate_after(Index index) {
  CHECK_GE(index, base_.index);
  CHECK_LE(index, last_.index);
  LogPosition kept = position(index);
  for (Index i = last_.index; i > index; i = i.prev()) slot(i).entry.payload = Payload();
  count_ = index.value() - base_.index.value();
  last_ = kept;
}

void Log::reset(LogPosition base) {
  CHECK_GE(base.index, base_.index);
  base_bytes_ = bytes_through(last_.index);
  base_ = last_ = base;
  count_ = 0;
  head_ = 0;
  ring_ = std::vector<Slot>();
}

void Log::release(Index index) {
  CHECK_GE(index, base_.index);
  CHECK_LE(index, last_.index);
  if (index == base_.index) return;
  LogPosition base = position(index);
  uint64_t bytes = bytes_through(index);
  for (Index i = base_.index.next(); i <= index; i = i.next()) slot(i).entry.payload = Payload();
  size_t released = index.value() - base_.index.value();
  head_ = (head_ + released) & (ring_.size() - 1);
  count_ -= released;
  base_ = base;
  base_bytes_ = bytes;
  if (ring_.size() > kShrinkAbove && count_ * 8 < ring_.size()) resize(ring_.size() / 4);
}

uint64_t Log::bytes_between(Index after, Index to) const {
  Index low = std::clamp(after, base_.index, last_.index);
  Index high = std::clamp(to, base_.index, last_.index);
  return low < high ? bytes_through(high) - bytes_through(low) : 0;
}

Index Log::fit(Index after, size_t bytes) const {
  CHECK_GE(after, base_.index);
  CHECK_LE(after, last_.index);
  if (after == last_.index) return after;
  uint64_t limit = bytes_through(after) + bytes;
  Index low = after.next(), high = last_.index;  // low always fits
  while (low < high) {
    Index middle(low.value() + (high.value() - low.value() + 1) / 2);
    if (bytes_through(middle) <= limit) {
      low = middle;
    } else {
      high = middle.prev();
    }
  }
  return low;
}

Index Log::before_last(uint64_t bytes) const {
  uint64_t low = base_.index.value(), high = last_.index.value();
  while (low < high) {
    uint64_t middle = low + (high - low + 1) / 2;
    if (bytes_between(Index(middle), last_.index) >= bytes)
      low = middle;
    else
      high = middle - 1;
  }
  return Index(low);
}

void Log::copy(Index after, Index to, std::vector<Entry>& out) const {
  CHECK_GE(after, base_.index);
  CHECK_LE(to, last_.index);
  if (to <= after) return;
  out.reserve(out.size() + (to.value() - after.value()));
  for (Index i = after.next(); i <= to; i = i.next()) out.push_back(slot(i).entry);
}

LogPosition Log::last_with_term_at_most(Index limit, Term term) const {
  Index low = base_.index, high = std::clamp(limit, base_.index, last_.index);
  while (low < high) {
    Index middle(low.value() + (high.value() - low.value() + 1) / 2);
    if (*term_at(middle) <= term) {
      low = middle;
    } else {
      high = middle.prev();
    }
  }
  return position(low);
}

void Log::resize(size_t slots) {
  std::vector<Slot> ring(slots);
  for (size_t i = 0; i < std::min(count_, ring_.size()); ++i)
    ring[i] = std::move(ring_[(head_ + i) & (ring_.size() - 1)]);
  ring_ = std::move(ring);
  head_ = 0;
}

}  // namespace kahuna::raft
