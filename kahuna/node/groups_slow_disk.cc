// Leadership leaves a node whose disk makes the others wait: slow_disk.h.
#include "kahuna/node/groups_group.h"
#include "runtime/probe.h"

namespace kahuna::node {

void Groups::consider_giving_way(Group& group) {
  const auto since = group.replica.holds_up_since();
  if (!since || group.replica.transferring()) return;
  const Time now = host_.clock->now();
  if (!slow_disk_.is_slow(*since, now) || !slow_disk_.may_give_away(group.id, now)) return;
  const auto target = group.replica.quicker_successor(now);
  if (!target || !group.replica.transfer(now, *target)) return;
  SOMETIMES(node_gives_way_for_its_disk);
  slow_disk_.given_away(group.id, now);
  hooks_.on_slow_disk("partition " + std::to_string(group.id.value()) + ": the disk of node '" +
                      options_.name + "' makes the others wait; another node is asked to lead");
}

}  // namespace kahuna::node
