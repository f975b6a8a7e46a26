// The journal's contract, case by case.
#include "kahuna/journal/journal.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kahuna/journal/format.h"
#include "model.h"
#include "runtime/probe.h"

namespace kahuna::journal_test {
namespace {

uint64_t next_index(Harness& h, uint64_t group) {
  const ModelGroup& g = h.live[group];
  return std::max<uint64_t>(2, (g.log.empty() ? g.released : g.log.rbegin()->first) + 1);
}
void add(Harness& h, uint64_t group, size_t count = 1, size_t bytes = 100) {
  h.append(group, next_index(h, group), count, bytes, false);
}
void add_and_settle(Harness& h, uint64_t group, size_t count = 1, size_t bytes = 100) {
  add(h, group, count, bytes);
  h.machine->settle();
}
// Opens and settles, so that a spare segment is ready.
void open_ready(Harness& h) {
  ASSERT_EQ(h.open(), "");
  h.machine->settle();
}

// Offsets of the sectors of the journal's newest batch, by zone.
struct Newest {
  std::string file;
  uint64_t batch = 0;
  std::vector<uint64_t> body, header;
};
Newest newest_batch(FakeDisk& disk) {
  Newest out;
  for (const std::string& name : disk.names()) {
    auto& bytes = *disk.bytes(name);
    auto header = journal::decode_segment_header(ByteView(bytes).first(kSector));
    if (!header) continue;
    for (uint64_t at = journal::kBodyZone; at < bytes.size(); at += kSector) {
      auto sector = journal::inspect_sector(header->id, at, ByteView(bytes).subspan(at, kSector));
      if (sector.state != journal::SectorState::kWritten || sector.batch < out.batch) continue;
      if (sector.batch > out.batch || name != out.file) out = {name, sector.batch, {}, {}};
      (sector.zone == journal::Zone::kBody ? out.body : out.header).push_back(at);
    }
  }
  return out;
}
void rot(FakeDisk& disk, const std::string& file, uint64_t at) {
  (*disk.bytes(file))[at] ^= std::byte{1};
}

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

TEST(JournalDamage, ARottenSealIsPassedOverForWhatItReplaced) {
  for (bool header : {false, true}) {
    Harness h(31);
    open_ready(h);
    add_and_settle(h, 1, 3);
    for (int i = 0; i < 2; ++i) {
      h.kill();
      ASSERT_EQ(h.open(), "");
      h.machine->settle();
    }
    h.kill();
    Newest seal = newest_batch(h.disk);
    rot(h.disk, seal.file, seal.body[0] + 60);
    if (header) rot(h.disk, seal.file, seal.header[0] + 60);
    ASSERT_EQ(h.open(), "");
    EXPECT_EQ(h.live[1].log.size(), 3u);
  }
}

// No trace is left of what it replaced.
TEST(JournalDamage, ARottenSealThatBeginsTheLogIsFaulty) {
  Harness h(35);
  h.expect_faulty = h.lost_acknowledged = true;
  open_ready(h);
  add_and_settle(h, 1, 3);
  const std::string first = newest_batch(h.disk).file;
  h.kill();
  open_ready(h);
  h.kill();
  const Newest seal = newest_batch(h.disk);
  ASSERT_NE(seal.file, first);
  h.disk.forget(first);
  rot(h.disk, seal.file, seal.body[0] + 60);
  ASSERT_EQ(h.open(), "");
  EXPECT_EQ(h.live[1].log.size(), 0u);
  EXPECT_EQ(h.live[1].tail.size(), 3u);
}

TEST(JournalDamage, WhatIsCopiedForwardAndNoLongerReadableKeepsItsSegment) {
  Harness h(36);
  h.remembers = false;
  open_ready(h);
  add_and_settle(h, 3, 1);
  const Newest idle = newest_batch(h.disk);
  add_and_settle(h, 1, 1, 3000);
  for (const auto* zone : {&idle.body, &idle.header})
    for (uint64_t at : *zone) h.disk.rot(idle.file, at + 100, std::byte{1});
  for (int i = 0; i < 300; ++i) {
    add_and_settle(h, 1, 1, 3000);
    if (i % 10 == 9) h.release(1, next_index(h, 1) - 2);
  }
  EXPECT_GT(h.journal->statistics().segments, 5u);
  h.kill();
  EXPECT_NE(h.open(), "");
  ASSERT_TRUE(h.open_error);
  EXPECT_EQ(h.open_error->code, ErrorCode::kDamaged);
}

TEST(JournalDamage, RottenLastBodyIsReportedAsFaultyUntilReplaced) {
  Harness h(20);
  h.expect_faulty = h.lost_acknowledged = true;
  open_ready(h);
  add_and_settle(h, 1, 3);
  h.vote(2);
  add(h, 1, 2);
  h.machine->settle();
  h.kill();
  Newest last = newest_batch(h.disk);
  rot(h.disk, last.file, last.body[0] + 100);
  ModelState whole = h.acked;
  for (int i = 0; i < 3; ++i) {
    h.acked = whole;
    ASSERT_EQ(h.open(), "") << i;
    // The votes of that batch survive in its header.
    EXPECT_EQ(h.live[2].hard_state.term, Term(1));
    EXPECT_EQ(h.live[1].log.size(), 3u);
    h.crash();
  }
  h.acked = whole;
  ASSERT_EQ(h.open(), "");
  add_and_settle(h, 1, 2);
  h.crash();
  h.expect_faulty = false;
  ASSERT_EQ(h.open(), "");
  EXPECT_EQ(h.live[1].log.size(), 5u);
}

TEST(JournalDamage, RottenLastHeaderCostsNothing) {
  Harness h(21);
  open_ready(h);
  add_and_settle(h, 1, 3);
  add_and_settle(h, 1, 2);
  h.kill();
  Newest last = newest_batch(h.disk);
  rot(h.disk, last.file, last.header[0] + 100);
  ASSERT_EQ(h.open(), "");
  EXPECT_EQ(h.live[1].log.size(), 5u);
}

TEST(JournalDamage, BothCopiesOfTheLastBatchRottenStopsTheReplica) {
  Harness h(22);
  open_ready(h);
  add_and_settle(h, 1, 3);
  h.vote(1);
  h.machine->settle();
  h.kill();
  Newest last = newest_batch(h.disk);
  rot(h.disk, last.file, last.header[0] + 100);
  rot(h.disk, last.file, last.body[0] + 100);
  FakeDisk before = h.disk.clone();
  EXPECT_NE(h.open(), "");
  ASSERT_TRUE(h.open_error);
  EXPECT_EQ(h.open_error->code, ErrorCode::kDamaged);
  for (const std::string& name : h.disk.names())
    EXPECT_EQ(*h.disk.bytes(name), *before.bytes(name));
}

TEST(JournalDamage, TheFirstBatchOfASegmentIsMissedWithoutATrace) {
  Harness h(34);
  open_ready(h);
  add_and_settle(h, 1, 3);
  std::string before = newest_batch(h.disk).file;
  while (newest_batch(h.disk).file == before) add_and_settle(h, 1, 1, 400);
  h.kill();
  Newest first = newest_batch(h.disk);
  ASSERT_EQ(first.body[0], journal::kBodyZone);
  for (size_t at : first.body) rot(h.disk, first.file, at + 60);
  for (size_t at : first.header) rot(h.disk, first.file, at + 60);
  EXPECT_NE(h.open(), "");
  ASSERT_TRUE(h.open_error);
  EXPECT_EQ(h.open_error->code, ErrorCode::kDamaged);
}

TEST(JournalDamage, RottenBodyInsideCostsTheEntriesOfItsGroupsOnly) {
  Harness h(23);
  h.expect_faulty = h.lost_acknowledged = true;
  open_ready(h);
  add_and_settle(h, 7, 3);
  Newest inside = newest_batch(h.disk);
  add_and_settle(h, 1, 3);
  add_and_settle(h, 7, 2);
  h.kill();
  rot(h.disk, inside.file, inside.body[0] + 200);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(h.open(), "") << i;
    EXPECT_EQ(h.live[1].log.size(), 3u);
    EXPECT_EQ(h.live[7].log.size(), 0u);
    ASSERT_EQ(h.live[7].tail.size(), 5u);
    EXPECT_TRUE(h.live[7].tail[2].lost && h.live[7].tail[4].lost);
    EXPECT_FALSE(h.live[7].tail[5].lost || h.live[7].tail[6].lost);
    h.kill();
  }
  // Put back one by one; what is behind stays.
  for (size_t left = 3; left > 0; --left) {
    ASSERT_EQ(h.open(), "");
    EXPECT_EQ(h.live[7].tail.size(), left + 2);
    h.restore(7, 1);
    h.machine->settle();
    h.kill();  // a power loss would undo the damage, too
  }
  h.expect_faulty = false;
  ASSERT_EQ(h.open(), "");
  EXPECT_EQ(h.live[7].log.size(), 5u);
}

TEST(JournalDamage, SaysWhereItLostWhat) {
  Harness h(33);
  open_ready(h);
  add_and_settle(h, 7, 3);
  Newest inside = newest_batch(h.disk);
  add_and_settle(h, 1, 3);
  h.kill();
  rot(h.disk, inside.file, inside.body[0] + 200);
  std::string refused = h.open();
  for (const char* part : {"group 7", "segment 00000001", "offset 8192"})
    EXPECT_NE(refused.find(part), std::string::npos) << refused;
}

TEST(JournalDamage, RotInWhatWasReleasedOrReplacedIsHarmless) {
  Harness h(24);
  open_ready(h);
  add_and_settle(h, 1, 3);
  Newest released = newest_batch(h.disk);
  add_and_settle(h, 1, 3);
  Newest replaced = newest_batch(h.disk);
  h.append(1, 5, 4, 100, true);
  h.release(1, 4);
  h.machine->settle();
  add_and_settle(h, 1);
  h.kill();
  rot(h.disk, released.file, released.body[0] + 200);
  rot(h.disk, replaced.file, replaced.body[0] + 200);
  EXPECT_EQ(h.open(), "");
}

TEST(JournalDamage, MisdirectedLastBodyIsFaultyNotTorn) {
  Harness h(25);
  h.expect_faulty = h.lost_acknowledged = true;
  open_ready(h);
  add_and_settle(h, 1, 3);
  h.disk.writes_until_misdirected = 0;  // whichever of body and header comes first
  h.disk.misdirect_by = 20;
  add_and_settle(h, 1, 1);
  h.kill();
  EXPECT_EQ(h.open(), "");
}

// One write that went wrong took both: no sector of the batch is where it belongs.
TEST(JournalDamage, AHeaderThatWentToItsOwnBodyIsDamage) {
  for (int batches : {0, 1, 4}) {
    Harness h(31);
    h.expect_faulty = h.lost_acknowledged = true;
    open_ready(h);
    for (int i = 0; i < batches; ++i) add_and_settle(h, 1, 1);
    add_and_settle(h, 1, 1);
    h.kill();
    const Newest last = newest_batch(h.disk);
    ASSERT_EQ(last.body.size(), 1u);
    ASSERT_EQ(last.header.size(), 1u);
    auto& bytes = *h.disk.bytes(last.file);
    auto header = bytes.begin() + static_cast<ptrdiff_t>(last.header[0]);
    std::copy_n(header, kSector, bytes.begin() + static_cast<ptrdiff_t>(last.body[0]));
    std::fill_n(header, kSector, std::byte{});
    EXPECT_NE(h.open(), "");
    ASSERT_TRUE(h.open_error) << batches;
    EXPECT_EQ(h.open_error->code, ErrorCode::kDamaged);
  }
}

// Its body rots too, and that of the batch before: all that is left of it is a header astray, in
// the place of another body. After a seal that body is the seal's. The error of the open that
// follows.
std::optional<ErrorCode> open_with_a_header_astray(bool seal) {
  Harness h(32);
  h.expect_faulty = h.lost_acknowledged = true;
  open_ready(h);
  for (int i = 0; i < 3; ++i) add_and_settle(h, 1);
  if (seal) {
    h.kill();
    open_ready(h);
  } else {
    const Newest before = newest_batch(h.disk);
    rot(h.disk, before.file, before.body[0]);
  }
  add_and_settle(h, 1);
  h.kill();
  const Newest last = newest_batch(h.disk);
  EXPECT_EQ(last.body.size(), 1u);
  EXPECT_EQ(last.header.size(), 1u);
  rot(h.disk, last.file, last.body[0]);
  auto& bytes = *h.disk.bytes(last.file);
  auto header = bytes.begin() + static_cast<ptrdiff_t>(last.header[0]);
  std::copy_n(header, kSector, bytes.begin() + journal::kBodyZone);
  std::fill_n(header, kSector, std::byte{});
  h.open();
  return h.open_error ? std::optional(h.open_error->code) : std::nullopt;
}

TEST(JournalDamage, AHeaderAstrayShowsThatItsBatchWasBegun) {
  for (bool seal : {false, true})
    EXPECT_EQ(open_with_a_header_astray(seal), ErrorCode::kDamaged) << seal;
#ifdef KAHUNA_MUTANTS
  set_active_mutant("misdirected_batch_never_begun");
  for (bool seal : {false, true}) EXPECT_EQ(open_with_a_header_astray(seal), std::nullopt) << seal;
  set_active_mutant("");
#endif
}

TEST(JournalDamage, LostLastBodyIsFaultyWhenTearsAreNotTrusted) {
  for (bool distrust : {false, true}) {
    journal::Options options = Harness::small_options();
    options.distrust_tears = distrust;
    Harness h(26, options);
    h.expect_faulty = h.lost_acknowledged = true;
    open_ready(h);
    add_and_settle(h, 1, 3);
    h.disk.writes_until_lost = 0;
    add_and_settle(h, 1, 1);
    h.kill();
    Newest last = newest_batch(h.disk);
    if (last.body.empty()) {
      EXPECT_EQ(h.open() == "", distrust) << "only a distrustful journal notices";
    } else {
      EXPECT_EQ(h.open(), "");
    }
  }
}

TEST(JournalDamage, UnreadablePagesAreTreatedAsRot) {
  Harness h(27);
  h.expect_faulty = h.lost_acknowledged = true;
  open_ready(h);
  add_and_settle(h, 1, 3);
  h.kill();
  h.disk.unreadable.insert({newest_batch(h.disk).file, 2});
  EXPECT_EQ(h.open(), "");
  EXPECT_EQ(h.live[1].log.size(), 0u);
}

TEST(JournalDamage, UnreadableHeadsOfASegmentAreDamageAndAnUnreadableFileIsNot) {
  for (bool all : {false, true}) {
    Harness h(33);
    open_ready(h);
    add_and_settle(h, 1);
    h.kill();
    const std::string name = newest_batch(h.disk).file;
    const size_t pages = all ? h.disk.bytes(name)->size() / journal::kPageBytes : 2;
    for (size_t page = 0; page < pages; ++page) h.disk.unreadable.insert({name, page});
    EXPECT_NE(h.open(), "");
    ASSERT_TRUE(h.open_error);
    EXPECT_EQ(h.open_error->code, all ? ErrorCode::kIo : ErrorCode::kDamaged) << h.open_error->text;
  }
}

TEST(JournalDamage, AReadErrorThatPassesIsNoDamage) {
  Harness h(30);
  open_ready(h);
  add_and_settle(h, 1, 3);
  h.kill();
  h.disk.unreadable_for[{newest_batch(h.disk).file, 2}] = 4;  // of the chunk, then of the page
  EXPECT_EQ(h.open(), "");
  EXPECT_EQ(h.live[1].log.size(), 3u);
  EXPECT_EQ((h.disk.unreadable_for.begin()->second), 0);
}

TEST(JournalDamage, MissingAndForeignFilesAreRefused) {
  Harness h(28);
  open_ready(h);
  for (int i = 0; i < 60; ++i) add_and_settle(h, 1, 1, 3000);
  h.kill();
  FakeDisk whole = h.disk.clone();
  std::vector<std::string> names = whole.names();
  ASSERT_GE(names.size(), 4u);
  for (size_t i = 0; i + 2 < names.size(); ++i) {
    h.disk = whole.clone();
    std::string contents(1, 'x');
    // Removing a segment, or exchanging two, must not go unnoticed.
    auto& bytes = *h.disk.bytes(names[i]);
    bytes = *whole.bytes(names[i + 1]);
    EXPECT_NE(h.open(), "") << names[i];
    ASSERT_TRUE(h.open_error);
    EXPECT_EQ(h.open_error->code, ErrorCode::kDamaged) << h.open_error->text;
    h.disk = whole.clone();
    h.disk.forget(names[i]);
    EXPECT_NE(h.open(), "") << names[i];
    ASSERT_TRUE(h.open_error);
    EXPECT_EQ(h.open_error->code, ErrorCode::kDamaged) << h.open_error->text;
  }
}

TEST(JournalDamage, NewerVersionsAreRefusedAsSuch) {
  Harness h(29);
  open_ready(h);
  add_and_settle(h, 1);
  h.kill();
  std::string name = newest_batch(h.disk).file;
  auto& bytes = *h.disk.bytes(name);
  auto header = journal::decode_segment_header(ByteView(bytes).first(kSector));
  ASSERT_TRUE(header);
  header->level = SemanticLevel(kCurrentSemanticLevel.value() + 1);
  journal::encode_segment_header(*header, MutableByteView(bytes).first(kSector));
  EXPECT_NE(h.open(), "");
  ASSERT_TRUE(h.open_error);
  EXPECT_EQ(h.open_error->code, ErrorCode::kVersion);
}

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
