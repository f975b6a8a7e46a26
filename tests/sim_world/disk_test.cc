#include <gtest/gtest.h>

#include <set>

#include "tests/sim_world/fixture.h"

namespace kahuna::sim {
namespace {

struct Machine {
  explicit Machine(WorldOptions options = calm(), uint64_t seed = 1) : world(seed, options) {
    node = world.add_node("n");
    world.start(node);
  }
  void crash(CrashKind kind) {
    world.crash(node, kind, [&] { file.reset(); });
    world.start(node);
  }
  std::string whole() {
    auto reader = open_file(world, node, "f", {});
    return *read(world, *reader, 0, 1 << 20);
  }

  World world;
  NodeHandle node;
  std::unique_ptr<File> file;
};

// A file "f" whose name is durable.
void make_file(Machine& m) {
  m.file = open_file(m.world, m.node, "f", kCreate);
  ASSERT_TRUE(sync_dir(m.world, m.node, ""));
}

TEST(SimDisk, ReadsWhatWasWritten) {
  Machine m;
  make_file(m);
  EXPECT_EQ(write(m.world, *m.file, 3, "abc"), 3u);
  EXPECT_EQ(m.file->size(), 6u);
  EXPECT_EQ(*read(m.world, *m.file, 0, 100), std::string("\0\0\0abc", 6));
  EXPECT_EQ(*read(m.world, *m.file, 6, 100), "");
  EXPECT_EQ(write(m.world, *m.file, 5000, "far"), 3u);
  EXPECT_EQ(*read(m.world, *m.file, 4999, 3), std::string("\0fa", 3));
}

TEST(SimDisk, KeepsWhatWasSynced) {
  for (uint64_t seed = 1; seed < 30; ++seed) {
    Machine m(calm(), seed);
    make_file(m);
    std::string text(10'000, 'a');
    ASSERT_TRUE(write(m.world, *m.file, 100, text));
    ASSERT_TRUE(sync(m.world, *m.file));
    EXPECT_FALSE(m.world.disk(m.node).unsynced());
    m.crash(CrashKind::kPower);
    EXPECT_EQ(m.whole(), std::string(100, '\0') + text);
  }
}

TEST(SimDisk, KeepsDurableWritesAndPromisesNoOther) {
  bool lost = false;
  for (uint64_t seed = 1; seed < 30; ++seed) {
    Machine m(calm(), seed);
    make_file(m);
    std::string other(4096, 'o'), text(10'000, 'a');
    ASSERT_TRUE(write(m.world, *m.file, 0, other));
    ASSERT_TRUE(write_durably(m.world, *m.file, 8192, text));
    EXPECT_TRUE(m.world.disk(m.node).unsynced());
    m.crash(CrashKind::kPower);
    EXPECT_EQ(m.whole().substr(8192), text);
    lost |= m.whole().substr(0, 4096) != other;
  }
  EXPECT_TRUE(lost);
}

TEST(SimDisk, DurableWritesFailLikeSyncs) {
  Machine m;
  make_file(m);
  m.world.disk(m.node).fail_next_sync();
  EXPECT_EQ(write_durably(m.world, *m.file, 0, "text").error().code, ErrorCode::kIo);
  EXPECT_TRUE(write_durably(m.world, *m.file, 0, "lies"));
  m.crash(CrashKind::kPower);
  EXPECT_EQ(m.whole(), "");
}

TEST(SimDisk, KeepsCompletedWritesWhenOnlyTheProcessDies) {
  Machine m;
  make_file(m);
  ASSERT_TRUE(write(m.world, *m.file, 0, "unsynced"));
  m.crash(CrashKind::kProcess);
  EXPECT_EQ(m.whole(), "unsynced");
  // And they are still at the mercy of the power.
  std::set<std::string> outcomes;
  for (uint64_t seed = 1; seed < 40; ++seed) {
    Machine n(calm(), seed);
    make_file(n);
    ASSERT_TRUE(write(n.world, *n.file, 0, "unsynced"));
    n.crash(CrashKind::kProcess);
    n.crash(CrashKind::kPower);
    outcomes.insert(n.whole());
  }
  EXPECT_TRUE(outcomes.contains("unsynced"));
  EXPECT_TRUE(outcomes.contains(""));
}

// Every sector of an overwrite that was not synced is the old or the new one, and all mixes occur.
TEST(SimDisk, LosesAnySubsetOfUnsyncedSectors) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 1; seed < 200; ++seed) {
    Machine m(calm(), seed);
    make_file(m);
    ASSERT_TRUE(write(m.world, *m.file, 0, std::string(4 * kSectorBytes, 'o')));
    ASSERT_TRUE(sync(m.world, *m.file));
    ASSERT_TRUE(write(m.world, *m.file, 0, std::string(4 * kSectorBytes, 'n')));
    m.crash(CrashKind::kPower);
    std::string text = m.whole(), shape;
    ASSERT_EQ(text.size(), 4 * kSectorBytes);
    for (size_t s = 0; s < 4; ++s) {
      std::string sector = text.substr(s * kSectorBytes, kSectorBytes);
      ASSERT_TRUE(sector == std::string(kSectorBytes, 'o') ||
                  sector == std::string(kSectorBytes, 'n'));
      shape += sector[0];
    }
    outcomes.insert(shape);
  }
  EXPECT_EQ(outcomes.size(), 16u);
}

TEST(SimDisk, TearsWritesInFlight) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 1; seed < 60; ++seed) {
    Machine m(calm(), seed);
    make_file(m);
    ASSERT_TRUE(write(m.world, *m.file, 0, std::string(2 * kSectorBytes, 'o')));
    ASSERT_TRUE(sync(m.world, *m.file));
    std::string fresh(2 * kSectorBytes, 'n');
    m.file->write_at(0, as_bytes(fresh), [](auto) { ADD_FAILURE() << "the process is dead"; });
    EXPECT_EQ(m.world.writes_in_flight(m.node), 1u);
    m.crash(CrashKind::kProcess);
    m.world.run_until(m.world.now() + 1_s);
    std::string text = m.whole();
    outcomes.insert({text[0], text[kSectorBytes]});
  }
  EXPECT_EQ(outcomes.size(), 4u);
}

