// RingQueue<T>: a first-in, first-out queue in one block that grows by doubling and never shrinks
// by itself. The bound is its owner's to keep. Empty queues that were never used own no memory.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/check.h"

namespace kahuna {

template <class T>
class RingQueue {
 public:
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

  void push_back(T value) {
    if (size_ == places_.size()) grow();
    places_[(first_ + size_++) & (places_.size() - 1)].emplace(std::move(value));
  }
  T pop_front() {
    CHECK_GT(size_, 0u);
    std::optional<T>& place = places_[first_];
    T value = std::move(*place);
    place.reset();
    first_ = (first_ + 1) & (places_.size() - 1);
    --size_;
    return value;
  }
  // Gives the memory back too. The values die after the queue is empty: they may push into it.
  void clear() {
    std::vector<std::optional<T>> dying = std::move(places_);
    places_.clear();
    first_ = size_ = 0;
  }

 private:
  void grow() {
    std::vector<std::optional<T>> larger(places_.empty() ? 4 : places_.size() * 2);
    for (size_t i = 0; i < size_; ++i)
      larger[i] = std::move(places_[(first_ + i) & (places_.size() - 1)]);
    places_ = std::move(larger);
    first_ = 0;
  }

  std::vector<std::optional<T>> places_;  // a power of two of them
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace kahuna
