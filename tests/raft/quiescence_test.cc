#include "kahuna/raft/quiescence.h"

#include <gtest/gtest.h>

#include "tests/raft/solo.h"

namespace kahuna::raft::testing {
namespace {

using namespace literals;
using Kind = MessageKind;

Options soon() {
  Options options;
  options.quiesce_after = 300_ms;
  return options;
}

// A leader whose followers, nodes 2 and 3, hold all that it has.
void lead_at_rest(Solo& solo) {
  solo.lead();
  solo.acknowledge(2, solo->status().last);
  solo.acknowledge(3, solo->status().last);
  solo.drain();
}

void answer(Solo& solo, size_t from, uint64_t round, bool quiet) {
  Message m = solo.message(Kind::kHeartbeatReply, from, solo->term().value());
  m.round = round;
  m.commit = solo->status().last.index;
  m.match = solo->status().last;
  m.quiesce = quiet;
  solo.receive(std::move(m));
  solo.drain();
}

// Until it asks its followers to be quiet. The round.
uint64_t ask(Solo& solo) {
  for (int i = 0; i < 20; ++i) {
    solo.clear();
    solo.fire();
    solo.drain();
    const auto beats = solo.sent(Kind::kHeartbeat, 2);
    if (beats.empty()) return 0;
    if (beats.back().quiesce) return beats.back().round;
    answer(solo, 2, beats.back().round, false);
  }
  return 0;
}

void fall_quiet(Solo& solo) {
  uint64_t round = ask(solo);
  answer(solo, 2, round, true);
  answer(solo, 3, round, true);
  solo.clear();
}

// A follower of node 2 in term 5, with entries to 3.
void follow_at_rest(Solo& solo) {
  solo.append(2, 5, Solo::at(1, 1), {Solo::entry(2, 5), Solo::entry(3, 5)}, 3);
  solo.drain();
}
Message quiesce(Solo& solo, uint64_t term, uint64_t commit) {
  Message m = solo.message(Kind::kHeartbeat, 2, term);
  m.round = 9;
  m.commit = Index(commit);
  m.trim = Index(commit);
  m.quiesce = true;
  return m;
}

TEST(RaftQuiescence, LeaderIsQuietWhenAllHaveAgreed) {
  Solo solo(Solo::fresh(), soon());
  lead_at_rest(solo);
  uint64_t round = ask(solo);
  ASSERT_GT(round, 0u);
  answer(solo, 2, round, true);
  EXPECT_FALSE(solo->quiet());
  answer(solo, 3, round, true);
  EXPECT_TRUE(solo->quiet());
  EXPECT_EQ(solo->deadline(), Time::max());
}

TEST(RaftQuiescence, LeaderAsksNobodyWhileOneLags) {
  Solo solo(Solo::fresh(), soon());
  solo.lead();  // node 3 has acknowledged nothing
  EXPECT_EQ(ask(solo), 0u);
}

TEST(RaftQuiescence, LeaderAsksNobodyWithoutTheOption) {
  Options options;
  options.quiesce_after = Duration();
  Solo solo(Solo::fresh(), options);
  lead_at_rest(solo);
  EXPECT_EQ(ask(solo), 0u);
}

TEST(RaftQuiescence, AgreementsFromBeforeAReadDoNotCount) {
  Solo solo(Solo::fresh(), soon());
  lead_at_rest(solo);
  uint64_t round = ask(solo);
  answer(solo, 2, round, true);
  ASSERT_TRUE(solo->read(solo.now(), 1));
  solo.drain();
  answer(solo, 3, round, true);
  EXPECT_FALSE(solo->quiet());
}

TEST(RaftQuiescence, ProposalAndReadWakeALeaderAndItsHeartbeats) {
  for (bool write : {true, false}) {
    Solo solo(Solo::fresh(), soon());
    lead_at_rest(solo);
    fall_quiet(solo);
    ASSERT_TRUE(solo->quiet());
    solo.wait(Duration::seconds(3600));
    if (write)
      ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, Payload("x")));
    else
      ASSERT_TRUE(solo->read(solo.now(), 1));
    solo.drain();
    EXPECT_FALSE(solo->quiet());
    EXPECT_EQ(solo.sent(write ? Kind::kAppend : Kind::kHeartbeat).size(), 2u);
    EXPECT_TRUE(solo.granted().empty());
    solo.fire();
    solo.drain();
    EXPECT_EQ(solo->role(), Role::kLeader) << "the silence of its followers was agreed";
    for (int i = 0; i < 15; ++i) solo.fire();
    EXPECT_NE(solo->role(), Role::kLeader) << "but not this one";
  }
}

