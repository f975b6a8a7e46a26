// RocksDB's Env in the simulator: files on a SyncFileSystem, time from it, and background work that
// is only queued. Nothing here starts a thread or asks the machine.
#pragma once

#include <rocksdb/env.h>

#include <deque>
#include <memory>
#include <utility>

#include "kahuna/engine/rocks_env.h"
#include "kahuna/engine/rocks_sim_files.h"
#include "runtime/callback.h"

namespace kahuna::engine {

class RocksSimEnv final : public rocksdb::Env {
 public:
  // `on_queued` is called whenever the queue stops being empty, from inside RocksDB: it may only
  // arrange for run_one() to be called later.
  RocksSimEnv(SyncFileSystem& files, Callback<void()> on_queued);
  ~RocksSimEnv() override;

  // Runs the oldest queued job, with no RocksDB call on the stack. False when there is none.
  bool run_one();
  bool idle() const { return jobs_.empty(); }
  // How long jobs wanted to sleep since this was last asked: they do before they try again.
  int64_t take_slept_micros() { return clock().take_slept_micros(); }

  void Schedule(void (*function)(void*), void* argument, Priority priority, void* tag,
                void (*unschedule)(void*)) override;
  int UnSchedule(void* tag, Priority priority) override;
  void StartThread(void (*)(void*), void*) override;

  const char* Name() const override { return "kahuna-sim"; }
  rocksdb::Status NewSequentialFile(const std::string& name,
                                    std::unique_ptr<rocksdb::SequentialFile>* result,
                                    const rocksdb::EnvOptions& options) override;
  rocksdb::Status NewRandomAccessFile(const std::string& name,
                                      std::unique_ptr<rocksdb::RandomAccessFile>* result,
                                      const rocksdb::EnvOptions& options) override;
  rocksdb::Status NewWritableFile(const std::string& name,
                                  std::unique_ptr<rocksdb::WritableFile>* result,
                                  const rocksdb::EnvOptions& options) override;
  rocksdb::Status NewDirectory(const std::string& name,
                               std::unique_ptr<rocksdb::Directory>* result) override;
  rocksdb::Status FileExists(const std::string& name) override;
  rocksdb::Status GetChildren(const std::string& dir, std::vector<std::string>* result) override;
  rocksdb::Status DeleteFile(const std::string& name) override;
  rocksdb::Status CreateDir(const std::string& name) override;
  rocksdb::Status CreateDirIfMissing(const std::string& name) override;
  rocksdb::Status DeleteDir(const std::string& name) override;
  rocksdb::Status GetFileSize(const std::string& name, uint64_t* size) override;
  rocksdb::Status GetFileModificationTime(const std::string& name, uint64_t* time) override;
  rocksdb::Status RenameFile(const std::string& from, const std::string& to) override;
  rocksdb::Status LockFile(const std::string& name, rocksdb::FileLock** lock) override;
  rocksdb::Status UnlockFile(rocksdb::FileLock* lock) override;
  rocksdb::Status GetAbsolutePath(const std::string& path, std::string* result) override;
  rocksdb::Status GetTestDirectory(std::string* path) override;
  rocksdb::Status GetHostName(char* name, uint64_t size) override;
  rocksdb::Status GetCurrentTime(int64_t* seconds) override;
  rocksdb::Status GetThreadList(std::vector<rocksdb::ThreadStatus>* list) override;
  std::string GenerateUniqueId() override;
  std::string TimeToString(uint64_t time) override;
  uint64_t NowMicros() override { return files_.now_micros(); }
  uint64_t NowNanos() override { return NowMicros() * 1000; }
  void SleepForMicroseconds(int micros) override { clock().SleepForMicroseconds(micros); }
  void WaitForJoin() override {}
  unsigned GetThreadPoolQueueLen(Priority) const override { return unsigned(jobs_.size()); }
  void SetBackgroundThreads(int, Priority) override {}
  int GetBackgroundThreads(Priority) override { return 1; }
  void IncBackgroundThreadsIfNeeded(int, Priority) override {}
  void LowerThreadPoolIOPriority(Priority) override {}

 private:
  RocksSimClock& clock() { return static_cast<RocksSimClock&>(*GetSystemClock()); }

  struct Job {
    void (*function)(void*);
    void* argument;
    void (*unschedule)(void*);
    void* tag;
    Priority priority;
  };
  SyncFileSystem& files_;
  Callback<void()> on_queued_;
  std::unique_ptr<rocksdb::Env> legacy_;  // forwards the older interface to our file system
  std::deque<Job> jobs_;
};

}  // namespace kahuna::engine
