// Members that go, and those that come in their place: a machine whose node was removed is given an empty
// disk, and joins as another node of the same name. One at a time, so that a majority stays.
//
// Who leaves takes copies along that the atlas of damage counts on, so in one run there is either this or
// damage of what is durable, whichever comes first.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "runtime/check.h"
#include "runtime/probe.h"
#include "sim/cluster.h"

namespace kahuna::sim {
namespace {
constexpr Duration kAskAgain = Duration::millis(200);
}  // namespace

bool Cluster::replace_member(RandomStream& dice, std::string& text) {
  const size_t node = dice.below(slots_.size());
  bool dead = dice.chance(1, 3);
  if (calm_ || violation_ || slots_.size() < 3 || harmed_) return false;
  for (const Slot& slot : slots_)
    if (slot.leaving || slot.lost || slot.frozen || !slot.id ||
        (slot.joins && (!slot.node || !slot.node->booted())))
      return false;
  // A group may have so few voters at present that it cannot spare one.
  dead = dead && members_settled();
  text = slots_[node].name + (dead ? ", which is dead" : "");
  remove_member(node, dead);
  return true;
}

void Cluster::remove_member(size_t node, bool dead) {
  Slot& slot = slots_[node];
  CHECK(bool(slot.id) && !slot.leaving);
  members_changed_ = true;
  slot.leaving = true;
  if (dead) {
    SOMETIMES(sim_dead_member_removed);
    crash(node, CrashKind::kPower);
    slot.departed = true;
  }
  ask_to_remove(node, slot.id);
}

void Cluster::ask_to_remove(size_t node, NodeId id) {
  std::string wish = fmt::format("remove {} {}", slots_[node].name, id.value());
  world_.in_turn(judge_handle(), [&] {
    judge().members(wish, [this, node, id](bool done) {
      // Outside the judge's turn.
      world_.call_at(world_.now() + (done ? Duration::nanos(1) : kAskAgain), [this, node, id, done] {
        if (violation_ || slots_[node].id != id || !slots_[node].leaving) return;
        if (!done) {
          world_.in_turn(judge_handle(), [this] { judge().renew(); });
          return ask_to_remove(node, id);
        }
        slots_[node].removed = true;
        if (slots_[node].departed) restart(node);
      });
    });
  });
}

bool Cluster::may_harm() {
  if (members_changed_) return false;
  harmed_ = true;
  return true;
}

bool Cluster::may_damage() {
  if ((rolled_back_ && atlas_.mode() == FaultAtlas::Mode::kOff) || !may_harm()) return false;
  damaged_ = true;
  return true;
}

bool Cluster::may_roll_back() {
  return !(damaged_ && atlas_.mode() == FaultAtlas::Mode::kOff) && may_harm();
}

// False: it is to stay down for now.
bool Cluster::may_start(size_t node) {
  Slot& slot = slots_[node];
  if (std::exchange(slot.begins_anew, false)) {
    SOMETIMES(sim_founder_begins_anew);
    slot.began_anew = true;
    slot.damaged = slot.engine_damaged = false;
    empty_directory(node);
  }
  if (!slot.departed) return true;
  if (!slot.removed) return false;
  SOMETIMES(sim_member_replaced);
  slot.leaving = slot.departed = slot.removed = false;
  slot.joins = true;
  empty_directory(node);
  if (!options_.joins_elsewhere) return true;
  ++slot.port;
  for (ClientSlot& client : clients_) client.driver->know(addresses());
  return true;
}

bool Cluster::is_founded() const {
  return std::any_of(slots_.begin(), slots_.end(),
                     [](const Slot& slot) { return slot.booted_once || (slot.node && slot.node->booted()); });
}

void Cluster::empty_directory(size_t node) {
  Slot& slot = slots_[node];
  world_.disk(slot.handle).wipe();
  slot.image.reset();
  slot.id = NodeId();
  slot.directory_starts = 0;
}

bool Cluster::members_settled() const {
  std::vector<ReplicaId> voters;
  for (const Slot& slot : slots_) {
    if (!slot.lost && (slot.leaving || !slot.node || !slot.node->booted())) return false;
    voters.push_back({slot.lost ? slot.id : slot.node->id(), 1});
  }
  std::sort(voters.begin(), voters.end());
  for (const Slot& slot : slots_) {
    if (slot.lost) continue;
    for (const partition::Descriptor& descriptor : descriptors_) {
      const raft::Replica* replica = slot.node->replica(descriptor.id);
      if (!replica || !replica->settled() || replica->configuration() != raft::Configuration{voters, {}, {}} ||
          replica->status().stateless)
        return false;
    }
  }
  return true;
}

}  // namespace kahuna::sim
