// Members that were let in as learners: until somebody asks that one of them vote it counts for
// nothing.
//
//   L1 no configuration that a replica has, committed or not, names it among those who vote;
//   L2 it neither campaigns nor leads;
//   L3 it grants no vote, since nobody has a reason to ask it for one.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "kahuna/raft/replica.h"

namespace kahuna::sim {

class Learners {
 public:
  // It is about to be let in as a learner.
  void let_in(NodeId node) { waiting_.insert(node); }
  // Somebody is about to ask that it vote.
  void asked_to_vote(NodeId node) { waiting_.erase(node); }

  // After a step of a replica of that node, and before a message leaves. Text of the violation, if
  // there is one.
  std::optional<std::string> on_step(NodeId self, const raft::Replica& replica) const;
  std::optional<std::string> on_send(const raft::Message& message) const;

 private:
  std::set<NodeId> waiting_;
};

}  // namespace kahuna::sim
