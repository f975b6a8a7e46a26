// An open RocksDB with everything that must outlive it. Shared between the engine and blocking work
// under way on the Offload; whoever lets go last closes it.
#pragma once

#include <rocksdb/db.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

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
  Result<> flush_and_wait();  // production only; ends as flush_outcome() does

  // Starts a flush: true when there is something to wait for.
  Result<bool> start_flush();
  // Of the flush started last: nothing while it is under way; kNoSpace: what it could not flush is
  // still in memory, and the next one will try again; other errors are final.
  std::optional<Result<>> flush_outcome();
  // Simulation only.
  // Runs one queued job; false when there is none.
  bool run_one();
  // For so long no other job should run: the last one wanted to sleep.
  Duration take_rest() { return Duration::micros(env_->take_slept_micros()); }

  // What the tables hold now. Blocking, but short.
  struct Table {
    std::string path;
    uint64_t number = 0, bytes = 0;
  };
  std::vector<Table> tables();
  // Reads a table back and verifies it; fine when it is no longer needed. Blocking.
  Result<> verify(const Table& table);
  // The same for the list of tables. Blocking.
  Result<> verify_manifest();

  // How many are full and not flushed yet.
  uint64_t memtables_waiting();

  // A view is about to be taken, or was given up.
  void count_view(int by) { views_->fetch_add(by); }

  bool simulated() const { return env_ != nullptr; }
  rocksdb::DB& db() { return *db_; }
  InsertionHints& hints() { return *hints_; }
  // To hold around every RocksDB call on the loop's thread.
  RocksEntropy* entropy() { return entropy_ ? &*entropy_ : nullptr; }

 private:
  class Listener;

  RocksOptions options_;
  std::string path_;
  std::shared_ptr<InsertionHints> hints_ = std::make_shared<InsertionHints>();
  std::shared_ptr<std::atomic<int>> views_ = std::make_shared<std::atomic<int>>(0);
  std::optional<RocksEntropy> entropy_;        // simulation only
  std::unique_ptr<RocksSimEnv> env_;           // simulation only
  std::unique_ptr<rocksdb::Env> machine_env_;  // otherwise
  std::unique_ptr<rocksdb::DB> db_;

  std::mutex mutex_;  // the listener is called on RocksDB's threads
  std::condition_variable listened_;
  std::optional<Error> job_error_;  // of a flush, or of the manifest, since start_flush()
  bool was_full_ = false;           // since a flush succeeded
};

}  // namespace kahuna::engine
