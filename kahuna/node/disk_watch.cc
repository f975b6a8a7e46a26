#include "kahuna/node/disk_watch.h"

#include "runtime/probe.h"

namespace kahuna::node {

void DiskWatch::found_full(Part part, std::string_view why) {
  const bool first = !is_full();
  full_[static_cast<size_t>(part)] = true;
  if (!first) return;
  SOMETIMES(node_disk_is_full);
  arm();
  tell_(why);
}

void DiskWatch::found_room(Part part) {
  if (!is_full(part)) return;
  full_[static_cast<size_t>(part)] = false;
  if (is_full()) return;
  SOMETIMES(node_disk_has_room_again);
  clock_.cancel(timer_);
  timer_ = 0;
  tell_("");
}

void DiskWatch::arm() {
  timer_ = clock_.call_at(clock_.now() + kRetry, [this] {
    if (MUTANT(full_disk_is_not_tried_again)) return;
    arm();
    // A flush frees segments of the journal, so the engine goes first, and alone: they would only
    // take each other's room.
    try_again_(is_full(Part::kEngine) ? Part::kEngine : Part::kJournal);
  });
}

}  // namespace kahuna::node
