// Replicas of one partition on three nodes, one of which lacks what the others' logs no longer
// hold.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <set>

#include "kahuna/engine/memory_engine.h"
#include "kahuna/node/groups.h"
#include "kahuna/partition/position.h"
#include "runtime/check.h"
#include "tests/node/manual_host.h"

namespace kahuna::node {
namespace {

using node_test::ManualHost;

// Keeps what it was told; everything is durable in the next turn.
class StoredJournal final : public journal::Journal {
 public:
  explicit StoredJournal(Scheduler& scheduler) : scheduler_(scheduler) {}
  journal::RecoveredGroup recovered() const { return group_; }
  // Term, vote, and how far it was released are left.
  void lose_entries() { release({}, last()); }

  std::map<PartitionId, journal::RecoveredGroup> take_recovered() override { return {}; }
  Result<> append(PartitionId, const raft::Persist& persist, Callback<void()> done) override {
    group_.hard_state = persist.hard_state;
    group_.commit = std::max(group_.commit, persist.commit);
    if (!persist.entries.empty()) {
      const Index first = persist.entries.front().index;
      CHECK(first > group_.released);
      CHECK(first <= last().next());
      std::erase_if(group_.entries, [&](const raft::Entry& e) { return e.index >= first; });
      group_.entries.insert(group_.entries.end(), persist.entries.begin(), persist.entries.end());
    }
    scheduler_.post(std::move(done));
    return {};
  }
  void release(PartitionId, Index index) override {
    group_.released = std::max(group_.released, index);
    std::erase_if(group_.entries, [&](const raft::Entry& e) { return e.index <= group_.released; });
  }
  Result<> adopt(Suspend, std::map<PartitionId, journal::RecoveredGroup>) override { return {}; }
  bool has_room() override { return true; }
  const journal::Statistics& statistics() const override { return statistics_; }

 private:
  Index last() const {
    return group_.entries.empty() ? std::max(group_.released, Index(1))
                                  : group_.entries.back().index;
  }

  Scheduler& scheduler_;
  journal::RecoveredGroup group_;
  journal::Statistics statistics_;
};

class InstallTest : public testing::Test {
 protected:
  class Node final : public Groups::Hooks {
   public:
    Node(InstallTest& test, uint64_t number)
        : test_(test),
          number_(number),
          host_(test.turns_.host()),
          journal_(test.turns_),
          engine_(engine::make_volatile_engine(test.turns_)) {
      host_.random_seed = number;
    }
    // What was written is there again after a restart.
    void start() {
      auto started = try_start();
      CHECK(started.has_value());
    }
    Result<> try_start() {
      groups_.reset();
      groups_ = std::make_unique<Groups>(host_, *this, journal_, *engine_, NodeId(number_),
                                         test_.options_, nullptr);
      RETURN_IF_ERROR(
          groups_->add(test_.descriptor_, test_.voters_, false, {}, journal_.recovered()));
      groups_->start();
      return {};
    }
    void stop() { groups_.reset(); }
    void lose_state() {
      stop();
      engine_ = engine::make_volatile_engine(test_.turns_);
    }
    void lose_state_and_entries() {
      lose_state();
      journal_.lose_entries();
    }
    void flush() {
      bool done = false;
      groups_->flush([&] { done = true; });
      test_.turns_.settle();
      CHECK(done);
    }
    Groups* groups() { return groups_.get(); }
    const raft::Replica& replica() const { return *groups_->replica(test_.descriptor_.id); }
    partition::StateMachine* state() { return groups_->state(test_.descriptor_.id); }

    void send(const raft::Message& message) override {
      test_.deliver(message.to.node, [message](Groups& to) { to.receive(message); });
    }
    void send(const SnapshotPart& part) override {
      ++test_.parts_;
      test_.streams_.insert(part.stream);
      SnapshotPart sent = part;
      if (test_.on_part && !test_.on_part(sent)) return;
      test_.deliver(part.to.node, [sent](Groups& to) { to.receive(sent); });
    }
    void send(const SnapshotReply& reply) override {
      test_.replies_.push_back(reply);
      test_.deliver(reply.to.node, [reply](Groups& to) { to.receive(reply); });
    }
    void messages_sent() override {}
    void on_write(Token, Result<partition::Reply> reply) override {
      if (reply) last_ = *reply;
    }
    void on_read(Token, Result<>) override {}
    void on_transfer(Token, Result<>) override {}
    void on_serving(PartitionId) override {}
    void on_stopped(Error reason) override { ADD_FAILURE() << reason.text; }

