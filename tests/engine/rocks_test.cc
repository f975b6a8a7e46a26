#include <dirent.h>
#include <gtest/gtest.h>

#include "tests/engine/machine.h"

namespace kahuna::engine {
namespace {

size_t threads() {
  size_t count = 0;
  DIR* dir = opendir("/proc/self/task");
  while (dirent* entry = readdir(dir)) count += entry->d_name[0] != '.';
  closedir(dir);
  return count;
}

// Enough for several memtables, flushes, compactions and reopenings. Returns the disk's trace.
Hash128 run_world(uint64_t seed) {
  Machine machine(Kind::kRocksSimulated, seed);
  machine.open();
  RandomStream random(seed, "rows");
  for (int i = 0; i < 4000; ++i) {
    WriteBatch batch;
    for (int j = 0; j < 4; ++j)
      batch.put("\x20" + std::to_string(random.below(3000)),
                std::string(50 + random.below(300), char('a' + i % 26)));
    for (;;) {
      auto written = machine.engine().write(batch);
      if (written) break;
      CHECK(written.error().code == ErrorCode::kOverloaded);
      machine.loop().settle();
    }
    if (i % 50 == 0) machine.loop().settle();
    if (i % 700 == 699) CHECK(machine.flush().has_value());
    if (i == 2000) {
      machine.close();
      machine.open();
    }
  }
  std::string value;
  for (int i = 0; i < 3000; ++i) CHECK(machine.engine().get("\x20" + std::to_string(i), value));
  machine.close();
  return machine.disk().trace;
}

TEST(RocksSimulated, HasItsThreadAndEntropyReplaced) {
  EXPECT_TRUE(rocks_interposed());
}

TEST(RocksSimulated, RunsOnOneThreadAndRepeatsByteForByte) {
  size_t before = threads();
  Hash128 first = run_world(7);
  RecordProperty("trace", std::to_string(first.low()));  // compare between processes
  EXPECT_EQ(threads(), before);
  Hash128 second = run_world(7);
  EXPECT_TRUE(first == second);
  EXPECT_FALSE(first == run_world(8));
}

TEST(RocksSimulated, DatabasesSideBySideDoNotShiftEachOther) {
  Hash128 alone = run_world(7);
  Machine other(Kind::kRocksSimulated, 99);
  other.open();
  WriteBatch batch;
  batch.put(
      "\x20"
      "a",
      "b");
  ASSERT_TRUE(other.engine().write(batch).has_value());
  EXPECT_TRUE(run_world(7) == alone);
}

TEST(RocksSimulated, CompactionDropsSupersededRecords) {
  Machine machine(Kind::kRocksSimulated);
  machine.open();
  std::string suffix(kVersionSuffixBytes - 2, '\0');
  for (int age = 0; age < 2000; ++age) {
    WriteBatch batch;
    std::string row =
        "\x10"
        "position";
    row.push_back(char(0xff - age / 256));
    row.push_back(char(0xff - age % 256));
    batch.put(row + suffix, std::string(500, 'v'));
    while (!machine.engine().write(batch)) machine.loop().settle();
    if (age % 100 == 99) {
      ASSERT_TRUE(machine.flush().has_value());
    }
  }
  machine.loop().settle();
  size_t bytes = 0;
  for (const auto& [name, content] : machine.disk().contents())
    if (name.ends_with(".sst")) bytes += content.size();
  EXPECT_LT(bytes, 100'000u);
}

TEST(RocksSimulated, ABackgroundErrorFailsTheFlushAndStartsNoThread) {
  size_t before = threads();
  Machine machine(Kind::kRocksSimulated);
  machine.open();
  WriteBatch batch;
  batch.put(
      "\x20"
      "a",
      "b");
  ASSERT_TRUE(machine.engine().write(batch).has_value());
  machine.disk().fail_appends = 1;
  EXPECT_EQ(machine.flush().error().code, ErrorCode::kNoSpace);
  EXPECT_FALSE(machine.engine().write(batch).has_value());
  EXPECT_EQ(threads(), before);
}

TEST(RocksReal, RefusesADirectoryInUse) {
  Machine machine(Kind::kRocksReal);
  machine.open();
  Machine second(Kind::kRocksReal);
  std::swap(second.options().dir, machine.options().dir);
  EXPECT_EQ(second.try_open().error().code, ErrorCode::kInUse);
  std::swap(second.options().dir, machine.options().dir);
}

}  // namespace
}  // namespace kahuna::engine
