#include "sim/fault_atlas.h"

#include <algorithm>

namespace kahuna::sim {

bool FaultAtlas::take(size_t node) {
  if (mode_ == Mode::kPlaces) return false;
  if (mode_ == Mode::kNodes && !taken_.contains(node) && taken_.size() >= minority_) return false;
  taken_.insert(node);
  return true;
}

bool FaultAtlas::take_memory(size_t node) {
  if (!forgetful_.contains(node) && forgetful_.size() + 1 >= nodes_) return false;
  if (!take(node)) return false;
  forgetful_.insert(node);
  return true;
}

bool FaultAtlas::take_entries(size_t node, const std::vector<journal::RangeItem>& ranges) {
  if (mode_ != Mode::kPlaces) return take(node);
  for (const journal::RangeItem& range : ranges) {
    std::set<size_t> others;  // that lost any of it
    for (const Loss& loss : losses_[range.group])
      if (loss.node != node && loss.first <= range.last && range.first <= loss.last)
        others.insert(loss.node);
    if (others.size() + 1 > minority_) return false;
  }
  for (const journal::RangeItem& range : ranges)
    losses_[range.group].push_back({node, range.first, range.last});
  return true;
}

}  // namespace kahuna::sim
