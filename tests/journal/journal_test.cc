// The journal's contract, case by case; damage_test.cc has what it makes of damage.
#include "kahuna/journal/journal.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kahuna/journal/format.h"
#include "runtime/probe.h"
#include "steps.h"

namespace kahuna::journal_test {
namespace {

TEST(Journal, EmptyDirectoryIsAnEmptyJournal) {
  Harness h(1);
  EXPECT_EQ(h.open(), "");
  EXPECT_TRUE(h.live.empty());
  h.crash();
  EXPECT_EQ(h.open(), "");
}

TEST(Journal, OneThatIsGoneIsNotBegunAnew) {
  Harness h(1);
  h.options.must_exist = true;
  EXPECT_NE(h.open(), "");
  ASSERT_TRUE(h.open_error);
  EXPECT_EQ(h.open_error->code, ErrorCode::kDamaged);
  EXPECT_TRUE(h.disk.names().empty());
  h.options.must_exist = false;
  open_ready(h);  // nothing is in it yet, and it counts
  h.crash();
  h.options.must_exist = true;
  EXPECT_EQ(h.open(), "");
}

TEST(Journal, LoneAppendIsTwoDurableWrites) {
  Harness h(2);
  open_ready(h);
  uint64_t writes = h.disk.writes, durable = h.disk.durable_writes, syncs = h.disk.syncs;
  add_and_settle(h, 1);
  EXPECT_EQ(h.last_done, 1u);
  EXPECT_EQ(h.disk.writes - writes, 2u);
  EXPECT_EQ(h.disk.durable_writes - durable, 2u);
  EXPECT_EQ(h.disk.syncs, syncs);
  EXPECT_EQ(h.journal->statistics().batches, 1u);
  EXPECT_EQ(h.journal->statistics().bytes, 2 * kSector);
}

TEST(Journal, AppendsOfOneTurnShareOneBatchAndLaterOnesTheNext) {
  Harness h(3);
  open_ready(h);
  for (uint64_t group = 1; group <= 5; ++group) add(h, group);
  h.machine->turn();  // now in flight
  for (uint64_t group = 1; group <= 5; ++group) add(h, group);
  h.machine->settle();
  EXPECT_EQ(h.last_done, 10u);
  EXPECT_EQ(h.journal->statistics().batches, 2u);
}

TEST(Journal, CompletesOnlyAfterBothWrites) {
  Harness h(4);
  open_ready(h);
  add(h, 1);
  while (h.last_done == 0) {
    h.machine->turn();
    if (h.last_done != 0) break;
    ASSERT_TRUE(h.machine->complete_one());
  }
  EXPECT_EQ(h.machine->in_flight(), 0u);
}

TEST(Journal, CommitAloneWritesNothingAndCompletesInOrder) {
  Harness h(5);
  open_ready(h);
  add_and_settle(h, 1, 3);
  uint64_t writes = h.disk.writes;
  raft::Persist note;
  note.hard_state = h.live[1].hard_state;
  note.commit = Index(3);
  std::string order;
  ASSERT_TRUE(h.journal->append(PartitionId(1), note, [&] { order += "a"; }));
  EXPECT_EQ(order, "");
  h.machine->settle();
  EXPECT_EQ(order, "a");
  EXPECT_EQ(h.disk.writes, writes);
  // Queued behind a batch it waits for that batch, and the next record carries it.
  raft::Persist vote;
  vote.hard_state = {Term(9), {NodeId(2), 1}};
  ASSERT_TRUE(h.journal->append(PartitionId(2), vote, [&] { order += "b"; }));
  note.commit = Index(4);
  ASSERT_TRUE(h.journal->append(PartitionId(1), note, [&] { order += "c"; }));
  h.machine->settle();
  EXPECT_EQ(order, "abc");
}

// A commit index is about the entries of its own append: without them it would vouch for what they
// were to replace.
TEST(Journal, NotesNoCommitBeforeTheEntriesThatItIsAbout) {
  int overtaken = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Harness h(seed);
    open_ready(h);
    auto append = [&](uint64_t group, uint64_t term, uint64_t first, size_t count, size_t bytes,
                      uint64_t commit) {
      raft::Persist persist;
      persist.hard_state = {Term(term), {}};
      for (size_t i = 0; i < count; ++i) {
        raft::Entry entry{Index(first + i), Term(term)};
        entry.payload = Payload(std::string(bytes, 'x'));
        persist.entries.push_back(std::move(entry));
      }
      persist.commit = Index(commit);
      ASSERT_TRUE(h.journal->append(PartitionId(group), persist, [] {}));
    };
    append(1, 1, 2, 4, 100, 2);
    h.machine->settle();
    const uint64_t batches = h.journal->statistics().batches;
    // The next batch ends between what the second of these says of its group and its first entry.
    append(2, 1, 2, 1, 7000, 1);
    append(1, 2, 3, 4, 2000, 6);
    while (h.journal->statistics().batches == batches) {
      h.machine->turn();
      if (h.journal->statistics().batches == batches) {
        ASSERT_TRUE(h.machine->complete_one());
      }
    }
    h.crash();
    Machine machine(h.disk, RandomStream(seed, "read"));
    std::map<PartitionId, journal::RecoveredGroup> found;
    ASSERT_TRUE(machine.run([&](Suspend s) {
      auto read = journal::Journal::read(s, machine.host(), h.options);
      ASSERT_TRUE(read.has_value()) << read.error().text;
      found = std::move(*read);
    }));
    const journal::RecoveredGroup& group = found[PartitionId(1)];
    if (group.entries.back().term == Term(1)) ++overtaken;
    for (const raft::Entry& entry : group.entries)
      EXPECT_TRUE(entry.index > group.commit || entry.index == Index(2) || entry.term == Term(2))
          << "seed " << seed << ": entry " << entry.index.value()
          << " of term 1 counts as committed";
  }
  EXPECT_GT(overtaken, 0);
}

// Nor do the marks that go ahead of what waits for room on a full disk.
TEST(Journal, MarksOfAFullDiskVouchForNothingTheyOvertake) {
  int overtaken = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Harness h(seed);
    open_ready(h);
    auto append = [&](uint64_t group, uint64_t term, uint64_t first, size_t count, size_t bytes,
                      uint64_t commit) {
      raft::Persist persist;
      persist.hard_state = {Term(term), {}};
      for (size_t i = 0; i < count; ++i) {
        raft::Entry entry{Index(first + i), Term(term)};
        entry.payload = Payload(std::string(bytes, 'x'));
        persist.entries.push_back(std::move(entry));
      }
      persist.commit = Index(commit);
      ASSERT_TRUE(h.journal->append(PartitionId(group), persist, [] {}));
    };
    append(1, 1, 2, 4, 100, 3);
    h.machine->settle();
    h.disk.space = h.disk.used();
    // More than the segments there are, all at once.
    append(2, 1, 2, 30, 4000 + 300 * seed, 1);
    append(1, 2, 4, 4, 2000, 7);
    h.machine->settle();
    ASSERT_TRUE(h.journal->statistics().no_space);
    h.journal->release(PartitionId(1), Index(2));
    h.machine->settle();
    h.crash();
    Machine machine(h.disk, RandomStream(seed, "read"));
    std::map<PartitionId, journal::RecoveredGroup> found;
    ASSERT_TRUE(machine.run([&](Suspend s) {
      auto read = journal::Journal::read(s, machine.host(), h.options);
      ASSERT_TRUE(read.has_value()) << read.error().text;
      found = std::move(*read);
    }));
    const journal::RecoveredGroup& group = found[PartitionId(1)];
    if (group.entries.back().term == Term(1) && group.released == Index(2)) ++overtaken;
    for (const raft::Entry& entry : group.entries)
      EXPECT_TRUE(entry.index > group.commit || entry.index <= Index(3) || entry.term == Term(2))
          << "seed " << seed << ": entry " << entry.index.value()
          << " of term 1 counts as committed";
  }
  EXPECT_GT(overtaken, 0);
}

