// An open RocksDB with everything that must outlive it. Shared between the engine and blocking work
// under way on the Offload; whoever lets go last closes it.
#pragma once

#include <rocksdb/db.h>

#include <memory>
#include <optional>

#include "kahuna/engine/rocks_interpose.h"
#include "kahuna/engine/rocks_settings.h"
#include "kahuna/engine/rocks_sim_env.h"
#include "runtime/callback.h"

namespace kahuna::engine {

class RocksDatabase {
 public:
  // `on_queued`: simulation only, see RocksSimEnv. Opens nothing yet.
  RocksDatabase(RocksOptions options, std::string path, RandomStream random,
                Callback<void()> on_queued);
  ~RocksDatabase();

  // Blocking.
  Result<> open();
  Result<> flush_and_wait();  // production only

  // Simulation only. Starts a flush: true when there is something to wait for.
  Result<bool> start_flush();
  // Runs one queued job; false when there is none.
  bool run_one();
  // Memtables waiting to be flushed.
  bool flushing();
  std::optional<Error> background_error() const { return background_error_; }

  bool simulated() const { return env_ != nullptr; }
  rocksdb::DB& db() { return *db_; }
  // To hold around every RocksDB call on the loop's thread.
  RocksEntropy* entropy() { return entropy_ ? &*entropy_ : nullptr; }

 private:
  class Listener;

  RocksOptions options_;
  std::string path_;
  std::optional<RocksEntropy> entropy_;  // simulation only
  std::unique_ptr<RocksSimEnv> env_;     // simulation only
  std::unique_ptr<rocksdb::DB> db_;
  std::optional<Error> background_error_;  // simulation only
};

}  // namespace kahuna::engine
