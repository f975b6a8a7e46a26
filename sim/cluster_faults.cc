// What goes wrong on the nodes' disks, by the plan and while nodes start, and what that excuses.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <set>

#include "kahuna/partition/position.h"
#include "runtime/check.h"
#include "runtime/probe.h"
#include "sim/cluster.h"

namespace kahuna::sim {

void Cluster::damage_at_crash(size_t node) {
  Slot& slot = slots_[node];
  if (options_.rots == 0 || slot.frozen || !may_damage()) return;
  if (atlas_.mode() == FaultAtlas::Mode::kNodes && node + 1 != options_.rots) return;
  uint64_t crash = slot.crashes++;
  if (crash < options_.rots_at || crash - options_.rots_at >= options_.rots_crashes) return;
  for (size_t i = 0; i < options_.rots_engine && atlas_.take(node); ++i) {
    if (!damage_engine(world_.disk(slot.handle), random_)) break;
    slot.engine_damaged = true;
    ++rotten_;
  }
  for (size_t i = 0; i < options_.rots_sectors; ++i)
    if (!damage_journal_of(node, Damage::kAny, random_)) break;
}

std::optional<std::string> Cluster::damage_journal_of(size_t node, Damage how, RandomStream& dice) {
  Slot& slot = slots_[node];
  JournalDamage damage{.how = how};
  if (atlas_.mode() == FaultAtlas::Mode::kPlaces)
    damage.may_lose = [&](const auto& ranges) { return atlas_.take_entries(node, ranges); };
  else if (!atlas_.take(node))
    return std::nullopt;
  auto where = damage_journal(world_.disk(slot.handle), dice, damage);
  if (!where) return std::nullopt;
  // Entries are what a node can always start without.
  if (atlas_.mode() != FaultAtlas::Mode::kPlaces) slot.damaged = true;
  ++rotten_;
  return where;
}

bool Cluster::damage(size_t node, FaultKind kind, RandomStream& dice, std::string& text) {
  Slot& slot = slots_[node];
  if (slot.frozen || !may_damage()) return false;
  if (kind == FaultKind::kMisdirect) return arm_misdirection(node, dice, text);
  const Damage how = kind == FaultKind::kLatent ? Damage::kUnreadable : Damage::kRot;
  // In places only content of entries may be lost, and what cannot be read takes its page with it.
  if (atlas_.mode() == FaultAtlas::Mode::kPlaces && how == Damage::kUnreadable) return false;
  std::optional<std::string> where;
  if (dice.chance(1, 3) && atlas_.take(node)) {
    where = damage_engine(world_.disk(slot.handle), dice, how);
    slot.engine_damaged |= where.has_value();
  } else {
    where = damage_journal_of(node, how, dice);
  }
  if (!where) return false;
  text += ": " + *where;
  return true;
}

// A journal's write stays in that journal, at a place that is neither written again nor removed
// before the batch that it was of is no longer the last, unless the journal distrusts tears: a last
// write that left no trace passes for torn (journal/format.md).
bool Cluster::arm_misdirection(size_t node, RandomStream& dice, std::string& text) {
  if (!world_.running(slots_[node].handle) || !atlas_.take(node)) return false;
  const uint64_t which = dice.below(6);
  const bool journal = which < 3, engine = which == 3 || which == 4, far = dice.chance(1, 4);
  auto dir = std::make_shared<std::string>();  // of the write
  auto lasting = std::make_shared<std::set<std::string>>();
  auto wanted = [=, this](const std::string& path, ByteView bytes) {
    *dir = path.substr(0, path.rfind('/') + 1);
    if (journal && is_journal_path(path) && !options_.distrust_tears)
      *lasting = lasting_segments(world_.disk(slots_[node].handle), path, bytes);
    if (is_journal_path(path)) return !engine && (journal || options_.distrust_tears);
    return is_engine_path(path) ? !journal : !journal && !engine;
  };
  auto into = [=, this](const std::string& path, uint64_t offset, ByteView sector) {
    if (path == "lock") return false;
    if (journal && !(far && options_.distrust_tears))
      return (options_.distrust_tears ? path.starts_with(*dir) : lasting->contains(path)) &&
             is_written_journal_sector(world_.disk(slots_[node].handle), path, offset, sector);
    return far || !engine || is_engine_path(path);
  };
  text += journal ? ", of its journal" : engine ? ", of its engine" : "";
  world_.disk(slots_[node].handle)
      .misdirect(RandomStream(world_.seed(), "misdirect", dice.next()), wanted, into,
                 [this, node](const Misdirection& m) {
                   SOMETIMES(sim_write_misdirected);
                   Slot& slot = slots_[node];
                   for (const std::string& path : {m.meant, m.hit})
                     (is_engine_path(path) ? slot.engine_damaged : slot.damaged) = true;
                 });
  return true;
}

bool Cluster::damage(size_t node, bool newest) {
  Slot& slot = slots_[node];
  CHECK(!world_.running(slot.handle));
  if (!damage_journal(world_.disk(slot.handle), random_, {.newest = newest})) return false;
  slot.damaged = true;
  ++rotten_;
  return true;
}

bool Cluster::rot(size_t node) {
  if (!damage_journal(world_.disk(slots_[node].handle), random_, {.how = Damage::kRot}))
    return false;
  slots_[node].damaged = true;
  ++rotten_;
  return true;
}

bool Cluster::lose_newest(size_t node) {
  Slot& slot = slots_[node];
  CHECK(!world_.running(slot.handle));
  if (!lose_newest_batch(world_.disk(slot.handle), random_)) return false;
  slot.damaged = true;
  ++rotten_;
  return true;
}

void Cluster::lose_journals(size_t node) {
  Slot& slot = slots_[node];
  CHECK(!world_.running(slot.handle));
  remove_journals(world_.disk(slot.handle));
  slot.damaged = true;
  ++rotten_;
}

bool Cluster::damage_engine_of(size_t node, size_t bits) {
  Slot& slot = slots_[node];
  for (size_t i = 0; i < bits; ++i) {
    if (!damage_engine(world_.disk(slot.handle), random_)) return false;
    slot.engine_damaged = true;
  }
  return true;
}

// --- forgetting ---

void Cluster::wipe(size_t node) {
  CHECK(!world_.running(slots_[node].handle));
  world_.disk(slots_[node].handle).wipe();
  slots_[node].lost = slots_[node].forgot = true;
}

void Cluster::roll_back(size_t node, const DiskImage& image) {
  CHECK(!world_.running(slots_[node].handle));
  world_.disk(slots_[node].handle).restore(image);
  slots_[node].lost = slots_[node].forgot = true;
}

void Cluster::keep_image(size_t node, uint64_t boot) {
  Slot& slot = slots_[node];
  if (!options_.keep_images || boot == 0 || slot.image || !imaging_.chance(2, 3)) return;
  slot.image = world_.disk(slot.handle).image();
  slot.image_boot = boot;
}

std::optional<uint64_t> Cluster::boot_known(size_t at, NodeId of) {
  const Slot& slot = slots_[at];
  if (!of || !slot.node || !slot.node->booted() || slot.forgot) return std::nullopt;
  auto* meta = const_cast<partition::StateMachine*>(slot.node->state(PartitionId(0)));
  if (!meta) return std::nullopt;
  std::optional<uint64_t> known;
  world_.in_turn(slot.handle, [&] {
    auto record = meta->get(fmt::format("{}boot/{}", partition::kReservedPrefix, of.value()));
    if (!record || !*record) return;
    const std::string_view text = (*record)->value;
    uint64_t number = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), number).ec == std::errc())
      known = number;
  });
  return known;
}

