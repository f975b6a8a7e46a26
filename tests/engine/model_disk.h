// A disk in memory that knows what was synced, behind both faces: the seam's Disk and RocksDB's
// SyncFileSystem. crash() drops what was not durable, all of it or piece by piece.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kahuna/engine/rocks_env.h"
#include "runtime/hash.h"
#include "runtime/host.h"
#include "runtime/random.h"

namespace kahuna::engine {

class ModelDisk final : public Disk, public SyncFileSystem {
 public:
  explicit ModelDisk(Scheduler& scheduler) : scheduler_(scheduler) {}

  // Everything fails from here on, until revive().
  void kill() { dead_ = true; }
  // The process died and the machine did not: what was written is there, synced or not.
  void revive_process() {
    dead_ = false;
    dies_after = -1;
  }
  // What survived a loss of power. `random` null: nothing that was not synced.
  void revive(RandomStream* random);

  mutable int dies_after = -1;  // so many calls succeed before kill(); -1: any number
  int fail_syncs = 0;           // so many syncs fail, from now
  int pass_appends = 0;         // so many appends or writes succeed before
  int fail_appends = 0;         // ... so many fail with kNoSpace, half done
  Hash128 trace;                // of every change
  std::map<std::string, std::string> contents() const;
  void damage(const std::string& path, size_t offset);
  // The next reads of it fail, so many of them; -1: all.
  void fail_reads(const std::string& path, int times) { names_.at(path)->failing_reads = times; }

  // Disk
  void open(std::string path, OpenOptions options,
            Callback<void(Result<std::unique_ptr<File>>)> done) override;
  void rename(std::string from, std::string to, Done done) override;
  void remove(std::string path, Done done) override;
  void list(std::string dir, Callback<void(Result<std::vector<std::string>>)> done) override;
  void make_dir(std::string path, Done done) override;
  void sync_dir(std::string path, Done done) override;
  std::string native_path(std::string_view path) const override { return std::string(path); }

  // SyncFileSystem
  Result<std::unique_ptr<SyncFile>> open_to_read(std::string_view path) override;
  Result<std::unique_ptr<SyncFile>> create(std::string_view path) override;
  Result<std::unique_ptr<SyncFile>> open_to_append(std::string_view path) override;
  Result<bool> exists(std::string_view path) override;
  Result<bool> is_dir(std::string_view path) override;
  Result<uint64_t> size_of(std::string_view path) override;
  Result<std::vector<std::string>> list(std::string_view dir) override;
  Result<> rename(std::string_view from, std::string_view to) override;
  Result<> remove(std::string_view path) override;
  Result<> make_dir(std::string_view path) override;
  Result<> remove_dir(std::string_view path) override;
  Result<> sync_dir(std::string_view path) override;
  uint64_t now_micros() const override { return 1'000'000 + ++ticks_; }

  struct Inode {
    std::string bytes, durable;
    int failing_reads = 0;
  };
  using InodeRef = std::shared_ptr<Inode>;
  Result<> append(Inode& inode, ByteView bytes, uint64_t offset);
  void write(Inode& inode, ByteView bytes, uint64_t offset);
  Result<> sync(Inode& inode);
  Result<> usable() const;

 private:
  Scheduler& scheduler_;
  mutable bool dead_ = false;
  std::map<std::string, InodeRef, std::less<>> names_, durable_names_;
  std::set<std::string, std::less<>> dirs_{""};
  mutable uint64_t ticks_ = 0;
};

}  // namespace kahuna::engine
