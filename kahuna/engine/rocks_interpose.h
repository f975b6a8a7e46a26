// RocksDB's hidden thread, entropy and clock, replaced for the whole process.
//
// rocks_interpose.cc defines symbols that librocksdb.so and libstdc++.so also define; the
// executable's come first, so RocksDB calls ours:
//   PeriodicTaskScheduler::Register  starts no timer thread (nothing we use needs one);
//   GenerateRawUniqueId              draws from the innermost RocksScope's source;
//   SemiStructuredUniqueIdGen::GenerateNext, Reset: likewise (session ids, else a process-wide
//                                    count);
//   Random::GetTLSInstance           likewise (skip-list heights, sampling);
//   std::chrono::system_clock::now   stands still inside a RocksScope (it only stamps log lines).
// On a thread without a scope (RocksDB's own threads in production) they draw from a process-wide
// source seeded by seed_unscoped(), behind a mutex.
#pragma once

#include <cstdint>

#include "runtime/random.h"

namespace kahuna::engine {

// One database's source of ids and coin flips.
struct RocksEntropy {
  explicit RocksEntropy(RandomStream stream);
  RandomStream ids;
  uint32_t coin_state;  // of RocksDB's own generator: 1 .. 2^31 - 2
};

// While it lives, RocksDB calls on this thread draw from `entropy`. Nests. Must not
// span a suspension.
class RocksScope {
 public:
  explicit RocksScope(RocksEntropy* entropy);  // null: the process-wide source
  ~RocksScope();
  RocksScope(const RocksScope&) = delete;
  RocksScope& operator=(const RocksScope&) = delete;

 private:
  RocksEntropy* before_;
};

void seed_unscoped(uint64_t seed);

}  // namespace kahuna::engine
