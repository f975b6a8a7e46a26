#include <gtest/gtest.h>

#include "runtime/probe.h"
#include "tests/raft/solo.h"

namespace kahuna::raft::testing {
namespace {

using Kind = MessageKind;

Payload bytes(size_t n) {
  return Payload(std::string(n, 'x'));
}

TEST(RaftLeader, BeginsWithAnEntryOfItsTerm) {
  Solo solo(Solo::with_log({2, 2}));
  solo.lead(false);
  EXPECT_EQ(solo->role(), Role::kLeader);
  EXPECT_EQ(solo->status().last, Solo::at(4, 3));
  EXPECT_FALSE(solo->can_serve());
  solo.acknowledge(2, Solo::at(4, 3));
  EXPECT_TRUE(solo->can_serve());
}

TEST(RaftLeader, CountsInheritedEntriesOnlyWithItsOwn) {
  Solo solo(Solo::with_log({2, 2}));
  solo.lead(false);
  solo.acknowledge(2, Solo::at(3, 2));
  EXPECT_EQ(solo->status().commit, Index(1));
  solo.acknowledge(2, Solo::at(4, 3));
  EXPECT_EQ(solo->status().commit, Index(4));
}

TEST(RaftLeader, CountsItselfOnlyWhenDurable) {
  Solo solo;
  solo.lead();
  Index before = solo->status().commit;
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.take();
  solo.acknowledge(2, solo->status().last);
  EXPECT_EQ(solo->status().commit, before);
  solo.sync();
  EXPECT_EQ(solo->status().commit, before.next());
}

TEST(RaftLeader, CommitsThroughFollowersWhileItsDiskIsBusy) {
  Solo solo;
  solo.lead();
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.take();
  solo.acknowledge(2, solo->status().last);
  solo.acknowledge(3, solo->status().last);
  EXPECT_EQ(solo->status().commit, solo->status().last.index);
  size_t applied = solo.applied().size();
  solo.take();
  EXPECT_EQ(solo.applied().size(), applied) << "applied once durable here";
  solo.sync();
  solo.take();
  EXPECT_EQ(solo.applied().size(), applied + 1);
}

TEST(RaftLeader, SendsTheProposalsOfATurnTogether) {
  Solo solo;
  solo.lead();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.take();
  ASSERT_EQ(solo.sent(Kind::kAppend, 2).size(), 1u);
  EXPECT_EQ(solo.sent(Kind::kAppend, 2)[0].entries.size(), 5u);
}

TEST(RaftLeader, PipelinesAppendsEachWithItsAnchor) {
  Solo solo;
  solo.lead();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
    solo.take();
  }
  auto appends = solo.sent(Kind::kAppend, 2);
  ASSERT_EQ(appends.size(), 3u);
  for (const Message& m : appends) {
    EXPECT_EQ(m.entries.front().index, m.prev.index.next());
    EXPECT_EQ(m.prev.term, Term(2));
  }
}

TEST(RaftLeader, CutsAppendsAtTheirMaximum) {
  Options options;
  options.append_bytes_max = 1000;
  Solo solo(Solo::fresh(), options);
  solo.lead();
  for (int i = 0; i < 4; ++i)
    ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(400)));
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(5000)));
  solo.take();
  auto appends = solo.sent(Kind::kAppend, 2);
  ASSERT_EQ(appends.size(), 3u);
  EXPECT_EQ(appends[0].entries.size(), 2u);
  EXPECT_EQ(appends[2].entries.size(), 1u) << "a single entry over the limit still goes";
}

