// The steps of a group towards the members that are wanted.
#include "kahuna/node/membership.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "runtime/check.h"

namespace kahuna::node {
namespace {

constexpr Duration kPatience = Duration::seconds(1);

ReplicaId id(uint64_t n) {
  return {NodeId(n), 1};
}
std::vector<ReplicaId> ids(std::vector<uint64_t> list) {
  std::vector<ReplicaId> out;
  for (uint64_t n : list) out.push_back(id(n));
  return out;
}

// Replicas of one group whose disks are immediate and whose messages arrive unless a node is dead.
class Group {
 public:
  explicit Group(std::vector<uint64_t> voters) {
    founders_ = raft::Configuration{ids(voters), {}, {}};
    for (uint64_t n : voters) start(n);
    now_ = leader().deadline();
    leader().on_timer(now_);
    settle();
    CHECK(leader().can_serve());
  }
  void start(uint64_t n) {
    raft::Recovered recovered;
    recovered.commit = recovered.applied = raft::kFoundingBase.index;
    recovered.configuration = founders_;
    replicas_.emplace(n, raft::Replica(raft::Options(), PartitionId(1), id(n), std::move(recovered),
                                       RandomStream(n, "replica", n), now_));
  }
  raft::Replica& leader() { return replicas_.at(1); }
  Time now() const { return now_; }
  void kill(uint64_t n) { dead_.insert(n); }
  void lose_state(uint64_t n) { replicas_.at(n).discard_state(now_); }
  void give_state(uint64_t n) {
    const raft::Status has = leader().status();
    replicas_.at(n).restore({has.commit, *leader().term_at(has.commit)}, leader().configuration());
  }
  // Time passes, and the leader is heard.
  void pass(Duration length) {
    const Time end = now_ + length;
    while (now_ < end) {
      now_ = now_ + Duration::millis(50);
      if (leader().deadline() <= now_) leader().on_timer(now_);
      settle();
    }
  }
  void settle() {
    for (bool moved = true; moved;) {
      moved = false;
      for (auto& [n, replica] : replicas_) {
        if (dead_.contains(n) || !replica.has_ready()) continue;
        moved = true;
        raft::Ready ready = replica.take_ready();
        for (raft::Message& m : ready.messages) network_.push_back(std::move(m));
        if (ready.persist) replica.persisted(now_, ready.persist->id);
        if (!ready.committed.empty()) replica.applied(ready.committed.back().index);
      }
      while (!network_.empty()) {
        moved = true;
        raft::Message m = std::move(network_.front());
        network_.pop_front();
        auto to = replicas_.find(m.to.node.value());
        if (to != replicas_.end() && !dead_.contains(to->first))
          to->second.receive(now_, std::move(m));
      }
    }
  }
  std::optional<MemberStep> next(const Wanted& wanted) {
    return next_step(leader(), wanted, now_, kPatience);
  }
  // Takes steps until there is none; how many.
  int walk(const Wanted& wanted) {
    int steps = 0;
    while (auto step = next(wanted)) {
      if (step->successor || ++steps > 10) break;
      CHECK(leader().change(now_, step->voters, step->learners).has_value());
      settle();
    }
    return steps;
  }

 private:
  raft::Configuration founders_;
  std::map<uint64_t, raft::Replica> replicas_;
  std::set<uint64_t> dead_;
  std::deque<raft::Message> network_;
  Time now_ = Time::from_nanos(1'000'000'000);
};

TEST(MemberSteps, ANewMemberLearnsBeforeItVotes) {
  Group group({1, 2, 3});
  const Wanted wanted{ids({1, 2, 3, 4}), {}};
  auto step = group.next(wanted);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->voters, ids({1, 2, 3}));
  EXPECT_EQ(step->learners, ids({4}));
  ASSERT_TRUE(group.leader().change(group.now(), step->voters, step->learners));
  group.settle();
  // It does not answer yet.
  group.pass(kPatience + Duration::millis(200));
  EXPECT_FALSE(group.next(wanted));
  group.start(4);
  group.pass(Duration::millis(300));
  step = group.next(wanted);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->voters, ids({1, 2, 3, 4}));
  EXPECT_TRUE(step->learners.empty());
  group.walk(wanted);
  EXPECT_TRUE(is_there(group.leader(), wanted));
}

TEST(MemberSteps, ADeadMemberIsReplaced) {
  Group group({1, 2, 3});
  group.kill(3);
  group.pass(kPatience + Duration::millis(200));
  group.start(4);
  const Wanted wanted{ids({1, 2, 4}), {}};
  group.walk(wanted);
  group.pass(Duration::millis(300));
  group.walk(wanted);
  EXPECT_TRUE(is_there(group.leader(), wanted));
}

// 2 lives and leaves; 4 comes, and is slow: without 2 there would be less of a majority than
// before.
TEST(MemberSteps, WhoLeavesStaysUntilWhoComesIsReady) {
  Group group({1, 2, 3});
  group.start(4);
  const Wanted wanted{ids({1, 3, 4}), {}};
  auto step = group.next(wanted);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->learners, ids({4}));
  EXPECT_EQ(step->voters, ids({1, 2, 3}));
  EXPECT_EQ(group.walk(wanted), 2) << "one step to learn, one in which both happen";
  EXPECT_TRUE(is_there(group.leader(), wanted));
}

