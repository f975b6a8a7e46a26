// One suite for every engine (kahuna/engine/engine.h).
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "kahuna/engine/ordered_rows.h"
#include "tests/engine/machine.h"

namespace kahuna::engine {
namespace {

using Rows = std::map<std::string, std::string>;

std::string version_row(std::string_view position, uint8_t age) {
  std::string row = std::string(1, char(RowKind::kRecord)) + std::string(position);
  row.push_back(char(0xff - age));  // newer sorts first
  return row + std::string(kVersionSuffixBytes - 1, '\0');
}

// Without superseded rows, which an engine may or may not have dropped.
Rows normal(const Rows& rows) {
  Rows kept;
  std::string previous;
  for (const auto& [row, value] : rows) {
    std::string position(record_position(row));
    if (!position.empty() && position == previous) continue;
    previous = position;
    kept[row] = value;
  }
  return kept;
}

// All but the marks, which an engine may keep as rows.
Rows rows_of(Engine& engine) {
  Rows rows;
  CHECK(engine
            .scan("\x02", "\xff",
                  [&](std::string_view row, std::string_view value) {
                    rows[std::string(row)] = std::string(value);
                    return true;
                  })
            .has_value());
  return normal(rows);
}

class EngineContract : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override { machine_.open(); }
  Engine& engine() { return machine_.engine(); }
  void put(std::string_view row, std::string_view value) {
    WriteBatch batch;
    batch.put(row, value);
    ASSERT_TRUE(engine().write(batch).has_value());
  }
  Machine machine_{GetParam()};
};

TEST_P(EngineContract, WritesAreVisibleAtOnceAndLaterOperationsWin) {
  WriteBatch batch;
  batch.put(
      "\x30"
      "a",
      "1");
  batch.put(
      "\x30"
      "b",
      "1");
  batch.put(
      "\x30"
      "a",
      "2");
  batch.remove(
      "\x30"
      "b");
  batch.remove(
      "\x30"
      "never");
  ASSERT_TRUE(engine().write(batch).has_value());
  EXPECT_EQ(rows_of(engine()), (Rows{{"\x30"
                                      "a",
                                      "2"}}));
  std::string value;
  EXPECT_TRUE(
      *engine().get("\x30"
                    "a",
                    value));
  EXPECT_EQ(value, "2");
  EXPECT_FALSE(
      *engine().get("\x30"
                    "b",
                    value));
}

TEST_P(EngineContract, StartWriteIsAWriteWithItsWorkElsewhere) {
  auto batch = std::make_shared<WriteBatch>();
  batch->put("\x30 one", "1");
  batch->set_applied({PartitionId(1), {Index(7), Term(2)}});
  std::optional<Result<>> done;
  engine().start_write(batch, [&](Result<> result) { done = std::move(result); });
  EXPECT_FALSE(done.has_value());
  machine_.settle(done);
  ASSERT_TRUE(done.has_value() && done->has_value());
  EXPECT_EQ(rows_of(engine()), (Rows{{"\x30 one", "1"}}));
  EXPECT_EQ(engine().applied().at(PartitionId(1)).index, Index(7));
  EXPECT_GT(engine().unflushed_bytes(), 0u);
}

TEST_P(EngineContract, RemovesRangesInTheOrderOfTheBatch) {
  for (char c = 'a'; c <= 'f'; ++c) put(std::string("\x30") + c, "old");
  WriteBatch batch;
  batch.put("\x30z", "1");
  batch.put(
      "\x30"
      "b2",
      "gone");
  batch.remove_range(
      "\x30"
      "b",
      "\x30"
      "e");
  batch.put(
      "\x30"
      "c",
      "new");
  ASSERT_TRUE(engine().write(batch).has_value());
  Rows expected = {{"\x30"
                    "a",
                    "old"},
                   {"\x30"
                    "c",
                    "new"},
                   {"\x30"
                    "e",
                    "old"},
                   {"\x30"
                    "f",
                    "old"},
                   {"\x30z", "1"}};
  EXPECT_EQ(rows_of(engine()), expected);
  ASSERT_TRUE(machine_.flush().has_value());
  machine_.crash();
  machine_.open();
  EXPECT_EQ(rows_of(engine()), expected);
}

TEST_P(EngineContract, AViewStaysAsItWas) {
  put("\x30 row", "1");
  WriteBatch first;
  first.set_applied({PartitionId(1), {Index(5), Term(1)}});
  ASSERT_TRUE(engine().write(first).has_value());
  auto view = engine().view({{"\x30", "\x31"}});
  WriteBatch later;
  later.remove_range("\x30", "\x31");
  later.put("\x30 other", "2");
  later.set_applied({PartitionId(1), {Index(9), Term(2)}});
  ASSERT_TRUE(engine().write(later).has_value());
  ASSERT_TRUE(machine_.flush().has_value());
  Rows seen;
  ASSERT_TRUE(view->scan("\x30", "\x31",
                         [&](std::string_view row, std::string_view value) {
                           seen[std::string(row)] = std::string(value);
                           return true;
                         })
                  .has_value());
  EXPECT_EQ(seen, (Rows{{"\x30 row", "1"}}));
  EXPECT_EQ(view->applied()->at(PartitionId(1)).index, Index(5));
}

TEST_P(EngineContract, AViewKeepsWhatIsSupersededLater) {
  const std::string older = version_row("key", 1), newer = version_row("key", 2);
  put(older, "1");
  ASSERT_TRUE(machine_.flush().has_value());
  auto view = engine().view({{"\x10", "\x11"}});
  for (int i = 0; i < 20; ++i) {  // enough of them that files are compacted
    put(newer, "2");
    put(version_row("other", uint8_t(i)), "x");
    ASSERT_TRUE(machine_.flush().has_value());
  }
  Rows seen;
  ASSERT_TRUE(view->scan("\x10", "\x11",
                         [&](std::string_view row, std::string_view value) {
                           seen[std::string(row)] = std::string(value);
                           return true;
                         })
                  .has_value());
  EXPECT_EQ(seen, (Rows{{older, "1"}}));
}

TEST_P(EngineContract, FirstFindsTheFirstRowOfARange) {
  put("\x20"
      "b",
      "1");
  put("\x20"
      "d",
      "2");
  std::string row, value;
  EXPECT_TRUE(
      *engine().first("\x20"
                      "a",
                      "\x20"
                      "z",
                      row, value));
  EXPECT_EQ(row,
            "\x20"
            "b");
  EXPECT_EQ(value, "1");
  EXPECT_TRUE(
      *engine().first("\x20"
                      "b",
                      "\x20"
                      "c",
                      row, value));
  EXPECT_EQ(row,
            "\x20"
            "b");
  EXPECT_FALSE(
      *engine().first("\x20"
                      "c",
                      "\x20"
                      "d",
                      row, value));
  EXPECT_FALSE(
      *engine().first("\x20"
                      "e",
                      "\x20"
                      "z",
                      row, value));
}

TEST_P(EngineContract, ScanStopsWhenToldAndAtTheEnd) {
  for (char c = 'a'; c <= 'f'; ++c) put(std::string("\x20") + c, "v");
  std::string seen;
  auto collect = [&](size_t limit) {
    return [&seen, limit](std::string_view row, std::string_view) {
      seen.push_back(row[1]);
      return seen.size() < limit;
    };
  };
  ASSERT_TRUE(engine()
                  .scan("\x20"
                        "b",
                        "\x20"
                        "e",
                        collect(100))
                  .has_value());
  EXPECT_EQ(seen, "bcd");
  seen.clear();
  ASSERT_TRUE(engine()
                  .scan("\x20"
                        "b",
                        "\x20"
                        "e",
                        collect(2))
                  .has_value());
  EXPECT_EQ(seen, "bc");
}

TEST_P(EngineContract, NewestVersionSortsFirstAndScansMaySkipTheRest) {
  for (uint8_t age = 1; age <= 100; ++age) put(version_row("k1", age), std::to_string(age));
  put(version_row("k2", 1), "x");
  std::string row, value;
  EXPECT_TRUE(
      *engine().first("\x10"
                      "k1",
                      "\x10"
                      "k2",
                      row, value));
  EXPECT_EQ(value, "100");
  Rows rows = rows_of(engine());
  EXPECT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[version_row("k1", 100)], "100");
  EXPECT_EQ(rows[version_row("k2", 1)], "x");
}