TEST(SimDisk, SyncCoversWhatCompletedBeforeItAndNothingElse) {
  bool lost = false;
  for (uint64_t seed = 1; seed < 60; ++seed) {
    Machine m(calm(), seed);
    make_file(m);
    ASSERT_TRUE(write(m.world, *m.file, 0, std::string(kSectorBytes, '1')));
    bool synced = false, written = false;
    m.file->sync([&](Result<> r) { synced = r.has_value(); });
    std::string second(2 * kSectorBytes, '2');
    m.file->write_at(0, as_bytes(second), [&](auto) { written = true; });
    ASSERT_TRUE(m.world.run_until([&] { return synced && written; }, m.world.now() + 1_s));
    m.crash(CrashKind::kPower);
    std::string text = m.whole();
    ASSERT_GE(text.size(), kSectorBytes);
    ASSERT_TRUE(text[0] == '1' || text[0] == '2');
    lost |= text[0] == '1';
  }
  EXPECT_TRUE(lost);
}

TEST(SimDisk, LosesNamesThatWereNotSynced) {
  std::set<bool> kept;
  for (uint64_t seed = 1; seed < 60; ++seed) {
    Machine m(calm(), seed);
    m.file = open_file(m.world, m.node, "f", kCreate);
    ASSERT_TRUE(sync(m.world, *m.file));
    m.crash(CrashKind::kPower);
    kept.insert(m.world.disk(m.node).exists("f"));
  }
  EXPECT_EQ(kept.size(), 2u);
}

