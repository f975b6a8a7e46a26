#include "kahuna/node/departure.h"

#include "runtime/probe.h"

namespace kahuna::node {

void Departure::begin(std::vector<PartitionId> partitions) {
  if (std::exchange(begun_, true)) return;
  SOMETIMES(node_was_removed);
  waiting_.insert(partitions.begin(), partitions.end());
  ask();
}

void Departure::ask() {
  timer_ = host_.clock->call_at(host_.clock->now() + kPace, [this] { ask(); });
  hooks_.ask_whether_gone();
}

void Departure::heard(PartitionId gone) {
  if (!begun_ || ended_) return;
  waiting_.erase(gone);
  if (!waiting_.empty() && !MUTANT(departs_at_the_first_word)) return;
  ended_ = true;
  host_.clock->cancel(timer_);
  SOMETIMES(node_has_left);
  hooks_.on_departed();
}

}  // namespace kahuna::node
