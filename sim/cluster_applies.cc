#include "sim/cluster_applies.h"

#include <fmt/core.h>

#include "runtime/hash.h"

namespace kahuna::sim {
namespace {

uint64_t digest(const partition::Reply& reply) {
  Hash128 hash;
  hash.add(static_cast<uint64_t>(reply.outcome));
  hash.add(static_cast<uint64_t>(reply.revision.value()));
  hash.add(reply.stamp.value());
  hash.add(reply.replayed);
  return hash.low();
}

}  // namespace

void AppliedEntries::restarted(size_t node) {
  for (auto& [id, group] : groups_) group.last.erase(node);
}

std::optional<std::string> AppliedEntries::on_apply(size_t node, PartitionId id,
                                                    const raft::Entry& entry,
                                                    const partition::Reply& reply) {
  ++applied_;
  Group& group = groups_[id];
  auto where = [&] {
    return fmt::format("node n{}, partition {}, index {}", node + 1, id.value(),
                       entry.index.value());
  };
  auto [last, is_first] = group.last.try_emplace(node, entry.index);
  if (!is_first && entry.index != last->second.next())
    return fmt::format("{}: applied out of order, after index {}", where(), last->second.value());
  last->second = entry.index;

  Applied applied{entry.term, hash64(entry.payload.view(), static_cast<uint64_t>(entry.kind)),
                  digest(reply), static_cast<uint32_t>(node)};
  if (group.entries.empty()) group.first = entry.index;
  if (entry.index < group.first)
    return fmt::format("{}: applied below the first applied index {}", where(),
                       group.first.value());
  uint64_t offset = entry.index.value() - group.first.value();
  if (offset > group.entries.size())
    return fmt::format("{}: applied beyond anything that was applied before (index {})", where(),
                       group.first.value() + group.entries.size() - 1);
  if (offset == group.entries.size()) {
    group.entries.push_back(applied);
    return std::nullopt;
  }
  const Applied& before = group.entries[offset];
  if (before.term != applied.term || before.content != applied.content)
    return fmt::format("{}: applied another entry (term {}) than n{} had (term {})", where(),
                       applied.term.value(), before.node + 1, before.term.value());
  if (before.reply != applied.reply)
    return fmt::format("{}: replied differently than n{} had ({} r{} stamp {})", where(),
                       before.node + 1, static_cast<int>(reply.outcome), reply.revision.value(),
                       reply.stamp.value());
  return std::nullopt;
}

}  // namespace kahuna::sim
