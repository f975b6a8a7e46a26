#include <gtest/gtest.h>

#include "tests/raft/solo.h"

namespace kahuna::raft::testing {
namespace {

using Kind = MessageKind;

TEST(RaftVote, RejectsCandidateWithShorterLog) {
  Solo solo(Solo::with_log({2, 2}));
  solo.ask_for_vote(2, 3, Solo::at(2, 2));
  solo.drain();
  ASSERT_EQ(solo.sent(Kind::kVoteReply).size(), 1u);
  EXPECT_TRUE(solo.sent(Kind::kVoteReply)[0].rejected);
  EXPECT_EQ(solo->term(), Term(3)) << "the term is adopted all the same";
}

TEST(RaftVote, RejectsCandidateWithLongerLogOfAnEarlierTerm) {
  Solo solo(Solo::with_log({2, 3}));
  solo.ask_for_vote(2, 4, Solo::at(9, 2));
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kVoteReply)[0].rejected);
}

TEST(RaftVote, GrantsCandidateWithEqualLog) {
  Solo solo(Solo::with_log({2, 3}));
  solo.ask_for_vote(2, 4, Solo::at(3, 3));
  solo.drain();
  EXPECT_FALSE(solo.sent(Kind::kVoteReply)[0].rejected);
}

TEST(RaftVote, IsToldOnlyAfterItIsDurable) {
  Solo solo;
  solo.ask_for_vote(2, 2, Solo::at(1, 1));
  Ready ready = solo.take();
  EXPECT_TRUE(ready.messages.empty());
  ASSERT_TRUE(ready.persist.has_value());
  EXPECT_TRUE(ready.persist->hard_state_changed);
  EXPECT_EQ(ready.persist->hard_state.vote, Solo::id(2));
  solo.sync();
  ready = solo.take();
  ASSERT_EQ(ready.messages.size(), 1u);
  EXPECT_FALSE(ready.messages[0].rejected);
}

TEST(RaftVote, IsGivenOncePerTerm) {
  Solo solo;
  solo.ask_for_vote(2, 2, Solo::at(1, 1));
  solo.drain();
  solo.ask_for_vote(3, 2, Solo::at(5, 1));
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kVoteReply, 3)[0].rejected);
}

TEST(RaftVote, IsRepeatedForTheSameCandidate) {
  Solo solo;
  solo.ask_for_vote(2, 2, Solo::at(1, 1));
  solo.drain();
  solo.ask_for_vote(2, 2, Solo::at(1, 1));
  solo.drain();
  ASSERT_EQ(solo.sent(Kind::kVoteReply, 2).size(), 2u);
  EXPECT_FALSE(solo.sent(Kind::kVoteReply, 2)[1].rejected);
}

TEST(RaftVote, WaitingToBeToldIsDroppedByALaterTerm) {
  Solo solo;
  solo.ask_for_vote(2, 2, Solo::at(1, 1));
  solo.take();
  solo.ask_for_vote(3, 3, Solo::at(1, 1));
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kVoteReply, 2).empty());
  ASSERT_EQ(solo.sent(Kind::kVoteReply, 3).size(), 1u);
  EXPECT_EQ(solo.sent(Kind::kVoteReply, 3)[0].term, Term(3));
}

TEST(RaftVote, OfAStaleTermIsRefusedWithTheLaterTerm) {
  Recovered recovered = Solo::fresh();
  recovered.hard_state.term = Term(9);
  Solo solo(recovered);
  solo.ask_for_vote(2, 4, Solo::at(1, 1));
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kVoteReply)[0].rejected);
  EXPECT_EQ(solo.sent(Kind::kVoteReply)[0].term, Term(9));
}

TEST(RaftVote, IsNotGivenAgainstAKnownLeaderOfTheTerm) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {});
  solo.ask_for_vote(3, 2, Solo::at(5, 1));
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kVoteReply, 3)[0].rejected);
}

TEST(RaftCandidate, AsksForVotesOnlyAfterItsOwnIsDurable) {
  Solo solo;
  solo.fire();
  solo.receive(solo.message(Kind::kPreVoteReply, 2, 2));
  EXPECT_EQ(solo->role(), Role::kCandidate);
  Ready ready = solo.take();
  EXPECT_TRUE(solo.sent(Kind::kVote).empty());
  solo.receive(solo.message(Kind::kVoteReply, 2, 2));
  EXPECT_EQ(solo->role(), Role::kCandidate) << "its own vote does not count yet";
  solo.sync();
  solo.take();
  EXPECT_EQ(solo.sent(Kind::kVote).size(), 2u);
}

TEST(RaftCandidate, StaysInItsTermWhileItsOwnVoteIsBeingWritten) {
  Solo solo;
  solo.fire();
  solo.receive(solo.message(Kind::kPreVoteReply, 2, 2));
  solo.take();
  solo.fire();
  solo.fire();
  EXPECT_EQ(solo->role(), Role::kCandidate);
  EXPECT_EQ(solo->term(), Term(2));
}

TEST(RaftCandidate, YieldsToTheLeaderOfItsTerm) {
  Solo solo;
  solo.fire();
  solo.receive(solo.message(Kind::kPreVoteReply, 2, 2));
  solo.drain();
  solo.append(3, 2, Solo::at(1, 1), {Solo::entry(2, 2)});
  EXPECT_EQ(solo->role(), Role::kFollower);
  EXPECT_EQ(solo->leader(), Solo::id(3));
}

