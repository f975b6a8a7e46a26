// Rot everywhere: whatever single byte of a journal changes, recovery never returns silently less.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <tuple>

#include "kahuna/journal/format.h"
#include "model.h"

namespace kahuna::journal_test {
namespace {

using namespace journal;

struct Outcome {
  int identical = 0, faulty = 0, damaged = 0;
};

// A journal with truncations, votes and releases, over more than one segment; all of it synced.
void build(Harness& h, uint64_t seed) {
  ASSERT_EQ(h.open(), "");
  auto commands = random_commands(RandomStream(seed, "commands"), 60);
  for (const Command& command : commands) {
    if (command.kind % 16 == 5 || command.kind % 17 == 16)
      continue;  // keep it small, and its disk sound
    ASSERT_EQ(h.execute(command), "");
  }
  h.machine->settle();
  // End on a batch that matters.
  uint64_t last = h.live[1].log.empty() ? h.live[1].released : h.live[1].log.rbegin()->first;
  h.append(1, std::max<uint64_t>(last + 1, 2), 3, 300, true);
  h.machine->settle();
  ASSERT_TRUE(h.pending.empty());
  h.kill();
}

std::string judge(Harness& h, const FakeDisk& damaged, Outcome& outcome) {
  Harness copy(1);
  copy.expect_faulty = copy.lost_acknowledged = true;
  copy.disk = damaged.clone();
  copy.acked = h.acked;
  copy.live = h.live;
  std::string error = copy.open();
  if (copy.open_error) {
    ++outcome.damaged;
    return copy.open_error->code == ErrorCode::kDamaged ? "" : error;
  }
  if (!error.empty()) return error;
  bool faulty = false;
  for (const auto& [id, group] : copy.live)
    faulty |= group.log.size() != h.live[id].log.size() && !h.live[id].log.empty() &&
              group.released <= h.live[id].released &&
              (group.log.empty() || group.log.rbegin()->first != h.live[id].log.rbegin()->first);
  ++(faulty ? outcome.faulty : outcome.identical);
  return "";
}

bool zero(const std::vector<std::byte>& bytes, size_t sector) {
  for (size_t i = sector * kSector; i < (sector + 1) * kSector; ++i)
    if (bytes[i] != std::byte{}) return false;
  return true;
}

// Nothing is there, or a repetition of a segment's head that nobody reads.
bool idle(const std::vector<std::byte>& bytes, size_t sector) {
  return zero(bytes, sector) ||
         (sector < kBodyZone / kSector && sector % (kPageBytes / kSector) != 0);
}

TEST(JournalRot, NoByteCanChangeUnnoticed) {
  Outcome outcome;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Harness h(seed);
    build(h, seed);
    FakeDisk damaged = h.disk.clone();
    for (const std::string& name : damaged.names()) {
      auto& bytes = *damaged.bytes(name);
      for (size_t at = 0; at < bytes.size(); ++at) {
        // Every byte of the first seed's written sectors; a sample elsewhere.
        size_t step = idle(bytes, at / kSector) ? 509 : seed == 1 ? 1 : 61;
        if (at % step != 0) continue;
        std::byte before = bytes[at];
        bytes[at] ^= std::byte(1u << (at % 8));
        ASSERT_EQ(judge(h, damaged, outcome), "") << seed << ' ' << name << " byte " << at;
        bytes[at] = before;
      }
    }
  }
  // Most of a journal's space is not live; what is lost is always known, so that peers can repair
  // it.
  EXPECT_GT(outcome.identical, 100);
  EXPECT_GT(outcome.faulty, 100);
  EXPECT_EQ(outcome.damaged, 0);
  std::printf("identical %d, faulty %d, damaged %d\n", outcome.identical, outcome.faulty,
              outcome.damaged);
}

TEST(JournalRot, SeveralDamagedSectorsAreNeverSilent) {
  Outcome outcome;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    Harness h(seed);
    build(h, seed);
    RandomStream random(seed, "sectors");
    for (int round = 0; round < 400; ++round) {
      FakeDisk damaged = h.disk.clone();
      auto names = damaged.names();
      for (uint64_t n = 1 + random.below(3); n > 0; --n) {
        auto& bytes = *damaged.bytes(names[random.below(names.size())]);
        size_t sector = random.below(bytes.size() / kSector);
        if (random.chance(3, 4))
          for (int tries = 0; tries < 400 && idle(bytes, sector); ++tries)
            sector = random.below(bytes.size() / kSector);
        for (size_t i = 0; i < kSector; ++i) bytes[sector * kSector + i] = std::byte(random.next());
      }
      ASSERT_EQ(judge(h, damaged, outcome), "") << seed << " round " << round;
    }
  }
  EXPECT_GT(outcome.damaged, 50);  // both copies of something
}

// Calls back for every sector of the newest batch, wherever a copy of it lies: file and offset.
void visit_newest_batch(FakeDisk& disk, Zone zone,
                        const std::function<void(std::vector<std::byte>&, size_t)>& visit) {
  uint64_t newest = 0;
  std::vector<std::tuple<uint64_t, std::vector<std::byte>*, size_t>> found;
  for (const std::string& name : disk.names()) {
    auto& bytes = *disk.bytes(name);
    if (bytes.size() <= kBodyZone) continue;
    auto header = decode_segment_header(ByteView(bytes).first(kSectorBytes));
    if (!header) continue;
    for (size_t at = kBodyZone; at < bytes.size(); at += kSectorBytes) {
      Sector sector = inspect_sector(header->id, at, ByteView(bytes).subspan(at, kSectorBytes));
      if (sector.state != SectorState::kWritten || sector.batch == 0) continue;
      newest = std::max(newest, sector.batch);
      if (sector.zone == zone) found.emplace_back(sector.batch, &bytes, at);
    }
  }
  for (auto& [batch, bytes, at] : found)
    if (batch == newest) visit(*bytes, at);
}

// A batch whose header was torn became durable with the seals of later opens, and was acknowledged.
TEST(JournalRot, NoSealIsLostSilentlyTogetherWithWhatItReplaced) {
  int faulty = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Harness h(seed);
    build(h, seed);
    visit_newest_batch(h.disk, Zone::kHeader, [](auto& bytes, size_t at) {
      std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(at), kSectorBytes, std::byte{});
    });
    for (int opens = 0; opens < 2; ++opens) {
      ASSERT_EQ(h.open(), "");
      h.machine->settle();
      h.kill();
    }
    int copies = 0;
    visit_newest_batch(h.disk, Zone::kBody, [&](auto& bytes, size_t at) {
      bytes[at + 7] ^= std::byte{1};
      ++copies;
    });
    ASSERT_GE(copies, 2);  // of the batch, and of a seal
    Outcome outcome;
    ASSERT_EQ(judge(h, h.disk, outcome), "") << seed;
    faulty += outcome.faulty;
  }
  EXPECT_GE(faulty, 5);  // the others hold all of it elsewhere
}

}  // namespace
}  // namespace kahuna::journal_test
