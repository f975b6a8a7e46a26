#include "kahuna/engine/rocks_database.h"

#include <rocksdb/convenience.h>
#include <rocksdb/listener.h>
#include <rocksdb/sst_file_reader.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "kahuna/engine/rocks_reads.h"
#include "runtime/check.h"

namespace kahuna::engine {

namespace {

// Longer than this nobody sleeps on what a listener has said meanwhile.
constexpr auto kListenMax = std::chrono::milliseconds(5);

}  // namespace

// Hears how jobs end. RocksDB keeps it alive as long as the database.
//
// A full disk is hidden from RocksDB, which then keeps the memtables that it could not flush, and
// what they hold stays readable; flushing again tries again. Left alone it would refuse writes
// until DB::Resume(); in 7.8 a flush may claim success at once ever after, with nothing written.
class RocksDatabase::Listener final : public rocksdb::EventListener {
 public:
  using Reason = rocksdb::BackgroundErrorReason;
  explicit Listener(RocksDatabase& owner) : owner_(owner) {}
  void OnBackgroundError(Reason reason, rocksdb::Status* status) override {
    const bool full = status->IsNoSpace();
    std::lock_guard lock(owner_.mutex_);
    owner_.was_full_ = owner_.was_full_ || full;
    // A compaction is tried again by itself.
    if (!owner_.job_error_ && !(full && reason == Reason::kCompaction))
      owner_.job_error_ = error_of(*status);
    if (full) *status = rocksdb::Status::OK();
    owner_.listened_.notify_all();
  }
  void OnFlushCompleted(rocksdb::DB*, const rocksdb::FlushJobInfo&) override {
    owner_.listened_.notify_all();
  }
  void OnErrorRecoveryBegin(Reason, rocksdb::Status, bool* by_itself) override {
    *by_itself = false;  // with a thread that polls
  }

 private:
  RocksDatabase& owner_;
};

RocksDatabase::RocksDatabase(RocksOptions options, std::string path, RandomStream random,
                             Callback<void()> on_queued)
    : options_(std::move(options)), path_(std::move(path)) {
  if (!options_.simulated) {
    machine_env_ = rocksdb::NewCompositeEnv(with_persistent_reads(rocksdb::FileSystem::Default()));
    return;
  }
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
  rocksdb::Options settings = rocks_settings(options_, env_.get(), hints_, views_);
  if (machine_env_) settings.env = machine_env_.get();
  settings.listeners.push_back(std::make_shared<Listener>(*this));
  rocksdb::DB* db = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(settings, path_, &db);
  // A file that others name is missing, or the name is damaged.
  if (status.IsPathNotFound()) return fail(ErrorCode::kDamaged, "engine: " + status.ToString());
  if (!status.ok()) return fail(error_of(status));
  db_.reset(db);
  return {};
}

Result<> RocksDatabase::flush_and_wait() {
  CHECK(!simulated());
  ASSIGN_OR_RETURN(bool waits, start_flush());
  if (!waits) return {};
  for (;;) {
    if (auto outcome = flush_outcome()) return *outcome;
    std::unique_lock lock(mutex_);
    listened_.wait_for(lock, kListenMax);
  }
}

Result<bool> RocksDatabase::start_flush() {
  RocksScope scope(entropy());
  {
    std::lock_guard lock(mutex_);
    if (job_error_ && job_error_->code == ErrorCode::kNoSpace) job_error_.reset();
  }
  rocksdb::FlushOptions options;
  options.wait = false;
  options.allow_write_stall = true;
  rocksdb::Status status = db_->Flush(options);
  if (!status.ok()) return fail(error_of(status));
  return memtables_waiting() > 0;
}

std::optional<Result<>> RocksDatabase::flush_outcome() {
  bool was_full = false;
  // In this order: a job that fails says so before it puts its memtables back.
  const bool waiting = memtables_waiting() > 0;
  {
    std::lock_guard lock(mutex_);
    if (job_error_) return fail(*job_error_);
    if (waiting) return std::nullopt;
    was_full = std::exchange(was_full_, false);
  }
  // RocksDB keeps every file from the moment its manifest could not be written.
  if (was_full) (void)db_->EnableFileDeletions(/*force=*/true);
  return Result<>();
}

std::vector<RocksDatabase::Table> RocksDatabase::tables() {
  RocksScope scope(entropy());
  std::vector<rocksdb::LiveFileMetaData> files;
  db_->GetLiveFilesMetaData(&files);
  std::vector<Table> tables;
  for (const auto& file : files)
    tables.push_back({file.db_path + file.name, file.file_number, file.size});
  std::sort(tables.begin(), tables.end(),
            [](const Table& a, const Table& b) { return a.number < b.number; });
  return tables;
}

Result<> RocksDatabase::verify(const Table& table) {
  rocksdb::Status status;
  {
    RocksScope scope(entropy());
    rocksdb::Env* env = simulated() ? env_.get() : machine_env_.get();
    auto read = [&](bool direct) {
      rocksdb::SstFileReader reader(rocks_scrub_settings(env, direct));
      rocksdb::Status opened = reader.Open(table.path);
      return opened.ok() ? reader.VerifyChecksum() : opened;
    };
    // The disk itself is asked, not what the system keeps of the file, unless its file system
    // cannot.
    if (!simulated()) status = read(true);
    if (simulated() || (!status.ok() && !status.IsCorruption())) status = read(false);
  }
  if (status.ok()) return {};
  const auto now = tables();
  if (std::none_of(now.begin(), now.end(),
                   [&](const Table& t) { return t.number == table.number; }))
    return {};
  if (status.IsPathNotFound())
    return fail(ErrorCode::kDamaged, "engine: " + table.path + " is missing");
  return fail(error_of(status));
}

Result<> RocksDatabase::verify_manifest() {
  RocksScope scope(entropy());
  rocksdb::Status status;
  // It may be replaced, or be added to, while it is read.
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    std::vector<std::string> families;
    status = rocksdb::DB::ListColumnFamilies(
        rocks_scrub_settings(simulated() ? env_.get() : machine_env_.get(), false), path_,
        &families);
    if (status.ok()) return {};
  }
  if (status.IsPathNotFound()) return fail(ErrorCode::kDamaged, "engine: " + status.ToString());
  return fail(error_of(status));
}

bool RocksDatabase::run_one() {
  if (!env_) return false;
  RocksScope scope(entropy());
  return env_->run_one();
}

uint64_t RocksDatabase::memtables_waiting() {
  RocksScope scope(entropy());
  uint64_t waiting = 0;
  CHECK(db_->GetIntProperty(rocksdb::DB::Properties::kNumImmutableMemTable, &waiting));
  return waiting;
}

}  // namespace kahuna::engine