TEST(RaftLeader, StopsSendingAtTheInflightLimitAndGoesOnWhenAcknowledged) {
  Options options;
  options.inflight_bytes_max = 1000;
  Solo solo(Solo::fresh(), options);
  solo.lead();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(400)));
    solo.drain();
  }
  auto appends = solo.sent(Kind::kAppend, 2);
  ASSERT_LE(appends.size(), 4u);
  solo.clear();
  solo.acknowledge(2, {appends.back().entries.back().index, Term(2)});
  solo.drain();
  ASSERT_FALSE(solo.sent(Kind::kAppend, 2).empty());
  EXPECT_EQ(solo.sent(Kind::kAppend, 2)[0].prev.index, appends.back().entries.back().index);
}

// It may have compacted them in an earlier life while another replica lacked them.
TEST(RaftLeader, DoesNotTakeWhatItsLogLacksForDurableEverywhere) {
  Recovered recovered = Solo::fresh();
  recovered.base = Solo::at(50, 1);
  recovered.commit = recovered.applied = Index(50);
  Solo solo(std::move(recovered));
  solo.lead();
  solo.acknowledge(2, Solo::at(51, 2));
  solo.fire();
  solo.drain();
  ASSERT_FALSE(solo.sent(Kind::kHeartbeat, 3).empty());
  for (const Message& heartbeat : solo.sent(Kind::kHeartbeat, 3))
    EXPECT_LT(heartbeat.trim, Index(50));
}

TEST(RaftLeader, RefusesProposalsBeyondItsLimits) {
  Options options;
  options.uncommitted_bytes_max = 1000;
  Solo solo(Solo::fresh(), options);
  solo.lead();
  Result<LogPosition> last = Solo::at(0, 0);
  int accepted = 0;
  while ((last = solo->propose(solo.now(), EntryKind::kCommand, bytes(300))).has_value())
    ++accepted;
  EXPECT_EQ(last.error().code, ErrorCode::kOverloaded);
  EXPECT_EQ(accepted, 3);
}

// What it timed in an earlier term was truncated: it says nothing.
TEST(RaftLeader, TakesProposalsInALaterTerm) {
  Solo solo;
  solo.lead();
  auto propose = [&] {
    return solo->propose(solo.now(), EntryKind::kCommand, Payload("x")).has_value();
  };
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(propose());
  solo.drain();
  solo.acknowledge(2, Solo::at(5, 2));
  solo.drain();
  ASSERT_TRUE(propose());  // timed, as what was timed before is applied
  ASSERT_EQ(solo->status().last, Solo::at(10, 2));
  solo.drain();
  solo.append(2, 3, Solo::at(5, 2), {Solo::entry(6, 3)}, 6);
  solo.drain();
  solo.lead();
  solo.wait(Options().election_timeout_max * 2);
  ASSERT_EQ(solo->status().applied, Index(7));
  EXPECT_TRUE(propose());
}

TEST(RaftLeader, RefusesProposalsWhileOneWaitsTooLong) {
  const Options options;
  Solo solo;
  solo.lead();
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, Payload("a")));
  solo.wait(options.election_timeout_max);
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, Payload("b")));
  solo.wait(Duration::millis(1));
  const auto refused = solo->propose(solo.now(), EntryKind::kCommand, Payload("c"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOverloaded);
  solo.drain();
  solo.acknowledge(2, solo->status().last);
  solo.drain();
  EXPECT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, Payload("c")));
}

TEST(RaftLeader, RefusesProposalsWhenALaggardHoldsTooMuchOfTheLog) {
  Options options;
  options.log_bytes_max = 2000;
  Solo solo(Solo::fresh(), options);
  solo.lead();
  bool refused = false;
  for (int i = 0; i < 10; ++i) {
    auto result = solo->propose(solo.now(), EntryKind::kCommand, bytes(300));
    solo.drain();
    if (!result) refused = true;
    solo.acknowledge(2, solo->status().last);  // node 3 is down
    solo.drain();
  }
  EXPECT_TRUE(refused);
  solo.acknowledge(3, solo->status().last);
  solo.drain();
  solo->release(solo->status().last.index);
  EXPECT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(300)));
}

