// A simulated disk. It belongs to a machine and survives its processes.
//
// Fault model. What a process has written is visible to it at once, and durable, sector by sector
// of 512 bytes, only after a sync that began after the write completed. When power fails, every
// sector not yet durable is kept or lost on its own (a write is thus torn at any sector boundary);
// a file's size lies anywhere between the durable and the last one; directory changes not followed
// by sync_dir are lost or kept, as a prefix or one by one. When only the process dies, completed
// writes stay; of a write in flight any sectors may have been written. A failed sync is final:
// later syncs of that file may report success and make nothing durable. Any transfer may be short,
// slow or fail; a read that failed by chance succeeds at the latest when asked the third time, for
// what never does is damage (lose_sector). A disk may be full. A write may be misdirected: it is
// reported done, and synced, while the sectors it was meant for keep what they held and others,
// durably, get its content.
//
// 1. A sector is durable or has its last durable content remembered (Page::floor).
// 2. Durable bytes never change but by later writes, or by rot(), lose_sector(), misdirect(),
// wipe(),
//    restore().
// 3. All draws come from streams named after this disk: other devices' draws never shift them.
//
// Pages that hold only zeros take no memory. Nothing here knows of callbacks or turns: that is
// sim_disk_host.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/host.h"
#include "sim/world_kernel.h"

namespace kahuna::sim {

inline constexpr size_t kSectorBytes = 512;
inline constexpr size_t kPageBytes = 4096;

struct DiskProfile {
  Duration read_min = Duration::micros(60), read_max = Duration::micros(120);
  Duration write_min = Duration::micros(15), write_max = Duration::micros(50);
  Duration sync_min = Duration::micros(200), sync_max = Duration::micros(900);
  Duration per_kib = Duration::nanos(500);  // 2 GB/s
  PerMillion tail = 500;                    // such operations take tail_factor times as long
  uint32_t tail_factor = 30;
  PerMillion short_transfer = 0;  // reads and writes that move fewer bytes than asked
  PerMillion read_error = 0, write_error = 0, sync_error = 0;
  // When power fails: how the fate of unsynced sectors is drawn. Each crash picks one of: all lost,
  // all kept, each on its own.
  PerMillion crash_loses_all = 300'000, crash_keeps_all = 100'000;
  // Crashes in which directory changes survive one by one instead of as a prefix.
  PerMillion unordered_names = 300'000;
  uint64_t capacity_bytes = uint64_t{64} << 30;
};

struct DiskCounters {
  uint64_t reads = 0, writes = 0, syncs = 0, bytes_written = 0, sync_failures = 0;
  uint64_t sectors_lost = 0, sectors_kept = 0, names_lost = 0, full = 0;
  uint64_t read_errors = 0, write_errors = 0, short_transfers = 0;
  uint64_t misdirected = 0;
};

enum class CrashKind : uint8_t {
  kProcess,  // the process dies, the machine goes on
  kPower,    // the machine loses power
};

class Inode;
using InodeRef = std::shared_ptr<Inode>;

bool all_zero(ByteView bytes);
// A view of that many zeros, valid until the next call on this thread.
ByteView zeros(size_t length);

// What a sync in flight covers; made by begin_sync.
struct SyncTicket;

// A write that went to another place, in whole sectors.
struct Misdirection {
  std::string meant, hit;  // paths
  uint64_t meant_offset = 0, hit_offset = 0, bytes = 0;
};

// The durable content of a disk, for wipe-and-restore faults.
struct DiskImage {
  std::map<std::string, std::pair<bool, std::string>> entries;  // path -> (is directory, bytes)
};

class SimDisk {
 public:
  SimDisk(uint64_t seed, uint32_t node, DiskProfile profile);
  ~SimDisk();
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  // Synchronous operations: they take effect at once and cost no virtual time. Contracts as in
  // runtime/host.h. They draw faults from the profile.
  Result<InodeRef> open(const std::string& path, const OpenOptions& options);
  // A new empty file under that name; what was there loses the name.
  Result<InodeRef> create(const std::string& path);
  // Short at end of file or by draw. kIo.
  Result<size_t> read(Inode& file, uint64_t offset, MutableByteView bytes);
  Result<size_t> write(Inode& file, uint64_t offset, ByteView bytes);
  // What a read would see, if it met no fault; false when not all of it is there and readable.
  static bool peek(const Inode& file, uint64_t offset, MutableByteView bytes);
  // A write whose sectors are durable when it returns.
  Result<size_t> write_durably(Inode& file, uint64_t offset, ByteView bytes);
  Result<> sync(Inode& file);
  Result<> truncate(Inode& file, uint64_t size);
  Result<> rename(const std::string& from, const std::string& to);
  Result<> remove(const std::string& path);  // a file, or an empty directory
  Result<std::vector<std::string>> list(const std::string& dir) const;
  Result<> make_dir(const std::string& path);
  Result<> sync_dir(const std::string& path);
  bool exists(const std::string& path) const;
  bool is_dir(const std::string& path) const;
  static uint64_t size(const Inode& file);
  static bool locked(const Inode& file);
  static void set_locked(Inode& file, bool locked);