TEST(Journal, RefusesBeyondTheQueueBound) {
  journal::Options options = Harness::small_options();
  options.pending_bytes_max = 4096;
  Harness h(6, options);
  open_ready(h);
  raft::Persist persist;
  persist.hard_state = {Term(1), {}};
  int accepted = 0;
  Result<> result;
  for (uint64_t i = 2; i < 20 && result; ++i) {
    raft::Entry entry{Index(i), Term(1)};
    entry.payload = Payload(std::string(1000, 'x'));
    persist.entries = {entry};
    result = h.journal->append(PartitionId(1), persist, [] {});
    if (result) ++accepted;
  }
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kOverloaded);
  EXPECT_EQ(accepted, 3);
  h.machine->settle();
  EXPECT_TRUE(h.journal->append(PartitionId(1), persist, [] {}));
}

TEST(Journal, TakesTheLargestEntryThatFitsASegmentAndNoLargerOne) {
  for (const bool direct : {false, true}) {
    Harness h(7);
    h.options.direct = direct;
    open_ready(h);
    const size_t largest = entry_bytes_max(h.options);
    EXPECT_LT(largest, h.options.segment_bytes);
    EXPECT_GT(largest, h.options.segment_bytes / 2);
    raft::Persist persist;
    persist.hard_state = {Term(1), {}};
    persist.entries = {{Index(2), Term(1)}};
    persist.entries[0].payload = Payload(std::string(largest + 1, 'x'));
    auto result = h.journal->append(PartitionId(1), persist, [] {});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kTooLarge);
    bool done = false;
    persist.entries[0].payload = Payload(std::string(largest, 'x'));
    ASSERT_TRUE(h.journal->append(PartitionId(1), persist, [&] { done = true; }));
    h.machine->settle();
    EXPECT_TRUE(done);
  }
}