TEST(RaftLeader, FallsBackToTheHintOfARefusal) {
  Solo solo(Solo::with_log({2, 2, 2, 2}));
  solo.lead(false);
  Message refusal = solo.message(Kind::kAppendReply, 2, 3);
  refusal.rejected = true;
  refusal.prev.index = Index(5);
  refusal.match = Solo::at(2, 2);
  solo.receive(refusal);
  solo.drain();
  auto appends = solo.sent(Kind::kAppend, 2);
  ASSERT_EQ(appends.size(), 1u);
  EXPECT_EQ(appends[0].prev, Solo::at(2, 2));
  // One probe at a time: a second refusal of the first append changes nothing.
  solo.receive(refusal);
  EXPECT_FALSE(solo->has_ready());
}

TEST(RaftLeader, ResendsWhatAHeartbeatShowsToBeLost) {
  Solo solo;
  solo.lead();
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.drain();
  solo.clear();
  solo.fire();
  solo.take();
  uint64_t round = solo.sent(Kind::kHeartbeat, 2)[0].round;
  solo.answer_heartbeat(2, round, 2, Solo::at(2, 2));
  solo.take();
  ASSERT_EQ(solo.sent(Kind::kAppend, 2).size(), 1u);
  EXPECT_EQ(solo.sent(Kind::kAppend, 2)[0].prev, Solo::at(2, 2));
}

TEST(RaftLeader, DoesNotResendWhatIsOnlyNotYetDurable) {
  Solo solo;
  solo.lead();
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.drain();
  solo.clear();
  solo.fire();
  solo.take();
  solo.answer_heartbeat(2, solo.sent(Kind::kHeartbeat, 2)[0].round, 3, Solo::at(2, 2));
  solo.take();
  EXPECT_TRUE(solo.sent(Kind::kAppend, 2).empty());
}

TEST(RaftLeader, LearnsALostAcknowledgementFromAHeartbeat) {
  Solo solo;
  solo.lead();
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.drain();
  solo.answer_heartbeat(2, 1, 3, Solo::at(3, 2));
  EXPECT_EQ(solo->status().commit, Index(3));
}

TEST(RaftLeader, DoesNotBelieveAnImplausibleAcknowledgement) {
  Solo solo;
  solo.lead();
  Index before = solo->status().commit;
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.drain();
  solo.acknowledge(2, Solo::at(9, 2));
  solo.acknowledge(2, Solo::at(3, 1));
  EXPECT_EQ(solo->status().commit, before);
}

TEST(RaftLeader, StopsSendingToAPeerWhoseConnectionBroke) {
  Solo solo;
  solo.lead();
  solo->peer_disconnected(solo.now(), Solo::id(2));
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kAppend, 2).empty());
  EXPECT_EQ(solo.sent(Kind::kAppend, 3).size(), 1u);
  solo.fire();
  solo.take();
  solo.answer_heartbeat(2, solo.sent(Kind::kHeartbeat, 2)[0].round, 2, Solo::at(2, 2));
  solo.take();
  EXPECT_EQ(solo.sent(Kind::kAppend, 2).size(), 1u);
}

TEST(RaftLeader, AcceptsThatAFollowerForgotItsPromise) {
  Solo solo;
  solo.lead();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.drain();
  solo.acknowledge(2, Solo::at(5, 2));
  ASSERT_EQ(solo->status().commit, Index(5));
  solo.clear();
  // Node 2 returns with a log that ends at 3.
  solo->peer_disconnected(solo.now(), Solo::id(2));
  solo.fire();
  solo.take();
  solo.answer_heartbeat(2, solo.sent(Kind::kHeartbeat, 2)[0].round, 1, Solo::at(1, 1));
  solo.take();
  ASSERT_EQ(solo.sent(Kind::kAppend, 2).size(), 1u);
  EXPECT_EQ(solo.sent(Kind::kAppend, 2)[0].prev.index, Index(5));
  Message refusal = solo.message(Kind::kAppendReply, 2, 2);
  refusal.rejected = true;
  refusal.prev.index = Index(5);
  refusal.match = Solo::at(3, 2);
  solo.receive(refusal);
  solo.take();
  ASSERT_EQ(solo.sent(Kind::kAppend, 2).size(), 2u);
  EXPECT_EQ(solo.sent(Kind::kAppend, 2)[1].prev.index, Index(3));
  EXPECT_EQ(solo->status().commit, Index(5)) << "commit never goes back";
}

