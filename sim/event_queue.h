// A priority queue by (time, order of insertion), for virtual time and for timers.
//
// 1. pop() returns the smallest time; among equals the one pushed first. The order is total, so it
//    never depends on the heap's shape.
// 2. An id is never reused; cancelling one that was popped or cancelled does nothing.
// 3. Cancelled entries stay in the heap until popped or until they are the majority.
//
// A 4-ary heap of 16-byte keys; payloads live in a pool and do not move while queued.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/check.h"

namespace kahuna::sim {

// Names a queued event; 0 = none.
using EventId = uint64_t;

template <class Payload>
class EventQueue {
 public:
  struct Popped {
    int64_t time;
    uint64_t sequence;
    Payload payload;
  };

  // At most kLiveMax payloads at a time (CHECKed).
  static constexpr int kSlotBits = 24;
  static constexpr uint64_t kLiveMax = uint64_t{1} << kSlotBits;

  EventId push(int64_t time, Payload payload) {
    uint64_t slot;
    if (free_.empty()) {
      slot = slots_.size();
      CHECK_LT(slot, kLiveMax);
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    EventId id = ++sequence_ << kSlotBits | slot;
    slots_[slot].id = id;
    slots_[slot].payload = std::move(payload);
    heap_.push_back({time, id});
    sift_up(heap_.size() - 1);
    return id;
  }

  // Returns whether the event was still queued; its payload goes to `dropped`, or is destroyed.
  bool cancel(EventId id, Payload* dropped = nullptr) {
    uint64_t slot = id & (kLiveMax - 1);
    if (id == 0 || slot >= slots_.size() || slots_[slot].id != id) return false;
    Payload payload = release(slot);
    if (dropped) *dropped = std::move(payload);
    if (++stale_ > 64 && stale_ > heap_.size() / 2) compact();
    return true;
  }

  bool empty() {
    drop_stale();
    return heap_.empty();
  }
  size_t size() const { return heap_.size() - stale_; }
  // The next event's time; INT64_MAX when there is none.
  int64_t next_time() {
    drop_stale();
    return heap_.empty() ? INT64_MAX : heap_[0].time;
  }
  // Requires !empty().
  Popped pop() {
    drop_stale();
    CHECK(!heap_.empty());
    Key top = heap_[0];
    remove_top();
    return {top.time, top.id >> kSlotBits, release(top.id & (kLiveMax - 1))};
  }
  // Forgets everything; payloads are destroyed.
  void clear() {
    std::vector<Slot> dropped;
    dropped.swap(slots_);
    heap_.clear();
    free_.clear();
    stale_ = 0;
  }

 private:
  struct Key {
    int64_t time;
    EventId id;
    bool before(const Key& other) const {
      return time != other.time ? time < other.time : id < other.id;
    }
  };
  struct Slot {
    EventId id = 0;
    Payload payload{};
  };

  Payload release(uint64_t slot) {
    slots_[slot].id = 0;
    free_.push_back(static_cast<uint32_t>(slot));
    return std::exchange(slots_[slot].payload, Payload());
  }
  void drop_stale() {
    while (stale_ > 0 && !heap_.empty() && slots_[heap_[0].id & (kLiveMax - 1)].id != heap_[0].id) {
      remove_top();
      --stale_;
    }
  }
  void remove_top() {
    Key last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) sift_down(0, last);
  }
  void sift_up(size_t at) {
    Key key = heap_[at];
    while (at > 0) {
      size_t parent = (at - 1) / 4;
      if (!key.before(heap_[parent])) break;
      heap_[at] = heap_[parent];
      at = parent;
    }
    heap_[at] = key;
  }
  void sift_down(size_t at, Key key) {
    size_t size = heap_.size();
    for (;;) {
      size_t first = at * 4 + 1;
      if (first >= size) break;
      size_t least = first, end = first + 4 < size ? first + 4 : size;
      for (size_t child = first + 1; child < end; ++child)
        if (heap_[child].before(heap_[least])) least = child;
      if (!heap_[least].before(key)) break;
      heap_[at] = heap_[least];
      at = least;
    }
    heap_[at] = key;
  }
  void compact() {
    size_t kept = 0;
    for (const Key& key : heap_)
      if (slots_[key.id & (kLiveMax - 1)].id == key.id) heap_[kept++] = key;
    heap_.resize(kept);
    stale_ = 0;
    for (size_t at = kept / 4 + 1; at-- > 0;)
      if (at < kept) sift_down(at, heap_[at]);
  }

  std::vector<Key> heap_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  uint64_t sequence_ = 0;
  size_t stale_ = 0;  // cancelled entries still in the heap
};

}  // namespace kahuna::sim