bool Cluster::may_forget(size_t node, FaultKind kind) {
  Slot& slot = slots_[node];
  if (slot.frozen || slot.forgot || !slot.node) return false;
  if (!(kind == FaultKind::kRollBack ? may_roll_back() : may_harm())) return false;
  if (kind == FaultKind::kWipe) {
    for (const Slot& each : slots_)
      if (!each.booted_once && !(each.node && each.node->booted())) return false;
    return atlas_.take_memory(node);
  }
  if (!slot.image) return false;
  for (size_t other = 0; other < slots_.size(); ++other) {
    if (other == node) continue;
    auto known = boot_known(other, slot.node->id());
    if (!known || *known <= slot.image_boot) return false;
  }
  return atlas_.take_memory(node);
}

void Cluster::forget(size_t node, FaultKind kind) {
  if (kind == FaultKind::kWipe) {
    SOMETIMES(sim_node_was_wiped);
    wipe(node);
  } else {
    SOMETIMES(sim_node_was_rolled_back);
    rolled_back_ = true;
    roll_back(node, *slots_[node].image);
  }
}

// --- excuses ---

namespace {

// Whether these have a leader by the members that the best log of theirs knows.
bool can_elect(const std::vector<const raft::Replica*>& replicas) {
  auto end = [](const raft::Replica* r) {
    return std::pair(r->status().last.term, r->status().last.index);
  };
  auto best = std::max_element(replicas.begin(), replicas.end(),
                               [&](auto* a, auto* b) { return end(a) < end(b); });
  if (best == replicas.end() || !(*best)->status().configuration->known()) return false;
  const raft::Members members(*(*best)->status().configuration);
  raft::MemberSet votes = 0;
  for (const raft::Replica* replica : replicas) {
    const size_t slot = members.slot_of(replica->status().self);
    if (slot < members.size()) votes |= raft::MemberSet{1} << slot;
  }
  return members.is_quorum(votes);
}

}  // namespace

bool Cluster::is_damaged() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.damaged; });
}