    partition::Reply last_;

   private:
    InstallTest& test_;
    const uint64_t number_;
    Host host_;
    StoredJournal journal_;
    std::unique_ptr<engine::Engine> engine_;
    std::unique_ptr<Groups> groups_;
  };

  InstallTest() {
    options_.log_keep_bytes = 0;
    options_.snapshot_part_bytes = 100;
    for (uint64_t n = 1; n <= 3; ++n) voters_.push_back({NodeId(n), 1});
    for (uint64_t n = 1; n <= 3; ++n) nodes_.push_back(std::make_unique<Node>(*this, n));
    for (auto& node : nodes_) node->start();
    advance();
  }
  ~InstallTest() override {
    for (auto& node : nodes_) node->stop();
  }

  void advance(Duration by = Duration::seconds(5)) { turns_.advance(by); }
  void deliver(NodeId to, std::function<void(Groups&)> message) {
    turns_.post([this, to, message = std::move(message)] {
      if (Groups* groups = nodes_[to.value() - 1]->groups()) message(*groups);
    });
  }
  Node& leader() {
    for (auto& node : nodes_)
      if (node->groups() && node->replica().can_serve()) return *node;
    CHECK(false);
  }
  Node& follower() {
    for (auto& node : nodes_)
      if (node->groups() && node->replica().role() != raft::Role::kLeader) return *node;
    CHECK(false);
  }
  void write(uint64_t sequence) {
    partition::Command command;
    command.operation = {.client = 7, .sequence = sequence};
    command.key = "key" + std::to_string(sequence % 40);
    command.value = std::string(20, 'v') + std::to_string(sequence);
    CHECK(leader().groups()->propose(descriptor_.id, command, sequence).has_value());
    turns_.settle();
  }
  void write(uint64_t from, uint64_t to) {
    for (uint64_t sequence = from; sequence < to; ++sequence) write(sequence);
  }
  // A node is away while the others write and compact.
  Node& leave_one_behind() {
    write(1, 10);
    Node& away = follower();
    away.stop();
    write(10, 80);
    for (auto& node : nodes_)
      if (node->groups()) node->flush();
    EXPECT_GT(leader().replica().status().base.index, Index(70));
    return away;
  }
  void expect_equal() {
    for (auto& node : nodes_) {
      ASSERT_NE(node->state(), nullptr);
      EXPECT_EQ(node->replica().status().applied, leader().replica().status().applied);
      auto one = node->state()->digest(), other = leader().state()->digest();
      EXPECT_TRUE(one && other && *one == *other);
    }
  }

