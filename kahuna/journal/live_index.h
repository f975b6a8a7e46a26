// Which records of which segments are still needed, and what each group has queued.
//
// Owned by the journal; one event loop.
//   L1 the durable view (extents, released, state_life) changes only when a batch was synced, in
//      record order; a segment is dead only by the durable view;
//   L2 the queued view is what the durable view becomes once everything queued is synced.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "kahuna/journal/format.h"
#include "kahuna/raft/types.h"

namespace kahuna::journal {

// Consecutive entries of a group whose newest records lie in one segment.
struct Extent {
  uint64_t first = 0, last = 0;
  uint32_t life = 0;  // of that segment
  bool faulty = false;
  uint64_t bytes = 0;  // of the records; an estimate once the extent has been cut
};

struct GroupIndex {
  // Queued view.
  StateItem queued;                     // group is set; what the next state record would say
  uint64_t queued_last = 0;             // last entry; equals queued.released when the log is empty
  bool state_due = false;               // queued differs from the last state record queued
  uint64_t pending_first = UINT64_MAX;  // least entry queued and not yet durable
  uint64_t pending_until = 0;           // queue position after which there is none
  // Durable view.
  std::vector<Extent> extents;  // ascending, without overlap
  uint64_t released = 0;
  uint32_t state_life = 0;  // segment of the newest state record; 0 = none
};

// What is live in one segment.
struct LiveCount {
  uint64_t entries = 0, states = 0, bytes = 0;
  bool dead() const { return entries == 0 && states == 0; }
};

class LiveIndex {
 public:
  GroupIndex& group(uint64_t id);
  GroupIndex* find(uint64_t id);
  std::map<uint64_t, GroupIndex>& groups() { return groups_; }

  // Applies one synced batch that lies in segment `life`.
  void apply(const HeaderItems& items, uint32_t life);
  void apply_range(GroupIndex& group, const RangeItem& range, uint32_t life);
  void apply_state(GroupIndex& group, const StateItem& state, uint32_t life);

  LiveCount live(uint32_t life) const;
  void forget_segment(uint32_t life);  // it is dead
  // The extent of `group` that holds `index`, or nullptr.
  static const Extent* extent_at(const GroupIndex& group, uint64_t index);

 private:
  void cut(GroupIndex& group, uint64_t from);
  void drop_through(GroupIndex& group, uint64_t last);
  void move(GroupIndex& group, const RangeItem& range, uint32_t life);
  void count(const Extent& extent, bool add);
  // Shortens `extent` to [first, last], keeping the counts right.
  void shrink(Extent& extent, uint64_t first, uint64_t last);

  std::map<uint64_t, GroupIndex> groups_;
  std::map<uint32_t, LiveCount> segments_;
};

}  // namespace kahuna::journal
