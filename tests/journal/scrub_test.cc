// Scrubbing: what rots in an open journal is found, and left, and a crash at any moment takes
// nothing away.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/journal/format.h"
#include "model.h"
#include "runtime/probe.h"

namespace kahuna::journal_test {
namespace {

using namespace journal;

constexpr size_t kFast = size_t{1} << 30;  // bytes per second

// Scrubs to the end, while nothing else happens.
ScrubReport scrub(Harness& h) {
  std::optional<ScrubReport> report;
  h.machine->fibers().spawn("scrub", [&](Suspend s) { report = h.journal->scrub(s, kFast); });
  while (!report)
    if (!h.machine->turn() && !h.machine->complete_one()) h.machine->advance(Duration::millis(1));
  return *report;
}

void settle(Harness& h) {
  h.machine->settle();
  h.machine->advance(Duration::millis(200));
  h.machine->settle();
}

// Several segments, with everything that a journal may hold; the disk is sound, all of it is
// synced.
void build(Harness& h, uint64_t seed, size_t count) {
  ASSERT_EQ(h.open(), "");
  for (const Command& command : random_commands(RandomStream(seed, "commands"), count)) {
    if (command.kind % 17 >= 15) continue;
    ASSERT_EQ(h.execute(command), "");
  }
  settle(h);
  ASSERT_TRUE(h.pending.empty());
}

bool is_zero(const std::vector<std::byte>& bytes, size_t at) {
  return std::all_of(bytes.begin() + static_cast<ptrdiff_t>(at),
                     bytes.begin() + static_cast<ptrdiff_t>(at + kSector),
                     [](std::byte b) { return b == std::byte{}; });
}

// Where something at rest lies that matters: both heads of every file, and what was written in its
// present life, but for a batch in the place of which a seal has come.
std::vector<std::pair<std::string, size_t>> places(FakeDisk& disk) {
  struct Place {
    std::string name;
    size_t at;
    uint64_t batch;
    uint32_t life;
  };
  std::vector<Place> all;
  std::map<uint64_t, uint32_t> last_life;
  for (const std::string& name : disk.names()) {
    auto& bytes = *disk.bytes(name);
    if (bytes.size() <= kBodyZone) continue;
    auto header = decode_segment_header(ByteView(bytes).first(kSectorBytes));
    if (!header) continue;
    all.push_back({name, 0, 0, 0});
    all.push_back({name, kHeaderCopyOffset, 0, 0});
    for (size_t at = kBodyZone; at < bytes.size(); at += kSectorBytes) {
      if (is_zero(bytes, at)) continue;
      Sector sector = inspect_sector(header->id, at, ByteView(bytes).subspan(at, kSectorBytes));
      if (sector.state != SectorState::kWritten) continue;
      all.push_back({name, at, sector.batch, sector.life});
      last_life[sector.batch] = std::max(last_life[sector.batch], sector.life);
    }
  }
  std::vector<std::pair<std::string, size_t>> found;
  for (const Place& place : all)
    if (place.batch == 0 || place.life == last_life[place.batch])
      found.emplace_back(place.name, place.at);
  return found;
}

TEST(JournalScrub, FindsNothingWhereNothingIsDamaged) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Options options = Harness::small_options();
    options.direct = seed % 3 == 1;
    Harness h(seed, options);
    h.disk.short_transfers = seed % 2 == 0;
    build(h, seed, 80);
    const ScrubReport report = scrub(h);
    EXPECT_EQ(report.damaged, std::vector<std::string>()) << seed;
    EXPECT_GT(report.bytes, 0u);
    h.kill();
    ASSERT_EQ(h.open(), "") << seed;
    const ScrubReport again = scrub(h);  // of files of an earlier process, too
    EXPECT_EQ(again.damaged, std::vector<std::string>()) << seed;
  }
}

TEST(JournalScrub, WhateverRotsIsFoundAndLeft) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    Options options = Harness::small_options();
    options.direct = seed % 3 == 1;
    Harness h(seed, options);
    build(h, seed, 60);
    if (seed % 2 == 0) {
      h.kill();
      ASSERT_EQ(h.open(), "");
      h.append(1,
               std::max<uint64_t>(h.live[1].log.empty() ? h.live[1].released + 1
                                                        : h.live[1].log.rbegin()->first + 1,
                                  2),
               1, 100, false);
      settle(h);
    }
    RandomStream random(seed, "rot");
    for (int round = 0; round < 25; ++round) {
      auto where = places(h.disk);
      auto [name, sector] = where[random.below(where.size())];
      // A head's sector and a journal's end in their checksum: every byte of them counts.
      h.disk.rot(name, sector + random.below(kSector), std::byte(1u << random.below(8)));
      ScrubReport report = scrub(h);
      ASSERT_EQ(report.damaged.size(), 1u) << seed << ' ' << name << " at " << sector;
      ASSERT_NE(report.damaged[0].find(name), std::string::npos) << report.damaged[0];
      ASSERT_EQ(report.repaired, 1u) << seed << ' ' << report.damaged[0];
      settle(h);
      ASSERT_EQ(h.disk.bytes(name), nullptr) << "is still there";
      ASSERT_EQ(scrub(h).damaged, std::vector<std::string>());
    }
    h.kill();
    ASSERT_EQ(h.open(), "") << seed;  // nothing is faulty
  }
}

