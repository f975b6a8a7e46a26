// The engine on RocksDB: one database per node, one column family, RocksDB's own log off.
//
// Production: RocksDB on its own file system with its own background threads; a flush runs on the
// host's Offload and its completion on the loop. write() never waits (no_slowdown).
// Simulated (`simulated` given): everything on the loop's thread, on the simulated disk. Background
// work is only queued; it runs from the host's scheduler when no RocksDB call is on the stack.
// Entropy comes from the host's seed (rocks_interpose.cc; the executable must be linked with
// -rdynamic and the shared RocksDB for the replacements to take effect).
//
//   K1 the applied marks of a batch are rows of the same RocksDB batch, so a cut has both or none;
//   K2 flushed() advances only after the memtable's file and the MANIFEST are synced;
//   K3 a record row is dropped by a flush or compaction only when that same flush or compaction has
//      just passed a newer row of the same position. So nobody may remove() a record row without
//      removing every older row of its position in the same batch.
#pragma once

#include <memory>
#include <string>

#include "kahuna/engine/engine.h"
#include "kahuna/engine/rocks_env.h"
#include "runtime/fiber.h"
#include "runtime/host.h"

namespace kahuna::engine {

struct RocksOptions {
  std::string dir = "engine";           // inside the node's data directory
  SyncFileSystem* simulated = nullptr;  // null = production; outlives the engine
  size_t block_cache_bytes = size_t{64} << 20;
  size_t write_buffer_bytes = size_t{32} << 20;  // one memtable; RocksDB flushes it when full
};

// Opens or creates the database. Suspends (production opens on the Offload).
// Errors: kDamaged (a checksum failed), kIo, kNoSpace, kInUse (another process holds it).
Result<std::unique_ptr<Engine>> open_rocks_engine(Suspend suspend, Host& host, Fibers& fibers,
                                                  RocksOptions options);

// True when RocksDB's hidden thread and entropy are replaced in this executable; a simulated engine
// refuses to open without it.
bool rocks_interposed();

}  // namespace kahuna::engine