TEST_P(EngineContract, MarksFollowWritesAndFlushes) {
  WriteBatch batch;
  batch.put(
      "\x30"
      "a",
      "1");
  batch.set_applied({PartitionId(3), {Index(7), Term(2)}});
  ASSERT_TRUE(engine().write(batch).has_value());
  raft::LogPosition mark{Index(7), Term(2)};
  EXPECT_EQ(engine().applied().at(PartitionId(3)), mark);
  EXPECT_TRUE(engine().flushed().empty());
  EXPECT_GT(engine().unflushed_bytes(), 0u);
  ASSERT_TRUE(machine_.flush().has_value());
  EXPECT_EQ(engine().flushed().at(PartitionId(3)), mark);
  EXPECT_EQ(engine().unflushed_bytes(), 0u);
  machine_.close();
  machine_.open();
  EXPECT_EQ(engine().applied().at(PartitionId(3)), mark);
  EXPECT_EQ(engine().flushed(), engine().applied());
}

TEST_P(EngineContract, AMarkAloneIsFlushed) {
  WriteBatch batch;
  batch.set_applied({PartitionId(3), {Index(9), Term(2)}});
  ASSERT_TRUE(engine().write(batch).has_value());
  ASSERT_TRUE(machine_.flush().has_value());
  machine_.close();
  machine_.open();
  EXPECT_EQ(engine().applied().at(PartitionId(3)).index, Index(9));
}

