#include <gtest/gtest.h>

#include "tests/engine/machine.h"

namespace kahuna::engine {
namespace {

class MemoryEngineFiles : public testing::Test {
 protected:
  void SetUp() override { machine_.open(); }
  void write(std::string_view row, std::string_view value) {
    WriteBatch batch;
    batch.put(row, value);
    batch.set_applied({PartitionId(1), {Index(++index_), Term(1)}});
    ASSERT_TRUE(machine_.engine().write(batch).has_value());
  }
  std::string read(std::string_view row) {
    std::string value;
    auto found = machine_.engine().get(row, value);
    return found && *found ? value : "(none)";
  }
  std::vector<std::string> files() {
    std::vector<std::string> names;
    for (const auto& [name, bytes] : machine_.disk().contents()) names.push_back(name);
    return names;
  }
  Machine machine_{Kind::kMemory};
  uint64_t index_ = 0;
};

TEST_F(MemoryEngineFiles, AreAFullImageAndThenDeltas) {
  write(
      "\x30"
      "a",
      "1");
  ASSERT_TRUE(machine_.flush().has_value());
  write(
      "\x30"
      "b",
      "2");
  ASSERT_TRUE(machine_.flush().has_value());
  EXPECT_EQ(files(), (std::vector<std::string>{"engine/00000000000000000001.full",
                                               "engine/00000000000000000002.delta"}));
  machine_.crash();
  machine_.open();
  EXPECT_EQ(read("\x30"
                 "a"),
            "1");
  EXPECT_EQ(read("\x30"
                 "b"),
            "2");
}

TEST_F(MemoryEngineFiles, AreReplacedOnceDeltasOutgrowTheState) {
  for (int round = 0; round < 40; ++round) {
    write(
        "\x30"
        "a",
        std::string(50'000, char('a' + round % 26)));
    ASSERT_TRUE(machine_.flush().has_value());
    EXPECT_LE(files().size(), 9u);
  }
  machine_.crash();
  machine_.open();
  EXPECT_EQ(read("\x30"
                 "a"),
            std::string(50'000, char('a' + 39 % 26)));
}

TEST_F(MemoryEngineFiles, AFullDiskIsTriedAgain) {
  write(
      "\x30"
      "a",
      "1");
  machine_.disk().fail_appends = 1;
  EXPECT_EQ(machine_.flush().error().code, ErrorCode::kNoSpace);
  EXPECT_TRUE(machine_.engine().flushed().empty());
  EXPECT_GT(machine_.engine().unflushed_bytes(), 0u);
  write(
      "\x30"
      "b",
      "2");
  ASSERT_TRUE(machine_.flush().has_value());
  machine_.crash();
  machine_.open();
  EXPECT_EQ(read("\x30"
                 "a"),
            "1");
  EXPECT_EQ(read("\x30"
                 "b"),
            "2");
}

TEST_F(MemoryEngineFiles, AMissingDeltaIsDamage) {
  for (const char* row : {"\x30"
                          "a",
                          "\x30"
                          "b",
                          "\x30"
                          "c"}) {
    write(row, "1");
    ASSERT_TRUE(machine_.flush().has_value());
  }
  machine_.close();
  ASSERT_TRUE(
      machine_.disk().remove(std::string_view("engine/00000000000000000002.delta")).has_value());
  EXPECT_EQ(machine_.try_open().error().code, ErrorCode::kDamaged);
}

TEST_F(MemoryEngineFiles, AnyFlippedByteIsDamage) {
  write(
      "\x30"
      "a",
      "12345678");
  ASSERT_TRUE(machine_.flush().has_value());
  machine_.close();
  std::string name = files()[0];
  size_t size = machine_.disk().contents()[name].size();
  for (size_t offset = 0; offset < size; ++offset) {
    machine_.disk().damage(name, offset);
    EXPECT_EQ(machine_.try_open().error().code, ErrorCode::kDamaged) << offset;
    machine_.disk().damage(name, offset);
  }
  EXPECT_TRUE(machine_.try_open().has_value());
}

}  // namespace
}  // namespace kahuna::engine
