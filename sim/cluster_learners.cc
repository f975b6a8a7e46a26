#include "sim/cluster_learners.h"

#include <fmt/core.h>

namespace kahuna::sim {

std::optional<std::string> Learners::on_step(NodeId self, const raft::Replica& replica) const {
  for (NodeId node : waiting_) {
    if (replica.configuration().votes({node, 1}))
      return fmt::format(
          "partition {}: node {} was let in to learn, and votes although nobody asked for that",
          replica.group().value(), node.value());
    if (self == node && replica.role() != raft::Role::kFollower)
      return fmt::format("partition {}: node {} was let in to learn, and campaigns or leads",
                         replica.group().value(), node.value());
  }
  return std::nullopt;
}

std::optional<std::string> Learners::on_send(const raft::Message& message) const {
  const bool vote = message.kind == raft::MessageKind::kVoteReply ||
                    message.kind == raft::MessageKind::kPreVoteReply;
  if (!vote || message.rejected || !waiting_.contains(message.from.node)) return std::nullopt;
  return fmt::format("partition {}: node {} was let in to learn, and gives its vote",
                     message.group.value(), message.from.node.value());
}

}  // namespace kahuna::sim