TEST(SimDisk, RenameIsAllOrNothing) {
  std::set<std::string> seen;
  for (uint64_t seed = 1; seed < 80; ++seed) {
    Machine m(calm(), seed);
    for (const char* name : {"new", "old"}) {
      auto file = open_file(m.world, m.node, name, kCreate);
      ASSERT_TRUE(write(m.world, *file, 0, name));
      ASSERT_TRUE(sync(m.world, *file));
    }
    ASSERT_TRUE(sync_dir(m.world, m.node, ""));
    auto renamed = wait_for<Result<>>(m.world, [&](auto done) {
      m.world.host(m.node).disk->rename("new", "old", std::move(done));
    });
    ASSERT_TRUE(renamed);
    EXPECT_FALSE(m.world.disk(m.node).exists("new"));
    m.crash(CrashKind::kPower);
    auto file = open_file(m.world, m.node, "old", {});
    std::string text = *read(m.world, *file, 0, 10);
    ASSERT_TRUE(text == "old" || text == "new");
    EXPECT_EQ(m.world.disk(m.node).exists("new"), text == "old");
    seen.insert(text);
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST(SimDisk, KnowsDirectories) {
  Machine m;
  Disk& disk = *m.world.host(m.node).disk;
  auto make = [&](const char* path) {
    return wait_for<Result<>>(m.world, [&](auto done) { disk.make_dir(path, std::move(done)); });
  };
  auto list = [&](const char* path) {
    return wait_for<Result<std::vector<std::string>>>(
        m.world, [&](auto done) { disk.list(path, std::move(done)); });
  };
  EXPECT_EQ(make("a/b").error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(make("a"));
  EXPECT_TRUE(make("a"));
  EXPECT_TRUE(make("a/b"));
  open_file(m.world, m.node, "a/z", kCreate);
  open_file(m.world, m.node, "a-file", kCreate);
  open_file(m.world, m.node, "a/b/c", kCreate);
  EXPECT_EQ(*list("a"), (std::vector<std::string>{"b", "z"}));
  EXPECT_EQ(*list(""), (std::vector<std::string>{"a", "a-file"}));
  EXPECT_EQ(list("x").error().code, ErrorCode::kNotFound);
}

TEST(SimDisk, LocksUntilClosedOrCrashed) {
  Machine m;
  OpenOptions locking{.create = true, .write = true, .lock = true};
  m.file = open_file(m.world, m.node, "lock", locking);
  auto again = [&] {
    return wait_for<Result<std::unique_ptr<File>>>(m.world, [&](auto done) {
      m.world.host(m.node).disk->open("lock", locking, std::move(done));
    });
  };
  EXPECT_EQ(again().error().code, ErrorCode::kInUse);
  m.file.reset();
  {
    auto second = again();
    ASSERT_TRUE(second);
    m.file = std::move(*second);
  }
  m.crash(CrashKind::kProcess);
  EXPECT_TRUE(again());
}

TEST(SimDisk, FailsASyncForGood) {
  Machine m;
  make_file(m);
  ASSERT_TRUE(write(m.world, *m.file, 0, "data"));
  m.world.disk(m.node).fail_next_sync();
  auto failed = sync(m.world, *m.file);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kIo);
  // The second sync lies.
  EXPECT_TRUE(sync(m.world, *m.file));
  m.crash(CrashKind::kPower);
  EXPECT_EQ(m.whole(), "");
}

TEST(SimDisk, RunsOutOfSpaceAndRecovers) {
  WorldOptions options = calm();
  options.disk.capacity_bytes = 3 * kPageBytes;
  Machine m(options);
  make_file(m);
  ASSERT_TRUE(write(m.world, *m.file, 0, std::string(2 * kPageBytes, 'x')));
  auto full = write(m.world, *m.file, 2 * kPageBytes, std::string(2 * kPageBytes, 'x'));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kNoSpace);
  EXPECT_TRUE(write(m.world, *m.file, 0, "in place"));
  EXPECT_TRUE(write(m.world, *m.file, 2 * kPageBytes, "one more"));
  m.world.disk(m.node).set_full(true);
  auto other = open_file(m.world, m.node, "g", kCreate);
  EXPECT_EQ(write(m.world, *other, 0, "x").error().code, ErrorCode::kNoSpace);
}

TEST(SimDisk, ShortensAndFailsTransfersByDraw) {
  WorldOptions options = calm();
  options.disk.short_transfer = 500'000;
  options.disk.write_error = 200'000;
  options.disk.read_error = 200'000;
  Machine m(options);
  make_file(m);
  m.world.disk(m.node).limit_faults("f");
  auto other = open_file(m.world, m.node, "other", kCreate);
  int shorts = 0, errors = 0;
  std::string text(10 * kSectorBytes, 'x');
  for (int i = 0; i < 200; ++i) {
    auto result = write(m.world, *m.file, 0, text);
    errors += !result;
    shorts += result && *result < text.size();
    EXPECT_EQ(write(m.world, *other, 0, text), text.size());
  }
  EXPECT_GT(shorts, 40);
  EXPECT_GT(errors, 15);
}

TEST(SimDisk, RotsLosesWipesAndRollsBack) {
  Machine m;
  make_file(m);
  ASSERT_TRUE(write(m.world, *m.file, 0, std::string(2000, 'x')));
  ASSERT_TRUE(sync(m.world, *m.file));
  SimDisk& disk = m.world.disk(m.node);
  DiskImage image = disk.image();
  ASSERT_TRUE(disk.rot("f", 700));
  std::string rotten = m.whole();
  EXPECT_EQ(std::count(rotten.begin(), rotten.end(), 'x'), 1999);
  ASSERT_TRUE(disk.lose_sector("f", 100));
  EXPECT_EQ(read(m.world, *m.file, 0, 10).error().code, ErrorCode::kIo);
  EXPECT_TRUE(read(m.world, *m.file, kSectorBytes, 10));
  ASSERT_TRUE(write(m.world, *m.file, 0, std::string(kSectorBytes, 'y')));
  EXPECT_TRUE(read(m.world, *m.file, 0, 10));
  m.world.crash(m.node, CrashKind::kPower, [&] { m.file.reset(); });
  disk.wipe();
  EXPECT_FALSE(disk.exists("f"));
  EXPECT_EQ(disk.used_bytes(), 0u);
  disk.restore(image);
  m.world.start(m.node);
  EXPECT_EQ(m.whole(), std::string(2000, 'x'));
}

TEST(SimDisk, MisdirectsAWrite) {
  Machine m;
  make_file(m);
  SimDisk& disk = m.world.disk(m.node);
  ASSERT_TRUE(write(m.world, *m.file, 0, std::string(4096, 'a')));
  ASSERT_TRUE(write(m.world, *m.file, 4096, std::string(512, 'b')));
  ASSERT_TRUE(sync(m.world, *m.file));
  Misdirection what;
  disk.misdirect(
      RandomStream(1, "test"), [](const std::string& path, ByteView) { return path == "f"; },
      [](const std::string&, uint64_t offset, ByteView) { return offset == 1024; },
      [&](const Misdirection& m) { what = m; });
  // Its own page is no place to hit.
  EXPECT_EQ(write(m.world, *m.file, 512, std::string(512, 'x')), 512u);
  EXPECT_EQ(what.bytes, 0u);
  ASSERT_TRUE(sync(m.world, *m.file));
  EXPECT_EQ(write(m.world, *m.file, 4096, std::string(512, 'c')), 512u);
  ASSERT_TRUE(sync(m.world, *m.file));
  EXPECT_EQ(what.bytes, 512u);
  EXPECT_EQ(disk.counters().misdirected, 1u);
  EXPECT_EQ(write(m.world, *m.file, 4608, std::string(512, 'd')), 512u);  // one only
  ASSERT_TRUE(sync(m.world, *m.file));
  m.crash(CrashKind::kPower);
  EXPECT_EQ(m.whole(), std::string(512, 'a') + std::string(512, 'x') + std::string(512, 'c') +
                           std::string(2560, 'a') + std::string(512, 'b') + std::string(512, 'd'));
}

TEST(SimDisk, StallsAndSlowsDown) {
  Machine m;
  make_file(m);
  SimDisk& disk = m.world.disk(m.node);
  disk.stall_until(m.world.now() + 3_s);
  TrueTime begun = m.world.now();
  ASSERT_TRUE(sync(m.world, *m.file));
  EXPECT_GE((m.world.now() - begun).nanos(), (3_s).nanos());
  disk.slow_until(m.world.now() + 3_s, 1000);
  begun = m.world.now();
  ASSERT_TRUE(sync(m.world, *m.file));
  EXPECT_GE((m.world.now() - begun).nanos(), (200_ms).nanos());
}

TEST(SimDisk, ZeroedFilesTakeSpaceButNoMemory) {
  Machine m;
  make_file(m);
  std::string zeros(1 << 20, '\0');
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(write(m.world, *m.file, uint64_t(i) << 20, zeros));
  EXPECT_EQ(m.world.disk(m.node).used_bytes(), uint64_t{32} << 20);
  ASSERT_TRUE(sync(m.world, *m.file));
  m.world.crash(m.node, CrashKind::kPower, [&] { m.file.reset(); });
  EXPECT_EQ(m.world.disk(m.node).used_bytes(), uint64_t{32} << 20);
}

TEST(SimDisk, ClosingAFileSilencesItsOperations) {
  Machine m;
  make_file(m);
  auto buffer = std::make_unique<std::byte[]>(100);
  m.file->read_at(0, {buffer.get(), 100}, [](auto) { ADD_FAILURE(); });
  m.file->write_at(0, as_bytes("kept"), [](auto) { ADD_FAILURE(); });
  m.file.reset();
  buffer.reset();
  m.world.run_until(m.world.now() + 1_s);
  EXPECT_EQ(m.whole(), "kept");
}

}  // namespace
}  // namespace kahuna::sim
