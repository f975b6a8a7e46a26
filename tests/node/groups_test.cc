// Saving and flushing behind the turns' back, with an engine that takes a batch when it is told to.
#include "kahuna/node/groups.h"

#include <gtest/gtest.h>

#include "kahuna/engine/memory_engine.h"
#include "kahuna/partition/position.h"
#include "runtime/check.h"
#include "tests/node/manual_host.h"

namespace kahuna::node {
namespace {

using node_test::ManualHost;

// Everything is durable in the next turn.
class QuickJournal final : public journal::Journal {
 public:
  explicit QuickJournal(Scheduler& scheduler) : scheduler_(scheduler) {}
  std::map<PartitionId, journal::RecoveredGroup> take_recovered() override { return {}; }
  Result<> append(PartitionId, const raft::Persist&, Callback<void()> done) override {
    scheduler_.post(std::move(done));
    return {};
  }
  void release(PartitionId, Index) override {}
  Result<> adopt(Suspend, std::map<PartitionId, journal::RecoveredGroup>) override { return {}; }
  bool has_room() override { return true; }
  const journal::Statistics& statistics() const override { return statistics_; }

 private:
  Scheduler& scheduler_;
  journal::Statistics statistics_;
};

// Takes a batch at take() only.
class HeldEngine final : public engine::Engine {
 public:
  explicit HeldEngine(Scheduler& scheduler)
      : scheduler_(scheduler), inner_(engine::make_volatile_engine(scheduler)) {}
  bool holds() const { return batch_ != nullptr; }
  void take() {
    auto batch = std::exchange(batch_, nullptr);
    auto done = std::move(done_);
    done(inner_->write(*batch));
  }
  void refuse(ErrorCode code = ErrorCode::kOverloaded) {
    batch_.reset();
    auto done = std::move(done_);
    done(fail(code, "refused"));
  }
  void fill(bool full) { full_ = full; }  // whether a flush finds room

  Result<> write(const engine::WriteBatch& batch) override { return inner_->write(batch); }
  void start_write(std::shared_ptr<const engine::WriteBatch> batch,
                   Callback<void(Result<>)> done) override {
    CHECK(!batch_);
    batch_ = std::move(batch);
    done_ = std::move(done);
  }
  Result<bool> first(std::string_view from, std::string_view to, std::string& row,
                     std::string& value) override {
    return inner_->first(from, to, row, value);
  }
  Result<bool> get(std::string_view row, std::string& value) override {
    return inner_->get(row, value);
  }
  Result<> scan(std::string_view from, std::string_view to,
                const engine::RowVisitor& visit) override {
    return inner_->scan(from, to, visit);
  }
  std::unique_ptr<engine::View> view(std::vector<engine::RowRange> ranges) override {
    return inner_->view(std::move(ranges));
  }
  const std::map<PartitionId, raft::LogPosition>& applied() const override {
    return inner_->applied();
  }
  const std::map<PartitionId, raft::LogPosition>& flushed() const override {
    return inner_->flushed();
  }
  size_t unflushed_bytes() const override { return inner_->unflushed_bytes(); }
  void flush(Callback<void(Result<>)> done) override {
    if (full_)
      return scheduler_.post(
          [done = std::move(done)]() mutable { done(fail(ErrorCode::kNoSpace, "full")); });
    inner_->flush(std::move(done));
  }

 private:
  Scheduler& scheduler_;
  std::unique_ptr<engine::Engine> inner_;
  std::shared_ptr<const engine::WriteBatch> batch_;
  Callback<void(Result<>)> done_;
  bool full_ = false;
};

class GroupsTest : public testing::Test, public Groups::Hooks {
 protected:
  GroupsTest() : journal_(turns_) {
    options_.save_entries = 1;
    start();
  }

  void start() {
    groups_.reset();
    held_ = std::make_unique<HeldEngine>(turns_);
    groups_ = std::make_unique<Groups>(turns_.host(), *this, journal_, *held_, NodeId(1), options_,
                                       nullptr);
    CHECK(groups_->add(descriptor_, {{NodeId(1), 1}}, true, {}, {}).has_value());
    groups_->start();
    turns_.advance(Duration::millis(1));
    CHECK(held_->holds());  // the leader's first entry
    held_->take();
    turns_.settle();
    CHECK(!held_->holds());
  }

  // One write is applied, and its batch is with the engine.
  void write(uint64_t sequence) {
    propose(sequence);
    turns_.settle();
    CHECK(held_->holds());
  }

