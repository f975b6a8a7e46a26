#include "kahuna/raft/lease.h"

#include <gtest/gtest.h>

#include "runtime/probe.h"
#include "tests/raft/solo.h"

namespace kahuna::raft::testing {
namespace {

using namespace literals;

Options with_leases() {
  Options options;
  options.reads = Reads::kLease;
  return options;
}

void answer(Solo& solo, size_t from, uint64_t round, Duration promise) {
  Message message = solo.message(MessageKind::kHeartbeatReply, from, solo->term().value());
  message.round = round;
  message.commit = solo->status().last.index;
  message.match = solo->status().last;
  message.promise = promise;
  solo.receive(std::move(message));
}

uint64_t beat(Solo& solo) {
  solo.clear();
  solo.fire();
  solo.drain();
  return solo.sent(MessageKind::kHeartbeat, 2).back().round;
}

bool holds_from_the_sending() {
  Solo solo(Solo::fresh(), with_leases());
  solo.lead();
  EXPECT_FALSE(solo->lease_read(solo.now()));
  uint64_t round = beat(solo);
  solo.wait(300_ms);
  answer(solo, 2, round, 500_ms);
  EXPECT_EQ(solo->lease_read(solo.now()), solo->status().commit);
  solo.wait(198_ms);
  EXPECT_TRUE(solo->lease_read(solo.now()));
  solo.wait(1_ms);  // 500 ms less two thousandths
  return !solo->lease_read(solo.now());
}

TEST(RaftLease, HoldsFromTheSendingForLessThanWasPromised) {
  EXPECT_TRUE(holds_from_the_sending());
}

#ifdef KAHUNA_MUTANTS
TEST(RaftLease, MutantThatCountsFromTheReceiptIsSeen) {
  set_active_mutant("lease_counted_from_receipt");
  EXPECT_FALSE(holds_from_the_sending());
  set_active_mutant("");
}
#endif

TEST(RaftLease, NeedsAQuorumOfPromises) {
  Solo solo(Solo::fresh(), with_leases(), 5);
  solo.fire();
  Term term = solo->term().next();
  for (size_t n : {2, 3}) solo.receive(solo.message(MessageKind::kPreVoteReply, n, term.value()));
  solo.drain();
  for (size_t n : {2, 3}) solo.receive(solo.message(MessageKind::kVoteReply, n, term.value()));
  solo.drain();
  for (size_t n : {2, 3}) solo.acknowledge(n, solo->status().last);
  solo.drain();
  uint64_t round = beat(solo);
  answer(solo, 2, round, 500_ms);
  answer(solo, 3, round, Duration());
  EXPECT_FALSE(solo->lease_read(solo.now()));
  answer(solo, 4, round, 500_ms);
  EXPECT_TRUE(solo->lease_read(solo.now()));
}

TEST(RaftLease, AppendsAcknowledgedPromiseNothing) {
  Solo solo(Solo::fresh(), with_leases());
  solo.lead();
  ASSERT_TRUE(solo->propose(solo.now(), EntryKind::kCommand, Payload("x")));
  solo.drain();
  solo.acknowledge(2, solo->status().last);
  EXPECT_FALSE(solo->lease_read(solo.now()));
}

TEST(RaftLease, NobodyPromisesBeforeItsTermIsDurable) {
  Solo solo(Solo::fresh(), with_leases());
  solo.receive(solo.message(MessageKind::kHeartbeat, 2, 3));
  solo.take();
  EXPECT_EQ(solo.sent(MessageKind::kHeartbeatReply).back().promise, Duration());
  solo.sync();
  solo.receive(solo.message(MessageKind::kHeartbeat, 2, 3));
  solo.take();
  EXPECT_EQ(solo.sent(MessageKind::kHeartbeatReply).back().promise, 500_ms);
}

TEST(RaftLease, APromiseRefusesVotesUntilItEnds) {
  Solo solo(Solo::with_log({2}), with_leases());
  solo.receive(solo.message(MessageKind::kHeartbeat, 2, 2));
  solo.drain();
  solo->peer_disconnected(solo.now(), Solo::id(2));
  EXPECT_GE(solo->deadline(), solo.now() + 500_ms);
  solo.ask_for_pre_vote(3, 3, Solo::at(9, 2));
  solo.ask_for_vote(3, 3, Solo::at(9, 2));
  solo.drain();
  EXPECT_TRUE(solo.sent(MessageKind::kPreVoteReply).back().rejected);
  EXPECT_TRUE(solo.sent(MessageKind::kVoteReply).back().rejected);
  solo.wait(500_ms);
  solo.ask_for_vote(3, 4, Solo::at(9, 2));
  solo.drain();
  EXPECT_FALSE(solo.sent(MessageKind::kVoteReply).back().rejected);
}

// The promise that it may have made before it was started lasts longer than those that it makes
// now.
TEST(RaftLease, AnEarlierLongerPromiseIsKept) {
  Recovered recovered = Solo::with_log({2});
  recovered.promise = 2_s;
  Options options = with_leases();
  Solo solo(std::move(recovered), options);
  solo.wait(1400_ms);  // 500 ms after the start
  solo.ask_for_vote(3, 3, Solo::at(9, 2));
  solo.drain();
  EXPECT_TRUE(solo.sent(MessageKind::kVoteReply).back().rejected);
  solo.wait(200_ms);
  solo.ask_for_vote(3, 4, Solo::at(9, 2));
  solo.drain();
  EXPECT_FALSE(solo.sent(MessageKind::kVoteReply).back().rejected);
}

// A leader that leaves the group may lead it from outside, by the promise of the only one who
// stays.
TEST(RaftLease, WhoIsToBeAloneKeepsItsPromiseUntilThatIsCommitted) {
  const std::vector<ReplicaId> both{Solo::id(1), Solo::id(2)}, one{Solo::id(1)};
  for (const uint64_t commit : {3, 4}) {
    Recovered recovered = Solo::with_log({2, 2, 2}, commit);
    recovered.configuration = {both, {}, {}};
    recovered.entries[1].kind = recovered.entries[2].kind = EntryKind::kConfiguration;
    recovered.entries[1].payload = encode(Configuration{one, both, {}});
    recovered.entries[2].payload = encode(Configuration{one, {}, {}});
    const Time start = Time::from_nanos(0) + 10_ms;
    Replica replica(with_leases(), Solo::kGroup, Solo::id(1), std::move(recovered),
                    RandomStream(1, "alone"), start);
    replica.on_timer(start);
    EXPECT_EQ(replica.role(), commit == 4 ? Role::kCandidate : Role::kFollower);
    if (commit == 4) continue;
    EXPECT_EQ(replica.deadline(), start + 500_ms);
    replica.on_timer(start + 500_ms);
    EXPECT_EQ(replica.role(), Role::kCandidate);
  }
}

TEST(RaftLease, TheLeaderReleasesFromThePromise) {
  for (bool marked : {true, false}) {
    Solo solo(Solo::with_log({2}), with_leases());
    solo.receive(solo.message(MessageKind::kHeartbeat, 2, 2));
    solo.drain();
    // By the mark, or by being a candidate.
    Message vote = solo.message(MessageKind::kVote, marked ? 3 : 2, 3);
    vote.prev = Solo::at(9, 2);
    vote.transfer = marked;
    solo.receive(vote);
    solo.drain();
    EXPECT_FALSE(solo.sent(MessageKind::kVoteReply).back().rejected);
  }
}

TEST(RaftLease, QuorumReadersPromiseNothing) {
  Solo solo(Solo::with_log({2}));
  solo.receive(solo.message(MessageKind::kHeartbeat, 2, 2));
  solo.drain();
  EXPECT_EQ(solo.sent(MessageKind::kHeartbeatReply).back().promise, Duration());
}

}  // namespace
}  // namespace kahuna::raft::testing
