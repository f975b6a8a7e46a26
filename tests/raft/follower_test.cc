#include <gtest/gtest.h>

#include "runtime/probe.h"
#include "tests/raft/solo.h"

namespace kahuna::raft::testing {
namespace {

using Kind = MessageKind;

TEST(RaftFollower, AcknowledgesOnlyWhatIsDurable) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {Solo::entry(2, 2), Solo::entry(3, 2)});
  Ready ready = solo.take();
  EXPECT_TRUE(ready.messages.empty());
  ASSERT_TRUE(ready.persist.has_value());
  EXPECT_EQ(ready.persist->entries.size(), 2u);
  solo.sync();
  solo.take();
  ASSERT_EQ(solo.sent(Kind::kAppendReply).size(), 1u);
  EXPECT_EQ(solo.sent(Kind::kAppendReply)[0].match, Solo::at(3, 2));
}

TEST(RaftFollower, AcknowledgesManyAppendsOfATurnAtOnce) {
  Solo solo;
  for (uint64_t i = 2; i <= 9; ++i)
    solo.append(2, 2, Solo::at(i - 1, i == 2 ? 1 : 2), {Solo::entry(i, 2)});
  solo.drain();
  ASSERT_EQ(solo.sent(Kind::kAppendReply).size(), 1u);
  EXPECT_EQ(solo.sent(Kind::kAppendReply)[0].match, Solo::at(9, 2));
}

TEST(RaftFollower, AcknowledgesNothingBeforeItsTermIsDurable) {
  Solo solo(Solo::with_log({1, 1}));
  solo.append(2, 5, Solo::at(3, 1), {});  // matches, all durable, but the term is new
  Ready ready = solo.take();
  EXPECT_TRUE(ready.messages.empty());
  solo.sync();
  solo.take();
  ASSERT_EQ(solo.sent(Kind::kAppendReply).size(), 1u);
  EXPECT_EQ(solo.sent(Kind::kAppendReply)[0].match, Solo::at(3, 1));
}

TEST(RaftFollower, AnswersAProbeAtOnce) {
  Solo solo(Solo::with_log({1, 1}));
  solo.append(2, 1, Solo::at(3, 1), {});
  Ready ready = solo.take();
  ASSERT_EQ(ready.messages.size(), 1u);
  EXPECT_FALSE(ready.messages[0].rejected);
}

TEST(RaftFollower, RefusesAnAnchorBeyondItsLog) {
  Solo solo(Solo::with_log({1, 1}));
  solo.append(2, 2, Solo::at(7, 2), {Solo::entry(8, 2)});
  solo.drain();
  const Message reply = solo.sent(Kind::kAppendReply)[0];
  EXPECT_TRUE(reply.rejected);
  EXPECT_EQ(reply.prev.index, Index(7));
  EXPECT_EQ(reply.match, Solo::at(3, 1));
}

TEST(RaftFollower, HintSkipsTermsAboveTheAnchors) {
  Solo solo(Solo::with_log({2, 2, 4, 4, 4}));
  solo.append(2, 5, Solo::at(6, 3), {});
  solo.drain();
  EXPECT_EQ(solo.sent(Kind::kAppendReply)[0].match, Solo::at(3, 2));
}

TEST(RaftFollower, ReplacesAConflictingTail) {
  Solo solo(Solo::with_log({2, 2, 2}));
  solo.append(2, 3, Solo::at(2, 2), {Solo::entry(3, 3)});
  Ready ready = solo.take();
  ASSERT_TRUE(ready.persist.has_value());
  EXPECT_EQ(ready.persist->entries.front().index, Index(3));
  EXPECT_EQ(solo->status().last, Solo::at(3, 3));
  EXPECT_EQ(solo->status().durable, Index(2));
}

TEST(RaftFollower, KeepsATailThatAnOldAppendDoesNotMention) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {Solo::entry(2, 2), Solo::entry(3, 2), Solo::entry(4, 2)});
  solo.append(2, 2, Solo::at(1, 1), {Solo::entry(2, 2)});
  EXPECT_EQ(solo->status().last, Solo::at(4, 2));
}

TEST(RaftFollower, NeverReplacesWhatIsCommitted) {
  Solo solo(Solo::with_log({2, 2, 2}, 3));
  solo.append(2, 3, Solo::at(2, 2), {Solo::entry(3, 3)});
  solo.drain();
  EXPECT_EQ(solo->status().last, Solo::at(4, 2));
  for (const Message& reply : solo.sent(Kind::kAppendReply))
    EXPECT_EQ(reply.match, Solo::at(3, 2)) << "no more than what is committed";
}

TEST(RaftFollower, CommitsOnlyWhatMatchesInThisTerm) {
  Solo solo(Solo::with_log({2, 2, 2}));
  Message heartbeat = solo.message(Kind::kHeartbeat, 2, 3);
  heartbeat.commit = Index(4);
  solo.receive(heartbeat);
  EXPECT_EQ(solo->status().commit, Index(1)) << "its own tail may be another";
  solo.append(2, 3, Solo::at(3, 2), {}, 4);
  EXPECT_EQ(solo->status().commit, Index(3));
}

