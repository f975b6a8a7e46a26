// Members that go, and those that come in their place: a machine whose node was removed is given an
// empty disk, and joins as another node of the same name. One at a time, so that a majority stays.
// Some learn at first, and are promoted, removed, or left so. Where a cluster is founded on fewer
// machines than there are, it grows and shrinks: on some nobody is for a while.
//
// Who leaves takes copies along that the atlas of damage counts on, so in one run there is either
// this or damage of what is durable, whichever comes first.
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

size_t Cluster::voters() const {
  return static_cast<size_t>(std::count_if(
      slots_.begin(), slots_.end(), [](const Slot& slot) { return !slot.vacant && !slot.learns; }));
}

size_t Cluster::members() const {
  return static_cast<size_t>(
      std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return !slot.vacant; }));
}

bool Cluster::replace_member(RandomStream& dice, std::string& text) {
  const size_t node = dice.below(slots_.size());
  bool dead = dice.chance(1, 3);
  if (calm_ || violation_ || slots_.size() < 3 || harmed_) return false;
  for (const Slot& slot : slots_) {
    if (slot.vacant) continue;
    if (slot.leaving || slot.lost || slot.frozen || !slot.id || !slot.added || slot.rises ||
        (slot.joins && (!slot.node || !slot.node->booted())))
      return false;
  }
  text = slots_[node].name;
  if (slots_[node].vacant) {
    text += ", where one comes";
    add_member(node);
    return true;
  }
  if (slots_[node].learns && dice.chance(1, 2)) {
    text += ", which learns, is to vote";
    promote_member(node);
    return true;
  }
  if (!slots_[node].learns && voters() < 3) return false;
  // A group may have so few voters at present that it cannot spare one.
  dead = dead && members_settled();
  if (dead) text += ", which is dead";
  if (options_.vacancies > 0 && dice.chance(1, 2)) {
    text += ", for good";
    comes_next(node, Coming::kNobody);
  }
  remove_member(node, dead);
  return true;
}

void Cluster::remove_member(size_t node, bool dead) {
  Slot& slot = slots_[node];
  CHECK(bool(slot.id) && !slot.leaving);
  members_changed_ = true;
  slot.leaving = true;
  if (slot.learns) SOMETIMES(sim_learner_removed);
  if (dead) {
    SOMETIMES(sim_dead_member_removed);
    crash(node, CrashKind::kPower);
    slot.departed = true;
  }
  const NodeId id = slot.id;
  ask(
      fmt::format("remove {} {}", slot.name, id.value()),
      [this, node, id] { return slots_[node].id == id && slots_[node].leaving; },
      [this, node] {
        slots_[node].removed = true;
        if (slots_[node].departed) restart(node);
      });
}

void Cluster::promote_member(size_t node) {
  Slot& slot = slots_[node];
  CHECK(slot.learns && bool(slot.id) && !slot.rises);
  SOMETIMES(sim_learner_promoted);
  slot.rises = true;
  const NodeId id = slot.id;
  learners_.asked_to_vote(id);
  ask(
      fmt::format("promote {} {}", slot.name, id.value()),
      [this, node, id] { return slots_[node].id == id && !slots_[node].leaving; },
      [this, node] { slots_[node].learns = slots_[node].rises = false; });
}

void Cluster::ask(std::string wish, std::function<bool()> wanted, std::function<void()> done) {
  world_.in_turn(judge_handle(), [&] {
    judge().members(wish, [=, this](bool recorded) {
      // Outside the judge's turn.
      world_.call_at(world_.now() + (recorded ? Duration::nanos(1) : kAskAgain), [=, this] {
        if (violation_ || !wanted()) return;
        if (recorded) return done();
        world_.in_turn(judge_handle(), [this] { judge().renew(); });
        ask(wish, wanted, done);
      });
    });
  });
}

// Its operator sees what it calls itself, once it waits.
void Cluster::ask_to_add(size_t node) {
  const Slot& slot = slots_[node];
  const NodeId id = slot.node ? slot.node->id() : NodeId();
  if (!id) {
    world_.call_at(world_.now() + kAskAgain, [this, node] {
      if (!violation_) ask_to_add(node);
    });
    return;
  }
  if (slot.learns) learners_.let_in(id);
  ask(
      fmt::format("join {} {} {} {}", id.value(), slot.name,
                  to_string(Address{slot.name, slot.port}), slot.learns ? "learner" : "voter"),
      [] { return true; }, [this, node] { slots_[node].added = true; });
}

void Cluster::add_member(size_t node) {
  Slot& slot = slots_[node];
  CHECK(std::exchange(slot.vacant, false));
  SOMETIMES(sim_member_comes_in_addition);
  comes(node);
  restart(node);
}

// Another node is about to start there.
void Cluster::comes(size_t node) {
  Slot& slot = slots_[node];
  empty_directory(node);
  RandomStream dice = world_.random("coming", uint64_t{node} << 32 | slot.starts);
  constexpr Coming kWays[] = {Coming::kAsks, Coming::kWaits, Coming::kLearns, Coming::kLearns};
  slot.coming = options_.joins_wait ? kWays[dice.below(std::size(kWays))] : Coming::kAsks;
  if (slot.next) slot.coming = *std::exchange(slot.next, std::nullopt);
  slot.joins = true;
  slot.learns = slot.coming == Coming::kLearns;
  slot.rises = false;
  slot.added = slot.coming == Coming::kAsks;
  if (!slot.added) {
    SOMETIMES(sim_member_waits_to_be_added);
    world_.call_at(world_.now() + kAskAgain, [this, node] { ask_to_add(node); });
  }
  if (!options_.joins_elsewhere) return;
  ++slot.port;
  for (ClientSlot& client : clients_) client.driver->know(addresses());
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
  if (slot.vacant) return false;
  if (!slot.departed) return true;
  if (!slot.removed) return false;
  slot.leaving = slot.departed = slot.removed = false;
  if (slot.next == Coming::kNobody) {
    SOMETIMES(sim_member_leaves_for_good);
    slot.next.reset();
    slot.learns = slot.rises = false;
    slot.vacant = true;
    empty_directory(node);
    return false;
  }
  SOMETIMES(sim_member_replaced);
  comes(node);
  return true;
}

bool Cluster::is_founded() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) {
    return slot.booted_once || (slot.node && slot.node->booted());
  });
}

void Cluster::empty_directory(size_t node) {
  Slot& slot = slots_[node];
  world_.disk(slot.handle).wipe();
  slot.image.reset();
  slot.id = NodeId();
  slot.directory_starts = 0;
}

bool Cluster::members_settled() const {
  raft::Configuration members;
  for (const Slot& slot : slots_) {
    if (slot.vacant) continue;
    if (!slot.lost && (slot.leaving || slot.rises || !slot.node || !slot.node->booted()))
      return false;
    (slot.learns ? members.learners : members.voters)
        .push_back({slot.lost ? slot.id : slot.node->id(), 1});
  }
  std::sort(members.voters.begin(), members.voters.end());
  std::sort(members.learners.begin(), members.learners.end());
  for (const Slot& slot : slots_) {
    if (slot.lost || slot.vacant) continue;
    for (const partition::Descriptor& descriptor : descriptors_) {
      const raft::Replica* replica = slot.node->replica(descriptor.id);
      if (!replica || !replica->settled() || replica->configuration() != members ||
          replica->status().stateless)
        return false;
    }
  }
  return true;
}

}  // namespace kahuna::sim
