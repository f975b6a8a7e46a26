// What the journal makes of damage, case by case: reported, put right, or a reason not to start.
#include <gtest/gtest.h>

#include <algorithm>

#include "kahuna/journal/format.h"
#include "kahuna/journal/journal.h"
#include "runtime/probe.h"
#include "steps.h"

namespace kahuna::journal_test {
namespace {

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

}  // namespace
}  // namespace kahuna::journal_test
