#include "kahuna/partition/head_cache.h"

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::partition {

namespace {
// Pinned heads that one eviction steps over.
constexpr size_t kShieldsMax = 16;
}  // namespace

const Head* HeadCache::find(std::string_view position) {
  uint32_t slot = lookup(hash(position), position);
  if (slot == kNone) return nullptr;
  use(slot);
  return &slots_[slot].head;
}

const Head* HeadCache::add(std::string_view position, Head head) {
  uint64_t at = hash(position);
  CHECK_EQ(lookup(at, position), kNone);
  uint32_t slot = insert(at, position);
  set_head(slot, std::move(head));
  evict();
  return &slots_[slot].head;
}

void HeadCache::write(std::string_view position, Head head) {
  uint64_t at = hash(position);
  uint32_t slot = lookup(at, position);
  if (slot == kNone)
    slot = insert(at, position);
  else
    use(slot);
  set_head(slot, std::move(head));
  if (!slots_[slot].unsaved) {
    slots_[slot].unsaved = true;
    unsaved_.push_back(slot);
  }
  evict();
}

void HeadCache::saved() {
  for (uint32_t slot : saving_) slots_[slot].saving = false;
  saving_.clear();
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

// One of the newer half stays where it is: moving it would touch its neighbours, for nothing yet.
void HeadCache::use(uint32_t slot) {
  if (slot == newest_ || links_ - slots_[slot].linked < used_ / 2) return;
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
  slots_[slot].linked = ++links_;
}

void HeadCache::link_behind_newest(uint32_t slot) {
  uint32_t older = slots_[newest_].older;
  slots_[slot].newer = newest_;
  slots_[slot].older = older;
  slots_[newest_].older = slot;
  (older == kNone ? oldest_ : slots_[older].newer) = slot;
}

void HeadCache::evict() {
  // The newest stays: its caller is about to read it. A pinned oldest goes to its place's other
  // end, behind the newest, where it no longer shields the others.
  for (size_t shields = 0; used_ > limits_.entries || bytes_ > limits_.bytes;) {
    uint32_t slot = oldest_;
    if (slot == newest_) return;
    if (slots_[slot].unsaved || slots_[slot].saving) {
      if (++shields > kShieldsMax) return;
      unlink(slot);
      link_behind_newest(slot);
      continue;
    }
    SOMETIMES(partition_head_evicted);
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
