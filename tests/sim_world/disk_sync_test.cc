#include <gtest/gtest.h>

#include "sim/sim_disk_sync.h"
#include "tests/sim_world/fixture.h"

namespace kahuna::sim {
namespace {

std::string read_all(engine::SyncFile& file) {
  std::string text(file.size(), '?');
  auto got = file.read_at(0, {reinterpret_cast<std::byte*>(text.data()), text.size()});
  CHECK(got.has_value());
  text.resize(*got);
  return text;
}

TEST(SimDiskSync, AppendsSyncsAndSurvives) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  world.start(n);
  auto files = std::make_unique<SimSyncFileSystem>(world, n);
  ASSERT_TRUE(files->make_dir("db"));
  ASSERT_TRUE(files->sync_dir(""));
  auto file = files->create("db/1.sst");
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->append(as_bytes("one ")));
  ASSERT_TRUE((*file)->append(as_bytes("two")));
  EXPECT_EQ(read_all(**file), "one two");
  ASSERT_TRUE((*file)->sync());
  ASSERT_TRUE(files->rename("db/1.sst", "db/2.sst"));
  ASSERT_TRUE(files->sync_dir("db"));
  ASSERT_TRUE((*file)->append(as_bytes(" three")));
  world.crash(n, CrashKind::kPower, [&] {
    EXPECT_FALSE((*file)->append(as_bytes("dead")));
    file->reset();
  });
  EXPECT_FALSE(files->list("db"));
  world.start(n);
  files = std::make_unique<SimSyncFileSystem>(world, n);
  EXPECT_EQ(*files->list("db"), std::vector<std::string>{"2.sst"});
  auto again = files->open_to_read("db/2.sst");
  ASSERT_TRUE(again);
  EXPECT_TRUE(read_all(**again).starts_with("one two"));
}

TEST(SimDiskSync, CreateReplaces) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  world.start(n);
  SimSyncFileSystem files(world, n);
  ASSERT_TRUE((*files.create("f"))->append(as_bytes("old")));
  auto reader = files.open_to_read("f");
  ASSERT_TRUE((*files.create("f"))->append(as_bytes("newer")));
  EXPECT_EQ(*files.size_of("f"), 5u);
  EXPECT_EQ(read_all(**reader), "old");
  EXPECT_EQ(read_all(**files.open_to_append("f")), "newer");
  EXPECT_EQ(files.open_to_read("g").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(files.remove("g").error().code, ErrorCode::kNotFound);
}

TEST(SimDiskSync, RemovesDirectoriesOnlyWhenEmpty) {
  World world(1, calm());
  NodeHandle n = world.add_node("n");
  world.start(n);
  SimSyncFileSystem files(world, n);
  ASSERT_TRUE(files.make_dir("d"));
  ASSERT_TRUE(files.create("d/f"));
  EXPECT_FALSE(files.remove_dir("d"));
  EXPECT_FALSE(files.remove("d"));
  ASSERT_TRUE(files.remove("d/f"));
  ASSERT_TRUE(files.remove_dir("d"));
  EXPECT_FALSE(*files.exists("d"));
}

TEST(SimDiskSync, FailsUnderTheDisksFaults) {
  WorldOptions options = calm();
  options.disk.short_transfer = 900'000;
  World world(1, options);
  NodeHandle n = world.add_node("n");
  world.start(n);
  SimSyncFileSystem files(world, n);
  auto file = files.create("f");
  std::string text(5000, 't');
  ASSERT_TRUE((*file)->append(as_bytes(text)));
  EXPECT_EQ(read_all(**file), text);
  world.disk(n).fail_next_sync();
  EXPECT_FALSE((*file)->sync());
  world.disk(n).set_full(true);
  EXPECT_EQ((*file)->append(as_bytes(text)).error().code, ErrorCode::kNoSpace);
}

}  // namespace
}  // namespace kahuna::sim
