// Who belongs to a group: the value, its bytes, the arithmetic of its quorums.
#include "kahuna/raft/configuration.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "kahuna/raft/configuration_log.h"
#include "tests/raft/solo.h"

namespace kahuna::raft::testing {
namespace {

ReplicaId id(uint64_t n) {
  return {NodeId(n), n % 3};
}
std::vector<ReplicaId> ids(std::initializer_list<uint64_t> numbers) {
  std::vector<ReplicaId> list;
  for (uint64_t n : numbers) list.push_back(id(n));
  return list;
}

// Of replicas 1..7; `shape` says in base 5 what each is.
Configuration any(uint32_t shape) {
  Configuration configuration;
  for (uint64_t n = 1; n <= 7; ++n, shape /= 5) {
    const uint32_t what = shape % 5;
    if (what == 0 || what == 3) configuration.voters.push_back(id(n));
    if (what == 1 || what == 3) configuration.outgoing.push_back(id(n));
    if (what == 2) configuration.learners.push_back(id(n));
  }
  if (!configuration.known()) configuration = {ids({1}), {}, {}};
  return configuration;
}
constexpr uint32_t kShapes = 5 * 5 * 5 * 5 * 5 * 5 * 5;

MemberSet set_of(const Configuration& configuration, uint32_t replicas) {
  const Members members(configuration);
  MemberSet set = 0;
  for (size_t slot = 0; slot < members.size(); ++slot)
    if (replicas >> members[slot].node.value() & 1) set |= MemberSet{1} << slot;
  return set;
}

TEST(RaftConfiguration, RefusesListsThatAreNoLists) {
  EXPECT_TRUE((Configuration{ids({1, 2}), {}, ids({3})}).well_formed());
  EXPECT_TRUE(Configuration().well_formed());
  EXPECT_FALSE((Configuration{ids({2, 1}), {}, {}}).well_formed());
  EXPECT_FALSE((Configuration{ids({1, 1}), {}, {}}).well_formed());
  EXPECT_FALSE((Configuration{ids({1, 2}), {}, ids({2})}).well_formed()) << "a learner votes";
  EXPECT_FALSE((Configuration{ids({1}), ids({2}), ids({2})}).well_formed());
  EXPECT_FALSE((Configuration{{}, {}, ids({2})}).well_formed()) << "nobody votes";
  EXPECT_FALSE((Configuration{{ReplicaId()}, {}, {}}).well_formed());
  EXPECT_FALSE((Configuration{ids({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}), {}, {}}).well_formed());
}

TEST(RaftConfiguration, GoesFromOneToTheNextInSafeSteps) {
  const Configuration three{ids({1, 2, 3}), {}, ids({4, 5})};
  EXPECT_TRUE((Configuration{ids({1, 2, 3}), {}, ids({4, 6})}).may_follow(three));
  EXPECT_FALSE((Configuration{ids({1, 2, 4}), {}, {}}).may_follow(three)) << "not joint";
  const Configuration joint{ids({1, 2, 4}), ids({1, 2, 3}), ids({5})};
  EXPECT_TRUE(joint.may_follow(three));
  EXPECT_FALSE((Configuration{ids({1, 2, 6}), ids({1, 2, 3}), {}}).may_follow(three))
      << "6 votes without having learned";
  EXPECT_FALSE((Configuration{ids({1, 2, 4}), ids({1, 2}), {}}).may_follow(three));
  EXPECT_FALSE((Configuration{ids({1, 2, 4}), ids({1, 2, 3}), ids({7})}).may_follow(three));
  EXPECT_TRUE(joint.left().may_follow(joint));
  EXPECT_FALSE(three.may_follow(joint)) << "the way back is a change of its own";
}

RC_GTEST_PROP(RaftConfiguration, ReadsWhatItWrote, ()) {
  const Configuration before = any(*rc::gen::inRange<uint32_t>(0, kShapes));
  const Payload bytes = encode(before);
  auto after = decode_configuration(bytes.view());
  RC_ASSERT(after.has_value());
  RC_ASSERT(*after == before);
}

RC_GTEST_PROP(RaftConfiguration, ReadsNothingElse, ()) {
  const Payload bytes = encode(any(*rc::gen::inRange<uint32_t>(0, kShapes)));
  std::string text(bytes.text());
  const auto cut = *rc::gen::inRange<size_t>(0, text.size());
  RC_ASSERT(!decode_configuration(as_bytes(std::string_view(text).substr(0, cut))));
  RC_ASSERT(!decode_configuration(as_bytes(text + 'x')));
  // Whatever is read back is written the same way.
  text[*rc::gen::inRange<size_t>(0, text.size())] ^= char(*rc::gen::inRange(1, 256));
  if (auto other = decode_configuration(as_bytes(text))) RC_ASSERT(encode(*other).text() == text);
}

// C3, by trying every pair of quorums.
RC_GTEST_PROP(RaftConfiguration, QuorumsMeetAcrossAStep, ()) {
  const Configuration before = any(*rc::gen::inRange<uint32_t>(0, kShapes));
  Configuration after = any(*rc::gen::inRange<uint32_t>(0, kShapes));
  if (*rc::gen::inRange(0, 3) == 0) after = before.left();
  if (!before.joint() && *rc::gen::inRange(0, 2) == 0) after.outgoing = before.voters;
  RC_PRE(after.well_formed() && after.may_follow(before));
  for (uint32_t a = 0; a < 256; a += 2) {
    if (!Members(before).is_quorum(set_of(before, a))) continue;
    for (uint32_t b = 0; b < 256; b += 2)
      if ((a & b) == 0) RC_ASSERT(!Members(after).is_quorum(set_of(after, b)));
  }
}

// What blocks a configuration leaves no quorum to it, nor to the next.
RC_GTEST_PROP(RaftConfiguration, NoQuorumDoesWithoutWhatBlocks, ()) {
  const Configuration before = any(*rc::gen::inRange<uint32_t>(0, kShapes));
  Configuration after = any(*rc::gen::inRange<uint32_t>(0, kShapes));
  if (*rc::gen::inRange(0, 3) == 0) after = before.left();
  if (!before.joint() && *rc::gen::inRange(0, 2) == 0) after.outgoing = before.voters;
  RC_PRE(before.known() && after.well_formed() && after.may_follow(before));
  for (uint32_t a = 0; a < 256; a += 2) {
    if (!Members(before).blocks(set_of(before, a))) continue;
    for (uint32_t b = 0; b < 256; b += 2) {
      if ((a & b) != 0) continue;
      RC_ASSERT(!Members(before).is_quorum(set_of(before, b)));
      RC_ASSERT(!Members(after).is_quorum(set_of(after, b)));
    }
  }
}

RC_GTEST_PROP(RaftConfiguration, AValueIsReachedByAQuorum, ()) {
  const Configuration configuration = any(*rc::gen::inRange<uint32_t>(0, kShapes));
  const Members members(configuration);
  std::array<uint64_t, kMembersMax> values{};
  for (size_t slot = 0; slot < members.size(); ++slot)
    values[slot] = *rc::gen::inRange<uint64_t>(0, 6);
  auto reach = [&](uint64_t value) {
    MemberSet set = 0;
    for (size_t slot = 0; slot < members.size(); ++slot)
      if (values[slot] >= value) set |= MemberSet{1} << slot;
    return members.is_quorum(set);
  };
  const uint64_t value = members.quorum_value(values);
  RC_ASSERT(reach(value));
  RC_ASSERT(!reach(value + 1));
}

TEST(RaftConfiguration, GoesByTheLastInTheLog) {
  ConfigurationLog log(Index(1), {ids({1, 2}), {}, {}});
  log.append(Index(5), {ids({1, 2}), {}, ids({4})});
  log.append(Index(8), {ids({1, 4}), ids({1, 2}), {}});
  EXPECT_TRUE(log.current().joint());
  EXPECT_TRUE(log.truncate_after(Index(7)));
  EXPECT_EQ(log.current().learners, ids({4}));
  EXPECT_FALSE(log.truncate_after(Index(5)));
  log.committed(Index(6));
  EXPECT_EQ(log.index(), Index(5));
  log.append(Index(9), {ids({1}), ids({1, 2}), {}});
  log.restored(Index(7), {ids({1, 2}), {}, ids({5})}, true);
  EXPECT_EQ(log.index(), Index(9));
  log.restored(Index(20), {ids({3}), {}, {}}, false);
  EXPECT_EQ(log.current().voters, ids({3}));
}

TEST(RaftMembers, AnEmptyReplicaNeitherCampaignsNorLeadsButVotes) {
  Recovered recovered = Solo::fresh();
  recovered.stateless = true;
  Replica replica(Options(), Solo::kGroup, Solo::id(9), std::move(recovered),
                  RandomStream(1, "empty"), Time());
  replica.on_timer(replica.deadline());
  EXPECT_EQ(replica.role(), Role::kFollower);
  (void)replica.take_ready();
  Message ask;
  ask.kind = MessageKind::kVote;
  ask.group = Solo::kGroup;
  ask.from = Solo::id(1);
  ask.to = Solo::id(9);
  ask.term = Term(4);
  ask.prev = Solo::at(3, 3);
  const Time later = replica.deadline();
  replica.receive(later, ask);
  Ready ready = replica.take_ready();
  ASSERT_TRUE(ready.persist.has_value());
  EXPECT_EQ(ready.persist->hard_state.vote, Solo::id(1));
}

TEST(RaftMembers, ACandidateFromOutsideDisturbsNoLeader) {
  Solo solo;
  solo.lead();
  const Term term = solo->term();
  solo.ask_for_vote(8, term.value() + 5, Solo::at(90, term.value() + 4));
  EXPECT_EQ(solo->role(), Role::kLeader);
  EXPECT_EQ(solo->term(), term);
  Message refusal = solo.message(MessageKind::kAppendReply, 8, term.value() + 5);
  refusal.rejected = true;
  solo.receive(refusal);
  EXPECT_EQ(solo->role(), Role::kLeader);
}

TEST(RaftMembers, PromotesNobodyWhoHasNoState) {
  Solo solo;
  solo.lead();
  ASSERT_TRUE(solo->change(solo.now(), {Solo::id(1), Solo::id(2), Solo::id(3)}, {Solo::id(4)}));
  solo.drain();
  solo.acknowledge(2, solo->status().last);
  ASSERT_TRUE(solo->settled());
  auto promote = [&] {
    return solo->change(solo.now(), {Solo::id(1), Solo::id(2), Solo::id(3), Solo::id(4)}, {});
  };
  EXPECT_EQ(promote().error().code, ErrorCode::kUnavailable);
  Message reply = solo.message(MessageKind::kAppendReply, 4, solo->term().value());
  reply.match = solo->status().last;
  reply.needs_snapshot = true;
  solo.receive(reply);
  EXPECT_EQ(promote().error().code, ErrorCode::kUnavailable);
  reply.needs_snapshot = false;
  solo.receive(reply);
  EXPECT_TRUE(promote());
  EXPECT_TRUE(solo->configuration().joint());
}

TEST(RaftMembers, IsNotLeftToThoseWhoHaveNoState) {
  Solo solo;
  solo.lead();
  auto answer = [&](bool has_state) {
    Message reply = solo.message(MessageKind::kAppendReply, 2, solo->term().value());
    reply.match = solo->status().last;
    reply.needs_snapshot = !has_state;
    solo.receive(reply);
    solo.drain();
  };
  answer(false);
  EXPECT_EQ(solo->change(solo.now(), {Solo::id(2)}, {}).error().code, ErrorCode::kUnavailable);
  answer(true);
  ASSERT_TRUE(solo->change(solo.now(), {Solo::id(2)}, {}));
  solo.drain();
  answer(true);
  ASSERT_FALSE(solo->configuration().joint());
  answer(false);  // it has lost its state meanwhile
  EXPECT_TRUE(solo->settled());
  EXPECT_EQ(solo->role(), Role::kLeader);
  answer(true);
  EXPECT_EQ(solo->role(), Role::kFollower);
}

}  // namespace
}  // namespace kahuna::raft::testing
