// The judge of learners against what it must refuse.
#include <gtest/gtest.h>

#include "sim/cluster_learners.h"

namespace kahuna::sim {
namespace {

constexpr PartitionId kGroup{1};

ReplicaId id(uint64_t node) {
  return {NodeId(node), 1};
}

raft::Replica replica(uint64_t self, raft::Configuration configuration) {
  raft::Recovered recovered;
  recovered.commit = recovered.applied = raft::kFoundingBase.index;
  recovered.configuration = std::move(configuration);
  return raft::Replica(raft::Options(), kGroup, id(self), std::move(recovered),
                       RandomStream(1, "replica"), Time());
}

raft::Message vote(uint64_t from, bool rejected) {
  raft::Message message;
  message.kind = raft::MessageKind::kVoteReply;
  message.group = kGroup;
  message.from = id(from);
  message.rejected = rejected;
  return message;
}

TEST(LearnersJudge, RefusesAConfigurationInWhichALearnerVotes) {
  Learners judge;
  judge.let_in(NodeId(3));
  EXPECT_FALSE(judge.on_step(NodeId(1), replica(1, {{id(1), id(2)}, {}, {id(3)}})));
  EXPECT_TRUE(judge.on_step(NodeId(1), replica(1, {{id(1), id(2), id(3)}, {}, {}})));
  EXPECT_TRUE(judge.on_step(NodeId(1), replica(1, {{id(1), id(2)}, {id(1), id(3)}, {}})));
  judge.asked_to_vote(NodeId(3));
  EXPECT_FALSE(judge.on_step(NodeId(1), replica(1, {{id(1), id(2), id(3)}, {}, {}})));
}

TEST(LearnersJudge, RefusesALearnerThatGivesItsVote) {
  Learners judge;
  judge.let_in(NodeId(3));
  EXPECT_FALSE(judge.on_send(vote(3, true)));
  EXPECT_FALSE(judge.on_send(vote(2, false)));
  EXPECT_TRUE(judge.on_send(vote(3, false)));
  judge.asked_to_vote(NodeId(3));
  EXPECT_FALSE(judge.on_send(vote(3, false)));
}

}  // namespace
}  // namespace kahuna::sim
