#include "kahuna/partition/head_cache.h"

#include "runtime/check.h"
#include "runtime/hash.h"
#include "runtime/probe.h"

namespace kahuna::partition {

const Head* HeadCache::find(std::string_view position) {
  uint32_t slot = lookup(hash64(as_bytes(position)), position);
  if (slot == kNone) return nullptr;
  use(slot);
  return &slots_[slot].head;
}

const Head* HeadCache::add(std::string_view position, Head head) {
  uint64_t hash = hash64(as_bytes(position));
  CHECK_EQ(lookup(hash, position), kNone);
  uint32_t slot = insert(hash, position);
  set_head(slot, std::move(head));
  evict();
  return &slots_[slot].head;
}

void HeadCache::write(std::string_view position, Head head) {
  uint64_t hash = hash64(as_bytes(position));
  uint32_t slot = lookup(hash, position);
  if (slot == kNone)
    slot = insert(hash, position);
  else
    use(slot);
  set_head(slot, std::move(head));
  if (!slots_[slot].pinned) {
    slots_[slot].pinned = true;
    pinned_.push_back(slot);
  }
  evict();
}

void HeadCache::unpin_all() {
  for (uint32_t slot : pinned_) slots_[slot].pinned = false;
  pinned_.clear();
  evict();
}

uint32_t HeadCache::lookup(uint64_t hash, std::string_view position) const {
  return index_.find(hash, [&](uint32_t slot) { return slots_[slot].position == position; });
}

uint32_t HeadCache::insert(uint64_t hash, std::string_view position) {
  uint32_t slot;
  if (free_.empty()) {
    slot = uint32_t(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  slots_[slot].position.assign(position);
  slots_[slot].hash = hash;
  index_.insert(hash, slot);
  link_newest(slot);
  ++used_;
  bytes_ += cost(slots_[slot]);
  return slot;
}

void HeadCache::set_head(uint32_t slot, Head head) {
  bytes_ -= cost(slots_[slot]);
  slots_[slot].head = std::move(head);
  bytes_ += cost(slots_[slot]);
}

void HeadCache::use(uint32_t slot) {
  if (slot == newest_) return;
  unlink(slot);
  link_newest(slot);
}

void HeadCache::unlink(uint32_t slot) {
  Slot& s = slots_[slot];
  (s.newer == kNone ? newest_ : slots_[s.newer].older) = s.older;
  (s.older == kNone ? oldest_ : slots_[s.older].newer) = s.newer;
  s.newer = s.older = kNone;
}

void HeadCache::link_newest(uint32_t slot) {
  slots_[slot].older = newest_;
  (newest_ == kNone ? oldest_ : slots_[newest_].newer) = slot;
  newest_ = slot;
}

void HeadCache::evict() {
  // The newest stays: its caller is about to read it. A pinned oldest ends it until the next unpin.
  while ((used_ > limits_.entries || bytes_ > limits_.bytes) && oldest_ != newest_ &&
         !slots_[oldest_].pinned) {
    SOMETIMES(partition_head_evicted);
    uint32_t slot = oldest_;
    bytes_ -= cost(slots_[slot]);
    --used_;
    index_.erase(slots_[slot].hash, slot);
    unlink(slot);
    slots_[slot].head = Head();
    slots_[slot].position.clear();
    free_.push_back(slot);
  }
}

size_t HeadCache::cost(const Slot& slot) const {
  return sizeof(Slot) + slot.position.size() + slot.head.holder.size();
}

}  // namespace kahuna::partition
