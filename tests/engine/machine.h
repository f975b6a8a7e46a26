// A machine with one engine on it: opens, flushes, crashes, reopens.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "kahuna/engine/memory_engine.h"
#include "kahuna/engine/rocks_engine.h"
#include "runtime/check.h"
#include "tests/engine/model_disk.h"
#include "tests/runtime/manual_loop.h"

namespace kahuna::engine {

// Runs blocking work at once; its completion is posted.
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

enum class Kind { kMemory, kRocksSimulated, kRocksReal };
inline void PrintTo(Kind kind, std::ostream* out) {
  *out << (kind == Kind::kMemory      ? "memory"
           : kind == Kind::kRocksReal ? "rocks"
                                      : "rocks simulated");
}

class Machine {
 public:
  explicit Machine(Kind kind, uint64_t seed = 1) : kind_(kind), seed_(seed) {
    if (kind == Kind::kRocksReal) {
      std::string pattern =
          (std::filesystem::temp_directory_path() / "kahuna-engine-XXXXXX").string();
      CHECK(mkdtemp(pattern.data()) != nullptr);
      options_.dir = pattern;
    }
    options_.write_buffer_bytes = 256 * 1024;
    options_.block_cache_bytes = 64 * 1024;
  }
  ~Machine() {
    engine_.reset();
    fibers_.reset();
    if (kind_ == Kind::kRocksReal) std::filesystem::remove_all(options_.dir);
  }

  Result<> try_open() {
    fibers_ = std::make_unique<Fibers>(loop_, loop_);
    std::optional<Result<>> result;
    fibers_->spawn("open", [&](Suspend suspend) {
      RocksOptions options = options_;
      if (kind_ == Kind::kRocksSimulated) options.simulated = &disk_;
      auto opened = kind_ == Kind::kMemory ? open_memory_engine(suspend, host_, *fibers_)
                                           : open_rocks_engine(suspend, host_, *fibers_, options);
      result = Result<>();
      if (opened)
        engine_ = std::move(*opened);
      else
        *result = fail(std::move(opened.error()));
    });
    loop_.settle();
    CHECK(result.has_value());
    return *result;
  }
  void open() {
    Result<> opened = try_open();
    if (!opened) check_failed(__FILE__, __LINE__, "open", opened.error().text);
  }
  void close() {
    engine_.reset();
    fibers_.reset();
    loop_.settle();
  }
  // Loss of power, possibly in the middle of a flush. `random` draws what survives.
  void crash(RandomStream* random = nullptr) {
    disk_.kill();
    close();
    disk_.revive(random);
  }
  // A flush in the middle of which the process dies: after so many calls of the disk.
  void die_in_flush(int calls) {
    disk_.dies_after = calls;
    engine_->flush([](Result<>) {});
    loop_.advance(Duration::seconds(2));
    disk_.kill();
    close();
    disk_.revive_process();
  }
  Result<> flush() {
    std::optional<Result<>> result;
    engine_->flush([&](Result<> flushed) { result = std::move(flushed); });
    settle(result);
    return *result;
  }
  Result<uint64_t> scrub() {
    std::optional<Result<uint64_t>> result;
    fibers_->spawn("scrub",
                   [&](Suspend suspend) { result = engine_->scrub(suspend, size_t{1} << 20); });
    for (int i = 0; i < 100 && !result; ++i) loop_.settle(), loop_.advance(Duration::seconds(1));
    CHECK(result.has_value());
    return *result;
  }
  // RocksDB's own threads do not end settle(); only its flushes matter here and those are inline.
  void settle(const std::optional<Result<>>& result) {
    loop_.settle();
    if (!result) loop_.advance(Duration::seconds(2));  // after an error RocksDB rests for a second
    CHECK(result.has_value());
  }
  Engine& engine() { return *engine_; }
  ModelDisk& disk() { return disk_; }
  ManualLoop& loop() { return loop_; }
  Kind kind() const { return kind_; }
  RocksOptions& options() { return options_; }

 private:
  Kind kind_;
  uint64_t seed_;
  RocksOptions options_;
  ManualLoop loop_;
  ModelDisk disk_{loop_};
  InlineOffload offload_{loop_};
  Host host_{.clock = &loop_,
             .scheduler = &loop_,
             .disk = &disk_,
             .network = nullptr,
             .offload = &offload_,
             .random_seed = seed_};
  std::unique_ptr<Fibers> fibers_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace kahuna::engine
