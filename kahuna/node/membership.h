// Who is to belong to the cluster, as this node knows it, and the way of each partition's group
// there.
//
//   V1 a node goes by the roster of the highest revision that it has heard of, from its own replica
//   of
//      meta or from a peer: one that is outside of meta, too, must learn what becomes of the groups
//      that it still leads;
//   V2 every leader moves its own group towards the roster, a step at a time (next_step). A step
//   depends
//      on nothing but the roster and the group, so whoever leads next resumes or repeats it;
//   V3 a member that comes votes only when it has a state and its log is near the leader's;
//   V4 a group takes no step into a configuration of which no majority answers, or of which so few
//   of those who
//      answer have a state that nobody could lead when as many fail as a majority does without;
//   V5 while those who leave answer no step leaves fewer than three voters, unless fewer are
//   wanted.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kahuna/node/roster.h"
#include "kahuna/partition/state_machine.h"
#include "kahuna/raft/replica.h"

namespace kahuna::node {

// What to ask of the leader: transfer() to `successor`, if there is one, else change().
struct MemberStep {
  std::vector<ReplicaId> voters, learners;
  ReplicaId successor;
};
// A learner whose log is no further behind may come to vote.
inline constexpr uint64_t kPromotionLagMax = 1000;
// Whether the group is where it is to be.
bool is_there(const raft::Replica& leader, const Wanted& wanted);
// nullopt: it is there, or it must wait. Who was not heard within `patience` is taken for dead.
std::optional<MemberStep> next_step(const raft::Replica& leader, const Wanted& wanted, Time now,
                                    Duration patience);

class Membership {
 public:
  class Hooks {
   public:
    virtual ~Hooks() = default;
    // This node's replica of meta; null when there is none (yet).
    virtual partition::StateMachine* meta() = 0;
    // Its state could not be read.
    virtual void meta_failed(const Error& error) = 0;
    virtual bool leads_meta() const = 0;
    // Another roster counts now.
    virtual void on_roster() = 0;
  };

  explicit Membership(Hooks& hooks) : hooks_(hooks) {}

  // The cluster is founded, and this is the last roster that this node knew.
  void open(Roster roster);
  // This node's replica of meta may say something new.
  void update();
  // A peer said so.
  void heard(const Roster& roster);

  // What to write to meta for a wish (roster.h), on its leader; nullopt: nothing. kNotLeader,
  // kUnavailable: ask again.
  Result<std::optional<partition::Command>> command(std::string_view wish);

  const Roster& roster() const { return roster_; }

 private:
  Result<std::optional<Roster>> recorded(Revision& revision);
  void adopt(Roster roster);

  Hooks& hooks_;
  Roster roster_;
};

}  // namespace kahuna::node
