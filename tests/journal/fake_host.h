// A machine for the journal's tests: a manual scheduler and a disk that remembers what was truly
// synced.
//
// The disk's fault model: a crash keeps, of every sector written and not synced, the old or the new
// content, each at random; of a write in flight any subset of its sectors; of directory changes not
// synced any subset. After a failed sync further syncs of that file lie until power fails, and then
// nothing of what they promised is left. Operations in flight complete in any order. Bytes can be
// rotted, writes lost or misdirected, syncs and reads failed, space limited.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/fiber.h"
#include "runtime/host.h"
#include "runtime/random.h"

namespace kahuna::journal_test {

inline constexpr size_t kSector = 512;

struct Inode {
  std::vector<std::byte> current, durable;
  std::set<size_t> dirty;  // sectors where they may differ
  bool poisoned = false;   // a sync failed
};
using InodePtr = std::shared_ptr<Inode>;
using Directory = std::map<std::string, InodePtr>;

// What survives crashes.
class FakeDisk {
 public:
  // The machine loses power.
  void crash(RandomStream& random);
  // The bytes of a file as they are now; nullptr when there is none.
  std::vector<std::byte>* bytes(const std::string& path);
  // Flips bits for good: no crash takes it back.
  void rot(const std::string& path, size_t at, std::byte bits);
  std::vector<std::string> names() const;
  // A copy of everything, as if all had been synced.
  FakeDisk clone() const;
  size_t used() const;
  void forget(const std::string& path);

  size_t space = SIZE_MAX;     // bytes that all files together may take
  int syncs_until_error = -1;  // counts down; 0 fails that sync
  int writes_until_error = -1;
  int writes_until_misdirected = -1;  // that write lands `misdirect_by` sectors off
  int64_t misdirect_by = 1;
  int writes_until_lost = -1;  // that write reports success and does nothing
  std::set<std::pair<std::string, size_t>> unreadable;           // (path, page of 4096)
  std::map<std::pair<std::string, size_t>, int> unreadable_for;  // ... for so many reads
  bool short_transfers = false;
  uint64_t writes = 0, durable_writes = 0, syncs = 0;

 private:
  friend class Machine;
  friend class FakeFile;
  struct Change {
    std::string remove, add;
    InodePtr inode;
  };
  static void apply(Directory& directory, const Change& change);
  Directory current_, durable_;
  std::vector<Change> changes_;  // not synced
};

// One process life on that disk.
class Machine : public Clock, public Scheduler, public Disk, public Offload {
 public:
  Machine(FakeDisk& disk, RandomStream random);
  ~Machine() override;

  // Runs everything that is ready. False: nothing was.
  bool turn();
  // Completes one operation in flight. False: there is none.
  bool complete_one();
  // Turns and completions until nothing is left but timers.
  void settle();
  // Runs `body` in a fiber until it ends; false when `steps` completions were not enough.
  bool run(Callback<void(Suspend)> body, size_t steps = SIZE_MAX);
  void advance(Duration by);
  size_t in_flight() const { return operations_.size(); }
  // Fills what writes in flight leave behind, as power fails or the process is killed.
  void abandon();

  Host& host() { return host_; }
  Fibers& fibers() { return *fibers_; }

  Time now() const override { return now_; }
  WallTime wall() const override { return WallTime(); }
  TimerId call_at(Time deadline, Callback<void()> task) override;
  void cancel(TimerId id) override;
  void post(Callback<void()> task) override { ready_.push_back(std::move(task)); }
  void defer(Callback<void()> task) override { deferred_.push_back(std::move(task)); }
  void run(Callback<void()> work, Callback<void()> done) override;

  void open(std::string path, OpenOptions options,
            Callback<void(Result<std::unique_ptr<File>>)> done) override;
  void rename(std::string from, std::string to, Done done) override;
  void remove(std::string path, Done done) override;
  void list(std::string dir, Callback<void(Result<std::vector<std::string>>)> done) override;
  void make_dir(std::string path, Done done) override;
  void sync_dir(std::string path, Done done) override;
  std::string native_path(std::string_view path) const override { return std::string(path); }

 private:
  friend class FakeFile;
  struct Operation {
    Callback<void()> perform;  // does it and posts its completion
    // For a write: what it would do to the disk.
    InodePtr inode;
    uint64_t offset = 0;
    ByteView bytes;
  };
  void start(Callback<void()> perform) { operations_.push_back({std::move(perform), {}, 0, {}}); }

  FakeDisk& disk_;
  RandomStream random_;
  Time now_ = Time::from_nanos(1'000'000'000);
  std::deque<Callback<void()>> ready_, deferred_;
  std::vector<Operation> operations_;
  std::map<std::pair<Time, TimerId>, Callback<void()>> timers_;
  TimerId next_timer_ = 1;
  Host host_;
  std::unique_ptr<Fibers> fibers_;
};

}  // namespace kahuna::journal_test
