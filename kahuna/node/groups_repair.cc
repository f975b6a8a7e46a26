// What is said about logs of which the disk has lost a part. The repair itself is the replica's
// (kahuna/raft/repair.h).
#include "kahuna/node/groups_group.h"
#include "runtime/probe.h"

namespace kahuna::node {

void Groups::report_damage(Group& group) {
  SOMETIMES(replica_starts_with_a_faulty_log);
  raft::Status status = group.replica.status();
  hooks_.on_damage("partition " + std::to_string(group.id.value()) + ": the disk of node '" + options_.name +
                   "' has lost " + std::to_string(status.lost) + " entries of its log behind entry " +
                   std::to_string(status.last.index.value()) +
                   (group.damage.empty() ? "" : " (" + group.damage + ")") +
                   ", perhaps acknowledged ones; they are fetched from the other replicas");
}

void Groups::report_repaired(Group& group) {
  SOMETIMES(replica_has_repaired_its_log);
  group.faulty = false;
  hooks_.on_damage("partition " + std::to_string(group.id.value()) + ": the log on node '" + options_.name +
                   "' is whole again");
}

std::vector<std::pair<PartitionId, std::string>> Groups::damaged() const {
  std::vector<std::pair<PartitionId, std::string>> out;
  for (const auto& group : groups_) {
    if (!group->faulty) continue;
    raft::Status status = group->replica.status();
    std::string text = "repairing " + std::to_string(status.lost) + " entries of the log behind entry " +
                       std::to_string(status.last.index.value());
    if (status.lost_asked > 0)
      text += "; the first of them is intact on none of " + std::to_string(status.lost_asked) +
              " replicas that answered: the partition waits for one that has it";
    out.emplace_back(group->id, std::move(text));
  }
  return out;
}

}  // namespace kahuna::node
