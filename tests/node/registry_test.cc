// What meta records about the cluster, with a replica of meta that applies at once.
#include "kahuna/node/registry.h"

#include <gtest/gtest.h>

#include "kahuna/engine/memory_engine.h"
#include "kahuna/partition/position.h"
#include "kahuna/partition/rows.h"
#include "runtime/check.h"
#include "runtime/probe.h"
#include "tests/node/manual_host.h"

namespace kahuna::node {
namespace {

using node_test::ManualHost;

class RegistryTest : public testing::Test, public Registry::Hooks {
 protected:
  void open(size_t operation_records_max) {
    engine_ = engine::make_volatile_engine(turns_);
    auto state = partition::StateMachine::open(*engine_, partition::founding_descriptors(1)[0],
                                               {.operation_records_max = operation_records_max});
    CHECK(state.has_value());
    meta_ = std::make_unique<partition::StateMachine>(std::move(*state));
    registry_.open(NodeId(1), {{1, 11}}, "founding");
  }
  partition::StateMachine* meta() override { return meta_.get(); }
  void meta_failed(const Error&) override { ++failures_; }
  bool leads_meta() const override { return true; }
  void visit_unapplied_meta(const std::function<void(const raft::Entry&)>& visit) const override {
    for (const raft::Entry& entry : unapplied_) visit(entry);
  }
  Watermark watermark() const override { return {}; }  // no client ever wrote
  Result<> propose_to_meta(partition::Command command) override {
    ++proposals_;
    turns_.post([this, command] {
      auto reply = meta_->apply({.index = next_,
                                 .term = Term(1),
                                 .kind = raft::EntryKind::kCommand,
                                 .payload = partition::encode(command)});
      next_ = next_.next();
      registry_.proposal_done(reply);
    });
    return {};
  }

