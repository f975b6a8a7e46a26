// Engines and the state machine, without consensus: what one core can apply and read.
//
// RocksDB runs in its production mode on a temporary directory. The state machine's figures include
// encoding nothing: entries are encoded beforehand.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <deque>
#include <filesystem>
#include <optional>

#include "kahuna/engine/memory_engine.h"
#include "kahuna/engine/rocks_engine.h"
#include "kahuna/partition/position.h"
#include "kahuna/partition/state_machine.h"
#include "runtime/check.h"

namespace kahuna {
namespace {

class QueueScheduler final : public Scheduler {
 public:
  void post(Callback<void()> task) override { tasks_.push_back(std::move(task)); }
  void defer(Callback<void()> task) override { tasks_.push_back(std::move(task)); }
  void run() {
    while (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }

 private:
  std::deque<Callback<void()>> tasks_;
};

class NoClock final : public Clock {
 public:
  Time now() const override { return Time(); }
  WallTime wall() const override { return WallTime(); }
  TimerId call_at(Time, Callback<void()>) override { return 1; }
  void cancel(TimerId) override {}
};

class InlineOffload final : public Offload {
 public:
  explicit InlineOffload(Scheduler& scheduler) : scheduler_(scheduler) {}
  void run(Callback<void()> work, Callback<void()> done) override {
    work();
    scheduler_.post(std::move(done));
  }

 private:
  Scheduler& scheduler_;
};

class NativeDisk final : public Disk {
 public:
  void open(std::string, OpenOptions, Callback<void(Result<std::unique_ptr<File>>)>) override {}
  void rename(std::string, std::string, Done) override {}
  void remove(std::string, Done) override {}
  void list(std::string, Callback<void(Result<std::vector<std::string>>)>) override {}
  void make_dir(std::string, Done done) override { done({}); }
  void sync_dir(std::string, Done done) override { done({}); }
  std::string native_path(std::string_view path) const override { return std::string(path); }
};

class Bench {
 public:
  explicit Bench(bool rocks) {
    if (!rocks) {
      engine_ = engine::make_volatile_engine(scheduler_);
      return;
    }
    dir_ = (std::filesystem::temp_directory_path() / "kahuna-bench-XXXXXX").string();
    CHECK(mkdtemp(dir_.data()) != nullptr);
    fibers_.spawn("open", [this](Suspend suspend) {
      auto opened = engine::open_rocks_engine(suspend, host_, fibers_, {.dir = dir_});
      CHECK(opened.has_value());
      engine_ = std::move(*opened);
    });
    scheduler_.run();
  }
  ~Bench() {
    engine_.reset();
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }
  engine::Engine& engine() { return *engine_; }
  void write(const engine::WriteBatch& batch) {
    auto written = engine_->write(batch);
    CHECK(written.has_value());
    if (engine_->unflushed_bytes() < (size_t{16} << 20)) return;
    engine_->flush([](Result<> flushed) { CHECK(flushed.has_value()); });
    scheduler_.run();
  }

