// Groups that move from one journal to another: nothing is lost, and nothing is forgotten of what
// was damaged.
#include <gtest/gtest.h>

#include "kahuna/journal/format.h"
#include "model.h"
#include "runtime/probe.h"

namespace kahuna::journal_test {
namespace {

using Groups = std::map<PartitionId, journal::RecoveredGroup>;

std::string describe(const Groups& groups) {
  std::string text;
  for (const auto& [id, group] : groups) {
    // A release of nothing, of a group that never wrote anything, may be forgotten.
    if (!group.hard_state.term) continue;
    text += std::to_string(id.value()) + ": term " + std::to_string(group.hard_state.term.value()) +
            " vote " + std::to_string(group.hard_state.vote.node.value()) + " commit " +
            std::to_string(group.commit.value()) + " released " +
            std::to_string(group.released.value());
    for (const raft::Entry& entry : group.entries)
      text += " " + std::to_string(entry.index.value()) + "." + std::to_string(entry.term.value()) +
              "=" + std::to_string(std::hash<std::string_view>()(entry.payload.text()));
    for (const raft::TailEntry& tail : group.faulty)
      text += (tail.lost ? " lost " : " behind ") + std::to_string(tail.entry.index.value()) + "." +
              std::to_string(tail.entry.term.value()) + "=" +
              std::to_string(std::hash<std::string_view>()(tail.entry.payload.text()));
    text += '\n';
  }
  return text;
}

Groups read(FakeDisk& disk, const std::string& dir, uint64_t seed) {
  journal::Options options = Harness::small_options();
  options.dir = dir;
  Machine machine(disk, RandomStream(seed, "read"));
  Groups groups;
  EXPECT_TRUE(machine.run([&](Suspend s) {
    auto found = journal::Journal::read(s, machine.host(), options);
    EXPECT_TRUE(found.has_value()) << found.error().text;
    if (found) groups = std::move(*found);
  }));
  return groups;
}

// Adopts into a new journal; afterwards power fails.
std::string adopt(FakeDisk& disk, Groups groups, const std::string& dir, uint64_t seed,
                  size_t pending_bytes_max) {
  journal::Options options = Harness::small_options();
  options.dir = dir;
  options.pending_bytes_max = pending_bytes_max;
  Machine machine(disk, RandomStream(seed, "adopt"));
  std::unique_ptr<journal::Journal> journal;
  std::string failure = "did not end";
  machine.run([&](Suspend s) {
    auto opened = journal::Journal::open(s, machine.host(), machine.fibers(), options, nullptr);
    if (!opened) {
      failure = opened.error().text;
      return;
    }
    journal = std::move(*opened);
    auto adopted = journal->adopt(s, std::move(groups));
    failure = adopted ? "" : adopted.error().text;
  });
  for (int i = 0; i < 10; ++i) {  // it looks again for space
    machine.advance(Duration::millis(200));
    machine.settle();
  }
  machine.abandon();
  journal.reset();
  RandomStream random(seed, "power");
  disk.crash(random);
  return failure;
}

TEST(JournalAdopt, RecoversWhatWasAdoptedWhateverTheHistory) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Harness h(seed);
    ASSERT_EQ(h.run(random_commands(RandomStream(seed, "commands"), 80)), "") << "seed " << seed;
    h.kill();
    h.disk.syncs_until_error = -1;
    Groups before = read(h.disk, "journal", seed);
    std::string expected = describe(before);
    // A small queue makes adoption wait in between.
    ASSERT_EQ(adopt(h.disk, std::move(before), "journal-1", seed, seed % 2 ? 4096 : 256 * 1024),
              "");
    EXPECT_EQ(describe(read(h.disk, "journal-1", seed)), expected) << "seed " << seed;
    // The journal it came from is as it was.
    EXPECT_EQ(describe(read(h.disk, "journal", seed)), expected) << "seed " << seed;
  }
}

TEST(JournalAdopt, CarriesAFaultyTail) {
  Harness h(7);
  ASSERT_EQ(h.open(), "");
  h.append(3, 2, 4, 300, false);
  h.machine->settle();
  h.append(3, 6, 3, 300, true);
  h.machine->settle();
  h.kill();
  // The first body sector of the newest batch rots.
  uint64_t newest = 0, at = 0;
  std::string file;
  for (const std::string& name : h.disk.names()) {
    auto& bytes = *h.disk.bytes(name);
    auto header = journal::decode_segment_header(ByteView(bytes).first(kSector));
    if (!header) continue;
    for (uint64_t offset = journal::kBodyZone; offset < bytes.size(); offset += kSector) {
      auto sector =
          journal::inspect_sector(header->id, offset, ByteView(bytes).subspan(offset, kSector));
      if (sector.state != journal::SectorState::kWritten || sector.zone != journal::Zone::kBody ||
          sector.batch <= newest)
        continue;
      newest = sector.batch;
      file = name;
      at = offset;
    }
  }
  (*h.disk.bytes(file))[at] ^= std::byte{1};
  Groups before = read(h.disk, "journal", 1);
  ASSERT_FALSE(before[PartitionId(3)].faulty.empty());
  EXPECT_EQ(before[PartitionId(3)].faulty.front().entry.index, Index(6));
  std::string expected = describe(before);
  ASSERT_EQ(adopt(h.disk, std::move(before), "journal-1", 1, 256 * 1024), "");
  EXPECT_EQ(describe(read(h.disk, "journal-1", 2)), expected);
  EXPECT_EQ(describe(read(h.disk, "journal-1", 3)), expected);
}

TEST(JournalAdopt, ReadsAnEmptyDirectoryAsNothing) {
  FakeDisk disk;
  EXPECT_TRUE(read(disk, "journal", 1).empty());
}

TEST(JournalAdopt, SaysThatTheDiskIsFull) {
  Harness h(9);
  ASSERT_EQ(h.open(), "");
  for (uint64_t i = 0; i < 40; ++i) {
    h.append(1, 2 + i * 4, 4, 3000, false);
    h.machine->settle();
  }
  h.kill();
  Groups groups = read(h.disk, "journal", 1);
  h.disk.space = h.disk.used() + 100 * 1024;
  std::string failure = adopt(h.disk, std::move(groups), "journal-1", 1, 256 * 1024);
  EXPECT_NE(failure.find("full"), std::string::npos) << failure;
}

#ifdef KAHUNA_MUTANTS
TEST(JournalAdopt, MutantsAreSeen) {
  auto differs = [](const char* mutant, bool faulty) {
    Groups groups;
    journal::RecoveredGroup& group = groups[PartitionId(4)];
    group.hard_state = {Term(3), {NodeId(7), 1}};
    group.released = Index(5);
    for (uint64_t i = 6; faulty && i <= 8; ++i)
      group.faulty.push_back({{Index(i), Term(i < 8 ? 2 : 3)}, i != 7});
    FakeDisk disk;
    std::string expected = describe(groups);
    set_active_mutant(mutant);
    EXPECT_EQ(adopt(disk, std::move(groups), "journal-1", 1, 256 * 1024), "");
    set_active_mutant("");
    return describe(read(disk, "journal-1", 1)) != expected;
  };
  EXPECT_FALSE(differs("", true));
  EXPECT_TRUE(differs("adopted_vote_forgotten", false));
  EXPECT_TRUE(differs("adopted_damage_forgotten", true));
}
#endif

}  // namespace
}  // namespace kahuna::journal_test