  ManualHost turns_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<partition::StateMachine> meta_;
  Registry registry_{turns_.host(), *this};
  Index next_ = raft::kFoundingBase.index.next();
  size_t proposals_ = 0, failures_ = 0;
  std::vector<raft::Entry> unapplied_;
};

TEST_F(RegistryTest, RecordsTheFoundingAndBoots) {
  open(partition::kOperationRecordsMax);
  registry_.heard(NodeId(2), {{4, 44}});
  ASSERT_TRUE(turns_.settle());
  EXPECT_EQ(proposals_, 3u);
  EXPECT_EQ((*registry_.recorded(NodeId(2)))->number, 4u);
}

TEST_F(RegistryTest, RefusesEarlierBootsAndCopies) {
  open(partition::kOperationRecordsMax);
  registry_.heard(NodeId(2), {{4, 44}});
  ASSERT_TRUE(turns_.settle());
  EXPECT_FALSE(registry_.judge(NodeId(2), "n2", {{3, 33}}));
  EXPECT_FALSE(registry_.judge(NodeId(2), "n2", {{4, 45}}));
  EXPECT_TRUE(registry_.judge(NodeId(2), "n2", {{4, 44}}));
  EXPECT_TRUE(registry_.judge(NodeId(2), "n2", {{5, 55}}));
}

// A directory rolled back to boot 3 boots again and again where nobody hears it: no number that it
// reaches makes it one that has been in boot 4.
TEST_F(RegistryTest, RefusesARolledBackDirectoryHoweverOftenItBoots) {
  open(partition::kOperationRecordsMax);
  registry_.heard(NodeId(2), {{3, 33}, {4, 44}});
  ASSERT_TRUE(turns_.settle());
  EXPECT_FALSE(registry_.judge(NodeId(2), "n2", {{3, 33}, {4, 45}, {5, 55}, {6, 66}}));
  EXPECT_FALSE(registry_.judge(NodeId(2), "n2", {{3, 33}, {5, 55}}));
  EXPECT_TRUE(registry_.judge(NodeId(2), "n2", {{3, 33}, {4, 44}, {5, 55}, {6, 66}}));
  EXPECT_TRUE(registry_.judge(NodeId(2), "n2", {{4, 0}, {5, 55}}))
      << "an older directory did not keep the nonce";
  EXPECT_TRUE(registry_.judge(NodeId(2), "n2", {{5, 56}, {6, 67}}))
      << "this node's meta may be behind";
}

// A record that is in the log, and is not known to be committed, is proof enough that somebody met
// that boot.
TEST_F(RegistryTest, JudgesByTheLogAsWell) {
  open(partition::kOperationRecordsMax);
  ASSERT_TRUE(turns_.settle());
  partition::Command command;
  command.kind = partition::CommandKind::kSet;
  command.key = "__kahuna:boot/2";
  command.value = "4 44";
  command.operation = {7, 1, Watermark(1)};
  unapplied_.push_back({.index = next_,
                        .term = Term(1),
                        .kind = raft::EntryKind::kCommand,
                        .payload = partition::encode(command)});
  EXPECT_FALSE(registry_.judge(NodeId(2), "n2", {{3, 33}, {4, 45}, {5, 55}}));
  EXPECT_TRUE(registry_.judge(NodeId(2), "n2", {{3, 33}, {4, 44}, {5, 55}}));
  EXPECT_TRUE(registry_.judge(NodeId(3), "n3", {{1, 11}}));
}

// Met while this node did not know better yet, it is not recorded once it does.
TEST_F(RegistryTest, RecordsNobodyWhoContradictsTheRecord) {
  open(partition::kOperationRecordsMax);
  registry_.heard(NodeId(2), {{3, 33}, {4, 44}});
  ASSERT_TRUE(turns_.settle());
  registry_.heard(NodeId(2), {{3, 33}, {4, 45}, {5, 55}});
  ASSERT_TRUE(turns_.settle());
  EXPECT_EQ((*registry_.recorded(NodeId(2)))->number, 4u);
}

// Nobody else tells this node of a later stamp, and an operation born below the floor is refused.
TEST_F(RegistryTest, GoesOnWhenMetaForgetsItsOperationsAtOnce) {
  open(1);
  for (uint64_t node = 2; node < 9; ++node) registry_.heard(NodeId(node), {{1, node}});
  ASSERT_TRUE(turns_.settle());
  EXPECT_LE(proposals_, 2u * 9u);
  for (uint64_t node = 2; node < 9; ++node) EXPECT_TRUE(*registry_.recorded(NodeId(node)));
}

class RegistryDamage : public RegistryTest {
 protected:
  // That of node 9.
  void open_with_a_damaged_record() {
    open(partition::kOperationRecordsMax);
    ASSERT_TRUE(turns_.settle());
    engine::WriteBatch damage;
    std::string row;
    partition::make_record_row(partition::position_of("__kahuna:boot/9"), Watermark(1), Index(2), 0,
                               row);
    damage.put(row, "?");
    ASSERT_TRUE(engine_->write(damage).has_value());
  }
};

// What cannot be read is not the same as nothing: a node that was rolled back is not let in by it.
TEST_F(RegistryDamage, JudgesNobodyOfWhomTheRecordCannotBeRead) {
  open_with_a_damaged_record();
  auto judged = registry_.judge(NodeId(9), "n9", {{3, 33}});
  ASSERT_FALSE(judged.has_value());
  EXPECT_EQ(judged.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(failures_, 1u);
  EXPECT_FALSE(registry_.recorded(NodeId(9)).has_value());
  EXPECT_TRUE(registry_.judge(NodeId(3), "n3", {{1, 11}}).has_value());
  const size_t proposals = proposals_;
  registry_.heard(NodeId(9), {{3, 33}});
  ASSERT_TRUE(turns_.settle());
  EXPECT_EQ(proposals_, proposals);  // nor is it recorded in the place of what is there
}

#ifdef KAHUNA_MUTANTS
TEST_F(RegistryDamage, MutantTakesAFailedReadForNoRecord) {
  open_with_a_damaged_record();
  set_active_mutant("failed_read_is_no_record");
  EXPECT_TRUE(registry_.judge(NodeId(9), "n9", {{3, 33}}).has_value());
  set_active_mutant("");
}
#endif  // KAHUNA_MUTANTS

}  // namespace
}  // namespace kahuna::node