TEST(RaftFollower, AppliesOnlyWhatIsDurable) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {Solo::entry(2, 2)}, 2);
  solo.take();
  EXPECT_EQ(solo->status().commit, Index(2));
  EXPECT_TRUE(solo.applied().empty());
  solo.sync();
  solo.take();
  ASSERT_EQ(solo.applied().size(), 1u);
}

TEST(RaftFollower, CompletionOfAnOverwrittenWriteDoesNotCount) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {Solo::entry(2, 2), Solo::entry(3, 2)});
  solo.take();  // write 2 has the entries of term 2
  solo.append(3, 3, Solo::at(1, 1), {Solo::entry(2, 3), Solo::entry(3, 3)});
  solo.sync();
  EXPECT_EQ(solo->status().durable, Index(1));
  solo.take();
  EXPECT_TRUE(solo.sent(Kind::kAppendReply).empty());
  solo.sync();
  solo.take();
  EXPECT_EQ(solo.sent(Kind::kAppendReply, 3)[0].match, Solo::at(3, 3));
}

TEST(RaftFollower, TakesAnAppendThatBeginsBelowItsBase) {
  Recovered recovered = Solo::fresh();
  recovered.hard_state.term = Term(2);
  recovered.base = Solo::at(5, 2);
  recovered.commit = recovered.applied = Index(5);
  Solo solo(recovered);
  solo.append(2, 2, Solo::at(3, 2), {Solo::entry(4, 2), Solo::entry(5, 2), Solo::entry(6, 2)});
  solo.drain();
  EXPECT_EQ(solo->status().last, Solo::at(6, 2));
  EXPECT_EQ(solo.sent(Kind::kAppendReply)[0].match, Solo::at(6, 2));
}

TEST(RaftFollower, AnswersAStaleLeaderWithItsTerm) {
  Recovered recovered = Solo::fresh();
  recovered.hard_state.term = Term(5);
  Solo solo(recovered);
  Message heartbeat = solo.message(Kind::kHeartbeat, 2, 3);
  heartbeat.round = 4;
  solo.receive(heartbeat);
  solo.append(2, 3, Solo::at(1, 1), {});
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kHeartbeatReply)[0].rejected);
  EXPECT_EQ(solo.sent(Kind::kHeartbeatReply)[0].term, Term(5));
  EXPECT_TRUE(solo.sent(Kind::kAppendReply)[0].rejected);
  EXPECT_FALSE(bool(solo->leader()));
}

TEST(RaftFollower, HeartbeatAnswerTellsWhatArrivedAndWhatIsDurable) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {Solo::entry(2, 2)});
  solo.drain();
  solo.append(2, 2, Solo::at(2, 2), {Solo::entry(3, 2)});
  Message heartbeat = solo.message(Kind::kHeartbeat, 2, 2);
  heartbeat.round = 9;
  solo.receive(heartbeat);
  solo.take();
  const Message reply = solo.sent(Kind::kHeartbeatReply)[0];
  EXPECT_EQ(reply.round, 9u);
  EXPECT_EQ(reply.commit, Index(3));
  EXPECT_EQ(reply.match, Solo::at(2, 2));
}

TEST(RaftFollower, IgnoresASecondLeaderOfTheTerm) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {Solo::entry(2, 2, "a")});
  solo.append(3, 2, Solo::at(1, 1), {Solo::entry(2, 2, "b"), Solo::entry(3, 2)});
  EXPECT_EQ(solo->status().last, Solo::at(2, 2));
}

TEST(RaftFollower, IgnoresMalformedMessages) {
  Solo solo(Solo::with_log({2, 2}));
  Status before = solo->status();
  auto untouched = [&] { return solo->status().last == before.last && !solo->has_ready(); };
  solo.append(2, 2, Solo::at(3, 2), {Solo::entry(5, 2)});  // a gap
  EXPECT_TRUE(untouched());
  solo.append(2, 2, Solo::at(3, 2), {Solo::entry(4, 1)});  // terms go back
  EXPECT_TRUE(untouched());
  solo.append(2, 2, Solo::at(3, 2), {Solo::entry(4, 3)});  // an entry of a term to come
  EXPECT_TRUE(untouched());
  Message unknown = solo.message(Kind::kAppend, 2, 2);
  unknown.prev = Solo::at(3, 2);
  unknown.entries = {Solo::entry(4, 2, "no list of members")};
  unknown.entries[0].kind = EntryKind::kConfiguration;
  solo.receive(unknown);
  EXPECT_TRUE(untouched());
  Message other_group = solo.message(Kind::kAppend, 2, 3);
  other_group.group = PartitionId(8);
  solo.receive(other_group);
  EXPECT_TRUE(untouched());
  Message last_term = solo.message(Kind::kHeartbeat, 2, UINT64_MAX);
  solo.receive(last_term);
  EXPECT_TRUE(untouched());
  EXPECT_EQ(solo->term(), Term(2));
}

