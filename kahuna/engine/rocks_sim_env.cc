#include "kahuna/engine/rocks_sim_env.h"

#include "kahuna/engine/rocks_reads.h"
#include "kahuna/engine/rocks_sim_files.h"
#include "runtime/check.h"

namespace kahuna::engine {

using rocksdb::EnvOptions;
using rocksdb::Status;

RocksSimEnv::RocksSimEnv(SyncFileSystem& files, Callback<void()> on_queued)
    : Env(with_persistent_reads(make_rocks_files(files)), std::make_shared<RocksSimClock>(files)),
      files_(files),
      on_queued_(std::move(on_queued)),
      legacy_(rocksdb::NewCompositeEnv(GetFileSystem())) {}
RocksSimEnv::~RocksSimEnv() = default;

bool RocksSimEnv::run_one() {
  if (jobs_.empty()) return false;
  Job job = jobs_.front();
  jobs_.pop_front();
  job.function(job.argument);
  return true;
}

void RocksSimEnv::Schedule(void (*function)(void*), void* argument, Priority priority, void* tag,
                           void (*unschedule)(void*)) {
  jobs_.push_back({function, argument, unschedule, tag, priority});
  if (jobs_.size() == 1) on_queued_();
}

int RocksSimEnv::UnSchedule(void* tag, Priority priority) {
  int removed = 0;
  for (auto at = jobs_.begin(); at != jobs_.end();) {
    if (at->tag != tag || at->priority != priority) {
      ++at;
      continue;
    }
    Job job = *at;
    at = jobs_.erase(at);
    if (job.unschedule) job.unschedule(job.argument);
    ++removed;
  }
  return removed;
}

void RocksSimEnv::StartThread(void (*)(void*), void*) {
  UNREACHABLE("RocksDB wants a thread in the simulator");
}

Status RocksSimEnv::NewSequentialFile(const std::string& name,
                                      std::unique_ptr<rocksdb::SequentialFile>* result,
                                      const EnvOptions& options) {
  return legacy_->NewSequentialFile(name, result, options);
}
Status RocksSimEnv::NewRandomAccessFile(const std::string& name,
                                        std::unique_ptr<rocksdb::RandomAccessFile>* result,
                                        const EnvOptions& options) {
  return legacy_->NewRandomAccessFile(name, result, options);
}
Status RocksSimEnv::NewWritableFile(const std::string& name,
                                    std::unique_ptr<rocksdb::WritableFile>* result,
                                    const EnvOptions& options) {
  return legacy_->NewWritableFile(name, result, options);
}
Status RocksSimEnv::NewDirectory(const std::string& name,
                                 std::unique_ptr<rocksdb::Directory>* result) {
  return legacy_->NewDirectory(name, result);
}
Status RocksSimEnv::FileExists(const std::string& name) {
  return legacy_->FileExists(name);
}
Status RocksSimEnv::GetChildren(const std::string& dir, std::vector<std::string>* result) {
  return legacy_->GetChildren(dir, result);
}
Status RocksSimEnv::DeleteFile(const std::string& name) {
  return legacy_->DeleteFile(name);
}
Status RocksSimEnv::CreateDir(const std::string& name) {
  return legacy_->CreateDir(name);
}
Status RocksSimEnv::CreateDirIfMissing(const std::string& name) {
  return legacy_->CreateDirIfMissing(name);
}
Status RocksSimEnv::DeleteDir(const std::string& name) {
  return legacy_->DeleteDir(name);
}
Status RocksSimEnv::GetFileSize(const std::string& name, uint64_t* size) {
  return legacy_->GetFileSize(name, size);
}
Status RocksSimEnv::GetFileModificationTime(const std::string& name, uint64_t* time) {
  return legacy_->GetFileModificationTime(name, time);
}
Status RocksSimEnv::RenameFile(const std::string& from, const std::string& to) {
  return legacy_->RenameFile(from, to);
}
Status RocksSimEnv::LockFile(const std::string& name, rocksdb::FileLock** lock) {
  return legacy_->LockFile(name, lock);
}
Status RocksSimEnv::UnlockFile(rocksdb::FileLock* lock) {
  return legacy_->UnlockFile(lock);
}
Status RocksSimEnv::GetAbsolutePath(const std::string& path, std::string* result) {
  *result = path;
  return Status::OK();
}
Status RocksSimEnv::GetTestDirectory(std::string* path) {
  *path = "test";
  return Status::OK();
}
Status RocksSimEnv::GetHostName(char* name, uint64_t size) {
  CHECK_GE(size, 4u);
  std::string_view("sim").copy(name, 3);
  name[3] = '\0';
  return Status::OK();
}
Status RocksSimEnv::GetCurrentTime(int64_t* seconds) {
  *seconds = int64_t(files_.now_micros() / 1'000'000);
  return Status::OK();
}
Status RocksSimEnv::GetThreadList(std::vector<rocksdb::ThreadStatus>*) {
  return Status::OK();
}
std::string RocksSimEnv::GenerateUniqueId() {
  return "kahuna-sim";
}
std::string RocksSimEnv::TimeToString(uint64_t time) {
  return std::to_string(time);
}

}  // namespace kahuna::engine