TEST_P(EngineContract, OneFlushAtATimeAndEmptyOnesComplete) {
  ASSERT_TRUE(machine_.flush().has_value());
  put("\x30"
      "a",
      "1");
  int completed = 0;
  std::optional<Result<>> second;
  engine().flush([&](Result<> result) { completed += result.has_value(); });
  engine().flush([&](Result<> result) { second = result; });
  EXPECT_EQ(completed, 0);
  EXPECT_FALSE(second.has_value());
  machine_.loop().settle();
  EXPECT_EQ(completed, 1);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->error().code, ErrorCode::kOverloaded);
  ASSERT_TRUE(machine_.flush().has_value());
}

TEST_P(EngineContract, WritesDuringAFlushBelongToTheNextOne) {
  WriteBatch batch;
  batch.set_applied({PartitionId(1), {Index(1), Term(1)}});
  ASSERT_TRUE(engine().write(batch).has_value());
  std::optional<Result<>> result;
  engine().flush([&](Result<> flushed) { result = flushed; });
  batch.set_applied({PartitionId(1), {Index(2), Term(1)}});
  ASSERT_TRUE(engine().write(batch).has_value());
  machine_.settle(result);
  EXPECT_EQ(engine().flushed().at(PartitionId(1)).index, Index(1));
  ASSERT_TRUE(machine_.flush().has_value());
  EXPECT_EQ(engine().flushed().at(PartitionId(1)).index, Index(2));
}

TEST_P(EngineContract, ADestroyedEngineForgetsItsFlush) {
  put("\x30"
      "a",
      "1");
  bool called = false;
  engine().flush([&](Result<>) { called = true; });
  machine_.close();
  EXPECT_FALSE(called);
}