  static partition::Command command(uint64_t sequence) {
    partition::Command command;
    command.operation = {.client = 7, .sequence = sequence};
    command.key = "k";
    command.value = "v";
    return command;
  }
  void propose(uint64_t sequence) {
    CHECK(groups_->propose(descriptor_.id, command(sequence), sequence).has_value());
  }

  void send(const raft::Message&) override {}
  void messages_sent() override {}
  void on_write(Token, Result<partition::Reply> reply) override { answered_ += reply.has_value(); }
  void on_read(Token, Result<>) override {}
  void on_transfer(Token, Result<>) override {}
  void on_serving(PartitionId) override {}
  void on_stopped(Error) override { ADD_FAILURE(); }

  ManualHost turns_;
  QuickJournal journal_;
  std::unique_ptr<HeldEngine> held_;
  Options options_;
  partition::Descriptor descriptor_ = partition::founding_descriptors(1)[1];
  std::unique_ptr<Groups> groups_;
  size_t answered_ = 0;
};

TEST_F(GroupsTest, AnswersBeforeTheEngineHasTheBatch) {
  write(1);
  EXPECT_EQ(answered_, 1u);
}

TEST_F(GroupsTest, AFlushAskedForWhileABatchIsTakenEnds) {
  write(1);
  bool flushed = false;
  groups_->flush([&] { flushed = true; });
  turns_.settle();
  EXPECT_FALSE(flushed);
  held_->take();
  turns_.settle();
  EXPECT_TRUE(flushed);
  EXPECT_EQ(held_->flushed().at(descriptor_.id).index, Index(3));
}

TEST_F(GroupsTest, AFlushAskedForWhileABatchIsRefusedEnds) {
  write(1);
  held_->refuse();
  turns_.settle();
  bool flushed = false;
  groups_->flush([&] { flushed = true; });
  turns_.advance(Groups::kStallRetry);
  ASSERT_TRUE(held_->holds());
  EXPECT_FALSE(flushed);
  held_->take();
  turns_.settle();
  EXPECT_TRUE(flushed);
}

TEST_F(GroupsTest, AnIdleNodeFlushesWhatItSavedLast) {
  write(1);
  turns_.advance(options_.flush_interval * 2);  // the timer fires while the engine holds the batch
  held_->take();
  turns_.advance(options_.flush_interval * 2);
  EXPECT_EQ(held_->flushed().at(descriptor_.id).index, Index(3));
}

// However much was committed meanwhile, in one piece or in many.
TEST_F(GroupsTest, AppliesNoMoreThanMayBeUnsaved) {
  write(1);
  const size_t most = options_.save_entries * options_.unsaved_factor;
  for (uint64_t sequence = 2; sequence < 100; ++sequence) propose(sequence);
  turns_.settle();
  EXPECT_EQ(answered_, 1 + most);
  held_->take();
  turns_.settle();
  EXPECT_EQ(answered_, 1 + 2 * most);
  for (; held_->holds(); turns_.settle()) held_->take();
  EXPECT_EQ(answered_, 99u);
}

TEST_F(GroupsTest, TakesNoMoreWritesWhenTooMuchIsUnapplied) {
  options_.raft.uncommitted_bytes_max = 2000;
  start();
  write(1);
  Result<> proposed;
  uint64_t sequence = 2;
  for (; sequence < 1000 && proposed; ++sequence) {
    proposed = groups_->propose(descriptor_.id, command(sequence), sequence);
    turns_.settle();
  }
  ASSERT_FALSE(proposed);
  EXPECT_EQ(proposed.error().code, ErrorCode::kOverloaded);
  for (; held_->holds(); turns_.settle()) held_->take();
  write(sequence);
}

// What it has committed and not applied it cannot read, and nobody knows for how long.
TEST_F(GroupsTest, RefusesReadsThatAFullDiskHoldsUp) {
  write(1);
  for (uint64_t sequence = 2; sequence < 100; ++sequence) propose(sequence);
  turns_.settle();
  EXPECT_TRUE(groups_->read(descriptor_.id, 1)) << "they wait for a busy engine";
  held_->fill(true);
  held_->refuse(ErrorCode::kNoSpace);
  turns_.settle();
  const auto refused = groups_->read(descriptor_.id, 2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNoSpace);
  held_->fill(false);
  turns_.advance(Duration::seconds(1));
  for (; held_->holds(); turns_.settle()) held_->take();
  EXPECT_EQ(answered_, 99u);
  EXPECT_TRUE(groups_->read(descriptor_.id, 3));
}

}  // namespace
}  // namespace kahuna::node