TEST(RaftFollower, ReleasesOnlyWhatEveryReplicaHasAndTheEngineFlushed) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {Solo::entry(2, 2), Solo::entry(3, 2)}, 3);
  solo.drain();
  solo->release(Index(3));
  EXPECT_EQ(solo->status().base.index, Index(1)) << "another replica may need it";
  Message heartbeat = solo.message(Kind::kHeartbeat, 2, 2);
  heartbeat.trim = Index(2);
  solo.receive(heartbeat);
  EXPECT_EQ(solo->status().base, Solo::at(2, 2));
  EXPECT_EQ(solo->entry(Index(2)), nullptr);
  EXPECT_EQ(solo->term_at(Index(2)), Term(2));
}

TEST(RaftFollower, DoesNotAnswerAHeartbeatThatAsksForNoAnswer) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {});
  solo.drain();
  Time before = solo->deadline();
  solo.wait(Duration::millis(100));
  Message heartbeat = solo.message(Kind::kHeartbeat, 2, 2);
  heartbeat.unanswered = true;
  solo.receive(heartbeat);
  solo.take();
  EXPECT_TRUE(solo.sent(Kind::kHeartbeatReply).empty());
  EXPECT_EQ(solo->deadline(), before + Duration::millis(100));
  // The news of a later term is told all the same.
  heartbeat.term = Term(1);
  solo.receive(heartbeat);
  solo.take();
  EXPECT_TRUE(solo.sent(Kind::kHeartbeatReply)[0].rejected);
}

TEST(RaftFollower, SaysWhetherAMessageDidMoreThanMoveTheDeadline) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {Solo::entry(2, 2)});
  solo.drain();
  Message heartbeat = solo.message(Kind::kHeartbeat, 2, 2);
  heartbeat.unanswered = true;
  EXPECT_FALSE(solo->receive(solo.now(), heartbeat));
  heartbeat.commit = Index(2);
  EXPECT_TRUE(solo->receive(solo.now(), heartbeat)) << "it commits";
  solo.drain();
  EXPECT_FALSE(solo->receive(solo.now(), heartbeat));
  heartbeat.unanswered = false;
  EXPECT_TRUE(solo->receive(solo.now(), heartbeat)) << "it wants an answer";
  solo.drain();
  solo.fire();  // campaigns
  solo.drain();
  heartbeat.unanswered = true;
  EXPECT_TRUE(solo->receive(solo.now(), heartbeat)) << "it follows again";
}

TEST(RaftTimer, MovesWithEveryWordFromTheLeader) {
  Solo solo;
  Time first = solo->deadline();
  solo.append(2, 2, Solo::at(1, 1), {});
  solo.wait(Duration::millis(400));
  Time before = solo->deadline();
  solo.append(2, 2, Solo::at(1, 1), {});
  EXPECT_EQ(solo->deadline(), before + Duration::millis(400));
  EXPECT_GT(solo->deadline(), first);
  solo.fire();
  EXPECT_EQ(solo->role(), Role::kPreCandidate);
}

TEST(RaftTimer, IsShortenedWhenTheLeadersConnectionBreaks) {
  Solo solo;
  solo.append(2, 2, Solo::at(1, 1), {});
  solo->peer_disconnected(solo.now(), Solo::id(3));
  EXPECT_GE(solo->deadline() - solo.now(), Options().election_timeout_min);
  solo->peer_disconnected(solo.now(), Solo::id(2));
  EXPECT_LT(solo->deadline() - solo.now(), Options().disconnect_timeout);
  solo.fire();
  EXPECT_EQ(solo->role(), Role::kPreCandidate);
}

// A follower whose state takes nothing: its log ends where the bound is.
bool follower_is_bounded() {
  Options options;
  options.log_bytes_max = 10'000;
  Solo solo(Solo::fresh(), options);
  for (uint64_t i = 1; i < 100; ++i) {
    Entry entry = Solo::entry(i + 1, 2);
    entry.payload = Payload(std::string(1000, 'x'));
    solo.append(2, 2, Solo::at(i, i == 1 ? 1 : 2), {entry}, i + 1);
    solo.sync();
  }
  return solo->status().last.index < Index(20);
}

TEST(RaftFollower, TakesNoMoreThanItsBoundBeforeItHasApplied) {
  EXPECT_TRUE(follower_is_bounded());
}

#ifdef KAHUNA_MUTANTS
TEST(RaftFollower, MutantThatTakesWithoutBoundIsSeen) {
  set_active_mutant("follower_takes_without_bound");
  EXPECT_FALSE(follower_is_bounded());
  set_active_mutant("");
}
#endif

}  // namespace
}  // namespace kahuna::raft::testing