// 2 refuses the base; until a state has arrived there it refuses whatever is anchored there,
// however often it is asked.
bool sends_no_entries_beside_a_state() {
  Solo solo;
  solo.lead(false);
  Message refusal = solo.message(Kind::kAppendReply, 2, 2);
  refusal.rejected = refusal.needs_snapshot = true;
  refusal.prev.index = Index(1);
  bool none = true;
  for (int i = 0; i < 3; ++i) {
    solo.clear();
    solo.receive(refusal);
    solo.fire();
    solo.take();
    solo.answer_heartbeat(2, solo.sent(Kind::kHeartbeat, 2).back().round, 0, LogPosition());
    solo.take();
    EXPECT_FALSE(solo.sent(Kind::kAppend, 2).empty());
    for (const Message& append : solo.sent(Kind::kAppend, 2)) none = none && append.entries.empty();
  }
  solo.acknowledge(2, Solo::at(1, 1));
  solo.take();
  EXPECT_EQ(solo.sent(Kind::kAppend, 2).back().entries.size(), 1u)
      << "with the state there the log follows";
  return none;
}

TEST(RaftLeader, SendsNoEntriesBesideAState) {
  EXPECT_TRUE(sends_no_entries_beside_a_state());
}

#ifdef KAHUNA_MUTANTS
TEST(RaftLeader, MutantThatSendsEntriesBesideAStateIsSeen) {
  set_active_mutant("appends_beside_a_state");
  EXPECT_FALSE(sends_no_entries_beside_a_state());
  set_active_mutant("");
}
#endif

TEST(RaftLeader, TrimsToWhatEveryVoterHasDurably) {
  Solo solo;
  solo.lead();
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.drain();
  solo.acknowledge(2, Solo::at(3, 2));
  EXPECT_EQ(solo.take().trim, Index(1));
  solo.acknowledge(3, Solo::at(2, 2));
  EXPECT_EQ(solo.take().trim, Index(2));
}

TEST(RaftLeader, BeatsAtMultiplesOfTheInterval) {
  Solo solo;
  solo.lead();
  EXPECT_EQ(solo->deadline().nanos() % Options().heartbeat_interval.nanos(), 0);
  solo.fire();
  solo.take();
  EXPECT_EQ(solo.sent(Kind::kHeartbeat).size(), 2u);
  EXPECT_EQ(solo->deadline().nanos() % Options().heartbeat_interval.nanos(), 0);
}

TEST(RaftLeader, AsksForFewAnswersOfFollowersThatLackNothing) {
  Options options;
  options.quiesce_after = Duration();
  Solo solo(Solo::fresh(), options);
  solo.lead();
  solo.acknowledge(2, Solo::at(2, 2));
  solo.acknowledge(3, Solo::at(2, 2));
  solo.drain();
  auto beats = [&](int count) {
    int answered = 0;
    for (int i = 0; i < count; ++i) {
      solo.clear();
      solo.fire();
      solo.take();
      const Message beat = solo.sent(Kind::kHeartbeat, 2).back();
      if (beat.unanswered) continue;
      ++answered;
      solo.answer_heartbeat(2, beat.round, 2, Solo::at(2, 2));
    }
    return answered;
  };
  EXPECT_EQ(beats(1), 1) << "the first of a term";
  EXPECT_EQ(beats(30), 10);
  EXPECT_EQ(solo->role(), Role::kLeader);

  solo.clear();
  ASSERT_TRUE(solo->read(solo.now(), 7));
  solo.take();
  EXPECT_FALSE(solo.sent(Kind::kHeartbeat, 2)[0].unanswered);
  EXPECT_EQ(beats(1), 1) << "the read may have to be confirmed by this one";
  EXPECT_LT(beats(3), 3);
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  EXPECT_EQ(beats(3), 3) << "it may have lost the entry";
}

