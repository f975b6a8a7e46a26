// The values a replica is made of: log, durability, read rounds, recovery.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "kahuna/raft/recovery.h"
#include "tests/raft/solo.h"

namespace kahuna::raft::testing {
namespace {

TEST(RaftLog, KeepsPositionsOfItsBaseAfterRelease) {
  Log log(Solo::at(1, 1));
  for (uint64_t i = 2; i <= 40; ++i) log.append(Solo::entry(i, 1 + i / 10));
  log.release(Index(25));
  EXPECT_EQ(log.base(), Solo::at(25, 3));
  EXPECT_EQ(log.at(Index(25)), nullptr);
  EXPECT_EQ(log.at(Index(26))->index, Index(26));
  log.truncate_after(Index(30));
  EXPECT_EQ(log.last(), Solo::at(30, 4));
  log.truncate_after(Index(25));
  EXPECT_EQ(log.last(), log.base());
  EXPECT_EQ(log.size(), 0u);
}

TEST(RaftLog, FitsAtLeastOneEntry) {
  Log log(Solo::at(1, 1));
  log.append(Solo::entry(2, 1, std::string(1000, 'x')));
  log.append(Solo::entry(3, 1, "y"));
  EXPECT_EQ(log.fit(Index(1), 10), Index(2));
  EXPECT_EQ(log.fit(Index(1), 1 << 20), Index(3));
  EXPECT_EQ(log.fit(Index(3), 10), Index(3));
}

// The ring against a plain vector.
RC_GTEST_PROP(RaftLog, BehavesLikeAVector, ()) {
  Log log(Solo::at(1, 1));
  std::vector<Entry> model;  // entry i has index first + i
  uint64_t first = 2, term = 1;
  auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(
      rc::gen::pair(rc::gen::inRange(0, 10), rc::gen::inRange(0, 100)));
  for (auto [action, argument] : steps) {
    uint64_t last = first + model.size() - 1;
    if (action < 7) {
      if (argument % 5 == 0) ++term;
      Entry entry = Solo::entry(last + 1, term, std::string(static_cast<size_t>(argument), 'x'));
      log.append(entry);
      model.push_back(entry);
    } else if (action == 7) {
      uint64_t keep = first - 1 + static_cast<uint64_t>(argument) % (model.size() + 1);
      log.truncate_after(Index(keep));
      model.resize(keep - (first - 1));
    } else {
      uint64_t up_to = first - 1 + static_cast<uint64_t>(argument) % (model.size() + 1);
      log.release(Index(up_to));
      model.erase(model.begin(), model.begin() + static_cast<ptrdiff_t>(up_to - (first - 1)));
      first = up_to + 1;
    }
    RC_ASSERT(log.size() == model.size());
    RC_ASSERT(log.base().index.value() == first - 1);
    uint64_t bytes = 0;
    for (size_t i = 0; i < model.size(); ++i) {
      const Entry* entry = log.at(Index(first + i));
      RC_ASSERT(entry && entry->term == model[i].term && entry->payload == model[i].payload);
      bytes += cost_of(model[i]);
      RC_ASSERT(log.bytes_between(log.base().index, Index(first + i)) == bytes);
    }
    for (uint64_t t = 0; t <= term; ++t) {
      LogPosition found = log.last_with_term_at_most(log.last().index, Term(t));
      uint64_t expected = first - 1;
      for (const Entry& entry : model)
        if (entry.term <= Term(t)) expected = entry.index.value();
      RC_ASSERT(found.index.value() == expected);
    }
  }
}

TEST(RaftDurability, FollowsWritesInOrder) {
  HardState hard{Term(1), ReplicaId()};
  Durability durability(hard, Index(1));
  WriteId a = durability.handed(hard, Index(5));
  WriteId b = durability.handed({Term(2), ReplicaId()}, Index(9));
  durability.persisted(a);
  EXPECT_EQ(durability.index(), Index(5));
  EXPECT_EQ(durability.hard_state().term, Term(1));
  durability.persisted(b);
  EXPECT_EQ(durability.index(), Index(9));
  EXPECT_EQ(durability.hard_state().term, Term(2));
  durability.persisted(b);
  EXPECT_EQ(durability.index(), Index(9));
}

TEST(RaftDurability, CountsAnOverwrittenWriteOnlyBelowTheCut) {
  HardState hard{Term(1), ReplicaId()};
  Durability durability(hard, Index(1));
  WriteId a = durability.handed(hard, Index(9));
  durability.truncated(Index(4));
  WriteId b = durability.handed(hard, Index(6));
  durability.persisted(a);
  EXPECT_EQ(durability.index(), Index(4));
  durability.persisted(b);
  EXPECT_EQ(durability.index(), Index(6));
}

TEST(RaftReadRounds, GrantsEarlierRoundsToo) {
  ReadRounds reads;
  std::vector<ReadGrant> granted;
  reads.ask(1);
  reads.start(4, Index(10));
  reads.ask(2);
  reads.ask(3);
  reads.start(6, Index(12));
  reads.ask(4);
  reads.confirm(3, granted);
  EXPECT_TRUE(granted.empty());
  reads.confirm(6, granted);
  ASSERT_EQ(granted.size(), 3u);
  EXPECT_EQ(granted[2].token, 3u);
  EXPECT_EQ(granted[2].index, Index(12));
  EXPECT_TRUE(reads.unstarted());
  std::vector<ReadToken> refused;
  reads.refuse_all(refused);
  EXPECT_EQ(refused, std::vector<ReadToken>{4});
  EXPECT_TRUE(reads.empty());
}

const HardState kHard{Term(3), ReplicaId()};

std::vector<Entry> stored(uint64_t from, uint64_t to, uint64_t term) {
  std::vector<Entry> entries;
  for (uint64_t i = from; i <= to; ++i) entries.push_back(Solo::entry(i, term));
  return entries;
}

TEST(RaftRecovery, OfNothingStartsAtTheFounding) {
  Recovered recovered = recover({}, {}, Index(0), kFoundingBase);
  EXPECT_EQ(recovered.base, kFoundingBase);
  EXPECT_EQ(recovered.commit, Index(1));
  Solo solo(recovered);
}

TEST(RaftRecovery, KeepsTheWholeLogWhenNothingWasReleased) {
  Recovered recovered = recover(kHard, stored(2, 9, 3), Index(6), Solo::at(4, 3));
  EXPECT_EQ(recovered.base, kFoundingBase);
  EXPECT_EQ(recovered.entries.size(), 8u);
  EXPECT_EQ(recovered.commit, Index(6));
  EXPECT_EQ(recovered.applied, Index(4));
  Solo solo(recovered);
  EXPECT_EQ(solo.applied().size(), 2u);
}

TEST(RaftRecovery, TakesTheOldestRecordAsBase) {
  Recovered recovered = recover(kHard, stored(5, 9, 3), Index(7), Solo::at(6, 3));
  EXPECT_EQ(recovered.base, Solo::at(5, 3));
  EXPECT_EQ(recovered.entries.front().index, Index(6));
  Solo solo(recovered);
}

TEST(RaftRecovery, ExtendsAJournalThatIsShorterThanTheEngine) {
  Recovered recovered = recover(kHard, stored(2, 5, 3), Index(5), Solo::at(8, 4));
  EXPECT_EQ(recovered.base, Solo::at(8, 4));
  EXPECT_TRUE(recovered.entries.empty());
  Solo solo(recovered);
  EXPECT_EQ(solo->term(), Term(4)) << "the log's term is the least it can be in";
}

TEST(RaftRecovery, DropsATailThatTheEngineContradicts) {
  Recovered recovered = recover(kHard, stored(2, 12, 2), Index(5), Solo::at(8, 3));
  EXPECT_EQ(recovered.base, Solo::at(8, 3));
  EXPECT_TRUE(recovered.entries.empty());
}

TEST(RaftRecovery, KnowsByAGapThatTheStateIsLost) {
  Recovered recovered = recover(kHard, stored(9, 12, 3), Index(10), Solo::at(5, 3));
  EXPECT_TRUE(recovered.stateless);
  EXPECT_EQ(recovered.base, Solo::at(9, 3));
  EXPECT_EQ(recovered.applied, Index(9));
  EXPECT_EQ(recovered.commit, Index(10));
  EXPECT_EQ(recovered.entries.size(), 3u);
}

TEST(RaftRecovery, TakesATailRightAfterTheEngine) {
  Recovered recovered = recover(kHard, stored(6, 9, 3), Index(7), Solo::at(5, 3));
  EXPECT_EQ(recovered.base, Solo::at(5, 3));
  EXPECT_EQ(recovered.commit, Index(7));
  Solo solo(recovered);
}

}  // namespace
}  // namespace kahuna::raft::testing
