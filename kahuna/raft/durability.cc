#include "kahuna/raft/durability.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {

WriteId Durability::handed(HardState hard_state, Index last) {
  in_flight_.push_back({next_id_, hard_state, last});
  return next_id_++;
}

void Durability::truncated(Index kept) {
  index_ = std::min(index_, kept);
  if (MUTANT(overwritten_write_counts)) return;
  for (Write& write : in_flight_) {
    if (write.last > kept) SOMETIMES(raft_overwrites_write_in_flight);
    write.last = std::min(write.last, kept);
  }
}

void Durability::restored(Index index, bool held) {
  index_ = held ? std::max(index_, index) : index;
  for (Write& write : in_flight_) write.last = held ? std::max(write.last, index) : index;
}

void Durability::persisted(WriteId up_to) {
  CHECK_LT(up_to, next_id_);
  size_t done = 0;
  while (done < in_flight_.size() && in_flight_[done].id <= up_to) ++done;
  if (done == 0) return;
  hard_state_ = in_flight_[done - 1].hard_state;
  index_ = in_flight_[done - 1].last;
  in_flight_.erase(in_flight_.begin(), in_flight_.begin() + static_cast<ptrdiff_t>(done));
}

}  // namespace kahuna::raft
