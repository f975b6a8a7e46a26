// Files: the Disk of a production host. The loop's thread only; blocking calls run on two worker
// threads of its own: one for everything that changes files, in order, one for reads, which then
// do not wait behind a sync.
//
// 1. A read of cached bytes completes without a thread (RWF_NOWAIT).
// 2. A buffered write of at most `inline_write_bytes_max` is done at once: it copies into the page
//    cache. Larger and unbuffered ones go to the back end or to the writer thread.
// 3. The descriptor (and with it the lock) is closed when the File is destroyed and no operation is
//    in flight.
#pragma once

#include <memory>
#include <string>

#include "net/poller.h"
#include "net/turn.h"
#include "net/workers.h"
#include "runtime/counted.h"
#include "runtime/host.h"

namespace kahuna::net {

// An open descriptor; shared by its File and by operations in flight.
struct OpenFile : Counted {
  ~OpenFile() override;
  int fd = -1;
  uint64_t size = 0;  // as of the last completed operation
  bool direct = false;
  bool observed = true;  // the File lives
};

// One read, write or sync in flight. Owned by whoever runs it; finish() on the loop's thread.
struct FileOp {
  enum class Kind : uint8_t { kRead, kWrite, kDurableWrite, kSync };
  Kind kind;
  CountedPtr<OpenFile> file;
  uint64_t offset = 0;
  std::byte* bytes = nullptr;  // written only by kRead
  size_t size = 0;
  int64_t result = 0;  // bytes, or a negative errno value
  IoDone done;         // of all but kSync
  Done synced;         // of kSync
  size_t place = 0;    // of the back end

  void run();     // performs it, blocking; any thread; touches `result` only
  void finish();  // updates the size and calls the completion
};

class Files final : public Disk {
 public:
  struct Options {
    std::string dir;  // "" = there is no disk: every operation fails
    size_t inline_write_bytes_max;
  };
  // Creates the directory and its parents when missing.
  static Result<std::unique_ptr<Files>> create(Options options, Poller& poller, Turn& turn,
                                               Mailbox& mailbox);
  ~Files() override;

  void open(std::string path, OpenOptions options,
            Callback<void(Result<std::unique_ptr<File>>)> done) override;
  void rename(std::string from, std::string to, Done done) override;
  void remove(std::string path, Done done) override;
  void list(std::string dir, Callback<void(Result<std::vector<std::string>>)> done) override;
  void make_dir(std::string path, Done done) override;
  void sync_dir(std::string path, Done done) override;
  std::string native_path(std::string_view path) const override;

  // Of the files that were opened here.
  void start(std::unique_ptr<FileOp> operation);

 private:
  Files(Options options, int dir_fd, Poller& poller, Turn& turn, Mailbox& mailbox);
  // Runs `work` on the writer thread, then hands its result to `done` on the loop.
  template <class T>
  void run(Callback<Result<T>()> work, Callback<void(Result<T>)> done);

  const Options options_;
  const int dir_fd_;
  Poller& poller_;
  Turn& turn_;
  Workers writer_;
  Workers reader_;
};

}  // namespace kahuna::net
