#include "kahuna/engine/rocks_reads.h"

#include <array>
#include <string>
#include <utility>

#include "runtime/probe.h"

namespace kahuna::engine {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// Only what a disk reports: names that are missing, or room, are other matters.
bool failed(const IOStatus& status) {
  return status.IsIOError() && !status.IsPathNotFound() && !status.IsNoSpace();
}

template <class Read>
IOStatus persistent(const Read& read) {
  IOStatus status = read();
  for (int i = 1; i < kReadAttempts && failed(status); ++i) status = read();
  if (!failed(status)) return status;
  SOMETIMES(engine_finds_unreadable_bytes);
  return IOStatus::Corruption("cannot be read: " + status.ToString());
}

// Where a failed sequential read leaves the file is not said, so from then on it is read by
// position.
class SequentialFile final : public rocksdb::FSSequentialFileOwnerWrapper {
 public:
  SequentialFile(std::unique_ptr<rocksdb::FSSequentialFile> file,
                 std::shared_ptr<rocksdb::FileSystem> base, std::string name, FileOptions how)
      : FSSequentialFileOwnerWrapper(std::move(file)),
        base_(std::move(base)),
        name_(std::move(name)),
        how_(std::move(how)) {}
  IOStatus Read(size_t n, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* debug) override {
    IOStatus status;
    if (!by_position_) {
      status = FSSequentialFileOwnerWrapper::Read(n, options, result, scratch, debug);
      if (failed(status)) status = base_->NewRandomAccessFile(name_, how_, &by_position_, debug);
    }
    if (by_position_)
      status = persistent(
          [&] { return by_position_->Read(offset_, n, options, result, scratch, debug); });
    if (status.ok()) offset_ += result->size();
    return status;
  }
  IOStatus Skip(uint64_t n) override {
    offset_ += n;
    return by_position_ ? IOStatus::OK() : FSSequentialFileOwnerWrapper::Skip(n);
  }
  IOStatus PositionedRead(uint64_t offset, size_t n, const IOOptions& options, Slice* result,
                          char* scratch, IODebugContext* debug) override {
    return persistent([&] {
      return FSSequentialFileOwnerWrapper::PositionedRead(offset, n, options, result, scratch,
                                                          debug);
    });
  }

 private:
  std::shared_ptr<rocksdb::FileSystem> base_;
  const std::string name_;
  const FileOptions how_;
  uint64_t offset_ = 0;
  std::unique_ptr<rocksdb::FSRandomAccessFile> by_position_;
};

class RandomAccessFile final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  using FSRandomAccessFileOwnerWrapper::FSRandomAccessFileOwnerWrapper;
  IOStatus Read(uint64_t offset, size_t n, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* debug) const override {
    return persistent([&] {
      return FSRandomAccessFileOwnerWrapper::Read(offset, n, options, result, scratch, debug);
    });
  }
  IOStatus MultiRead(rocksdb::FSReadRequest* requests, size_t count, const IOOptions& options,
                     IODebugContext* debug) override {
    IOStatus status = FSRandomAccessFileOwnerWrapper::MultiRead(requests, count, options, debug);
    if (!status.ok()) return status;
    for (size_t i = 0; i < count; ++i) {
      rocksdb::FSReadRequest& request = requests[i];
      if (failed(request.status))
        request.status =
            Read(request.offset, request.len, options, &request.result, request.scratch, debug);
    }
    return status;
  }
};

class PersistentReads final : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "kahuna-persistent-reads"; }
  IOStatus NewSequentialFile(const std::string& name, const FileOptions& options,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                             IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSSequentialFile> file;
    IOStatus status = FileSystemWrapper::NewSequentialFile(name, options, &file, debug);
    // RocksDB makes another of these when there is none, and takes no other answer.
    if (status.ok() && name.ends_with("/IDENTITY") && !readable(name, options, debug))
      return IOStatus::PathNotFound("cannot be read: " + name);
    if (status.ok())
      *result = std::make_unique<SequentialFile>(std::move(file), target_, name, options);
    return status;
  }
  IOStatus NewRandomAccessFile(const std::string& name, const FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                               IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSRandomAccessFile> file;
    IOStatus status = FileSystemWrapper::NewRandomAccessFile(name, options, &file, debug);
    if (status.ok()) *result = std::make_unique<RandomAccessFile>(std::move(file));
    return status;
  }

 private:
  // Whether its beginning can be read.
  bool readable(const std::string& name, const FileOptions& options, IODebugContext* debug) {
    std::unique_ptr<rocksdb::FSRandomAccessFile> file;
    std::array<char, 512> bytes;
    Slice read;
    return NewRandomAccessFile(name, options, &file, debug).ok() &&
           file->Read(0, bytes.size(), IOOptions(), &read, bytes.data(), debug).ok();
  }
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> with_persistent_reads(
    std::shared_ptr<rocksdb::FileSystem> base) {
  return std::make_shared<PersistentReads>(std::move(base));
}

}  // namespace kahuna::engine