// Random histories against a map; crashes must leave a cut (E2, E3).
void check_history(Kind kind, bool crashes) {
  Machine machine(kind, 1);
  machine.open();
  // states[i]: rows after i writes; write i marks index i.
  std::vector<Rows> states{{}};
  size_t durable = 0;
  RandomStream random(*rc::gen::arbitrary<uint64_t>(), "crash");
  bool full = false;  // a flush found the disk full, and none succeeded since
  size_t steps = *rc::gen::inRange<size_t>(1, kind == Kind::kRocksReal ? 10 : 60);
  for (size_t step = 0; step < steps; ++step) {
    switch (*rc::gen::weightedElement<char>({{12, 'w'}, {3, 'f'}, {1, 'c'}, {1, 'p'}, {2, 'n'}})) {
      case 'w': {
        Rows rows = states.back();
        WriteBatch batch;
        for (size_t i = *rc::gen::inRange<size_t>(0, 8); i > 0; --i) {
          std::string key(1, *rc::gen::inRange<char>('a', 'f'));
          std::string value =
              std::string(*rc::gen::inRange<size_t>(0, 3000), 'v') + std::to_string(i);
          switch (*rc::gen::inRange(0, 4)) {
            case 0: {
              std::string row = version_row(key, *rc::gen::inRange<uint8_t>(0, 200));
              batch.put(row, value);
              rows[row] = value;
              break;
            }
            case 1:
              // The whole position goes (K3).
              for (auto it = rows.begin(); it != rows.end();) {
                bool hit = record_position(it->first) == "\x10" + key;
                if (hit) batch.remove(it->first);
                it = hit ? rows.erase(it) : std::next(it);
              }
              break;
            case 2:
              batch.put("\x20" + key, value);
              rows["\x20" + key] = value;
              break;
            default: batch.remove("\x20" + key); rows.erase("\x20" + key);
          }
        }
        batch.set_applied({PartitionId(1), {Index(states.size()), Term(1)}});
        auto written = machine.engine().write(batch);
        if (!written) {
          RC_ASSERT(full);
          machine.disk().fail_appends = 0;
          RC_ASSERT(machine.flush().has_value());
          durable = states.size() - 1;
          full = false;
          written = machine.engine().write(batch);
        }
        RC_ASSERT(written.has_value());
        states.push_back(std::move(rows));
        break;
      }
      case 'n': {  // the disk is full for a while
        if (kind == Kind::kRocksReal) break;
        machine.disk().pass_appends = *rc::gen::inRange(0, 8);
        machine.disk().fail_appends = *rc::gen::inRange(1, 4);
        auto flushed = machine.flush();
        if (flushed)
          durable = states.size() - 1;
        else
          RC_ASSERT(flushed.error().code == ErrorCode::kNoSpace);
        full = !flushed;
        RC_ASSERT(rows_of(machine.engine()) == normal(states.back()));
        if (*rc::gen::arbitrary<bool>()) machine.disk().fail_appends = 0;
        break;
      }
      case 'f':
        machine.disk().fail_appends = 0;
        RC_ASSERT(machine.flush().has_value());
        durable = states.size() - 1;
        break;
      case 'p':  // a flush that the crash will meet half way, or the next step completes
        machine.engine().flush([&, cut = states.size() - 1](Result<> result) {
          if (result) durable = cut;
        });
        if (*rc::gen::arbitrary<bool>() || !crashes)
          machine.loop().advance(Duration::seconds(2));  // a rest included
        if (!crashes) break;
        [[fallthrough]];
      default: {
        machine.disk().fail_appends = 0;
        full = false;
        if (!crashes) {
          RC_ASSERT(machine.flush().has_value());
          durable = states.size() - 1;
          machine.close();
        } else if (*rc::gen::arbitrary<bool>()) {
          machine.crash(&random);
        } else {
          machine.crash();
        }
        machine.open();
        const auto& applied = machine.engine().applied();
        size_t cut = applied.empty() ? 0 : applied.at(PartitionId(1)).index.value();
        RC_ASSERT(cut >= durable);
        RC_ASSERT(cut < states.size());
        states.resize(cut + 1);
        durable = cut;
      }
    }
    RC_ASSERT(rows_of(machine.engine()) == normal(states.back()));
  }
}