TEST(MemberSteps, NoStepIsTakenIntoADeadMajority) {
  Group group({1, 2, 3, 4, 5});
  group.kill(2);
  group.kill(3);
  group.pass(kPatience + Duration::millis(200));
  // {1, 2, 3} would be one of three; {1, 4, 5} all of three.
  EXPECT_FALSE(group.next({ids({1, 2, 3}), {}}));
  EXPECT_TRUE(group.next({ids({1, 4, 5}), {}}));
}

TEST(MemberSteps, ALeaderThatLeavesNamesWhoFollows) {
  Group group({1, 2, 3});
  group.kill(2);
  group.pass(kPatience + Duration::millis(200));
  auto step = group.next({ids({2, 3}), {}});
  EXPECT_FALSE(step) << "2 is dead, and {2, 3} has no majority";
  step = group.next({ids({3}), {}});
  ASSERT_TRUE(step);
  EXPECT_EQ(step->successor, id(3));
}

TEST(MemberSteps, ALearnerThatIsToLearnStaysOne) {
  Group group({1, 2, 3});
  group.start(4);
  const Wanted wanted{ids({1, 2, 3}), ids({4})};
  group.walk(wanted);
  group.pass(Duration::millis(300));
  EXPECT_EQ(group.walk(wanted), 0);
  EXPECT_TRUE(is_there(group.leader(), wanted));
  EXPECT_EQ(group.leader().configuration().learners, ids({4}));
}

TEST(MemberSteps, NoStepIsTakenIntoThoseWhoHaveNoState) {
  Group group({1, 2});
  group.lose_state(2);
  group.pass(Duration::millis(500));
  EXPECT_FALSE(group.next({ids({2}), {}}));
  EXPECT_TRUE(group.next({ids({1}), {}}));
  group.give_state(2);
  group.pass(Duration::millis(500));
  auto step = group.next({ids({2}), {}});
  ASSERT_TRUE(step);
  EXPECT_EQ(step->successor, id(2));
}

// Of those who leave, whose numbers are lower, none takes the place of one who is to stay.
TEST(MemberSteps, WhoLeavesTakesNobodysPlace) {
  Group group({1, 2, 3, 4, 5, 11, 12, 13, 14});
  const Wanted wanted{ids({1, 11, 12, 13, 14, 21, 22, 23, 24}), {}};
  for (uint64_t n : {21, 22, 23, 24}) group.start(n);
  for (uint64_t n : {22, 23, 24}) group.lose_state(n);
  for (int i = 0; i < 5; ++i) {
    group.walk(wanted);
    group.pass(Duration::millis(300));
  }
  EXPECT_EQ(group.leader().configuration().voters, ids({1, 2, 3, 4, 11, 12, 13, 14, 21}));
  for (uint64_t n : {22, 23, 24}) group.give_state(n);
  for (int i = 0; i < 5; ++i) {
    group.pass(Duration::millis(300));
    group.walk(wanted);
  }
  EXPECT_TRUE(is_there(group.leader(), wanted));
}

// 4 and 5 come, and do not answer yet: 1 would be alone.
TEST(MemberSteps, ThreeStayWhileTheyAnswer) {
  Group group({1, 2, 3});
  const Wanted wanted{ids({1, 4, 5}), {}};
  EXPECT_EQ(group.walk(wanted), 1) << "two come to learn";
  group.pass(kPatience + Duration::millis(200));
  EXPECT_FALSE(group.next(wanted));
  group.start(4);
  group.pass(Duration::millis(300));
  auto step = group.next(wanted);
  ASSERT_TRUE(step);
  EXPECT_TRUE(step->voters == ids({1, 2, 4}) || step->voters == ids({1, 2, 3, 4}));
}

}  // namespace
}  // namespace kahuna::node
