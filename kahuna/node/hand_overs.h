// Leadership on its way from replicas of this loop to others: because somebody asked for it, or
// because the node is about to stop. Belongs to Groups, which shows it every replica after its
// turn.
//
//   O1 every token is answered once: when another leads, or when it is clear that nobody was told;
//   O2 after retire() no replica here begins to lead, and each that leads tries once to hand over.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "kahuna/raft/replica.h"
#include "runtime/error.h"

namespace kahuna::node {

using Token = uint64_t;

class HandOvers {
 public:
  using Answer = std::function<void(Token, Result<>)>;
  explicit HandOvers(Answer answer) : answer_(std::move(answer)) {}

  // Ends in the answer, unless an error is returned at once.
  Result<> ask(raft::Replica& replica, Time now, NodeId to, Token token);
  // The node is about to stop.
  void retire(raft::Replica& replica, Time now);
  // A step of the replica may have changed who leads. False when nobody is waiting for anything.
  bool active() const { return !waiting_.empty() || retiring_; }
  void look(raft::Replica& replica, Time now);
  // Retired replicas that still lead, and have begun to hand over.
  size_t leaving() const { return leaving_.size(); }

 private:
  void leave(raft::Replica& replica, Time now);

  struct Waiting {
    NodeId to;
    Token token;
  };
  Answer answer_;
  std::map<PartitionId, Waiting> waiting_;
  bool retiring_ = false;
  std::set<PartitionId> leaving_;
  std::set<PartitionId> left_;  // have had their try
};

}  // namespace kahuna::node