TEST_P(EngineContract, BehavesLikeAMap) {
  ASSERT_TRUE(rc::check([&] { check_history(GetParam(), false); }));
}

INSTANTIATE_TEST_SUITE_P(Engines, EngineContract,
                         testing::Values(Kind::kMemory, Kind::kRocksSimulated, Kind::kRocksReal),
                         [](const auto& info) {
                           return info.param == Kind::kMemory      ? "Memory"
                                  : info.param == Kind::kRocksReal ? "RocksReal"
                                                                   : "RocksSimulated";
                         });

class EngineCrash : public testing::TestWithParam<Kind> {};

TEST_P(EngineCrash, LeavesExactlyACut) {
  ASSERT_TRUE(rc::check([&] { check_history(GetParam(), true); }));
}

TEST_P(EngineCrash, LosesWhatWasNotFlushedAndKeepsWhatWas) {
  Machine machine(GetParam());
  machine.open();
  auto write = [&](uint64_t index) {
    WriteBatch batch;
    batch.put("\x20" + std::to_string(index), "v");
    batch.set_applied({PartitionId(1), {Index(index), Term(1)}});
    ASSERT_TRUE(machine.engine().write(batch).has_value());
  };
  write(1);
  write(2);
  ASSERT_TRUE(machine.flush().has_value());
  write(3);
  machine.crash();
  machine.open();
  EXPECT_EQ(machine.engine().applied().at(PartitionId(1)).index, Index(2));
  EXPECT_EQ(rows_of(machine.engine()), (Rows{{"\x20"
                                              "1",
                                              "v"},
                                             {"\x20"
                                              "2",
                                              "v"}}));
}

// What an engine shows after opening counts as flushed: journals are cut on its word.
TEST_P(EngineCrash, WhatItShowsAfterADeadProcessSurvivesALossOfPower) {
  for (int calls = 0; calls < 40; ++calls) {
    Machine machine(GetParam());
    machine.open();
    auto write = [&](uint64_t index) {
      WriteBatch batch;
      batch.put("\x20" + std::to_string(index), "v");
      batch.set_applied({PartitionId(1), {Index(index), Term(1)}});
      ASSERT_TRUE(machine.engine().write(batch).has_value());
    };
    write(1);
    ASSERT_TRUE(machine.flush().has_value());
    write(2);
    machine.die_in_flush(calls);
    machine.open();
    Index shown = machine.engine().flushed().at(PartitionId(1)).index;
    machine.crash();
    machine.open();
    EXPECT_GE(machine.engine().applied().at(PartitionId(1)).index, shown) << calls << " calls";
  }
}

TEST_P(EngineCrash, AFailedSyncBreaksTheEngine) {
  Machine machine(GetParam());
  machine.open();
  WriteBatch batch;
  batch.put(
      "\x20"
      "a",
      "v");
  ASSERT_TRUE(machine.engine().write(batch).has_value());
  machine.disk().fail_syncs = 1;
  EXPECT_EQ(machine.flush().error().code, ErrorCode::kIo);
  EXPECT_TRUE(machine.engine().flushed().empty());
  EXPECT_EQ(machine.engine().write(batch).error().code, ErrorCode::kIo);
  EXPECT_EQ(machine.flush().error().code, ErrorCode::kIo);
}

