// What is whole of a damaged engine is copied to a new one.
#include <gtest/gtest.h>

#include <optional>

#include "kahuna/engine/memory_engine.h"
#include "kahuna/node/engine_damage.h"
#include "kahuna/node/engine_salvage.h"
#include "kahuna/partition/position.h"
#include "kahuna/partition/rows.h"
#include "runtime/check.h"
#include "runtime/probe.h"
#include "tests/engine/model_disk.h"
#include "tests/runtime/manual_loop.h"

namespace kahuna::node {
namespace {

constexpr raft::LogPosition kMark{Index(70), Term(3)};

class SalvageTest : public testing::Test {
 protected:
  SalvageTest() : partitions_(partition::founding_descriptors(2)) {
    options_.name = "one";
    options_.salvage_batch_bytes = 1;
    options_.open_engine = [this](
                               Suspend s, Host& host, Fibers& fibers,
                               const std::string& dir) -> Result<std::unique_ptr<engine::Engine>> {
      if (dir == refused_ && refusal_) return fail(*refusal_);
      if (dir == refused_) disk_.fail_appends = 1'000'000;  // full from then on
      return engine::open_memory_engine(s, host, fibers, dir);
    };
  }

  template <class Work>
  void run(Work work) {
    bool done = false;
    fibers_.spawn("test", [&](Suspend s) {
      work(s);
      done = true;
    });
    loop_.settle();
    CHECK(done);
  }
  std::unique_ptr<engine::Engine> open(Suspend s, const std::string& dir) {
    auto engine = engine::open_memory_engine(s, host_, fibers_, dir);
    CHECK(engine.has_value());
    return std::move(*engine);
  }
  // Of the `number`th key that lies in that partition.
  std::string record_of(const partition::Descriptor& descriptor, int number) {
    std::string row;
    for (int i = 0; number >= 0; ++i) {
      const std::string key =
          std::string(partition::kReservedPrefix.substr(0, i % 2 ? 0 : 9)) + std::to_string(i);
      const std::string position = partition::position_of(key);
      if (partition::find_descriptor(partitions_, position).id != descriptor.id || number-- > 0)
        continue;
      partition::make_record_row(position, Watermark(1), Index(5), 0, row);
    }
    return row;
  }
  // Two records of each partition, and a state row; `damaged` has one that nobody has written.
  void make_engine(std::optional<PartitionId> damaged) {
    run([&](Suspend s) {
      auto engine = open(s, "engine");
      engine::WriteBatch batch;
      std::string value;
      for (const partition::Descriptor& descriptor : partitions_) {
        partition::make_record_value(false, Revision(), "value", value);
        for (int number : {0, 1}) batch.put(record_of(descriptor, number), value);
        partition::make_state_value({}, value);
        batch.put(partition::make_state_row(descriptor.id),
                  descriptor.id == damaged ? "nonsense" : value);
        batch.set_applied({descriptor.id, kMark});
      }
      CHECK(engine->write(batch).has_value());
      CHECK(await<Result<>>(s, [&](Callback<void(Result<>)> done) {
              engine->flush(std::move(done));
            }).has_value());
      CHECK(note_damaged_engine(s, disk_).has_value());
    });
  }
  Result<Salvage> salvage() {
    std::optional<Result<Salvage>> result;
    run([&](Suspend s) { result = salvage_engine(s, host_, fibers_, options_, partitions_); });
    return std::move(*result);
  }
  void expect_all_is_kept() {
    auto salvaged = salvage();
    ASSERT_TRUE(salvaged.has_value()) << salvaged.error().text;
    EXPECT_EQ(salvaged->kept, partitions_.size());
  }
  size_t rows_of(engine::Engine& engine, const partition::Descriptor& descriptor) {
    size_t rows = 0;
    for (const auto& [from, to] : partition::rows_of(descriptor))
      CHECK(engine.scan(from, to, [&](std::string_view, std::string_view) { return ++rows, true; })
                .has_value());
    return rows;
  }
  std::optional<partition::InstallRow> install_of(engine::Engine& engine, PartitionId id) {
    std::string value;
    auto found = engine.get(partition::make_install_row(id), value);
    CHECK(found.has_value());
    return *found ? partition::read_install_value(value) : std::nullopt;
  }
  bool noted() {
    bool noted = false;
    run([&](Suspend s) { noted = *is_engine_damaged(s, disk_); });
    return noted;
  }