TEST(RaftQuiescence, QuietLeaderHasNoLeaseAfterAWhile) {
  Options options = soon();
  options.reads = Reads::kLease;
  Solo solo(Solo::fresh(), options);
  lead_at_rest(solo);
  fall_quiet(solo);
  solo.wait(options.election_timeout_max);
  EXPECT_FALSE(solo->lease_read(solo.now()));
}

TEST(RaftQuiescence, WokenLeaderIsHeardAtOnceAndAsksForSilenceAgain) {
  for (Kind kind : {Kind::kWake, Kind::kPreVote}) {
    Solo solo(Solo::fresh(), soon());
    lead_at_rest(solo);
    fall_quiet(solo);
    Message m = solo.message(kind, 3, solo->term().value() + (kind == Kind::kPreVote));
    m.prev = solo->status().last;
    solo.receive(m);
    solo.drain();
    EXPECT_FALSE(solo->quiet());
    auto beats = solo.sent(Kind::kHeartbeat);
    ASSERT_EQ(beats.size(), 2u);
    EXPECT_TRUE(beats[0].quiesce);
    for (const Message& reply : solo.sent(Kind::kPreVoteReply)) EXPECT_TRUE(reply.rejected);
    answer(solo, 2, beats[0].round, true);
    answer(solo, 3, beats[0].round, true);
    EXPECT_TRUE(solo->quiet());
  }
}

TEST(RaftQuiescence, FollowerAgreesWhenItLacksNothing) {
  Solo solo(Solo::fresh(), soon());
  follow_at_rest(solo);
  solo.receive(quiesce(solo, 5, 3));
  solo.drain();
  EXPECT_TRUE(solo->quiet());
  EXPECT_EQ(solo->deadline(), Time::max());
  EXPECT_TRUE(solo.sent(Kind::kHeartbeatReply).back().quiesce);
}

TEST(RaftQuiescence, FollowerThatLacksSomethingDoesNot) {
  Solo solo(Solo::fresh(), soon());
  follow_at_rest(solo);
  for (auto [term, commit] : {std::pair(5, 4), {5, 2}, {4, 3}}) {
    solo.receive(quiesce(solo, static_cast<uint64_t>(term), static_cast<uint64_t>(commit)));
    solo.drain();
    EXPECT_FALSE(solo->quiet()) << term << " " << commit;
    EXPECT_FALSE(solo.sent(Kind::kHeartbeatReply).back().quiesce);
  }
  solo.append(2, 5, Solo::at(3, 5), {Solo::entry(4, 5)}, 4);
  solo.take();  // not durable yet
  solo.receive(quiesce(solo, 5, 4));
  EXPECT_FALSE(solo->quiet());
}

TEST(RaftQuiescence, WordOfTheLeaderWakesAFollower) {
  Solo solo(Solo::fresh(), soon());
  follow_at_rest(solo);
  solo.receive(quiesce(solo, 5, 3));
  solo.drain();
  Message beat = quiesce(solo, 5, 3);
  beat.quiesce = false;
  solo.receive(beat);
  EXPECT_FALSE(solo->quiet());
  EXPECT_LT(solo->deadline(), Time::max());
}

TEST(RaftQuiescence, WokenFollowerTellsItsLeaderAndGivesItTime) {
  Solo solo(Solo::fresh(), soon());
  follow_at_rest(solo);
  solo.receive(quiesce(solo, 5, 3));
  solo.drain();
  solo.wait(Duration::seconds(3600));
  solo.clear();
  solo->wake(solo.now());
  solo.drain();
  EXPECT_EQ(solo.sent(Kind::kWake, 2).size(), 1u);
  EXPECT_GE(solo->deadline(), solo.now() + soon().election_timeout_min);
  solo.ask_for_pre_vote(3, 6, Solo::at(3, 5));
  solo.drain();
  EXPECT_TRUE(solo.sent(Kind::kPreVoteReply).back().rejected);
  solo.wait(soon().election_timeout_min);
  solo.ask_for_pre_vote(3, 6, Solo::at(3, 5));
  solo.drain();
  EXPECT_FALSE(solo.sent(Kind::kPreVoteReply).back().rejected)
      << "it has not answered for its group";
}

