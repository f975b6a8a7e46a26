#include "net/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "net/errors.h"
#include "runtime/check.h"

namespace kahuna::net {
namespace {

constexpr mode_t kFileMode = 0640;
constexpr mode_t kDirMode = 0750;

// "" names the data directory itself.
std::string in_dir(const std::string& path) {
  CHECK(!path.starts_with('/'));
  return path.empty() ? "." : path;
}

Error file_error(int number, const char* verb, const std::string& path) {
  return error_from_errno(number,
                          std::string(verb) + " " + (path.empty() ? "data directory" : path));
}

class PosixFile final : public File {
 public:
  PosixFile(Files& files, CountedPtr<OpenFile> file) : files_(files), file_(std::move(file)) {}
  ~PosixFile() override { file_->observed = false; }

  void read_at(uint64_t offset, MutableByteView bytes, IoDone done) override {
    start(FileOp::Kind::kRead, offset, bytes.data(), bytes.size(), std::move(done), {});
  }
  void write_at(uint64_t offset, ByteView bytes, IoDone done) override {
    start(FileOp::Kind::kWrite, offset, const_cast<std::byte*>(bytes.data()), bytes.size(),
          std::move(done), {});
  }
  void write_durably_at(uint64_t offset, ByteView bytes, IoDone done) override {
    start(FileOp::Kind::kDurableWrite, offset, const_cast<std::byte*>(bytes.data()), bytes.size(),
          std::move(done), {});
  }
  void sync(Done done) override { start(FileOp::Kind::kSync, 0, nullptr, 0, {}, std::move(done)); }
  uint64_t size() const override { return file_->size; }

 private:
  void start(FileOp::Kind kind, uint64_t offset, std::byte* bytes, size_t size, IoDone done,
             Done synced) {
    files_.start(std::unique_ptr<FileOp>(
        new FileOp{kind, file_, offset, bytes, size, 0, std::move(done), std::move(synced)}));
  }