 private:
  QueueScheduler scheduler_;
  NoClock clock_;
  InlineOffload offload_{scheduler_};
  NativeDisk disk_;
  Host host_{.clock = &clock_,
             .scheduler = &scheduler_,
             .disk = &disk_,
             .network = nullptr,
             .offload = &offload_,
             .random_seed = 1};
  Fibers fibers_{clock_, scheduler_};
  std::string dir_;
  std::unique_ptr<engine::Engine> engine_;
};

constexpr size_t kRows = 100'000;
constexpr size_t kValueBytes = 128;

std::string row_of(uint64_t i) {
  return "\x20row/" + std::to_string(1'000'000 + i);
}

void fill(Bench& bench) {
  engine::WriteBatch batch;
  for (size_t i = 0; i < kRows; ++i) {
    batch.put(row_of(i), std::string(kValueBytes, 'v'));
    if (i % 100 != 99) continue;
    bench.write(batch);
    batch.clear();
  }
}

// Argument: rows per batch.
void engine_write(benchmark::State& state, bool rocks) {
  Bench bench(rocks);
  fill(bench);
  RandomStream random(1, "bench");
  std::string value(kValueBytes, 'v');
  engine::WriteBatch batch;
  for (auto _ : state) {
    batch.clear();
    for (int64_t i = 0; i < state.range(0); ++i) batch.put(row_of(random.below(kRows)), value);
    batch.set_applied({PartitionId(1), {Index(1), Term(1)}});
    bench.write(batch);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK_CAPTURE(engine_write, memory, false)->Arg(1)->Arg(64);
BENCHMARK_CAPTURE(engine_write, rocks, true)->Arg(1)->Arg(64);

void engine_first(benchmark::State& state, bool rocks) {
  Bench bench(rocks);
  fill(bench);
  RandomStream random(1, "bench");
  std::string row, value;
  for (auto _ : state) {
    auto found = bench.engine().first(row_of(random.below(kRows)), "\x21", row, value);
    CHECK(*found);
  }
}
BENCHMARK_CAPTURE(engine_first, memory, false);
BENCHMARK_CAPTURE(engine_first, rocks, true);

void engine_scan_100(benchmark::State& state, bool rocks) {
  Bench bench(rocks);
  fill(bench);
  RandomStream random(1, "bench");
  for (auto _ : state) {
    size_t rows = 0;
    auto scanned =
        bench.engine().scan(row_of(random.below(kRows - 100)), "\x21",
                            [&](std::string_view, std::string_view) { return ++rows < 100; });
    CHECK(scanned.has_value());
  }
}
BENCHMARK_CAPTURE(engine_scan_100, memory, false);
BENCHMARK_CAPTURE(engine_scan_100, rocks, true);

std::string key_of_user(uint64_t i) {
  return "bench/" + std::to_string(1'000'000 + i);
}

// Arguments: keys in use, entries per batch. Few keys stay in the cache of heads; many do not.
void apply_set(benchmark::State& state, bool rocks) {
  Bench bench(rocks);
  auto machine =
      partition::StateMachine::open(bench.engine(), partition::founding_descriptors(1)[1]);
  CHECK(machine.has_value());
  RandomStream random(1, "bench");
  uint64_t keys = uint64_t(state.range(0)), sequence = 0;
  std::vector<Payload> payloads;
  engine::WriteBatch batch;
  Index index(1);
  for (auto _ : state) {
    state.PauseTiming();
    payloads.clear();
    for (int64_t i = 0; i < state.range(1); ++i) {
      ++sequence;
      payloads.push_back(partition::encode(
          {.operation = {.client = 1, .sequence = sequence, .birth = machine->last_stamp()},
           .key = key_of_user(random.below(keys)),
           .value = std::string(kValueBytes, 'v')}));
    }
    state.ResumeTiming();
    for (Payload& payload : payloads) {
      index = index.next();
      auto reply = machine->apply({.index = index,
                                   .term = Term(1),
                                   .kind = raft::EntryKind::kCommand,
                                   .payload = std::move(payload)});
      CHECK(reply->outcome == partition::Outcome::kDone);
    }
    machine->collect(batch);
    bench.write(batch);
    batch.clear();
    machine->saved();
  }
  state.SetItemsProcessed(state.iterations() * state.range(1));
}
BENCHMARK_CAPTURE(apply_set, memory, false)->Args({1000, 256})->Args({1'000'000, 256});
BENCHMARK_CAPTURE(apply_set, rocks, true)->Args({1000, 256})->Args({1'000'000, 256});

// Argument: keys in use.
void get(benchmark::State& state, bool rocks) {
  Bench bench(rocks);
  auto machine =
      partition::StateMachine::open(bench.engine(), partition::founding_descriptors(1)[1]);
  uint64_t keys = uint64_t(state.range(0));
  engine::WriteBatch batch;
  for (uint64_t i = 0; i < keys; ++i) {
    auto reply = machine->apply(
        {.index = Index(i + 1),
         .term = Term(1),
         .kind = raft::EntryKind::kCommand,
         .payload = partition::encode(
             {.operation = {.client = 1, .sequence = i + 1, .birth = machine->last_stamp()},
              .key = key_of_user(i),
              .value = std::string(kValueBytes, 'v')})});
    CHECK(reply.has_value());
    if (i % 256 != 255 && i + 1 != keys) continue;
    machine->collect(batch);
    bench.write(batch);
    batch.clear();
    machine->saved();
  }
  RandomStream random(1, "bench");
  for (auto _ : state) {
    auto record = machine->get(key_of_user(random.below(keys)));
    CHECK(record->has_value());
  }
}
BENCHMARK_CAPTURE(get, memory, false)->Arg(1000)->Arg(200'000);
BENCHMARK_CAPTURE(get, rocks, true)->Arg(1000)->Arg(200'000);

}  // namespace
}  // namespace kahuna
