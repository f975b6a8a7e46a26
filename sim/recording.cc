#include "sim/recording.h"

namespace kahuna::sim {

Recorder::Recorder(World& world, Cluster& cluster) : world_(world), cluster_(cluster) {
  for (size_t node = 0; node < cluster.nodes(); ++node)
    recording_.nodes.push_back(world.name(cluster.handle(node)));
  cluster_.listen(this);
}

void Recorder::step(size_t node, const raft::Replica& replica) {
  raft::Status status = replica.status();
  node_of_[status.self] = static_cast<uint32_t>(node);
  std::pair now(status.role, status.hard_state.term.value());
  auto [known, first] = now_.try_emplace({node, status.group.value()}, now);
  if (!first && known->second == now) return;
  known->second = now;
  recording_.roles.push_back({world_.now(), static_cast<uint32_t>(node),
                              static_cast<uint32_t>(status.group.value()), status.role,
                              now.second});
}

void Recorder::message(size_t node, const raft::Message& m) {
  auto to = node_of_.find(m.to);
  if (to == node_of_.end()) return;
  auto& sent = recording_.sent;
  if (sent.size() >= Recording::kSentMax)
    sent.erase(sent.begin(), sent.begin() + Recording::kSentMax / 4);
  uint64_t index = m.entries.empty() ? std::max(m.prev.index, m.match.index).value()
                                     : m.entries.back().index.value();
  sent.push_back({world_.now(), static_cast<uint32_t>(node), to->second,
                  static_cast<uint32_t>(m.group.value()), m.kind, m.rejected, m.term.value(), index,
                  static_cast<uint32_t>(m.entries.size())});
}

void Recorder::process(size_t node, bool up) {
  recording_.processes.push_back({world_.now(), static_cast<uint32_t>(node), up});
  if (up) return;
  std::erase_if(now_, [&](const auto& known) { return known.first.first == node; });
}

}  // namespace kahuna::sim