TEST(RaftCandidate, IgnoresVotesOfAnEarlierTerm) {
  Solo solo;
  solo.fire();
  solo.receive(solo.message(Kind::kPreVoteReply, 2, 2));
  solo.drain();
  solo.fire();  // pre-vote again
  solo.receive(solo.message(Kind::kPreVoteReply, 2, 3));
  solo.drain();
  EXPECT_EQ(solo->term(), Term(3));
  solo.receive(solo.message(Kind::kVoteReply, 2, 2));
  EXPECT_EQ(solo->role(), Role::kCandidate);
}

TEST(RaftCandidate, CountsEachVoterOnce) {
  Solo solo(Solo::fresh(), {}, 5);
  solo.fire();
  solo.receive(solo.message(Kind::kPreVoteReply, 2, 2));
  solo.receive(solo.message(Kind::kPreVoteReply, 2, 2));
  EXPECT_EQ(solo->role(), Role::kPreCandidate);
  solo.receive(solo.message(Kind::kPreVoteReply, 3, 2));
  EXPECT_EQ(solo->role(), Role::kCandidate);
}

TEST(RaftPreVote, ChangesNothing) {
  Solo solo;
  solo.ask_for_pre_vote(2, 9, Solo::at(1, 1));
  Ready ready = solo.take();
  EXPECT_FALSE(ready.persist.has_value());
  EXPECT_EQ(solo->term(), Term(1));
  ASSERT_EQ(ready.messages.size(), 1u);
  EXPECT_FALSE(ready.messages[0].rejected);
  EXPECT_EQ(ready.messages[0].term, Term(9));
}

TEST(RaftPreVote, IsRefusedWhileTheLeaderIsHeard) {
  Solo solo;
  solo.append(3, 2, Solo::at(1, 1), {});
  solo.ask_for_pre_vote(2, 3, Solo::at(1, 1));
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kPreVoteReply)[0].rejected);
  solo.clear();
  solo.wait(Options().election_timeout_min);
  solo.ask_for_pre_vote(2, 3, Solo::at(1, 1));
  solo.drain();
  EXPECT_FALSE(solo.sent(Kind::kPreVoteReply)[0].rejected);
}

TEST(RaftPreVote, IsGrantedOnceTheLeadersConnectionBroke) {
  Solo solo;
  solo.append(3, 2, Solo::at(1, 1), {});
  solo->peer_disconnected(solo.now(), Solo::id(3));
  solo.ask_for_pre_vote(2, 3, Solo::at(1, 1));
  solo.drain();
  EXPECT_FALSE(solo.sent(Kind::kPreVoteReply)[0].rejected);
}

// Of three one is gone, the others campaign at once: only one of them may get so far that it asks
// for votes.
TEST(RaftPreVote, OfTwoWhoCampaignAtOnceIsGrantedToOne) {
  Solo solo(Solo::with_log({2, 2}));
  solo.fire();
  ASSERT_EQ(solo->role(), Role::kPreCandidate);
  solo.drain();
  solo.clear();
  solo.ask_for_pre_vote(2, 3, Solo::at(3, 2));
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kPreVoteReply, 2)[0].rejected) << "this one goes first";
  EXPECT_EQ(solo->role(), Role::kPreCandidate);
  solo.clear();
  solo.ask_for_pre_vote(2, 3, Solo::at(4, 2));
  solo.drain();
  EXPECT_FALSE(solo.sent(Kind::kPreVoteReply, 2)[0].rejected)
      << "it cannot lead, and the other can";
  EXPECT_EQ(solo->role(), Role::kFollower);
}

TEST(RaftPreVote, IsNotKeptFromOthersByOneWhoWasRefused) {
  Solo solo(Solo::with_log({2, 2}));
  solo.fire();
  solo.drain();
  solo.clear();
  Message refusal = solo.message(Kind::kPreVoteReply, 2, 2);
  refusal.rejected = true;
  solo.receive(refusal);
  solo.ask_for_pre_vote(2, 3, Solo::at(3, 2));
  solo.drain();
  EXPECT_FALSE(solo.sent(Kind::kPreVoteReply, 2)[0].rejected);
  EXPECT_EQ(solo->role(), Role::kFollower);
}

TEST(RaftPreVote, IsNotKeptFromOthersForLong) {
  Solo solo(Solo::with_log({2, 2}));
  solo.fire();
  solo.drain();
  solo.clear();
  solo.wait(Options().disconnect_timeout);
  solo.ask_for_pre_vote(3, 3, Solo::at(3, 2));
  solo.drain();
  EXPECT_FALSE(solo.sent(Kind::kPreVoteReply, 3)[0].rejected);
}

TEST(RaftPreVote, IsRefusedByALeader) {
  Solo solo;
  solo.lead();
  solo.ask_for_pre_vote(3, 9, Solo::at(9, 2));
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kPreVoteReply)[0].rejected);
  EXPECT_EQ(solo->role(), Role::kLeader);
}

TEST(RaftPreVote, RefusalTellsALaterTerm) {
  Solo solo;
  solo.fire();
  Message refusal = solo.message(Kind::kPreVoteReply, 2, 8);
  refusal.rejected = true;
  solo.receive(refusal);
  EXPECT_EQ(solo->term(), Term(8));
  EXPECT_EQ(solo->role(), Role::kFollower);
}

TEST(RaftPreVote, LeavesTheTermOfAnIsolatedReplica) {
  Solo solo;
  for (int i = 0; i < 50; ++i) {
    solo.fire();
    solo.drain();
  }
  EXPECT_EQ(solo->term(), Term(1));
}

}  // namespace
}  // namespace kahuna::raft::testing