  ManualHost turns_;
  Options options_;
  partition::Descriptor descriptor_ = partition::founding_descriptors(1)[1];
  std::vector<ReplicaId> voters_;
  std::vector<std::unique_ptr<Node>> nodes_;
  // Sees every part that is sent, and may change it; false: it is lost.
  std::function<bool(SnapshotPart&)> on_part;
  uint64_t parts_ = 0;
  std::set<uint64_t> streams_;
  std::vector<SnapshotReply> replies_;
};

TEST_F(InstallTest, WhoLacksWhatIsCompactedIsSentTheState) {
  Node& away = leave_one_behind();
  away.start();
  advance();
  expect_equal();
  EXPECT_GT(parts_, 10u);
  EXPECT_EQ(streams_.size(), 1u);
  write(80, 90);
  advance();
  expect_equal();
}

TEST_F(InstallTest, LogTimeGoesOnUnderTheNextLeader) {
  write(1);
  const LogTime one = leader().state()->log_time();
  advance(Duration::seconds(5));
  write(2);
  const LogTime two = leader().state()->log_time();
  EXPECT_EQ(two.value(), one.value() + 5000);
  Node& old = leader();
  old.stop();
  advance(Duration::seconds(20));
  write(3);
  const LogTime three = leader().state()->log_time();
  EXPECT_GT(three, two);
  EXPECT_LT(three.value(), two.value() + 20'000);  // nobody led for a while
  old.start();
  advance(Duration::seconds(20));
  expect_equal();
  EXPECT_EQ(old.state()->log_time(), three);
}

TEST_F(InstallTest, WhoWasAwayForLittleIsNot) {
  options_.log_keep_bytes = size_t{1} << 20;
  for (auto& node : nodes_) node->start();
  advance();
  write(1, 10);
  Node& away = follower();
  away.stop();
  write(10, 80);
  for (auto& node : nodes_)
    if (node->groups()) node->flush();
  away.start();
  advance();
  expect_equal();
  EXPECT_EQ(parts_, 0u);
}

TEST_F(InstallTest, ALostPartIsMadeAgainAndNoOther) {
  Node& away = leave_one_behind();
  bool lost = false;
  on_part = [&](SnapshotPart& part) { return part.number != 3 || std::exchange(lost, true); };
  away.start();
  advance();
  ASSERT_TRUE(lost);
  expect_equal();
  EXPECT_EQ(streams_.size(), 1u);
}

TEST_F(InstallTest, ADamagedPartIsNotBelieved) {
  Node& away = leave_one_behind();
  bool damaged = false;
  on_part = [&](SnapshotPart& part) {
    if (part.number == 2 && !std::exchange(damaged, true)) part.rows.back() ^= 1;
    return true;
  };
  away.start();
  advance();
  ASSERT_TRUE(damaged);
  expect_equal();
}

TEST_F(InstallTest, APartWithRowsThatDoNotBelongIsNotTaken) {
  Node& away = leave_one_behind();
  size_t wrong = 0;
  on_part = [&](SnapshotPart& part) {
    engine::WriteBatch rows;
    if (part.number == 2 && wrong < 3) {
      if (wrong == 0) rows.remove("a row");
      if (wrong == 1) rows.put("another partition's row", "value");
      part.rows =
          wrong == 2 ? part.rows.substr(0, part.rows.size() - 1) : std::string(rows.bytes());
      part.checksum = checksum_of(part);
      ++wrong;
    }
    return true;
  };
  away.start();
  advance();
  ASSERT_EQ(wrong, 3u);
  expect_equal();
}

TEST_F(InstallTest, ARestartInTheMiddleGoesOnWhereItWas) {
  Node& away = leave_one_behind();
  on_part = [](SnapshotPart& part) { return part.number < 5; };
  away.start();
  advance(Duration::seconds(2));
  EXPECT_EQ(away.state(), nullptr);
  EXPECT_TRUE(away.replica().status().stateless);
  away.start();
  EXPECT_TRUE(away.replica().status().stateless);
  std::set<uint64_t> numbers;
  on_part = [&](SnapshotPart& part) { return numbers.insert(part.number).second || true; };
  advance();
  expect_equal();
  EXPECT_EQ(streams_.size(), 1u);
  EXPECT_FALSE(numbers.contains(0));
}

TEST_F(InstallTest, ASenderThatDiesIsReplacedByTheNextLeader) {
  Node& away = leave_one_behind();
  on_part = [](SnapshotPart& part) { return part.number < 5; };
  away.start();
  advance(Duration::seconds(2));
  Node& before = leader();
  before.stop();
  on_part = nullptr;
  advance(Duration::seconds(20));  // the one without a state votes
  before.start();
  advance(Duration::seconds(20));
  expect_equal();
  EXPECT_GE(streams_.size(), 2u);
}

// The removal of the newer state's rows would take older ones of the same keys with it (engine E7).
TEST_F(InstallTest, AHalfInstalledStateGivesWayToNoOlderOne) {
  Node& away = leave_one_behind();
  std::optional<SnapshotPart> first;
  on_part = [&](SnapshotPart& part) {
    if (part.number == 0) first = part;
    return part.number < 5;
  };
  away.start();
  advance(Duration::seconds(2));
  ASSERT_TRUE(first);
  ASSERT_TRUE(away.replica().status().stateless);
  // What a new leader would offer whose applied state is behind.
  SnapshotPart older = *first;
  older.stream = first->stream + 1;
  older.position.index = Index(first->position.index.value() - 1);
  older.checksum = checksum_of(older);
  replies_.clear();
  away.groups()->receive(older);
  turns_.settle();
  auto refusal = std::find_if(replies_.begin(), replies_.end(), [&](const SnapshotReply& reply) {
    return reply.stream == older.stream;
  });
  ASSERT_NE(refusal, replies_.end());
  EXPECT_EQ(refusal->answer, SnapshotAnswer::kBusy);
  EXPECT_EQ(refusal->position, first->position);
  on_part = nullptr;
  advance();
  expect_equal();
  EXPECT_EQ(streams_.size(), 1u);
}

// It is not taken for one that has the state in which the group began, nor for one that has
// promised nothing.
TEST_F(InstallTest, WhoHasLostStateAndEntriesDoesNotStart) {
  write(1, 50);
  for (auto& node : nodes_) node->flush();
  Node& one = follower();
  one.lose_state_and_entries();
  auto started = one.try_start();
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code, ErrorCode::kDamaged);
  one.stop();
}

// Two are a majority, and their logs are whole, but neither has a state from which the log goes on.
TEST_F(InstallTest, TwoThatHaveLostTheirStatesWaitForTheThird) {
  write(1, 50);
  for (auto& node : nodes_) node->flush();
  Node& third = follower();
  third.stop();
  for (auto& node : nodes_) {
    if (node.get() == &third) continue;
    node->lose_state();
    node->start();
  }
  advance(Duration::seconds(60));
  for (auto& node : nodes_) {
    if (node.get() == &third) continue;
    EXPECT_TRUE(node->replica().status().stateless);
    EXPECT_EQ(node->state(), nullptr);
    EXPECT_FALSE(node->replica().can_serve());
  }
  third.start();
  advance(Duration::seconds(20));
  expect_equal();
  EXPECT_TRUE(leader().replica().can_serve());
}

// What is lost on all of them is not made up for: nobody leads, and nobody answers as if there had
// been nothing.
TEST_F(InstallTest, WhereAllHaveLostTheirStatesNobodyLeads) {
  write(1, 50);
  for (auto& node : nodes_) node->flush();
  for (auto& node : nodes_) node->lose_state();
  for (auto& node : nodes_) node->start();
  advance(Duration::seconds(120));
  for (auto& node : nodes_) {
    EXPECT_TRUE(node->replica().status().stateless);
    EXPECT_EQ(node->state(), nullptr);
    EXPECT_NE(node->replica().role(), raft::Role::kLeader);
  }
  EXPECT_EQ(parts_, 0u);
}

TEST_F(InstallTest, TheLogGoesOnBehindAStateAfterRestarts) {
  Node& away = leave_one_behind();
  away.start();
  advance();
  away.start();
  advance();
  expect_equal();
  write(80, 120);
  away.start();
  advance();
  expect_equal();
}

TEST_F(InstallTest, AReseededReplicaHasTheSameStateAgain) {
  write(1, 50);
  Node& one = follower();
  ASSERT_TRUE(one.groups()->reseed(descriptor_.id).has_value());
  EXPECT_EQ(one.state(), nullptr);
  write(50, 60);
  advance();
  expect_equal();
  EXPECT_EQ(streams_.size(), 1u);
}

TEST_F(InstallTest, AReseededLeaderIsSucceeded) {
  write(1, 50);
  Node& one = leader();
  ASSERT_TRUE(one.groups()->reseed(descriptor_.id).has_value());
  advance(Duration::seconds(20));
  EXPECT_NE(&leader(), &one);
  expect_equal();
}

}  // namespace
}  // namespace kahuna::node