TEST(RaftLeader, HeartbeatCommitIsCappedByWhatThePeerHas) {
  Solo solo;
  solo.lead();
  solo.fire();
  solo.take();
  EXPECT_EQ(solo.sent(Kind::kHeartbeat, 2)[0].commit, Index(2));
  EXPECT_EQ(solo.sent(Kind::kHeartbeat, 3)[0].commit, Index(0));
}

// A state that somebody holds was committed by an earlier leader: entries of its term count by
// that.
TEST(RaftLeader, TakesForCommittedWhatAStateShows) {
  Solo solo(Solo::with_log({2, 2, 2, 2}));
  solo->heard_committed({Index(3), Term(2)});
  EXPECT_EQ(solo->status().commit, Index(1));  // not by a follower
  solo.lead(/*commit=*/false);
  ASSERT_EQ(solo->status().commit, Index(1));
  solo->heard_committed(
      {Index(3), Term(9)});  // of a leader after this one, in the place of its own entry
  EXPECT_EQ(solo->status().commit, Index(1));
  solo->heard_committed({Index(4), Term(2)});
  EXPECT_EQ(solo->status().commit, Index(4));
  EXPECT_FALSE(solo->can_serve());  // nothing of its own term
  solo->heard_committed({Index(3), Term(2)});
  solo->heard_committed({Index(100), Term(2)});
  EXPECT_EQ(solo->status().commit, Index(4));
}

TEST(RaftLeader, StepsDownOnAHigherTermInAnyReply) {
  for (Kind kind : {Kind::kAppendReply, Kind::kHeartbeatReply, Kind::kVoteReply}) {
    Solo solo;
    solo.lead();
    Message reply = solo.message(kind, 2, 9);
    reply.rejected = true;
    solo.receive(reply);
    EXPECT_EQ(solo->role(), Role::kFollower);
    EXPECT_EQ(solo->term(), Term(9));
    EXPECT_TRUE(solo.take().lost_leadership);
  }
}

TEST(RaftLeader, StepsDownWhenGrantingAVote) {
  Solo solo;
  solo.lead();
  solo.ask_for_vote(3, 9, Solo::at(2, 2));
  solo.drain();
  EXPECT_EQ(solo->role(), Role::kFollower);
  EXPECT_FALSE(solo.sent(Kind::kVoteReply)[0].rejected);
}

TEST(RaftLeader, StepsDownWithoutAQuorum) {
  Solo solo;
  solo.lead();
  for (int i = 0; i < 9; ++i) solo.fire();
  EXPECT_EQ(solo->role(), Role::kLeader);
  for (int i = 0; i < 3 && solo->role() == Role::kLeader; ++i) solo.fire();
  EXPECT_EQ(solo->role(), Role::kFollower);
  EXPECT_EQ(solo->term(), Term(2)) << "its term stays";
}

TEST(RaftLeader, StepsDownWhenItsDiskHoldsUpWhatTheOthersCommitted) {
  Solo solo;
  solo.lead();
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.take();  // never synced
  int beats = 0;
  for (; solo->role() == Role::kLeader && beats < 30; ++beats) {
    for (size_t n : {2, 3}) solo.acknowledge(n, solo->status().last);
    solo.fire();
  }
  EXPECT_EQ(solo->role(), Role::kFollower);
  EXPECT_GE(beats, 10);
}