TEST_P(EngineCrash, DamageIsFoundAtOpenOrAtRead) {
  Machine machine(GetParam());
  machine.open();
  WriteBatch batch;
  batch.put(
      "\x20"
      "a",
      std::string(10'000, 'v'));
  ASSERT_TRUE(machine.engine().write(batch).has_value());
  ASSERT_TRUE(machine.flush().has_value());
  machine.close();
  for (const auto& [name, bytes] : machine.disk().contents())
    if (name.ends_with(".sst") || name.ends_with(".full")) machine.disk().damage(name, 60);
  Result<> opened = machine.try_open();
  if (!opened) {
    EXPECT_EQ(opened.error().code, ErrorCode::kDamaged);
    return;
  }
  std::string value;
  EXPECT_EQ(machine.engine()
                .get("\x20"
                     "a",
                     value)
                .error()
                .code,
            ErrorCode::kDamaged);
}

// Whatever of its files rots while the engine is open, memory having all that it needs of them.
TEST_P(EngineCrash, ScrubbingFindsWhatRotsBeneathAnOpenEngine) {
  Machine machine(GetParam());
  machine.open();
  EXPECT_TRUE(machine.scrub().has_value());
  for (char c : {'a', 'b', 'c'}) {
    WriteBatch batch;
    batch.put(std::string("\x20") + c, std::string(10'000, c));
    ASSERT_TRUE(machine.engine().write(batch).has_value());
    ASSERT_TRUE(machine.flush().has_value());
  }
  auto whole = machine.scrub();
  ASSERT_TRUE(whole.has_value()) << whole.error().text;
  EXPECT_GT(*whole, 100u);
  size_t tried = 0;
  for (const auto& [name, bytes] : machine.disk().contents()) {
    if (!name.starts_with("engine/") || bytes.empty() || name.find("OPTIONS") != name.npos ||
        name.ends_with("LOCK") || name.ends_with("IDENTITY") || name.ends_with(".log"))
      continue;
    for (size_t at : {size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
      machine.disk().damage(name, at);
      auto found = machine.scrub();
      ++tried;
      ASSERT_FALSE(found.has_value()) << name << " at " << at;
      EXPECT_EQ(found.error().code, ErrorCode::kDamaged)
          << name << " at " << at << ": " << found.error().text;
      machine.disk().damage(name, at);  // as it was
    }
    ASSERT_TRUE(machine.scrub().has_value()) << name;
  }
  EXPECT_GE(tried, 9u);
}

void fail_reads(Machine& machine, int times) {
  for (const auto& [name, bytes] : machine.disk().contents())
    if (name.starts_with("engine/")) machine.disk().fail_reads(name, times);
}

// A sector that cannot be read will not be readable at the next start either.
TEST_P(EngineCrash, WhatCannotBeReadIsDamage) {
  Machine machine(GetParam());
  machine.open();
  WriteBatch batch;
  batch.put(" a", std::string(10'000, 'v'));
  ASSERT_TRUE(machine.engine().write(batch).has_value());
  ASSERT_TRUE(machine.flush().has_value());
  machine.close();
  fail_reads(machine, -1);
  Result<> opened = machine.try_open();
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ErrorCode::kDamaged) << opened.error().text;
}

TEST_P(EngineCrash, AReadThatFailsAtTimesIsTriedAgain) {
  Machine machine(GetParam());
  machine.open();
  WriteBatch batch;
  batch.put(" a", std::string(10'000, 'v'));
  ASSERT_TRUE(machine.engine().write(batch).has_value());
  ASSERT_TRUE(machine.flush().has_value());
  machine.close();
  fail_reads(machine, 2);
  machine.open();
  fail_reads(machine, 2);
  std::string value;
  EXPECT_TRUE(machine.engine().get(" a", value).value_or(false));
  EXPECT_EQ(value.size(), 10'000u);
}

INSTANTIATE_TEST_SUITE_P(Engines, EngineCrash,
                         testing::Values(Kind::kMemory, Kind::kRocksSimulated),
                         [](const auto& info) {
                           return info.param == Kind::kMemory ? "Memory" : "RocksSimulated";
                         });

}  // namespace
}  // namespace kahuna::engine