TEST(Journal, SplitsALargeAppendOverBatchesAndSegments) {
  Harness h(8);
  open_ready(h);
  add(h, 1, 120, 3000);
  h.machine->settle();
  EXPECT_EQ(h.last_done, 1u);
  EXPECT_GT(h.journal->statistics().batches, 10u);
  EXPECT_GT(h.journal->statistics().segments, 2u);
  h.crash();
  EXPECT_EQ(h.open(), "");
  EXPECT_EQ(h.live[1].log.size(), 120u);
}

TEST(Journal, FailedSyncIsFinal) {
  for (bool write : {false, true}) {
    Harness h(9);
    open_ready(h);
    int fatal = 0;
    add_and_settle(h, 1);
    (write ? h.disk.writes_until_error : h.disk.syncs_until_error) = 0;
    add(h, 1);
    h.machine->turn();
    add(h, 1);
    h.machine->settle();
    EXPECT_TRUE(h.fatal);
    EXPECT_EQ(h.last_done, 1u);
    auto result = h.journal->append(PartitionId(1), {}, [&] { ++fatal; });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kIo);
    h.machine->settle();
    EXPECT_EQ(h.last_done, 1u);
    EXPECT_EQ(fatal, 0);
    h.crash();
    EXPECT_EQ(h.open(), "");
  }
}

TEST(Journal, DestroyedWithABatchInFlightCallsNobody) {
  Harness h(10);
  open_ready(h);
  add(h, 1);
  h.machine->turn();
  h.journal.reset();
  h.machine->settle();
  EXPECT_EQ(h.last_done, 0u);
}

