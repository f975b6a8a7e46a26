#include "sim/cluster_log_time.h"

#include <fmt/core.h>

#include <algorithm>

#include "kahuna/partition/command.h"
#include "runtime/probe.h"

namespace kahuna::sim {
namespace {

// Rounded down to it; and what the arithmetic of clocks rounds, over all changes of their rates.
constexpr Duration kResolution = Duration::millis(1) + Duration::micros(10);

std::optional<LogTime> stamp_of(const raft::Entry& entry) {
  if (entry.kind != raft::EntryKind::kCommand) return std::nullopt;
  auto command = partition::read_command(entry.payload.view());
  return command ? std::optional(command->log_time) : std::nullopt;
}

std::string where(size_t node, PartitionId group, Index index) {
  return fmt::format("node n{}, partition {}, index {}", node + 1, group.value(), index.value());
}

}  // namespace

std::optional<LogTime> LogTimes::after(const Group& group, Index index) {
  if (index < group.first) return LogTime();
  const uint64_t offset = index.value() - group.first.value();
  return offset < group.applied.size() ? std::optional(group.applied[offset]) : std::nullopt;
}

std::optional<std::string> LogTimes::on_step(size_t node, const raft::Replica& replica) {
  const PartitionId id = replica.group();
  Group& group = groups_[id];
  auto found = group.leading.find(node);
  if (replica.role() == raft::Role::kLeader &&
      (found == group.leading.end() || found->second.term != replica.term())) {
    Index before = replica.status().last.index;
    while (replica.term_at(before) == replica.term()) before = before.prev();
    std::optional<LogTime> greatest;
    Index at = before;
    for (; !greatest && replica.entry(at); at = at.prev()) greatest = stamp_of(*replica.entry(at));
    elected(node, id, replica.term(), greatest ? *greatest : after(group, at).value_or(LogTime()));
    found = group.leading.find(node);
    found->second.seen = before;
  }
  if (found == group.leading.end() || found->second.over) return std::nullopt;
  // In the turn in which it is deposed it may have appended something.
  Leading& leading = found->second;
  leading.over = replica.role() != raft::Role::kLeader;
  while (replica.term_at(leading.seen.next()) == leading.term) {
    leading.seen = leading.seen.next();
    const raft::Entry* entry = replica.entry(leading.seen);
    if (auto violation = entry ? appended(node, id, *entry) : std::nullopt) return violation;
  }
  return std::nullopt;
}

void LogTimes::elected(size_t node, PartitionId group, Term term, LogTime greatest) {
  groups_[group].leading[node] = {term, greatest, clocks_(node).own};
}

std::optional<std::string> LogTimes::appended(size_t node, PartitionId id,
                                              const raft::Entry& entry) {
  Group& group = groups_[id];
  const auto stamp = stamp_of(entry);
  if (!stamp) return std::nullopt;
  const Clocks clocks = clocks_(node);
  const Leading& leading = group.leading[node];
  const LogTime right(leading.greatest.value() +
                      static_cast<uint64_t>((clocks.own - leading.since).millis()));
  group.stamped[{entry.index, entry.term}] = {*stamp, clocks.fastest};
  if (*stamp == right) return std::nullopt;
  return fmt::format(
      "{}: stamped {} ms in term {}; elected at {} ms, its clock has since come to {} ms",
      where(node, id, entry.index), stamp->value(), entry.term.value(), leading.greatest.value(),
      right.value());
}

std::optional<std::string> LogTimes::applied(size_t node, PartitionId id, const raft::Entry& entry,
                                             LogTime held) {
  Group& group = groups_[id];
  if (auto known = after(group, entry.index)) {
    if (held == *known) return std::nullopt;
    return fmt::format("{}: its log time is {} ms, that of others after the same entry {} ms",
                       where(node, id, entry.index), held.value(), known->value());
  }
  if (entry.index.value() - group.first.value() > group.applied.size())
    return std::nullopt;  // for AppliedEntries
  const LogTime before = group.applied.empty() ? LogTime() : group.applied.back();
  const auto stamp = stamp_of(entry);
  if (stamp && *stamp < before)
    return fmt::format("{}: stamped {} ms, behind an entry after which log time was {} ms",
                       where(node, id, entry.index), stamp->value(), before.value());
  if (held != stamp.value_or(before))
    return fmt::format("{}: its log time is {} ms, after an entry {} and {} ms before it",
                       where(node, id, entry.index), held.value(),
                       stamp ? fmt::format("stamped {} ms", stamp->value()) : "without a stamp",
                       before.value());
  if (stamp)
    if (auto violation = judge_stamp(group, entry))
      return where(node, id, entry.index) + ": " + *violation;
  group.applied.push_back(held);
  group.stamped.erase(group.stamped.begin(),
                      group.stamped.lower_bound({entry.index.next(), Term()}));
  return std::nullopt;
}

std::optional<std::string> LogTimes::judge_stamp(Group& group, const raft::Entry& entry) {
  auto found = group.stamped.find({entry.index, entry.term});
  if (found == group.stamped.end()) {
    // One that was elected and deposed within a turn is never seen to lead.
    const bool seen = std::any_of(group.leading.begin(), group.leading.end(),
                                  [&](const auto& each) { return each.second.term == entry.term; });
    if (!seen) return std::nullopt;
    return fmt::format("the leader of term {} was not seen to stamp it", entry.term.value());
  }
  if (group.last_term && group.last_term != entry.term)
    SOMETIMES(sim_log_time_goes_on_under_another_leader);
  group.last_term = entry.term;
  const Duration time = Duration::millis(static_cast<int64_t>(found->second.time.value()));
  const Duration ahead = time - found->second.fastest;
  if (ahead > group.least_ahead + kResolution)
    return fmt::format(
        "stamped {} ms: since an earlier stamp that is {} ns more than any clock can have measured",
        found->second.time.value(), (ahead - group.least_ahead).nanos());
  group.least_ahead = std::min(group.least_ahead, ahead);
  return std::nullopt;
}

std::optional<std::string> LogTimes::holds(size_t node, PartitionId id, Index index, LogTime held) {
  const auto known = after(groups_[id], index);
  if (!known || held == *known) return std::nullopt;
  return fmt::format("{}: it starts with log time {} ms, where it was {} ms when it was applied",
                     where(node, id, index), held.value(), known->value());
}

}  // namespace kahuna::sim
