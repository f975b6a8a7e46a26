#include "kahuna/journal/replay.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::journal {

Replay::Group& Replay::group(uint64_t id) {
  Group& group = groups_[id];
  group.state.group = id;
  return group;
}

void Replay::apply_body(ByteView records, uint32_t life) {
  for (size_t at = 0; at < records.size();) {
    auto record = parse_record(records.subspan(at));
    if (!record) return;  // Only a mutant gets here: judge() has checked them all.
    apply(*record, life);
    at += record->bytes;
    ++records_;
  }
}

void Replay::apply(const Record& record, uint32_t life) {
  Group& group = this->group(record.head.group);
  const uint64_t index = record.head.index;
  switch (static_cast<RecordType>(record.head.type)) {
    case RecordType::kState: apply_state(state_of(record), life); return;
    case RecordType::kEntry:
      group.log.erase(group.log.lower_bound(index), group.log.end());
      [[fallthrough]];
    case RecordType::kCopied:
      if (index > group.state.released)
        group.log.insert_or_assign(index, Slot{entry_of(record), false, life, record.bytes, 0});
      return;
    case RecordType::kFaulty: {
      RangeItem range;
      range.term = record.head.term;
      range.first = index;
      range.last = faulty_last_of(record);
      group.log.erase(group.log.lower_bound(index), group.log.end());
      placeholders(group, range, life, 0);
      return;
    }
  }
}

void Replay::apply_state(const StateItem& state, uint32_t life) {
  Group& group = this->group(state.group);
  uint64_t released = std::max(group.state.released, state.released);
  uint64_t commit = std::max(group.state.commit, state.commit);
  group.state = state;
  group.state.released = released;
  group.state.commit = commit;
  group.state_life = life;
  group.log.erase(group.log.begin(), group.log.upper_bound(released));
}

void Replay::placeholders(Group& group, const RangeItem& range, uint32_t life, uint32_t where) {
  uint64_t each = range.bytes / (range.last - range.first + 1);
  for (uint64_t i = std::max(range.first, group.state.released + 1); i <= range.last; ++i) {
    Slot slot;
    slot.entry.index = Index(i);
    slot.entry.term = Term(range.term);
    slot.lost = true;
    slot.life = life;
    slot.bytes = each;
    slot.where = where;
    group.log.insert_or_assign(i, std::move(slot));
  }
}

void Replay::apply_damaged(const HeaderItems& items, uint32_t life, const std::string& where) {
  places_.push_back(where);
  auto place = static_cast<uint32_t>(places_.size() - 1);
  for (const RangeItem& range : items.ranges) {
    Group& group = this->group(range.group);
    switch (static_cast<RecordType>(range.type)) {
      case RecordType::kState: break;
      case RecordType::kCopied:
        // The originals may still be there; what is not is lost.
        for (uint64_t i = range.first; i <= range.last; ++i) {
          if (group.log.contains(i)) continue;
          RangeItem one = range;
          one.first = one.last = i;
          placeholders(group, one, life, place);
        }
        break;
      case RecordType::kFaulty:
      case RecordType::kEntry: {
        group.log.erase(group.log.lower_bound(range.first), group.log.end());
        placeholders(group, range, life, place);
        break;
      }
    }
  }
  for (const StateItem& state : items.states) apply_state(state, life);
}

std::vector<std::byte> Replay::faulty_records(const HeaderItems& items) const {
  std::vector<std::byte> out;
  for (const RangeItem& range : items.ranges)
    if (static_cast<RecordType>(range.type) != RecordType::kCopied)
      append_faulty(out, range.group, range.term, range.first, range.last);
  for (const StateItem& state : items.states) append_state(out, state);
  return out;
}

Result<> Replay::check() const {
  for (const auto& [id, group] : groups_) {
    uint64_t expected = group.state.released + 1;
    for (const auto& [index, slot] : group.log) {
      if (index != expected)
        return fail(ErrorCode::kDamaged, "journal: group " + std::to_string(id) +
                                             " lacks entries " + std::to_string(expected) + ".." +
                                             std::to_string(index - 1));
      ++expected;
    }
  }
  return {};
}

std::map<PartitionId, RecoveredGroup> Replay::groups() const {
  constexpr size_t kDamageTextMax = 400;
  std::map<PartitionId, RecoveredGroup> out;
  for (const auto& [id, group] : groups_) {
    RecoveredGroup& to = out[PartitionId(id)];
    to.hard_state.term = Term(group.state.term);
    to.hard_state.vote = {NodeId(group.state.vote_node), group.state.vote_incarnation};
    to.commit = Index(group.state.commit);
    to.released = Index(group.state.released);
    uint32_t told = 0;
    for (const auto& [index, slot] : group.log) {
      if (!slot.lost && to.faulty.empty()) {
        to.entries.push_back(slot.entry);
        continue;
      }
      SOMETIMES(journal_faulty_tail);
      if (!slot.lost) SOMETIMES(journal_intact_behind_damage);
      to.faulty.push_back({slot.entry, slot.lost});
      if (slot.lost && slot.where != told && to.damage.size() < kDamageTextMax)
        to.damage += (to.damage.empty() ? "" : ", ") + places_[told = slot.where];
    }
  }
  return out;
}

void Replay::move_life(uint32_t from, uint32_t to) {
  for (auto& [id, group] : groups_) {
    if (group.state_life == from) group.state_life = to;
    for (auto& [index, slot] : group.log)
      if (slot.life == from) slot.life = to;
  }
}

void Replay::fill(LiveIndex& index) const {
  for (const auto& [id, from] : groups_) {
    GroupIndex& to = index.group(id);
    HeaderItems one;
    // Entries one by one; adjacent ones of a segment coalesce.
    for (const auto& [i, slot] : from.log) {
      auto type = slot.lost ? RecordType::kFaulty : RecordType::kEntry;
      index.apply_range(to,
                        RangeItem{id, slot.entry.term.value(), i, i, static_cast<uint32_t>(type),
                                  static_cast<uint32_t>(slot.bytes)},
                        slot.life);
    }
    if (from.state_life != 0) index.apply_state(to, from.state, from.state_life);
    to.released = from.state.released;
    to.queued = from.state;
    to.queued_last = from.log.empty() ? from.state.released : from.log.rbegin()->first;
  }
}

}  // namespace kahuna::journal
