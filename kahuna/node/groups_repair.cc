// Logs of which the disk has lost a part, and what is said about them (the repair itself is the
// replica's, kahuna/raft/repair.h); states that the engine has lost.
#include "kahuna/node/groups_group.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {

// Without a leader, before it is said that damage is why.
constexpr int kStoppedTimeouts = 4;

constexpr std::string_view kNoHolder =
    "no node leads from which to fetch it: start the nodes that are down, or give one that has it "
    "its disk back; when all have lost it, restore a backup";

// Nobody leads, and what is lost may be why.
bool is_stopped(const raft::Status& status) {
  return !status.leader.node && (status.lost_with_most || status.stateless);
}

std::string nowhere(const raft::Status& status) {
  return "the first of them is intact on none of " + std::to_string(status.lost_asked) +
         " replicas that answered";
}

}  // namespace

// The engine has lost what it held of a group: the others have it.
void Groups::report_lost_state(Group& group) {
  SOMETIMES(replica_starts_without_its_state);
  group.state_lost = true;
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

// A majority with damage, or nobody with a state: nobody can lead, and what clients hear is that
// nobody does. Here it says why. Others may be about to lead, or to say that nobody ever had what
// is lost: it is told when that did not come for a while.
void Groups::look_at_damage(Group& group) {
  if (group.faulty && group.replica.is_whole()) report_repaired(group);
  if (group.stop_told || (!group.faulty && !group.state_lost)) return;
  const raft::Status status = group.replica.status();
  if (!is_stopped(status)) return group.stopped_since.reset();
  const Time now = host_.clock->now();
  if (!group.stopped_since) group.stopped_since = now;
  if (now - *group.stopped_since < options_.raft.election_timeout_max * kStoppedTimeouts ||
      MUTANT(lost_majority_untold))
    return;
  group.stop_told = true;
  std::string text = "partition " + std::to_string(group.id.value()) + ": ";
  if (status.lost_with_most) {
    SOMETIMES(damage_is_on_a_majority);
    text += "of the " + std::to_string(status.lost) + " entries that node '" + options_.name +
            "' has lost behind entry " + std::to_string(status.last.index.value()) + ", " +
            nowhere(status) +
            "; the partition serves nothing until one that has it is back: start the nodes that "
            "are down, or give one its disk back";
  } else {
    SOMETIMES(lost_state_is_nowhere);
    text += "the state on node '" + options_.name + "' is lost, and " + std::string(kNoHolder);
  }
  hooks_.on_damage(text);
}

std::vector<Damage> Groups::damaged() const {
  std::vector<Damage> out;
  for (const auto& group : groups_) {
    if (!group->faulty && !group->state_lost) continue;
    const raft::Status status = group->replica.status();
    // Others may lead since it was told.
    const bool stopped = group->stop_told && is_stopped(status);
    std::string text;
    if (group->faulty) {
      text = "repairing " + std::to_string(status.lost) + " entries of the log behind entry " +
             std::to_string(status.last.index.value());
      if (status.lost_asked > 0) text += "; " + nowhere(status);
      if (stopped)
        text += ": the partition has stopped, and serves nothing until one that has it is back";
    } else if (stopped) {
      text = "the state is lost, and " + std::string(kNoHolder);
    } else {
      continue;  // it is being fetched, as 'installing' says
    }
    out.push_back({group->id, std::move(text), stopped});
  }
  return out;
}

}  // namespace kahuna::node
