// The Disk of one simulated process: runtime/host.h over a SimDisk, with completions in later
// events.
//
// A write's bytes are copied when it is asked for and reach the file when it completes; if the
// process dies before, any of its sectors may have been written. Name operations take effect when
// they complete.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "sim/sim_disk.h"
#include "sim/world_kernel.h"

namespace kahuna::sim {

class SimFile;

class SimDiskHost final : public Disk {
 public:
  SimDiskHost(Kernel& kernel, SimDisk& disk, uint32_t node, std::string node_name,
              uint64_t incarnation);
  ~SimDiskHost() override;

  void open(std::string path, OpenOptions options,
            Callback<void(Result<std::unique_ptr<File>>)> done) override;
  void rename(std::string from, std::string to, Done done) override;
  void remove(std::string path, Done done) override;
  void list(std::string dir, Callback<void(Result<std::vector<std::string>>)> done) override;
  void make_dir(std::string path, Done done) override;
  void sync_dir(std::string path, Done done) override;
  std::string native_path(std::string_view path) const override;

  // Runs the completion of an operation that is due; `input` is its kDisk event.
  void complete(const Event& input);
  // From now on calls do nothing, and nothing completes.
  void kill() { dead_ = true; }
  // After kill(): the fate of writes in flight, then forgets all operations.
  void settle();

  uint64_t writes_in_flight() const { return writes_in_flight_; }
  // Called once, at the next write or sync that begins, with its latency.
  void on_next_write(Callback<void(Duration)> hook) { write_hook_ = std::move(hook); }

 private:
  friend class SimFile;
  using OpenDone = Callback<void(Result<std::unique_ptr<File>>)>;
  using ListDone = Callback<void(Result<std::vector<std::string>>)>;
  enum class Kind : uint8_t {
    kFree,
    kRead,
    kWrite,
    kSync,
    kOpen,
    kRename,
    kRemove,
    kList,
    kMakeDir,
    kSyncDir
  };
  struct Operation {
    Kind kind = Kind::kFree;
    SimFile* file = nullptr;  // null once the File is gone: nobody is told
    InodeRef inode;
    uint64_t offset = 0;
    uint64_t started = 0;  // order of starting
    MutableByteView into;
    std::string bytes;  // what is written; or a path
    size_t zeros = 0;   // written instead of `bytes`
    bool durable = false;
    std::string to;
    OpenOptions options;
    std::shared_ptr<SyncTicket> ticket;
    std::variant<std::monostate, IoDone, Done, OpenDone, ListDone> done;
  };

  Operation& begin(Kind kind, SimDisk::Op op, size_t bytes, uint64_t digest);
  void name_operation(Kind kind, std::string path, std::string to, Done done);
  void finish_io(Operation& op);
  void finish_name(Operation& op);
  void forget(SimFile* file);

  Kernel& kernel_;
  SimDisk& disk_;
  const uint32_t node_;
  const std::string name_;
  const uint64_t incarnation_;
  bool dead_ = false;
  std::vector<Operation> operations_;
  std::vector<uint32_t> free_;
  std::vector<std::string> buffers_;  // spare capacity for written bytes
  uint64_t started_ = 0;
  uint64_t writes_in_flight_ = 0;
  Callback<void(Duration)> write_hook_;
};

class SimFile final : public File {
 public:
  SimFile(SimDiskHost& host, InodeRef inode, bool writable, bool owns_lock)
      : host_(host),
        inode_(std::move(inode)),
        size_(SimDisk::size(*inode_)),
        writable_(writable),
        owns_lock_(owns_lock) {}
  ~SimFile() override;
  void read_at(uint64_t offset, MutableByteView bytes, IoDone done) override;
  void write_at(uint64_t offset, ByteView bytes, IoDone done) override;
  void write_durably_at(uint64_t offset, ByteView bytes, IoDone done) override;
  void sync(Done done) override;
  uint64_t size() const override { return size_; }

 private:
  friend class SimDiskHost;
  void start_write(SimDisk::Op kind, uint64_t offset, ByteView bytes, IoDone done);
  SimDiskHost& host_;
  InodeRef inode_;
  uint64_t size_;
  uint32_t in_flight_ = 0;
  const bool writable_;
  const bool owns_lock_;
};

}  // namespace kahuna::sim
