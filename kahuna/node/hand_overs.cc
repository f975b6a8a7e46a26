#include "kahuna/node/hand_overs.h"

#include <algorithm>

#include "runtime/probe.h"

namespace kahuna::node {

Result<> HandOvers::ask(raft::Replica& replica, Time now, NodeId to, Token token) {
  const auto& voters = replica.configuration().voters;
  auto target =
      std::find_if(voters.begin(), voters.end(), [&](ReplicaId id) { return id.node == to; });
  if (target == voters.end())
    return fail(ErrorCode::kInvalid, "that node has no replica of this partition that may lead");
  if (waiting_.contains(replica.group()))
    return fail(ErrorCode::kOverloaded, "leadership of this partition is on the move already");
  RETURN_IF_ERROR(replica.transfer(now, *target));
  waiting_[replica.group()] = {to, token};
  return {};
}

void HandOvers::retire(raft::Replica& replica, Time now) {
  retiring_ = true;
  replica.retire();
  leave(replica, now);
}

void HandOvers::leave(raft::Replica& replica, Time now) {
  if (replica.role() != raft::Role::kLeader || !left_.insert(replica.group()).second) return;
  // Nobody to hand it to: the others are down, and elect when they are back.
  auto target = replica.successor(now);
  if (!target || !replica.transfer(now, *target)) return;
  SOMETIMES(node_hands_over_before_it_stops);
  leaving_.insert(replica.group());
}

void HandOvers::look(raft::Replica& replica, Time now) {
  const bool leads = replica.role() == raft::Role::kLeader;
  if (retiring_) {
    leave(replica, now);
    if (!leads || !replica.transferring()) leaving_.erase(replica.group());
  }
  auto found = waiting_.find(replica.group());
  if (found == waiting_.end() || replica.transferring()) return;
  const NodeId leader = replica.leader().node;
  if (!leader) return;  // not yet
  const Waiting waiting = found->second;
  waiting_.erase(found);
  if (leader == waiting.to) return answer_(waiting.token, {});
  SOMETIMES(leadership_was_not_taken);
  answer_(waiting.token, fail(ErrorCode::kUnavailable,
                              leads ? "that node's replica lacks too much, or does not answer"
                                    : "another replica has taken leadership"));
}

}  // namespace kahuna::node
