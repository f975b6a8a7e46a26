#include "kahuna/node/slow_disk.h"

#include <gtest/gtest.h>

namespace kahuna::node {
namespace {

using namespace literals;
const PartitionId kPartition(3);

// A journal of which one batch after the other takes that long, and of which what it holds is
// committed by others after that long.
struct Journal {
  SlowDisk disk{{.after = 500_ms, .wait_min = 20_ms, .pause = 10_s}};
  Time now = Time() + 100_s;

  void batches(int count, Duration own, Duration others, int groups = 1) {
    for (int i = 0; i < count; ++i) {
      const Time began = now;
      now = now + own;
      for (int group = 0; group < groups; ++group)
        disk.synced(began, own > others ? std::optional(began + others) : std::nullopt, now);
    }
  }
  // What a leader finds that waits since now, for nothing yet.
  bool slow() { return disk.is_slow(now, now); }
};

TEST(SlowDisk, IsOneThatTakesFarLongerThanTheOthers) {
  Journal journal;
  journal.batches(10, 50_ms, 2_ms);
  EXPECT_FALSE(journal.slow());
  journal.batches(2, 50_ms, 2_ms);
  EXPECT_TRUE(journal.slow());
}

TEST(SlowDisk, CountsABatchOnceHoweverManyPartitionsItHolds) {
  Journal journal;
  journal.batches(8, 50_ms, 2_ms, 20);
  EXPECT_FALSE(journal.slow());
}

TEST(SlowDisk, IsNoneWhenTheOthersTakeHalfAsLongToo) {
  Journal journal;
  journal.batches(1000, 100_ms, 60_ms);
  EXPECT_FALSE(journal.slow());
}

TEST(SlowDisk, IsNoneWhenTheWaitsAreShort) {
  Journal journal;
  journal.batches(1000, 19_ms, 1_ms);
  EXPECT_FALSE(journal.slow());
}

TEST(SlowDisk, IsFoundWhileItStalls) {
  Journal journal;
  EXPECT_FALSE(journal.disk.is_slow(journal.now, journal.now + 499_ms));
  EXPECT_TRUE(journal.disk.is_slow(journal.now, journal.now + 500_ms));
}

TEST(SlowDisk, IsNoneAnyMoreWhenItIsAsQuickAsTheOthers) {
  Journal journal;
  journal.batches(100, 50_ms, 2_ms);
  EXPECT_TRUE(journal.slow());
  journal.batches(200, 2_ms, 2_ms);
  EXPECT_TRUE(journal.slow()) << "twice the limit is remembered, and no more";
  journal.batches(100, 2_ms, 2_ms);
  EXPECT_FALSE(journal.slow());
}

TEST(SlowDisk, ForgetsWhatWasLongAgo) {
  Journal journal;
  journal.batches(100, 50_ms, 2_ms);
  journal.now = journal.now + 11_s;
  journal.batches(1, 2_ms, 2_ms);
  EXPECT_FALSE(journal.slow());
}

TEST(SlowDisk, IsNeverFoundWhenNobodyAsks) {
  SlowDisk disk({.after = Duration()});
  EXPECT_FALSE(disk.is_slow(Time(), Time() + 1000_s));
}

TEST(SlowDisk, GivesAPartitionAwayAfterLongerAndLongerPauses) {
  SlowDisk disk({.pause = 10_s});
  Time now = Time() + 1000_s;
  EXPECT_TRUE(disk.may_give_away(kPartition, now));
  for (int64_t pause : {10, 20, 40, 80, 160, 320, 640, 640}) {
    disk.given_away(kPartition, now);
    EXPECT_FALSE(disk.may_give_away(kPartition, now + Duration::seconds(pause) - 1_ms));
    EXPECT_TRUE(disk.may_give_away(PartitionId(4), now)) << "others have their own";
    now = now + Duration::seconds(pause);
    EXPECT_TRUE(disk.may_give_away(kPartition, now));
  }
  now = now + Duration::seconds(640 * 4);
  disk.given_away(kPartition, now);
  EXPECT_TRUE(disk.may_give_away(kPartition, now + 10_s)) << "long ago";
}

}  // namespace
}  // namespace kahuna::node
