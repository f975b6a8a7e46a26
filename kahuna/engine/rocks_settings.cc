#include "kahuna/engine/rocks_settings.h"

#include <rocksdb/cache.h>
#include <rocksdb/compaction_filter.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/table.h>

#include "kahuna/engine/ordered_rows.h"
#include "runtime/probe.h"

namespace kahuna::engine {

namespace {

// K3. A flush or compaction shows the filter its rows in ascending order, each once, newest value
// only, deletions not at all. So a record row whose predecessor here has the same position is
// superseded by that one, which stays or is itself superseded by a row that stays.
class SupersededFilter final : public rocksdb::CompactionFilter {
 public:
  Decision FilterV2(int, const rocksdb::Slice& row, ValueType type, const rocksdb::Slice&,
                    std::string*, std::string*) const override {
    std::string_view position = record_position(row.ToStringView());
    if (position.empty() || type != ValueType::kValue) return Decision::kKeep;
    if (position == previous_) return Decision::kRemove;
    previous_ = position;
    return Decision::kKeep;
  }
  const char* Name() const override { return "kahuna-superseded"; }

 private:
  mutable std::string previous_;  // one filter serves one job, on one thread
};

class SupersededFilterFactory final : public rocksdb::CompactionFilterFactory {
 public:
  explicit SupersededFilterFactory(std::shared_ptr<const std::atomic<int>> views)
      : views_(std::move(views)) {}
  bool ShouldFilterTableFileCreation(rocksdb::TableFileCreationReason reason) const override {
    return reason == rocksdb::TableFileCreationReason::kFlush ||
           reason == rocksdb::TableFileCreationReason::kCompaction;
  }
  std::unique_ptr<rocksdb::CompactionFilter> CreateCompactionFilter(
      const rocksdb::CompactionFilter::Context&) override {
    if (views_->load() > 0 && !MUTANT(views_do_not_hold_rows)) {
      SOMETIMES(rocks_engine_keeps_rows_for_a_view);
      return nullptr;
    }
    return std::make_unique<SupersededFilter>();
  }
  const char* Name() const override { return "kahuna-superseded"; }

 private:
  std::shared_ptr<const std::atomic<int>> views_;
};

constexpr uint64_t kBytesPerSync = uint64_t{512} << 10;
constexpr int64_t kBackgroundBytesPerSecond = int64_t{128} << 20;  // by flushes and compactions
constexpr int64_t kRefillMicros = 10'000;

class NoLog final : public rocksdb::Logger {
 public:
  using Logger::Logger;
  void Logv(const char*, va_list) override {}
};

}  // namespace

rocksdb::Options rocks_settings(const RocksOptions& options, rocksdb::Env* env,
                                std::shared_ptr<const InsertionHints> hints,
                                std::shared_ptr<const std::atomic<int>> views) {
  rocksdb::Options o;
  if (env) o.env = env;
  o.create_if_missing = true;
  o.info_log = std::make_shared<NoLog>(rocksdb::InfoLogLevel::HEADER_LEVEL);
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  o.db_host_id = "";
  o.paranoid_checks = true;

  // One writer; every memtable reaches the disk only by flushes.
  o.allow_concurrent_memtable_write = false;
  o.enable_write_thread_adaptive_yield = false;
  o.enable_pipelined_write = false;
  o.memtable_insert_with_hint_prefix_extractor = std::move(hints);
  o.avoid_flush_during_shutdown = true;
  o.write_buffer_size = options.write_buffer_bytes;
  // Flushes that fail may add one each; one is written; and from one below the last on RocksDB
  // delays.
  o.max_write_buffer_number = 2 * kMemtablesWaitingMax + 2;

  // Compactions: one thread's worth, spread over what levels need. Writes are refused, not slowed,
  // and only when compaction has fallen far behind.
  o.compaction_filter_factory = std::make_shared<SupersededFilterFactory>(std::move(views));
  o.max_background_jobs = 2;
  o.max_subcompactions = 1;
  o.level0_slowdown_writes_trigger = 48;
  o.level0_stop_writes_trigger = 64;
  o.soft_pending_compaction_bytes_limit = 0;
  o.hard_pending_compaction_bytes_limit = 0;
  o.compression = rocksdb::kLZ4Compression;

  // No thread and no retry behind our back: a background error stops the replica.
  o.max_bgerror_resume_count = 0;
  o.max_file_opening_threads = 1;
  o.skip_stats_update_on_db_open = true;
  o.use_fsync = false;
  o.allow_fallocate = false;
  // What is written goes to the disk as it comes, and no faster than this: the journal's syncs wait
  // for all that is on its way there.
  o.bytes_per_sync = kBytesPerSync;
  if (!env)
    o.rate_limiter.reset(rocksdb::NewGenericRateLimiter(kBackgroundBytesPerSecond, kRefillMicros));

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes, env ? 0 : 4);
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.whole_key_filtering = true;
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return o;
}

rocksdb::Options rocks_scrub_settings(rocksdb::Env* env, bool direct) {
  rocksdb::Options o;
  if (env) o.env = env;
  o.info_log = std::make_shared<NoLog>(rocksdb::InfoLogLevel::HEADER_LEVEL);
  o.use_direct_reads = direct;
  rocksdb::BlockBasedTableOptions table;
  table.no_block_cache = true;
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return o;
}

Error error_of(const rocksdb::Status& status) {
  std::string text = "engine: " + status.ToString();
  if (status.IsIncomplete() || status.IsBusy() || status.IsTryAgain())
    return Error(ErrorCode::kOverloaded, std::move(text));
  if (status.IsNoSpace()) return Error(ErrorCode::kNoSpace, std::move(text));
  if (status.IsCorruption()) return Error(ErrorCode::kDamaged, std::move(text));
  // Of the file LOCK; other errors speak of blocks.
  if (text.find("While lock file") != std::string::npos ||
      text.find("lock hold by") != std::string::npos)
    return Error(ErrorCode::kInUse, std::move(text));
  return Error(ErrorCode::kIo, std::move(text));
}

}  // namespace kahuna::engine