TEST(Journal, FullDiskRefusesAndRecoversByReleaseAlone) {
  Harness h(11);
  open_ready(h);
  h.disk.space = h.disk.used();
  for (int i = 0; i < 400 && !h.journal->statistics().no_space; ++i) add_and_settle(h, 1, 1, 2000);
  raft::Persist persist;
  Result<> result;
  while (result) {
    persist.hard_state = h.live[1].hard_state;
    persist.entries = {{Index(next_index(h, 1)), persist.hard_state.term}};
    persist.entries[0].payload = Payload(std::string(2000, 'x'));
    uint64_t before = h.next_write;
    add(h, 1, 1, 2000);
    if (h.next_write == before) result = h.journal->append(PartitionId(1), persist, [] {});
    h.machine->settle();
  }
  EXPECT_EQ(result.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(h.last_done, h.next_write - 1) << "what was accepted must complete";
  h.release(1, next_index(h, 1) - 1);
  h.machine->settle();
  h.machine->advance(Duration::seconds(1));
  h.machine->settle();
  EXPECT_FALSE(h.journal->statistics().no_space);
  uint64_t done = h.last_done;
  add_and_settle(h, 1, 1, 2000);
  EXPECT_EQ(h.last_done, done + 1);
  h.crash();
  EXPECT_EQ(h.open(), "");
}

TEST(Journal, FullDiskRecoversWhenThereIsRoom) {
  Harness h(12);
  open_ready(h);
  h.disk.space = h.disk.used();
  for (int i = 0; i < 400; ++i) add_and_settle(h, 1, 1, 2000);
  EXPECT_TRUE(h.journal->statistics().no_space);
  uint64_t done = h.last_done;
  EXPECT_EQ(done, h.next_write - 1);
  h.disk.space = SIZE_MAX;
  h.machine->advance(Duration::seconds(1));
  add_and_settle(h, 1, 1, 2000);  // refused, but makes it look again
  add_and_settle(h, 1, 1, 2000);
  EXPECT_GT(h.last_done, done);
  EXPECT_FALSE(h.journal->statistics().no_space);
}

TEST(Journal, FullDiskAtFirstOpenIsAnError) {
  Harness h(13);
  h.disk.space = 10000;
  EXPECT_NE(h.open(), "");
  ASSERT_TRUE(h.open_error);
  EXPECT_EQ(h.open_error->code, ErrorCode::kNoSpace);
  h.disk.space = SIZE_MAX;
  EXPECT_EQ(h.open(), "");
}

// Nothing is in it, and there is no room to begin anew: it is not taken for lost when there is.
bool is_there_after_a_full_disk() {
  Harness h(13);
  open_ready(h);
  h.crash();
  h.options.must_exist = true;
  h.disk.space = 10000;
  EXPECT_NE(h.open(), "");
  EXPECT_EQ(h.open_error->code, ErrorCode::kNoSpace);
  h.disk.space = SIZE_MAX;
  return h.open() == "";
}

TEST(Journal, AFullDiskLeavesOneSegment) {
  EXPECT_TRUE(is_there_after_a_full_disk());
}

#ifdef KAHUNA_MUTANTS
TEST(JournalMutant, TheLastSegmentMakesRoom) {
  set_active_mutant("last_segment_makes_room");
  EXPECT_FALSE(is_there_after_a_full_disk());
  set_active_mutant("");
}
#endif

TEST(Journal, RestartsOnAFullDiskAgainAndAgain) {
  Harness h(14);
  open_ready(h);
  h.disk.space = h.disk.used();
  add_and_settle(h, 1, 3, 1000);
  for (int i = 0; i < 10; ++i) {
    h.crash();
    ASSERT_EQ(h.open(), "") << i;
    h.machine->settle();
  }
  EXPECT_EQ(h.live[1].log.size(), 3u);
}

TEST(Journal, IdleGroupsAreCopiedForward) {
  Harness h(15);
  open_ready(h);
  h.vote(2);
  add_and_settle(h, 3, 5);
  for (int i = 0; i < 600; ++i) {
    add_and_settle(h, 1, 1, 3000);
    if (i % 10 == 9) h.release(1, next_index(h, 1) - 2);
  }
  EXPECT_LE(h.journal->statistics().segments, 5u);
  EXPECT_GT(h.journal->statistics().recycled, 5u);
  EXPECT_GE(h.journal->statistics().copied, 6u);
  h.crash();
  EXPECT_EQ(h.open(), "");
  EXPECT_EQ(h.live[3].log.size(), 5u);
  EXPECT_EQ(h.live[2].hard_state.term, Term(1));
}

TEST(Journal, MuchLiveDataIsNotCopied) {
  Harness h(16);
  open_ready(h);
  for (int i = 0; i < 200; ++i) add_and_settle(h, 1, 1, 3000);
  EXPECT_EQ(h.journal->statistics().copied, 0u);
  EXPECT_GT(h.journal->statistics().segments, 4u);
}

TEST(Journal, UnbufferedFilesKeepTheSamePromises) {
  journal::Options options = Harness::small_options();
  options.direct = true;
  Harness h(17, options);
  EXPECT_EQ(h.run(random_commands(RandomStream(17, "commands"), 300)), "");
  // And may be switched off and on.
  h.options.direct = false;
  EXPECT_EQ(h.run(random_commands(RandomStream(18, "commands"), 100)), "");
  h.options.direct = true;
  EXPECT_EQ(h.run(random_commands(RandomStream(19, "commands"), 100)), "");
}

TEST(Journal, SegmentSizeMayChange) {
  Harness h(18);
  EXPECT_EQ(h.run(random_commands(RandomStream(18, "commands"), 100)), "");
  for (size_t bytes : {96u, 64u, 256u}) {
    h.options.segment_bytes = bytes * 1024;
    EXPECT_EQ(h.run(random_commands(RandomStream(bytes, "commands"), 100)), "") << bytes;
  }
}

TEST(Journal, RestartsWithoutWritesDoNotAccumulateFiles) {
  Harness h(19);
  open_ready(h);
  add_and_settle(h, 1, 3);
  for (int i = 0; i < 12; ++i) {
    i % 2 ? h.crash() : h.kill();
    ASSERT_EQ(h.open(), "");
    h.machine->settle();
    EXPECT_LE(h.disk.names().size(), 4u);
  }
  add_and_settle(h, 1);
  h.machine->settle();
  EXPECT_LE(h.disk.names().size(), 3u);
}

// After a failed sync the kernel may report good ones that mean nothing; a new process cannot know.
TEST(Journal, RestartAfterAFailedSyncTrustsNoFileOfTheOldProcess) {
  for (bool settle_first : {false, true}) {
    Harness h(30);
    open_ready(h);
    if (settle_first) add_and_settle(h, 1, 3);
    h.disk.syncs_until_error = 0;
    add_and_settle(h, 1, 3);
    ASSERT_TRUE(h.fatal);
    h.kill();  // the page cache still shows what was written
    ASSERT_EQ(h.open(), "");
    EXPECT_EQ(h.live[1].log.size(), settle_first ? 6u : 3u);
    h.acked = h.live;  // the replica may now vouch for it
    add_and_settle(h, 1, 2);
    h.crash();
    ASSERT_EQ(h.open(), "");
    EXPECT_EQ(h.live[1].log.size(), settle_first ? 8u : 5u);
  }
}

// --- damage ---

// A supervisor starts a node again and again, and it ends each time before anything is appended.
// The greatest number of files meanwhile, and what is too many when all is quiet again. `lone`:
// what is sealed is all of its segment.
std::pair<size_t, size_t> files_of_boots_that_get_nowhere(bool lone) {
  Harness h(91);
  open_ready(h);
  add_and_settle(h, 1);
  if (!lone) add_and_settle(h, 1);
  h.kill();
  size_t most = 0;
  for (int boot = 0; boot < 20; ++boot) {
    EXPECT_EQ(h.open(), "");
    h.kill();  // at once: its maintenance has done nothing
    most = std::max(most, h.disk.names().size());
  }
  open_ready(h);
  add_and_settle(h, 1);
  const size_t needed = h.journal->statistics().segments + h.options.spare_segments;
  return {most, h.disk.names().size() - std::min(needed, h.disk.names().size())};
}

TEST(Journal, BootsThatGetNowhereLeaveNoSegmentsBehind) {
  for (bool lone : {true, false}) {
    auto [most, too_many] = files_of_boots_that_get_nowhere(lone);
    EXPECT_LE(most, 10u) << lone;
    EXPECT_EQ(too_many, 0u) << lone;
  }
#ifdef KAHUNA_MUTANTS
  set_active_mutant("superseded_segments_forgotten");
  auto [most, too_many] = files_of_boots_that_get_nowhere(false);
  EXPECT_GT(most, 10u);
  EXPECT_GT(too_many, 0u);
  set_active_mutant("");
#endif
}

}  // namespace
}  // namespace kahuna::journal_test
