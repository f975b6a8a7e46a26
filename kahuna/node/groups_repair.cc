// Logs of which the disk has lost a part, and what is said about them (the repair itself is the
// replica's, kahuna/raft/repair.h); states that the engine has lost.
#include "kahuna/node/groups_group.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {

// Without a leader, before it is said that damage is why.
constexpr int kStoppedTimeouts = 4;

std::string nowhere(const raft::Status& status) {
  return "the first of them is intact on none of " + std::to_string(status.lost_asked) +
         " replicas that answered";
}

}  // namespace

// The engine has lost what it held of a group: the others have it.
void Groups::report_lost_state(Group& group) {
  SOMETIMES(replica_starts_without_its_state);
  hooks_.on_damage("partition " + std::to_string(group.id.value()) + ": the state on node '" +
                   options_.name + "' is lost; it is fetched from the leader");
  if (observer_) observer_->on_state_lost(self_, group.id);
}

void Groups::begin_without_state(Group& group) {
  if (group.install) return;  // it was being replaced
  group.install.emplace();
  group.install_due = true;
  installs_due_.push_back(&group);
}

void Groups::engine_failed(const Error& error) {
  stopped_ = true;
  if (error.code == ErrorCode::kDamaged)
    hooks_.on_engine_damaged(error);
  else
    hooks_.on_stopped(error);
}

std::optional<raft::Entry> Groups::held(PartitionId id, Index index) const {
  const Group* group = find(id);
  // While the journal refuses what it is told, it holds what the replica is past.
  if (stopped_ || !group || !group->stalled_persists.empty()) return std::nullopt;
  auto entry = group->replica.durable_entry(index);
  if (entry && MUTANT(scrub_copies_positions_only))
    entry->kind = raft::EntryKind::kBase, entry->payload = Payload();
  return entry;
}

void Groups::report_damage(Group& group) {
  SOMETIMES(replica_starts_with_a_faulty_log);
  raft::Status status = group.replica.status();
  hooks_.on_damage("partition " + std::to_string(group.id.value()) + ": the disk of node '" +
                   options_.name + "' has lost " + std::to_string(status.lost) +
                   " entries of its log behind entry " + std::to_string(status.last.index.value()) +
                   (group.damage.empty() ? "" : " (" + group.damage + ")") +
                   ", perhaps acknowledged ones; they are fetched from the other replicas");
}

void Groups::report_repaired(Group& group) {
  SOMETIMES(replica_has_repaired_its_log);
  group.faulty = group.stop_told = false;
  group.stopped_since.reset();
  hooks_.on_damage("partition " + std::to_string(group.id.value()) + ": the log on node '" +
                   options_.name + "' is whole again");
}

// A majority with damage: nobody can lead, and what clients hear is that nobody does. Here it says
// why. Others may be about to lead, or to say that nobody ever had what is lost: it is told when
// that did not come for a while.
void Groups::look_at_damage(Group& group) {
  if (group.replica.is_whole()) return report_repaired(group);
  if (group.stop_told) return;
  const raft::Status status = group.replica.status();
  const bool stopped = status.lost_with_most && !status.leader.node;
  if (!stopped) return group.stopped_since.reset();
  const Time now = host_.clock->now();
  if (!group.stopped_since) group.stopped_since = now;
  if (now - *group.stopped_since < options_.raft.election_timeout_max * kStoppedTimeouts ||
      MUTANT(lost_majority_untold))
    return;
  SOMETIMES(damage_is_on_a_majority);
  group.stop_told = true;
  hooks_.on_damage("partition " + std::to_string(group.id.value()) + ": of the " +
                   std::to_string(status.lost) + " entries that node '" + options_.name +
                   "' has lost behind entry " + std::to_string(status.last.index.value()) + ", " +
                   nowhere(status) +
                   "; the partition serves nothing until one that has it is back: start the nodes "
                   "that are down, or give one its disk back");
}

std::vector<DamagedLog> Groups::damaged() const {
  std::vector<DamagedLog> out;
  for (const auto& group : groups_) {
    if (!group->faulty) continue;
    raft::Status status = group->replica.status();
    std::string text = "repairing " + std::to_string(status.lost) +
                       " entries of the log behind entry " +
                       std::to_string(status.last.index.value());
    // Others may lead since it was told.
    const bool stopped = group->stop_told && status.lost_with_most && !status.leader.node;
    if (status.lost_asked > 0) text += "; " + nowhere(status);
    if (stopped)
      text += ": the partition has stopped, and serves nothing until one that has it is back";
    out.push_back({group->id, std::move(text), stopped});
  }
  return out;
}

}  // namespace kahuna::node