  Files& files_;
  CountedPtr<OpenFile> file_;
};

// What the writer thread found; the loop makes a File of it.
struct Opened {
  int fd = -1;
  uint64_t size = 0;
  bool direct = false;
};

Result<Opened> open_blocking(int dir_fd, const std::string& dir, const std::string& path,
                             const OpenOptions& options) {
  int flags = O_CLOEXEC | (options.write ? O_RDWR : O_RDONLY);
  if (options.create) flags |= O_CREAT;
  if (options.create && options.exclusive) flags |= O_EXCL;
  Opened opened;
  opened.direct = options.direct;
  const std::string name = in_dir(path);
  opened.fd = openat(dir_fd, name.c_str(), flags | (options.direct ? O_DIRECT : 0), kFileMode);
  if (opened.fd < 0 && options.direct && errno == EINVAL) {
    opened.direct = false;
    opened.fd = openat(dir_fd, name.c_str(), flags, kFileMode);
  }
  if (opened.fd < 0) return fail(file_error(errno, "open", path));
  const auto refuse = [&](Error error) {
    close(opened.fd);
    return fail(std::move(error));
  };
  if (options.lock && flock(opened.fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return refuse(file_error(errno, "lock", path));
    return refuse(
        Error(ErrorCode::kInUse, "another process uses the directory " + dir + " (" + path +
                                     " is locked); stop it, or choose another directory"));
  }
  struct stat facts;
  if (fstat(opened.fd, &facts) != 0) return refuse(file_error(errno, "inspect", path));
  if (S_ISDIR(facts.st_mode)) {
    return refuse(Error(ErrorCode::kInvalid, "open " + path + ": it is a directory"));
  }
  opened.size = static_cast<uint64_t>(facts.st_size);
  return opened;
}

Result<std::vector<std::string>> list_blocking(int dir_fd, const std::string& path) {
  const int fd = openat(dir_fd, in_dir(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail(file_error(errno, "list", path));
  DIR* dir = fdopendir(fd);
  if (!dir) {
    const int number = errno;
    close(fd);
    return fail(file_error(number, "list", path));
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  const int number = errno;
  closedir(dir);
  if (number != 0) return fail(file_error(number, "list", path));
  std::sort(names.begin(), names.end());
  return names;
}

Result<> make_dirs(const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string prefix = path.substr(0, slash);
    if (mkdir(prefix.c_str(), kDirMode) != 0 && errno != EEXIST) {
      return fail(file_error(errno, "create directory", prefix));
    }
    if (slash == std::string::npos) return {};
  }
}

}  // namespace

OpenFile::~OpenFile() {
  if (fd >= 0) close(fd);
}

void FileOp::run() {
  do {
    switch (kind) {
      case Kind::kRead: result = pread(file->fd, bytes, size, static_cast<off_t>(offset)); break;
      case Kind::kWrite: result = pwrite(file->fd, bytes, size, static_cast<off_t>(offset)); break;
      case Kind::kDurableWrite: {
        const iovec place{bytes, size};
        result = pwritev2(file->fd, &place, 1, static_cast<off_t>(offset), RWF_DSYNC);
        break;
      }
      case Kind::kSync: result = fdatasync(file->fd); break;
    }
  } while (result < 0 && errno == EINTR);
  if (result < 0) result = -errno;
}

void FileOp::finish() {
  if ((kind == Kind::kWrite || kind == Kind::kDurableWrite) && result > 0) {
    file->size = std::max(file->size, offset + static_cast<uint64_t>(result));
  }
  if (!file->observed) return;
  const char* verb = kind == Kind::kRead ? "read" : kind == Kind::kSync ? "sync" : "write";
  if (kind == Kind::kSync) {
    if (result < 0) return synced(fail(error_from_errno(static_cast<int>(-result), verb)));
    return synced({});
  }
  if (result < 0) return done(fail(error_from_errno(static_cast<int>(-result), verb)));
  done(static_cast<size_t>(result));
}

Result<std::unique_ptr<Files>> Files::create(Options options, Poller& poller, Turn& turn,
                                             Mailbox& mailbox) {
  int dir_fd = -1;
  if (!options.dir.empty()) {
    RETURN_IF_ERROR(make_dirs(options.dir));
    dir_fd = ::open(options.dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) return fail(file_error(errno, "open directory", options.dir));
  }
  return std::unique_ptr<Files>(new Files(std::move(options), dir_fd, poller, turn, mailbox));
}

Files::Files(Options options, int dir_fd, Poller& poller, Turn& turn, Mailbox& mailbox)
    : options_(std::move(options)),
      dir_fd_(dir_fd),
      poller_(poller),
      turn_(turn),
      writer_(mailbox, 1, "kahuna-disk"),
      reader_(mailbox, 1, "kahuna-read") {}

Files::~Files() {
  if (dir_fd_ >= 0) close(dir_fd_);
}

template <class T>
void Files::run(Callback<Result<T>()> work, Callback<void(Result<T>)> done) {
  struct Call {
    Callback<Result<T>()> work;
    Callback<void(Result<T>)> done;
    Result<T> result;
  };
  auto call = std::make_unique<Call>(std::move(work), std::move(done),
                                     fail(ErrorCode::kInvalid, "this loop has no data directory"));
  Call* running = call.get();
  writer_.run(
      [this, running] {
        if (dir_fd_ >= 0) running->result = running->work();
      },
      [call = std::move(call)] { call->done(std::move(call->result)); });
}

void Files::start(std::unique_ptr<FileOp> operation) {
  FileOp& op = *operation;
  const auto complete = [&] {
    turn_.post([operation = std::move(operation)] { operation->finish(); });
  };
  if (op.kind == FileOp::Kind::kRead && !op.file->direct) {
    const iovec place{op.bytes, op.size};
    op.result = preadv2(op.file->fd, &place, 1, static_cast<off_t>(op.offset), RWF_NOWAIT);
    if (op.result >= 0) return complete();
  }
  if (op.kind == FileOp::Kind::kWrite && !op.file->direct &&
      op.size <= options_.inline_write_bytes_max) {
    op.run();
    return complete();
  }
  if (poller_.start(op)) {
    operation.release();  // comes back to finish() through the poller, which deletes it
    return;
  }
  Workers& workers = op.kind == FileOp::Kind::kRead ? reader_ : writer_;
  workers.run([&op] { op.run(); }, [operation = std::move(operation)] { operation->finish(); });
}

void Files::open(std::string path, OpenOptions options,
                 Callback<void(Result<std::unique_ptr<File>>)> done) {
  run<Opened>([this, path = std::move(path),
               options] { return open_blocking(dir_fd_, options_.dir, path, options); },
              [this, done = std::move(done)](Result<Opened> opened) mutable {
                if (!opened) return done(fail(std::move(opened.error())));
                auto file = make_counted<OpenFile>();
                file->fd = opened->fd;
                file->size = opened->size;
                file->direct = opened->direct;
                done(std::make_unique<PosixFile>(*this, std::move(file)));
              });
}

void Files::rename(std::string from, std::string to, Done done) {
  run<void>(
      [this, from = std::move(from), to = std::move(to)]() -> Result<> {
        if (renameat(dir_fd_, in_dir(from).c_str(), dir_fd_, in_dir(to).c_str()) == 0) return {};
        return fail(file_error(errno, "rename", from + " to " + to));
      },
      std::move(done));
}

void Files::remove(std::string path, Done done) {
  run<void>(
      [this, path = std::move(path)]() -> Result<> {
        if (unlinkat(dir_fd_, in_dir(path).c_str(), 0) == 0) return {};
        if (errno == EISDIR && unlinkat(dir_fd_, in_dir(path).c_str(), AT_REMOVEDIR) == 0)
          return {};
        return fail(file_error(errno, "remove", path));
      },
      std::move(done));
}

void Files::list(std::string dir, Callback<void(Result<std::vector<std::string>>)> done) {
  run<std::vector<std::string>>(
      [this, dir = std::move(dir)] { return list_blocking(dir_fd_, dir); }, std::move(done));
}

void Files::make_dir(std::string path, Done done) {
  run<void>(
      [this, path = std::move(path)]() -> Result<> {
        if (mkdirat(dir_fd_, in_dir(path).c_str(), kDirMode) == 0) return {};
        const int number = errno;
        struct stat facts;
        if (number == EEXIST && fstatat(dir_fd_, in_dir(path).c_str(), &facts, 0) == 0 &&
            S_ISDIR(facts.st_mode)) {
          return {};
        }
        return fail(file_error(number, "create directory", path));
      },
      std::move(done));
}

void Files::sync_dir(std::string path, Done done) {
  run<void>(
      [this, path = std::move(path)]() -> Result<> {
        const int fd = openat(dir_fd_, in_dir(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) return fail(file_error(errno, "open directory", path));
        const int number = fsync(fd) == 0 ? 0 : errno;
        close(fd);
        if (number == 0) return {};
        return fail(file_error(number, "sync directory", path));
      },
      std::move(done));
}

std::string Files::native_path(std::string_view path) const {
  if (path.empty()) return options_.dir;
  return options_.dir + "/" + std::string(path);
}

}  // namespace kahuna::net
