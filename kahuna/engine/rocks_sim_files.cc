#include "kahuna/engine/rocks_sim_files.h"

#include <utility>

namespace kahuna::engine {

namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

IOStatus status_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotFound: return IOStatus::PathNotFound(error.text);
    case ErrorCode::kNoSpace: return IOStatus::NoSpace(error.text);
    case ErrorCode::kDamaged: return IOStatus::Corruption(error.text);
    default: return IOStatus::IOError(error.text);
  }
}
template <class T>
IOStatus status_of(const Result<T>& result) {
  return result ? IOStatus::OK() : status_of(result.error());
}

MutableByteView scratch_view(char* scratch, size_t n) {
  return {reinterpret_cast<std::byte*>(scratch), n};
}

// RocksDB joins paths with one slash more here and there.
std::string clean(const std::string& path) {
  std::string out;
  for (char c : path)
    if (c != '/' || (!out.empty() && out.back() != '/')) out.push_back(c);
  if (!out.empty() && out.back() == '/') out.pop_back();
  return out;
}

class SequentialFile final : public rocksdb::FSSequentialFile {
 public:
  explicit SequentialFile(std::unique_ptr<SyncFile> file) : file_(std::move(file)) {}
  IOStatus Read(size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) override {
    auto got = file_->read_at(offset_, scratch_view(scratch, n));
    *result = Slice(scratch, got.value_or(0));
    offset_ += result->size();
    return status_of(got);
  }
  IOStatus Skip(uint64_t n) override {
    offset_ += n;
    return IOStatus::OK();
  }

 private:
  std::unique_ptr<SyncFile> file_;
  uint64_t offset_ = 0;
};

class RandomAccessFile final : public rocksdb::FSRandomAccessFile {
 public:
  explicit RandomAccessFile(std::unique_ptr<SyncFile> file) : file_(std::move(file)) {}
  IOStatus Read(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    auto got = file_->read_at(offset, scratch_view(scratch, n));
    *result = Slice(scratch, got.value_or(0));
    return status_of(got);
  }

 private:
  std::unique_ptr<SyncFile> file_;
};

class WritableFile final : public rocksdb::FSWritableFile {
 public:
  explicit WritableFile(std::unique_ptr<SyncFile> file) : file_(std::move(file)) {}
  using FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    return status_of(file_->append(as_bytes(data.ToStringView())));
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return status_of(file_->sync()); }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return file_->size(); }

 private:
  std::unique_ptr<SyncFile> file_;
};

class Directory final : public rocksdb::FSDirectory {
 public:
  Directory(SyncFileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}
  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return status_of(files_.sync_dir(path_));
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  SyncFileSystem& files_;
  std::string path_;
};

// One process per simulated disk: nothing to exclude.
class Lock final : public rocksdb::FileLock {};

class Files final : public rocksdb::FileSystem {
 public:
  explicit Files(SyncFileSystem& files) : files_(files) {}
  const char* Name() const override { return "kahuna-sim"; }

  IOStatus NewSequentialFile(const std::string& name, const FileOptions&,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                             IODebugContext*) override {
    return opened<SequentialFile>(files_.open_to_read(clean(name)), result);
  }
  IOStatus NewRandomAccessFile(const std::string& name, const FileOptions&,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                               IODebugContext*) override {
    return opened<RandomAccessFile>(files_.open_to_read(clean(name)), result);
  }
  IOStatus NewWritableFile(const std::string& name, const FileOptions&,
                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                           IODebugContext*) override {
    return opened<WritableFile>(files_.create(clean(name)), result);
  }
  IOStatus ReopenWritableFile(const std::string& name, const FileOptions&,
                              std::unique_ptr<rocksdb::FSWritableFile>* result,
                              IODebugContext*) override {
    return opened<WritableFile>(files_.open_to_append(clean(name)), result);
  }
  IOStatus ReuseWritableFile(const std::string& name, const std::string& old_name,
                             const FileOptions& options,
                             std::unique_ptr<rocksdb::FSWritableFile>* result,
                             IODebugContext* debug) override {
    if (auto moved = files_.rename(clean(old_name), clean(name)); !moved) return status_of(moved);
    return NewWritableFile(name, options, result, debug);
  }
  IOStatus NewDirectory(const std::string& name, const IOOptions&,
                        std::unique_ptr<rocksdb::FSDirectory>* result, IODebugContext*) override {
    *result = std::make_unique<Directory>(files_, clean(name));
    return IOStatus::OK();
  }
  IOStatus FileExists(const std::string& name, const IOOptions&, IODebugContext*) override {
    auto exists = files_.exists(clean(name));
    return exists && !*exists ? IOStatus::NotFound() : status_of(exists);
  }
  IOStatus GetChildren(const std::string& dir, const IOOptions&, std::vector<std::string>* result,
                       IODebugContext*) override {
    auto names = files_.list(clean(dir));
    if (names) *result = std::move(*names);
    return status_of(names);
  }
  IOStatus DeleteFile(const std::string& name, const IOOptions&, IODebugContext*) override {
    return status_of(files_.remove(clean(name)));
  }
  IOStatus CreateDir(const std::string& name, const IOOptions&, IODebugContext*) override {
    return status_of(files_.make_dir(clean(name)));
  }
  IOStatus CreateDirIfMissing(const std::string& name, const IOOptions&, IODebugContext*) override {
    return status_of(files_.make_dir(clean(name)));
  }
  IOStatus DeleteDir(const std::string& name, const IOOptions&, IODebugContext*) override {
    return status_of(files_.remove_dir(clean(name)));
  }
  IOStatus GetFileSize(const std::string& name, const IOOptions&, uint64_t* size,
                       IODebugContext*) override {
    auto got = files_.size_of(clean(name));
    *size = got.value_or(0);
    return status_of(got);
  }
  IOStatus GetFileModificationTime(const std::string&, const IOOptions&, uint64_t* time,
                                   IODebugContext*) override {
    *time = files_.now_micros() / 1'000'000;
    return IOStatus::OK();
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&,
                      IODebugContext*) override {
    return status_of(files_.rename(clean(from), clean(to)));
  }
  IOStatus LockFile(const std::string& name, const IOOptions&, rocksdb::FileLock** lock,
                    IODebugContext*) override {
    auto file = files_.open_to_append(clean(name));
    *lock = file ? new Lock : nullptr;
    return status_of(file);
  }
  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions&, IODebugContext*) override {
    delete lock;
    return IOStatus::OK();
  }
  IOStatus GetTestDirectory(const IOOptions&, std::string* path, IODebugContext*) override {
    *path = "test";
    return IOStatus::OK();
  }
  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&, std::string* result,
                           IODebugContext*) override {
    *result = path;
    return IOStatus::OK();
  }
  IOStatus IsDirectory(const std::string& path, const IOOptions&, bool* is_dir,
                       IODebugContext*) override {
    auto answer = files_.is_dir(clean(path));
    *is_dir = answer.value_or(false);
    return status_of(answer);
  }

 private:
  template <class Wrapper, class Base>
  static IOStatus opened(Result<std::unique_ptr<SyncFile>> file, std::unique_ptr<Base>* result) {
    if (file) *result = std::make_unique<Wrapper>(std::move(*file));
    return status_of(file);
  }
  SyncFileSystem& files_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> make_rocks_files(SyncFileSystem& files) {
  return std::make_shared<Files>(files);
}

}  // namespace kahuna::engine
