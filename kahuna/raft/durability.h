// What of one replica is on disk: the durable hard state, and the longest prefix of the log *as it
// stands in memory* that is durable.
//
// Writes complete in the order of their ids. A write whose entries have been overwritten in memory
// since counts only up to where the overwriting began (trap 20): equal indexes are not equal
// entries.
#pragma once

#include <cstdint>
#include <vector>

#include "kahuna/raft/types.h"

namespace kahuna::raft {

using WriteId = uint64_t;

class Durability {
 public:
  Durability(HardState hard_state, Index last) : hard_state_(hard_state), index_(last) {}

  HardState hard_state() const { return hard_state_; }
  // The log in memory is durable up to here.
  Index index() const { return index_; }

  // A write was handed to the driver; after it the stored log ends at `last`.
  WriteId handed(HardState hard_state, Index last);
  // The log in memory was cut after `kept`.
  void truncated(Index kept);
  // The state up to `index` is durable in the engine. `held`: the log goes on behind it; else
  // nothing of it is left.
  void restored(Index index, bool held);
  // Everything up to and including this write is durable. CHECKs that it was handed out.
  void persisted(WriteId up_to);

 private:
  struct Write {
    WriteId id;
    HardState hard_state;
    Index last;  // lowered when the log in memory is cut below it
  };

  HardState hard_state_;
  Index index_;
  WriteId next_id_ = 1;
  std::vector<Write> in_flight_;
};

}  // namespace kahuna::raft
