// RocksDB's file system in the simulator: the synchronous face of a simulated disk.
//
// RocksDB's file calls are plain blocking calls, so they cannot go through runtime/host.h's Disk.
// The simulator implements SyncFileSystem over the very same simulated disk of a node: same files,
// same unsynced state, same crash semantics, same faults. Used in simulation only; a production
// engine leaves RocksDB on its own file system.
//
// 1. Everything runs on the loop's thread, returns at once and never suspends.
// 2. Durability is the Disk's: file contents after SyncFile::sync(), names after sync_dir() of
//    their directory. A crash may keep any subset of what was not synced.
// 3. Any call may fail (kIo, kNoSpace, kDamaged). A failed append may have written a prefix; a
//    failed sync is final for that file. A read may also return damaged bytes: RocksDB's checksums
//    are expected to notice.
// 4. When the process that owns it crashes, every later call must fail (kIo) and change nothing:
//    the database is still destroyed in an orderly way, and must not repair what the crash broke.
// 5. Paths are relative to the node's data directory, '/'-separated, as in Disk.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/error.h"

namespace kahuna::engine {

// An open file. Destroying it closes it; what was not synced stays unsynced.
class SyncFile {
 public:
  virtual ~SyncFile() = default;
  // Reads up to bytes.size(); short only at end of file (0 = at or past it).
  virtual Result<size_t> read_at(uint64_t offset, MutableByteView bytes) = 0;
  // Appends all of it at the end.
  virtual Result<> append(ByteView bytes) = 0;
  virtual Result<> sync() = 0;
  virtual uint64_t size() const = 0;
};

class SyncFileSystem {
 public:
  virtual ~SyncFileSystem() = default;

  // An existing file, for reading. kNotFound when missing.
  virtual Result<std::unique_ptr<SyncFile>> open_to_read(std::string_view path) = 0;
  // A new empty file, for appending; replaces what was there.
  virtual Result<std::unique_ptr<SyncFile>> create(std::string_view path) = 0;
  // Goes on at the end of an existing file (created when missing).
  virtual Result<std::unique_ptr<SyncFile>> open_to_append(std::string_view path) = 0;

  // A file or a directory of that name.
  virtual Result<bool> exists(std::string_view path) = 0;
  virtual Result<bool> is_dir(std::string_view path) = 0;
  virtual Result<uint64_t> size_of(std::string_view path) = 0;  // kNotFound
  // Names (not paths) in a directory, sorted bytewise. kNotFound when there is no such directory.
  virtual Result<std::vector<std::string>> list(std::string_view dir) = 0;
  // Atomically replaces `to`.
  virtual Result<> rename(std::string_view from, std::string_view to) = 0;
  virtual Result<> remove(std::string_view path) = 0;      // kNotFound
  virtual Result<> make_dir(std::string_view path) = 0;    // fine if it exists
  virtual Result<> remove_dir(std::string_view path) = 0;  // kNotFound; must be empty
  virtual Result<> sync_dir(std::string_view path) = 0;

  // Virtual time in microseconds since an arbitrary origin; only for RocksDB's bookkeeping.
  virtual uint64_t now_micros() const = 0;
};

}  // namespace kahuna::engine
