// The judge of log time against what it must refuse.
#include <gtest/gtest.h>

#include "kahuna/partition/state_machine.h"
#include "sim/cluster_log_time.h"

namespace kahuna::sim {
namespace {

constexpr PartitionId kGroup{1};

class LogTimeJudge : public testing::Test {
 protected:
  raft::Entry stamped(uint64_t index, uint64_t term, uint64_t ms) {
    partition::Command command{.operation = {.client = 1, .sequence = index}, .key = "k"};
    return {.index = Index(index),
            .term = Term(term),
            .kind = raft::EntryKind::kCommand,
            .payload = partition::encode(command, LogTime(ms))};
  }
  void pass(int64_t ms) {
    own_ = own_ + Duration::millis(ms);
    fastest_ = fastest_ + Duration::millis(ms);
  }
  // By a leader whose clock says so, and applied by node 0.
  std::optional<std::string> write(uint64_t index, uint64_t term, uint64_t ms) {
    const raft::Entry entry = stamped(index, term, ms);
    if (auto violation = judge_.appended(term % 3, kGroup, entry)) return violation;
    return judge_.applied(0, kGroup, entry, LogTime(ms));
  }

  Time own_ = Time::from_nanos(987'654'321);
  Duration fastest_;
  LogTimes judge_{[this](size_t) { return LogTimes::Clocks{own_, fastest_}; }};
};

TEST_F(LogTimeJudge, AcceptsLeadersThatGoOn) {
  judge_.elected(1, kGroup, Term(1), LogTime(0));
  pass(100);
  EXPECT_EQ(write(2, 1, 100), std::nullopt);
  pass(5000);  // without a leader
  judge_.elected(2, kGroup, Term(2), LogTime(100));
  EXPECT_EQ(write(3, 2, 100), std::nullopt);
  pass(50);
  EXPECT_EQ(write(4, 2, 150), std::nullopt);
  EXPECT_EQ(judge_.applied(1, kGroup, stamped(4, 2, 150), LogTime(150)), std::nullopt);
  EXPECT_EQ(judge_.holds(2, kGroup, Index(3), LogTime(100)), std::nullopt);
  EXPECT_EQ(judge_.applied(0, kGroup, {.index = Index(5), .term = Term(3)}, LogTime(150)),
            std::nullopt);
}

TEST_F(LogTimeJudge, RefusesAClockThatIsNotTheLeaders) {
  judge_.elected(1, kGroup, Term(1), LogTime(0));
  pass(100);
  EXPECT_NE(judge_.appended(1, kGroup, stamped(2, 1, 101)), std::nullopt);
  EXPECT_NE(judge_.appended(1, kGroup, stamped(2, 1, 99)), std::nullopt);
}

TEST_F(LogTimeJudge, RefusesTimeThatGoesBack) {
  judge_.elected(1, kGroup, Term(1), LogTime(0));
  pass(100);
  EXPECT_EQ(write(2, 1, 100), std::nullopt);
  judge_.elected(2, kGroup, Term(2), LogTime(0));  // as if it had not looked into its log
  pass(50);
  EXPECT_NE(write(3, 2, 50), std::nullopt);
}

TEST_F(LogTimeJudge, RefusesMoreTimeThanAnyClockMeasured) {
  judge_.elected(1, kGroup, Term(1), LogTime(0));
  pass(100);
  EXPECT_EQ(write(2, 1, 100), std::nullopt);
  pass(50);
  judge_.elected(2, kGroup, Term(2), LogTime(149));  // as if followers' clocks counted
  pass(1);
  EXPECT_EQ(write(3, 2, 150), std::nullopt);
  judge_.elected(0, kGroup, Term(3), LogTime(500));
  EXPECT_NE(write(4, 3, 500), std::nullopt);
}

TEST_F(LogTimeJudge, RefusesReplicasThatDiffer) {
  judge_.elected(1, kGroup, Term(1), LogTime(0));
  pass(100);
  EXPECT_EQ(write(2, 1, 100), std::nullopt);
  EXPECT_NE(judge_.applied(1, kGroup, stamped(2, 1, 100), LogTime(99)), std::nullopt);
  EXPECT_NE(judge_.holds(2, kGroup, Index(2), LogTime(0)), std::nullopt);
  EXPECT_NE(judge_.applied(0, kGroup, {.index = Index(3), .term = Term(2)}, LogTime(101)),
            std::nullopt);
}

TEST_F(LogTimeJudge, RefusesAStampNobodyMade) {
  judge_.elected(1, kGroup, Term(1), LogTime(0));
  EXPECT_NE(judge_.applied(0, kGroup, stamped(2, 1, 0), LogTime(0)), std::nullopt);
}

}  // namespace
}  // namespace kahuna::sim
