#include "kahuna/engine/rocks_database.h"

#include <rocksdb/convenience.h>
#include <rocksdb/listener.h>

#include "runtime/check.h"

namespace kahuna::engine {

// RocksDB keeps it alive as long as the database.
class RocksDatabase::Listener final : public rocksdb::EventListener {
 public:
  explicit Listener(RocksDatabase& owner) : owner_(owner) {}
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* status) override {
    if (!owner_.background_error_) owner_.background_error_ = error_of(*status);
  }

 private:
  RocksDatabase& owner_;
};

RocksDatabase::RocksDatabase(RocksOptions options, std::string path, RandomStream random,
                             Callback<void()> on_queued)
    : options_(std::move(options)), path_(std::move(path)) {
  if (!options_.simulated) return;
  entropy_.emplace(random);
  RocksScope scope(entropy());
  env_ = std::make_unique<RocksSimEnv>(*options_.simulated, std::move(on_queued));
}

RocksDatabase::~RocksDatabase() {
  RocksScope scope(entropy());
  if (!db_) return;
  rocksdb::CancelAllBackgroundWork(db_.get(), /*wait=*/!simulated());
  while (run_one()) {
  }
  db_.reset();
}

Result<> RocksDatabase::open() {
  RocksScope scope(entropy());
  rocksdb::Options settings = rocks_settings(options_, env_.get());
  if (simulated()) settings.listeners.push_back(std::make_shared<Listener>(*this));
  rocksdb::DB* db = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(settings, path_, &db);
  if (!status.ok()) return fail(error_of(status));
  db_.reset(db);
  return {};
}

Result<> RocksDatabase::flush_and_wait() {
  CHECK(!simulated());
  rocksdb::FlushOptions options;
  options.wait = true;
  options.allow_write_stall = true;
  rocksdb::Status status = db_->Flush(options);
  if (!status.ok()) return fail(error_of(status));
  return {};
}

Result<bool> RocksDatabase::start_flush() {
  CHECK(simulated());
  RocksScope scope(entropy());
  rocksdb::FlushOptions options;
  options.wait = false;
  options.allow_write_stall = true;
  rocksdb::Status status = db_->Flush(options);
  if (!status.ok()) return fail(error_of(status));
  return flushing();
}

bool RocksDatabase::run_one() {
  if (!env_) return false;
  RocksScope scope(entropy());
  return env_->run_one();
}

bool RocksDatabase::flushing() {
  uint64_t waiting = 0;
  CHECK(db_->GetIntProperty(rocksdb::DB::Properties::kNumImmutableMemTable, &waiting));
  return waiting > 0;
}

}  // namespace kahuna::engine