bool Cluster::is_hurt() const {
  for (const Slot& slot : slots_) {
    if (slot.lost) return true;
    if (!slot.node || !slot.node->booted()) continue;
    for (const partition::Descriptor& descriptor : descriptors_) {
      const raft::Replica* replica = slot.node->replica(descriptor.id);
      if (replica && (!replica->is_whole() || replica->status().stateless)) return true;
    }
  }
  return false;
}

bool Cluster::waits_for_what_is_lost() const {
  for (const Slot& slot : slots_)
    if (slot.lost && slot.engine_damaged &&
        world_.disk(slot.handle).open("engine.only", OpenOptions{}))
      return true;
  std::vector<size_t> all(slots_.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  return std::any_of(descriptors_.begin(), descriptors_.end(),
                     [&](const partition::Descriptor& d) { return beyond_repair(d.id, all); });
}

bool Cluster::repaired(const std::vector<size_t>& nodes) const {
  for (const partition::Descriptor& descriptor : descriptors_) {
    bool whole = true;
    for (size_t node : nodes) {
      const raft::Replica* replica =
          slots_[node].node ? slots_[node].node->replica(descriptor.id) : nullptr;
      whole = whole && (!replica || replica->is_whole());
    }
    if (!whole && !beyond_repair(descriptor.id, nodes)) return false;
  }
  return true;
}

bool Cluster::beyond_repair(PartitionId id, const std::vector<size_t>& nodes) const {
  std::vector<const raft::Replica*> replicas, whole;
  for (size_t node : nodes) {
    const raft::Replica* replica = slots_[node].node ? slots_[node].node->replica(id) : nullptr;
    if (!replica) continue;
    replicas.push_back(replica);
    if (replica->tail().empty() && !replica->status().stateless) whole.push_back(replica);
  }
  if (can_elect(whole)) return false;
  auto has = [](const raft::Replica& replica, raft::LogPosition position) {
    raft::Status status = replica.status();
    if (position.index <= status.base.index) return !status.stateless;
    return replica.term_at(position.index) == position.term ||
           (replica.tail().intact_at(position.index) &&
            replica.tail().term_at(position.index) == position.term);
  };
  for (const raft::Replica* replica : replicas) {
    const raft::FaultyTail& tail = replica->tail();
    raft::Status status = replica->status();
    // What its lost state held is committed: it comes from a state or a log that reaches as far.
    if (status.stateless && std::none_of(replicas.begin(), replicas.end(), [&](auto* other) {
          raft::Status held = other->status();
          return !held.stateless && held.last.index >= status.base.index;
        })) {
      SOMETIMES(sim_state_beyond_repair);
      return true;
    }
    if (tail.empty()) continue;
    for (Index i = tail.first().index; i <= tail.last().index; i = i.next()) {
      raft::LogPosition lost{i, *tail.term_at(i)};
      if (!tail.intact_at(i) && std::none_of(replicas.begin(), replicas.end(),
                                             [&](auto* other) { return has(*other, lost); })) {
        SOMETIMES(sim_damage_beyond_repair);
        return true;
      }
    }
  }
  return false;
}

// The disk of a node that has opened a new engine beside its damaged one is full, for a while.
node::OpenEngine Cluster::fill_disk_of_a_salvage(size_t node, node::OpenEngine open) {
  return [this, node, open = std::move(open)](Suspend s, Host& host, Fibers& fibers,
                                              const std::string& dir) {
    auto engine = open(s, host, fibers, dir);
    SimDisk& disk = world_.disk(slots_[node].handle);
    if (!engine || calm_ || dir != "engine" || !disk.exists("engine.old") || disk_filled_)
      return engine;
    disk_filled_ = true;
    disk.set_full(true);
    world_.call_at(world_.now() + Duration::millis(300), [&disk] { disk.set_full(false); });
    return engine;
  };
}

void Cluster::disturb_founding() {
  RandomStream dice = world_.random("founding");
  for (size_t i = 0; i < options_.founding_crashes; ++i) {
    const size_t node = dice.below(slots_.size());
    const CrashKind kind = dice.chance(1, 2) ? CrashKind::kPower : CrashKind::kProcess;
    const uint64_t damage = dice.next();
    world_.call_at(world_.now() + draw(dice, Duration::micros(1), options_.founding_takes),
                   [=, this] {
                     if (calm_ || violation_ || !up(node) || is_founded()) return;
                     crash(node, kind);
                     if (i == 0) damage_founder(node, damage);
                     restart_later(node);
                   });
  }
}

// It finds its identity damaged, or an empty directory.
void Cluster::damage_founder(size_t node, uint64_t how) {
  Slot& slot = slots_[node];
  if (atlas_.mode() == FaultAtlas::Mode::kPlaces || !may_damage() || !atlas_.take(node)) return;
  if (how % 2 == 0)
    slot.begins_anew = true;
  else
    slot.damaged |= damage_identity(world_.disk(slot.handle), how / 2);
}

}  // namespace kahuna::sim