TEST(RaftLeader, KeepsLeadingWithADiskThatIsSlowButMoves) {
  Solo solo;
  solo.lead();
  for (int beats = 0; beats < 40; ++beats) {
    ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
    if (beats % 5 == 0) solo.sync();
    solo.take();
    for (size_t n : {2, 3}) solo.acknowledge(n, solo->status().last);
    solo.fire();
  }
  EXPECT_EQ(solo->role(), Role::kLeader);
}

TEST(RaftLeader, TellsSinceWhenItsDiskMakesTheOthersWaitAndWhoIsQuicker) {
  Solo solo(Solo::fresh(), {}, 5);
  solo.fire();
  for (size_t n : {2, 3}) solo.receive(solo.message(Kind::kPreVoteReply, n, 2));
  solo.drain();
  for (size_t n : {2, 3}) solo.receive(solo.message(Kind::kVoteReply, n, 2));
  solo.drain();
  EXPECT_FALSE(solo->holds_up_since());
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  const WriteId write = solo.take().persist->id;
  const LogPosition first = solo->status().last;
  solo.acknowledge(2, first);
  solo.acknowledge(3, first);
  EXPECT_FALSE(solo->holds_up_since()) << "two of five, and the leader, are to commit";
  solo.wait(Duration::millis(10));
  solo.acknowledge(5, first);
  const Time since = solo.now();
  EXPECT_EQ(solo->holds_up_since(), since);
  auto quicker = solo->quicker_successor(solo.now());
  ASSERT_TRUE(quicker);
  EXPECT_NE(quicker->node, NodeId(4)) << "its disk is no better";
  solo.wait(Duration::millis(10));
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  solo.take();
  for (size_t peer : {2, 3, 5}) solo.acknowledge(peer, solo->status().last);
  EXPECT_EQ(solo->holds_up_since(), since) << "the first waits still";
  solo->persisted(solo.now(), write);
  EXPECT_EQ(solo->holds_up_since(), solo.now()) << "and now the second";
  solo.sync();
  EXPECT_FALSE(solo->holds_up_since());
  EXPECT_FALSE(solo->quicker_successor(solo.now()));
}

TEST(RaftLeader, OfOneCommitsAloneAndHasNoTimer) {
  Solo solo(Solo::fresh(), {}, 1);
  solo.fire();
  solo.drain();
  EXPECT_TRUE(solo->can_serve());
  EXPECT_EQ(solo->deadline(), Time::max());
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, bytes(1)));
  Ready ready = solo.take();
  EXPECT_TRUE(ready.committed.empty());
  solo.sync();
  EXPECT_EQ(solo.take().committed.size(), 1u);
  ASSERT_TRUE(solo->read(solo.now(), 5));
  EXPECT_EQ(solo.take().granted_reads.size(), 1u);
}

TEST(RaftRead, IsGrantedByARoundBegunAfterItArrived) {
  Solo solo;
  solo.lead();
  solo.fire();
  solo.take();
  uint64_t earlier = solo.sent(Kind::kHeartbeat, 2)[0].round;
  ASSERT_TRUE(solo->read(solo.now(), 11));
  solo.answer_heartbeat(2, earlier, 2, Solo::at(2, 2));
  solo.take();
  EXPECT_TRUE(solo.granted().empty()) << "that heartbeat was sent before the read";
  solo.answer_heartbeat(2, earlier + 1, 2, Solo::at(2, 2));
  solo.take();
  ASSERT_EQ(solo.granted().size(), 1u);
  EXPECT_EQ(solo.granted()[0].token, 11u);
  EXPECT_EQ(solo.granted()[0].index, Index(2));
}

TEST(RaftRead, SharesARoundWithTheOthersOfItsTurn) {
  Solo solo;
  solo.lead();
  for (ReadToken token = 1; token <= 5; ++token) ASSERT_TRUE(solo->read(solo.now(), token));
  solo.take();
  ASSERT_EQ(solo.sent(Kind::kHeartbeat, 2).size(), 1u);
  solo.answer_heartbeat(2, solo.sent(Kind::kHeartbeat, 2)[0].round, 2, Solo::at(2, 2));
  solo.take();
  EXPECT_EQ(solo.granted().size(), 5u);
}

