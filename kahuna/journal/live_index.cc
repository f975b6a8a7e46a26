#include "kahuna/journal/live_index.h"

#include <algorithm>

#include "runtime/check.h"

namespace kahuna::journal {

GroupIndex& LiveIndex::group(uint64_t id) {
  GroupIndex& group = groups_[id];
  group.queued.group = id;
  return group;
}

GroupIndex* LiveIndex::find(uint64_t id) {
  auto it = groups_.find(id);
  return it == groups_.end() ? nullptr : &it->second;
}

void LiveIndex::apply(const HeaderItems& items, uint32_t life) {
  for (const RangeItem& range : items.ranges) apply_range(group(range.group), range, life);
  for (const StateItem& state : items.states) apply_state(group(state.group), state, life);
}

void LiveIndex::apply_range(GroupIndex& group, const RangeItem& range, uint32_t life) {
  auto type = static_cast<RecordType>(range.type);
  if (type == RecordType::kCopied) {
    move(group, range, life);
    return;
  }
  cut(group, range.first);
  bool faulty = type == RecordType::kFaulty;
  Extent added{range.first, range.last, life, faulty, range.bytes};
  count(added, true);
  if (!group.extents.empty()) {
    Extent& back = group.extents.back();
    if (back.life == life && back.faulty == faulty && back.last + 1 == added.first) {
      back.last = added.last;
      back.bytes += added.bytes;
      return;
    }
  }
  group.extents.push_back(added);
}

void LiveIndex::apply_state(GroupIndex& group, const StateItem& state, uint32_t life) {
  if (group.state_life != life) {
    if (group.state_life != 0) {
      CHECK_GT(segments_[group.state_life].states, 0u);
      --segments_[group.state_life].states;
    }
    ++segments_[life].states;
    group.state_life = life;
  }
  if (state.released > group.released) {
    group.released = state.released;
    drop_through(group, state.released);
  }
}

LiveCount LiveIndex::live(uint32_t life) const {
  auto it = segments_.find(life);
  return it == segments_.end() ? LiveCount() : it->second;
}

void LiveIndex::forget_segment(uint32_t life) {
  CHECK(live(life).dead());
  segments_.erase(life);
}

const Extent* LiveIndex::extent_at(const GroupIndex& group, uint64_t index) {
  auto it = std::lower_bound(group.extents.begin(), group.extents.end(), index,
                             [](const Extent& e, uint64_t i) { return e.last < i; });
  return it != group.extents.end() && it->first <= index ? &*it : nullptr;
}

void LiveIndex::cut(GroupIndex& group, uint64_t from) {
  while (!group.extents.empty() && group.extents.back().last >= from) {
    Extent& back = group.extents.back();
    if (back.first < from) {
      shrink(back, back.first, from - 1);
      return;
    }
    count(back, false);
    group.extents.pop_back();
  }
}

void LiveIndex::drop_through(GroupIndex& group, uint64_t last) {
  size_t gone = 0;
  while (gone < group.extents.size() && group.extents[gone].last <= last)
    count(group.extents[gone++], false);
  group.extents.erase(group.extents.begin(), group.extents.begin() + static_cast<ptrdiff_t>(gone));
  if (!group.extents.empty() && group.extents[0].first <= last)
    shrink(group.extents[0], last + 1, group.extents[0].last);
}

void LiveIndex::move(GroupIndex& group, const RangeItem& range, uint32_t life) {
  std::vector<Extent> result;
  auto push = [&](Extent extent) {
    if (!result.empty()) {
      Extent& back = result.back();
      if (back.life == extent.life && back.faulty == extent.faulty &&
          back.last + 1 == extent.first) {
        back.last = extent.last;
        back.bytes += extent.bytes;
        return;
      }
    }
    result.push_back(extent);
  };
  for (Extent extent : group.extents) {
    uint64_t first = std::max(extent.first, range.first), last = std::min(extent.last, range.last);
    if (first > last) {
      push(extent);
      continue;
    }
    count(extent, false);
    uint64_t each = extent.bytes / (extent.last - extent.first + 1);
    auto piece = [&](uint64_t a, uint64_t b, uint32_t where, bool faulty) {
      if (a > b) return;
      Extent part{a, b, where, faulty, each * (b - a + 1)};
      count(part, true);
      push(part);
    };
    piece(extent.first, first - 1, extent.life, extent.faulty);
    piece(first, last, life, false);
    piece(last + 1, extent.last, extent.life, extent.faulty);
  }
  group.extents = std::move(result);
}

void LiveIndex::count(const Extent& extent, bool add) {
  LiveCount& live = segments_[extent.life];
  uint64_t entries = extent.last - extent.first + 1;
  if (add) {
    live.entries += entries;
    live.bytes += extent.bytes;
  } else {
    CHECK_GE(live.entries, entries);
    CHECK_GE(live.bytes, extent.bytes);
    live.entries -= entries;
    live.bytes -= extent.bytes;
  }
}

void LiveIndex::shrink(Extent& extent, uint64_t first, uint64_t last) {
  count(extent, false);
  uint64_t each = extent.bytes / (extent.last - extent.first + 1);
  extent.first = first;
  extent.last = last;
  extent.bytes = each * (last - first + 1);
  count(extent, true);
}

}  // namespace kahuna::journal