  ManualLoop loop_;
  engine::ModelDisk disk_{loop_};
  Host host_{.clock = &loop_,
             .scheduler = &loop_,
             .disk = &disk_,
             .network = nullptr,
             .offload = nullptr,
             .random_seed = 1};
  Fibers fibers_{loop_, loop_};
  Options options_;
  std::vector<partition::Descriptor> partitions_;
  std::string refused_;  // opening it fails, or finds the disk full
  std::optional<Error> refusal_;
};

TEST_F(SalvageTest, WhatIsWholeIsCopied) {
  make_engine(std::nullopt);
  auto salvaged = salvage();
  ASSERT_TRUE(salvaged.has_value()) << salvaged.error().text;
  EXPECT_EQ(salvaged->kept, partitions_.size());
  EXPECT_EQ(salvaged->lost, 0u);
  for (const auto& descriptor : partitions_) {
    EXPECT_EQ(salvaged->engine->applied().at(descriptor.id), kMark);
    EXPECT_EQ(rows_of(*salvaged->engine, descriptor), 3u);
  }
  EXPECT_FALSE(noted());
}

// Rows of it were written before the damage was met: no older state may come in their place (E7).
TEST_F(SalvageTest, APartitionHalfCopiedTakesNoOlderState) {
  const partition::Descriptor damaged = partitions_[1];
  make_engine(damaged.id);
  auto salvaged = salvage();
  ASSERT_TRUE(salvaged.has_value()) << salvaged.error().text;
  EXPECT_EQ(salvaged->lost, 1u);
  EXPECT_EQ(rows_of(*salvaged->engine, damaged), 0u);
  EXPECT_FALSE(salvaged->engine->applied().contains(damaged.id));
  auto install = install_of(*salvaged->engine, damaged.id);
  ASSERT_TRUE(install);
  EXPECT_EQ(install->position, kMark);
  EXPECT_EQ(install->stream, 0u);
  for (const auto& other : partitions_)
    if (other.id != damaged.id) {
      EXPECT_EQ(salvaged->engine->applied().at(other.id), kMark);
      EXPECT_FALSE(install_of(*salvaged->engine, other.id));
    }
}

TEST_F(SalvageTest, OfAPartitionOfWhichNothingWasWrittenNothingIsLeft) {
  options_.salvage_batch_bytes = size_t{1} << 20;
  const partition::Descriptor damaged = partitions_[1];
  make_engine(damaged.id);
  auto salvaged = salvage();
  ASSERT_TRUE(salvaged.has_value()) << salvaged.error().text;
  EXPECT_EQ(salvaged->lost, 1u);
  EXPECT_EQ(rows_of(*salvaged->engine, damaged), 0u);
  EXPECT_FALSE(install_of(*salvaged->engine, damaged.id));
}

TEST_F(SalvageTest, WithoutRoomNothingIsGivenUp) {
  make_engine(std::nullopt);
  refused_ = "engine";
  for (int start = 0; start < 2; ++start) {
    auto salvaged = salvage();
    ASSERT_FALSE(salvaged.has_value());
    EXPECT_EQ(salvaged.error().code, ErrorCode::kNoSpace);
    EXPECT_NE(salvaged.error().text.find("free some space"), std::string::npos)
        << salvaged.error().text;
    disk_.fail_appends = 0;
    EXPECT_TRUE(noted());
    for (const auto& [path, bytes] : disk_.contents())
      EXPECT_FALSE(path.starts_with("engine/")) << path;
  }
  refused_ = "";
  expect_all_is_kept();
}

TEST_F(SalvageTest, AnEngineThatCannotBeOpenedNowIsNotGivenUp) {
  make_engine(std::nullopt);
  refused_ = "engine.old";
  for (ErrorCode code :
       {ErrorCode::kIo, ErrorCode::kInUse, ErrorCode::kVersion, ErrorCode::kNoSpace}) {
    refusal_ = Error(code, "permission denied");
    auto salvaged = salvage();
    ASSERT_FALSE(salvaged.has_value());
    EXPECT_EQ(salvaged.error().code, code);
    EXPECT_NE(salvaged.error().text.find("permission denied"), std::string::npos);
    EXPECT_NE(salvaged.error().text.find("engine.old"), std::string::npos);
    EXPECT_TRUE(noted());
  }
  refusal_.reset();
  refused_ = "";
  expect_all_is_kept();
}

TEST_F(SalvageTest, OneThatIsDamagedBeyondOpeningIsLost) {
  make_engine(std::nullopt);
  refused_ = "engine.old";
  refusal_ = Error(ErrorCode::kDamaged, "no list of tables");
  auto salvaged = salvage();
  ASSERT_TRUE(salvaged.has_value()) << salvaged.error().text;
  EXPECT_EQ(salvaged->kept, 0u);
  EXPECT_EQ(salvaged->lost, partitions_.size());
  EXPECT_TRUE(salvaged->engine->applied().empty());
  EXPECT_FALSE(noted());
}

// What the message says that one may do.
TEST_F(SalvageTest, AnEngineThatWasRemovedByHandIsLost) {
  make_engine(std::nullopt);
  refused_ = "engine.old";
  refusal_ = Error(ErrorCode::kIo, "permission denied");
  ASSERT_FALSE(salvage().has_value());
  run([&](Suspend s) { ASSERT_TRUE(remove_engine(s, disk_, "engine.old").has_value()); });
  refusal_.reset();
  refused_ = "";
  auto salvaged = salvage();
  ASSERT_TRUE(salvaged.has_value()) << salvaged.error().text;
  EXPECT_EQ(salvaged->lost, partitions_.size());
}

#ifdef KAHUNA_MUTANTS
class SalvageMutant : public SalvageTest {
 protected:
  ~SalvageMutant() override { set_active_mutant(""); }
  bool filled_ = false;
};

TEST_F(SalvageMutant, AnyErrorCountsAsLoss) {
  make_engine(std::nullopt);
  refused_ = "engine.old";
  refusal_ = Error(ErrorCode::kIo, "permission denied");
  set_active_mutant("salvage_gives_up_at_any_error");
  auto salvaged = salvage();
  ASSERT_TRUE(salvaged.has_value());
  EXPECT_EQ(salvaged->lost, partitions_.size());
}

TEST_F(SalvageMutant, WantOfRoomCountsAsLoss) {
  make_engine(std::nullopt);
  options_.open_engine = [this](Suspend s, Host& host, Fibers& fibers, const std::string& dir) {
    disk_.fail_appends = dir == "engine" && !std::exchange(filled_, true) ? 1'000'000 : 0;
    return engine::open_memory_engine(s, host, fibers, dir);
  };
  set_active_mutant("salvage_gives_up_for_want_of_room");
  auto salvaged = salvage();
  ASSERT_TRUE(salvaged.has_value());
  EXPECT_EQ(salvaged->lost, partitions_.size());
}

TEST_F(SalvageMutant, WhatWasWrittenOfAPartitionIsForgotten) {
  make_engine(partitions_[1].id);
  set_active_mutant("salvage_forgets_what_it_wrote");
  auto salvaged = salvage();
  ASSERT_TRUE(salvaged.has_value());
  EXPECT_FALSE(install_of(*salvaged->engine, partitions_[1].id));
}
#endif  // KAHUNA_MUTANTS

}  // namespace
}  // namespace kahuna::node
