// RocksDB's FileSystem and SystemClock over a SyncFileSystem.
#pragma once

#include <rocksdb/file_system.h>
#include <rocksdb/system_clock.h>

#include <memory>
#include <string>
#include <utility>

#include "kahuna/engine/rocks_env.h"

namespace kahuna::engine {

std::shared_ptr<rocksdb::FileSystem> make_rocks_files(SyncFileSystem& files);

// The file system's time. Nobody sleeps: it is added up how long they wanted to.
class RocksSimClock final : public rocksdb::SystemClock {
 public:
  explicit RocksSimClock(SyncFileSystem& files) : files_(files) {}
  const char* Name() const override { return "kahuna-sim"; }
  uint64_t NowMicros() override { return files_.now_micros(); }
  void SleepForMicroseconds(int micros) override { slept_micros_ += micros; }
  rocksdb::Status GetCurrentTime(int64_t* seconds) override {
    *seconds = int64_t(files_.now_micros() / 1'000'000);
    return rocksdb::Status::OK();
  }
  std::string TimeToString(uint64_t time) override { return std::to_string(time); }
  int64_t take_slept_micros() { return std::exchange(slept_micros_, 0); }

 private:
  SyncFileSystem& files_;
  int64_t slept_micros_ = 0;
};

}  // namespace kahuna::engine
