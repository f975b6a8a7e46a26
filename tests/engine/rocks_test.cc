#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <map>

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

TEST(RocksSimulated, AFailedFlushStartsNoThread) {
  for (const bool full : {true, false}) {
    size_t before = threads();
    Machine machine(Kind::kRocksSimulated);
    machine.open();
    WriteBatch batch;
    batch.put(
        "\x20"
        "a",
        "b");
    ASSERT_TRUE(machine.engine().write(batch).has_value());
    (full ? machine.disk().fail_appends : machine.disk().fail_syncs) = 1;
    EXPECT_EQ(machine.flush().error().code, full ? ErrorCode::kNoSpace : ErrorCode::kIo);
    EXPECT_EQ(machine.engine().write(batch).has_value(), full);
    EXPECT_EQ(machine.flush().has_value(), full);
    EXPECT_EQ(threads(), before);
  }
}

// A small file system of its own under a directory; mounted() is false when this process may not.
class SmallDisk {
 public:
  explicit SmallDisk(std::string dir) : dir_(std::move(dir)) {
    mounted_ = ::mount("tmpfs", dir_.c_str(), "tmpfs", 0, "size=16m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(dir_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  // To the last byte, with a file of its own.
  void fill() const {
    std::ofstream ballast(dir_ + "/ballast", std::ios::binary | std::ios::app);
    const std::string page(4096, 'x');
    while (ballast.write(page.data(), 4096).flush()) {
    }
  }
  void make_room() const { std::filesystem::remove(dir_ + "/ballast"); }

 private:
  std::string dir_;
  bool mounted_;
};

TEST(RocksReal, GoesOnWhenAFullDiskHasRoomAgain) {
  Machine machine(Kind::kRocksReal);
  SmallDisk disk(machine.options().dir);
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a small file system here; run as root";
  machine.open();
  RandomStream random(1, "incompressible");
  std::map<std::string, std::string> written;
  const auto put = [&]() -> ErrorCode {
    std::string value(50'000, '\0');
    for (char& c : value) c = static_cast<char>(random.next());
    const std::string row = "\x20" + std::to_string(written.size());
    WriteBatch batch;
    batch.put(row, value);
    const Result<> done = machine.engine().write(batch);
    if (!done) return done.error().code;
    written[row] = value;
    return ErrorCode::kOk;
  };
  const auto expect_all = [&] {
    std::string value;
    for (const auto& [row, expected] : written) {
      const Result<bool> got = machine.engine().get(row, value);
      ASSERT_TRUE(got.has_value()) << got.error().text;
      ASSERT_TRUE(*got) << row;
      ASSERT_TRUE(value == expected) << row;
    }
  };
  // An attempt in the background that began while the disk was full may still be failing.
  const auto flush_with_room = [&] {
    Result<> flushed = machine.flush();
    for (int more = 0; !flushed && flushed.error().code == ErrorCode::kNoSpace && more < 3; ++more)
      flushed = machine.flush();
    return flushed;
  };
  const auto reopen_and_expect_all = [&] {
    machine.close();
    machine.open();
    expect_all();
  };
  int failed = 0;
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(put(), ErrorCode::kOk);
    ASSERT_TRUE(machine.flush().has_value());
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(put(), ErrorCode::kOk);
      disk.fill();  // anew: what a flush could not finish it removed
      const Result<> flushed = machine.flush();
      // A compaction may have made room meanwhile.
      if (!flushed) EXPECT_EQ(flushed.error().code, ErrorCode::kNoSpace) << flushed.error().text;
      failed += !flushed;
      expect_all();
    }
    disk.make_room();
    const Result<> flushed = flush_with_room();
    ASSERT_TRUE(flushed.has_value()) << flushed.error().text;
    reopen_and_expect_all();
  }
  EXPECT_GT(failed, 3);
  // Unasked, too: a write fills a memtable, whose flush fails in the background.
  disk.fill();
  ErrorCode last = ErrorCode::kOk;
  for (int i = 0; i < 1000 && last == ErrorCode::kOk; ++i) last = put();
  EXPECT_EQ(last, ErrorCode::kOverloaded);
  expect_all();
  disk.make_room();
  ASSERT_TRUE(flush_with_room().has_value());
  ASSERT_EQ(put(), ErrorCode::kOk);
  ASSERT_TRUE(machine.flush().has_value());
  reopen_and_expect_all();
}

TEST(RocksReal, IsScrubbedWhileItIsOpen) {
  Machine machine(Kind::kRocksReal);
  machine.open();
  WriteBatch batch;
  for (int i = 0; i < 500; ++i) batch.put("\x20" + std::to_string(i), std::string(200, 'v'));
  ASSERT_TRUE(machine.engine().write(batch).has_value());
  ASSERT_TRUE(machine.flush().has_value());
  auto whole = machine.scrub();
  ASSERT_TRUE(whole.has_value()) << whole.error().text;
  EXPECT_GT(*whole, 1000u);
  for (const auto& entry : std::filesystem::directory_iterator(machine.options().dir)) {
    if (entry.path().extension() != ".sst") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(700);
    file.put('\x7f');
  }
  EXPECT_EQ(machine.scrub().error().code, ErrorCode::kDamaged);
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