TEST(RaftQuiescence, WhoMayNotCampaignAsksForALeader) {
  Solo solo(Solo::fresh(), soon());
  solo->discard_state(solo.now());
  solo.fire();
  solo.drain();
  EXPECT_EQ(solo->role(), Role::kFollower);
  EXPECT_EQ(solo.sent(Kind::kWake).size(), 2u);
}

// With its state it has lost the configuration. Once it has one it asks its members only.
TEST(RaftQuiescence, WhoKnowsNoMembersAsksWhomTheDriverNames) {
  Recovered recovered = Solo::fresh();
  recovered.stateless = true;
  Replica replica(soon(), Solo::kGroup, Solo::id(1), std::move(recovered),
                  RandomStream(1, "stranger"), Time());
  auto asked = [&] {
    replica.on_timer(replica.deadline());
    std::vector<ReplicaId> to;
    for (const Message& message : replica.take_ready().messages)
      if (message.kind == Kind::kWake) to.push_back(message.to);
    return to;
  };
  EXPECT_TRUE(asked().empty());
  replica.acquaint({Solo::id(1), Solo::id(2), Solo::id(4)});
  EXPECT_EQ(asked(), (std::vector<ReplicaId>{Solo::id(2), Solo::id(4)}));
  EXPECT_EQ(asked(), (std::vector<ReplicaId>{Solo::id(2), Solo::id(4)})) << "until one is heard";
  EXPECT_EQ(replica.role(), Role::kFollower);
  replica.restore(Solo::at(5, 1), Configuration{{Solo::id(1), Solo::id(2), Solo::id(3)}, {}, {}});
  replica.discard_state(replica.deadline());
  EXPECT_EQ(asked(), (std::vector<ReplicaId>{Solo::id(2), Solo::id(3)}));
}

// What its leader does then.
TEST(RaftQuiescence, QuietLeaderWokenByOneWithoutAStateGivesItOne) {
  Solo solo(Solo::fresh(), soon());
  lead_at_rest(solo);
  fall_quiet(solo);
  ASSERT_TRUE(solo->quiet());
  solo.receive(solo.message(Kind::kWake, 2, solo->term().value()));
  solo.drain();
  EXPECT_FALSE(solo->quiet());
  ASSERT_FALSE(solo.sent(Kind::kHeartbeat, 2).empty());
  Message m = solo.message(Kind::kHeartbeatReply, 2, solo->term().value());
  m.round = solo.sent(Kind::kHeartbeat, 2).back().round;
  m.needs_snapshot = true;
  solo.receive(std::move(m));
  EXPECT_EQ(solo.take().snapshots_due, std::vector<ReplicaId>{Solo::id(2)});
}

TEST(RaftQuiescence, QuietFollowerOfALostNodeCampaigns) {
  Solo solo(Solo::fresh(), soon());
  follow_at_rest(solo);
  solo.receive(quiesce(solo, 5, 3));
  solo.drain();
  solo->peer_disconnected(solo.now(), Solo::id(2));
  EXPECT_FALSE(solo->quiet());
  EXPECT_LT(solo->deadline(), solo.now() + soon().disconnect_timeout);
  solo.ask_for_pre_vote(3, 6, Solo::at(3, 5));
  solo.drain();
  EXPECT_FALSE(solo.sent(Kind::kPreVoteReply).back().rejected);
}

TEST(RaftQuiescence, LeaderWithoutAnybodyElseInTheGroupStillBeats) {
  Solo solo(Solo::fresh(), soon());
  lead_at_rest(solo);
  ASSERT_TRUE(solo->change(solo.now(), {Solo::id(2)}, {}));
  solo.drain();
  solo.acknowledge(2, solo->status().last);
  solo.drain();
  ASSERT_FALSE(solo->configuration().joint());
  EXPECT_EQ(solo->role(), Role::kLeader);
  EXPECT_LT(solo->deadline(), Time::max());
}

}  // namespace
}  // namespace kahuna::raft::testing