  // A sync in two halves: what had completed when it began is durable when it finishes.
  std::shared_ptr<SyncTicket> begin_sync(const InodeRef& file);
  Result<> finish_sync(SyncTicket& ticket);

  // Applies the fate of everything not durable, and forgets locks. Open inodes stay readable.
  void crash(CrashKind kind);
  // A write that was in flight when its process died: any of its sectors may have been written.
  void tear(Inode& file, uint64_t offset, ByteView bytes);

  // How long an operation takes when it begins now. Slow episodes and stalls included.
  enum class Op : uint8_t { kRead, kWrite, kDurableWrite, kSync, kName };
  Duration latency(Op op, size_t bytes, TrueTime now);
  // Until then operations take `factor` times as long, or (stall) none completes.
  void slow_until(TrueTime until, uint32_t factor) { slow_until_ = until, slow_factor_ = factor; }
  void stall_until(TrueTime until) { stall_until_ = until; }
  // No more space than used now, until false.
  void set_full(bool full) { full_ = full; }
  // The next sync fails.
  void fail_next_sync() { fail_next_sync_ = true; }
  // False: it has failed meanwhile.
  bool forgive_next_sync() { return std::exchange(fail_next_sync_, false); }
  // Transfer and sync errors, short transfers and sync failures happen only to paths that begin
  // with `prefix` ("" = all).
  void limit_faults(std::string prefix) { fault_prefix_ = std::move(prefix); }
  DiskProfile& profile() { return profile_; }

  // Damage at rest. kNotFound when there is no such byte.
  Result<> rot(const std::string& path, uint64_t offset);          // flips one bit, durably
  Result<> lose_sector(const std::string& path, uint64_t offset);  // unreadable until rewritten
  // The next write of which `wanted` is true is misdirected to a sector of which `into` is true,
  // and those behind it in its page, and `done` told; not while there is none, nor onto a page with
  // anything that is not durable. Replaces what was asked for before.
  using SectorTest = std::function<bool(const std::string& path, uint64_t offset, ByteView sector)>;
  using WriteTest = std::function<bool(const std::string& path, ByteView bytes)>;
  void misdirect(RandomStream random, WriteTest wanted, SectorTest into,
                 std::function<void(const Misdirection&)> done);
  void misdirect_none() { misdirect_.reset(); }
  void wipe();                           // an empty disk
  DiskImage image() const;               // of what is durable
  void restore(const DiskImage& image);  // all of it durable

  bool unsynced() const { return dirty_inodes_ > 0; }
  uint64_t used_bytes() const { return used_pages_ * kPageBytes; }
  const DiskCounters& counters() const { return counters_; }

 private:
  friend class Inode;
  struct NameOp {
    enum class Kind : uint8_t { kCreate, kRemove, kRename } kind;
    std::string from, to;
    InodeRef inode;
  };
  using Names = std::map<std::string, InodeRef>;

  InodeRef make_inode(std::string path, bool directory);
  bool faulty(const Inode& file) const;
  std::byte* take_page();
  void give_page(std::byte* page);
  void store(Inode& file, uint64_t offset, ByteView bytes);
  bool sync_fails(Inode& file);
  // Puts the write elsewhere; false when it goes where it was meant to.
  bool misdirected(Inode& file, uint64_t offset, ByteView bytes);
  static void reserve(Inode& file, uint64_t offset, size_t length);
  void settle(Inode& file, PerMillion keep);
  static void apply(Names& names, const NameOp& op);
  static void drop_orphans(Names& names);

  DiskProfile profile_;
  RandomStream latency_random_, fault_random_, crash_random_;
  Names names_, durable_names_;
  std::vector<NameOp> pending_names_;
  std::map<uint64_t, std::weak_ptr<Inode>> inodes_;
  uint64_t next_inode_ = 1;
  uint64_t used_pages_ = 0;
  uint64_t dirty_inodes_ = 0;
  std::vector<std::byte*> free_pages_;
  TrueTime slow_until_, stall_until_;
  uint32_t slow_factor_ = 1;
  bool full_ = false, fail_next_sync_ = false;
  std::string fault_prefix_;
  struct Misdirect {
    RandomStream random;
    WriteTest wanted;
    SectorTest into;
    std::function<void(const Misdirection&)> done;
  };
  std::optional<Misdirect> misdirect_;
  DiskCounters counters_;
};

}  // namespace kahuna::sim