TEST(RaftRead, WaitsForAnEntryOfTheOwnTerm) {
  Solo solo(Solo::with_log({2, 2}));
  solo.lead(false);
  ASSERT_TRUE(solo->read(solo.now(), 1));
  solo.take();
  solo.answer_heartbeat(2, solo.sent(Kind::kHeartbeat, 2)[0].round, 3, Solo::at(3, 2));
  solo.take();
  EXPECT_TRUE(solo.granted().empty());
  solo.acknowledge(2, Solo::at(4, 3));
  solo.take();
  ASSERT_EQ(solo.granted().size(), 1u);
  EXPECT_EQ(solo.granted()[0].index, Index(4));
}

TEST(RaftRead, IsRefusedWhenLeadershipIsLost) {
  Solo solo;
  solo.lead();
  ASSERT_TRUE(solo->read(solo.now(), 1));
  solo.take();
  ASSERT_TRUE(solo->read(solo.now(), 2));
  Message reply = solo.message(Kind::kHeartbeatReply, 2, 9);
  reply.rejected = true;
  solo.receive(reply);
  solo.take();
  EXPECT_EQ(solo.refused(), (std::vector<ReadToken>{1, 2}));
  EXPECT_EQ(solo->read(solo.now(), 3).error().code, ErrorCode::kNotLeader);
}

TEST(RaftRead, NeedsAQuorumOfFive) {
  Solo solo(Solo::fresh(), {}, 5);
  solo.fire();
  for (size_t n : {2, 3}) solo.receive(solo.message(Kind::kPreVoteReply, n, 2));
  solo.drain();
  for (size_t n : {2, 3}) solo.receive(solo.message(Kind::kVoteReply, n, 2));
  solo.drain();
  for (size_t n : {2, 3}) solo.acknowledge(n, Solo::at(2, 2));
  solo.drain();
  solo.clear();
  ASSERT_TRUE(solo->read(solo.now(), 1));
  solo.take();
  uint64_t round = solo.sent(Kind::kHeartbeat, 2)[0].round;
  solo.answer_heartbeat(4, round, 1, Solo::at(1, 1));
  solo.take();
  EXPECT_TRUE(solo.granted().empty());
  solo.answer_heartbeat(5, round, 1, Solo::at(1, 1));
  solo.take();
  EXPECT_EQ(solo.granted().size(), 1u);
}

// It is to leave a group of which one other stays, and was elected before that was committed.
TEST(RaftLeader, FromOutsideKeepsAskingTheOnlyMember) {
  const std::vector<ReplicaId> both{Solo::id(1), Solo::id(2)}, other{Solo::id(2)};
  Recovered recovered = Solo::with_log({2, 2, 2}, 3);
  recovered.configuration = {both, {}, {}};
  recovered.entries[1].kind = recovered.entries[2].kind = EntryKind::kConfiguration;
  recovered.entries[1].payload = encode(Configuration{other, both, {}});
  recovered.entries[2].payload = encode(Configuration{other, {}, {}});
  Solo solo(std::move(recovered));
  solo.lead(false);
  ASSERT_EQ(solo->role(), Role::kLeader);
  ASSERT_NE(solo->deadline(), Time::max());
  solo.fire();
  solo.drain();
  EXPECT_EQ(solo.sent(Kind::kHeartbeat, 2).size(), 1u);
  for (int beat = 0; beat < 20 && solo->role() == Role::kLeader; ++beat) solo.fire();
  EXPECT_EQ(solo->role(), Role::kFollower);  // nobody answers
}

}  // namespace
}  // namespace kahuna::raft::testing