TEST(JournalScrub, ADiskThatGivesBackNothingOfAPageIsDamaged) {
  Harness h(7);
  build(h, 7, 60);
  auto where = places(h.disk);
  auto [name, sector] = where[where.size() / 2];
  h.disk.unreadable.insert({name, sector / 4096});
  ScrubReport report = scrub(h);
  EXPECT_EQ(report.damaged.size(), 1u);
  EXPECT_EQ(report.repaired, 1u);
  settle(h);
  h.disk.unreadable.clear();
  h.kill();
  ASSERT_EQ(h.open(), "");
}

// A batch that has lost both its copies would stop the replica at its next start: votes may be
// among what is lost.
TEST(JournalScrub, BothCopiesOfABatchAreLostAndNothingIs) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Harness h(seed);
    build(h, seed, 60);
    for (const std::string& name : h.disk.names())
      for (auto& [file, sector] : places(h.disk))
        if (file == name && sector >= kBodyZone) h.disk.rot(name, sector + 100, std::byte{4});
    ScrubReport report = scrub(h);
    EXPECT_GT(report.damaged.size(), 0u);
    EXPECT_EQ(report.repaired, report.damaged.size()) << seed;
    settle(h);
    h.kill();
    ASSERT_EQ(h.open(), "") << seed;
  }
}

// What memory does not have now keeps the segment, and is said to be there still.
TEST(JournalScrub, WhatMemoryLacksIsNotFreed) {
  Harness h(3);
  ASSERT_EQ(h.open(), "");
  for (int i = 0; i < 6; ++i) {
    h.append(1, 2 + static_cast<uint64_t>(i), 1, 300, i == 0);
    settle(h);
  }
  auto where = places(h.disk);
  auto [name, sector] =
      *std::find_if(where.begin(), where.end(), [](auto& p) { return p.second == kBodyZone; });
  h.disk.rot(name, sector + 9, std::byte{1});
  h.journal->set_memory(nullptr);
  std::optional<ScrubReport> report;
  h.machine->fibers().spawn("scrub", [&](Suspend s) { report = h.journal->scrub(s, kFast); });
  while (!report)
    if (!h.machine->turn() && !h.machine->complete_one()) h.machine->advance(Duration::millis(1));
  EXPECT_EQ(report->damaged.size(), 1u);
  EXPECT_EQ(report->repaired, 0u);
  settle(h);
  EXPECT_NE(h.disk.bytes(name), nullptr);
  h.journal->set_memory(h.memory());
  EXPECT_EQ(scrub(h).repaired, 1u);
}

constexpr uint64_t kSeeds = 150;

// Appends, truncations, releases and power losses go on while the journal is scrubbed, again and
// again. One place rots at a time. Once a scrub has ended well after that, nothing is lost,
// whatever happens.
void run_beside(uint64_t seed, bool rots, uint64_t& scrubs, uint64_t& found) {
  Options options = Harness::small_options();
  options.direct = seed % 4 == 1;
  options.copy_forward_segments = seed % 5 == 2 ? 8 : 3;
  Harness h(seed, options);
  h.disk.short_transfers = seed % 3 == 0;
  RandomStream random(seed, "beside");
  ASSERT_EQ(h.open(), "");
  Machine* machine = nullptr;
  bool rotten = false, since = false;  // ... since the scrub under way began
  auto scrub_for_ever = [&](Suspend s) {
    while (true) {
      since = false;
      const ScrubReport report = h.journal->scrub(s, kFast);
      ++scrubs;
      found += report.damaged.size();
      ASSERT_TRUE(rots || report.damaged.empty()) << report.damaged.front();
      if (!since && report.repaired == report.damaged.size()) {
        rotten = h.expect_faulty = h.lost_acknowledged = false;
      }
      s.sleep_until(h.machine->now() + Duration::micros(50));
    }
  };
  auto opens = [&](const std::string& error) {
    // A crash may come before it was found.
    if (h.open_error && h.open_error->code == ErrorCode::kDamaged && rotten) return false;
    EXPECT_EQ(error, "") << "seed " << seed;
    return error.empty() &&
           std::all_of(h.live.begin(), h.live.end(), [](auto& g) { return g.second.tail.empty(); });
  };
  for (const Command& command :
       random_commands(RandomStream(seed, "commands"), 200, seed % 2 == 1)) {
    if (rots && command.kind % 17 == 16) continue;  // one fault at a time
    if (h.machine.get() != machine) {
      machine = h.machine.get();
      machine->fibers().spawn("scrub", scrub_for_ever);
    }
    if (rots && !rotten && random.chance(1, 10)) {
      h.machine->settle();
      const auto where = places(h.disk);
      const auto& [name, sector] = where[random.below(where.size())];
      h.disk.rot(name, sector + random.below(kSector), std::byte(1 + random.below(255)));
      h.expect_faulty = h.lost_acknowledged = rotten = since = true;
    }
    if (!opens(h.execute(command))) return;
    for (uint64_t n = random.below(60); n > 0; --n)
      if (!h.machine->turn() && !h.machine->complete_one())
        h.machine->advance(Duration::micros(20));
    if (!h.fatal) continue;
    h.crash();
    if (!opens(h.reopen())) return;
  }
}

TEST(JournalScrub, GoesOnBesideAppendsAndCrashes) {
  uint64_t scrubs = 0, found = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) run_beside(seed, false, scrubs, found);
  EXPECT_GT(scrubs, 500u);
  EXPECT_EQ(found, 0u);
}

TEST(JournalScrub, GoesOnBesideAppendsCrashesAndRot) {
  uint64_t scrubs = 0, found = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) run_beside(seed, true, scrubs, found);
  EXPECT_GT(found, 100u);
  std::printf("scrubs %lu, found %lu\n", static_cast<unsigned long>(scrubs),
              static_cast<unsigned long>(found));
}

}  // namespace
}  // namespace kahuna::journal_test
