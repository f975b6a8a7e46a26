#include "kahuna/engine/rocks_engine.h"

#include <rocksdb/write_batch.h>

#include <algorithm>

#include "kahuna/engine/ordered_rows.h"
#include "kahuna/engine/rocks_database.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::engine {

namespace {

using Marks = std::map<PartitionId, raft::LogPosition>;
using rocksdb::Slice;

// A scan that met this many superseded rows in a row seeks past the rest.
constexpr size_t kSupersededStepsMax = 8;
constexpr size_t kMarkRowBytes = 1 + 8;
constexpr size_t kMarkValueBytes = 8 + 8;

void append_big(std::string& out, uint64_t v) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(char(v >> shift));
}
uint64_t read_big(std::string_view bytes) {
  uint64_t v = 0;
  for (size_t i = 0; i < 8; ++i) v = (v << 8) | uint8_t(bytes[i]);
  return v;
}

std::unique_ptr<rocksdb::Iterator> iterate(RocksDatabase& database, const Slice& end,
                                           const rocksdb::Snapshot* snapshot) {
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &end;
  options.total_order_seek = true;
  options.snapshot = snapshot;
  return std::unique_ptr<rocksdb::Iterator>(database.db().NewIterator(options));
}

// As Engine::scan(), of what `snapshot` saw; null: of now.
Result<> scan_rows(RocksDatabase& database, const rocksdb::Snapshot* snapshot,
                   std::string_view from, std::string_view to, const RowVisitor& visit) {
  RocksScope scope(database.entropy());
  Slice end(to);
  auto at = iterate(database, end, snapshot);
  std::string previous;  // position of the last record row visited
  size_t superseded = 0;
  for (at->Seek(from); at->Valid();) {
    std::string_view row = at->key().ToStringView();
    std::string_view position = record_position(row);
    if (!position.empty() && position == previous) {
      if (++superseded < kSupersededStepsMax) {
        at->Next();
      } else {
        SOMETIMES(rocks_engine_seeks_past_superseded);
        at->Seek(previous + std::string(kVersionSuffixBytes + 1, '\xff'));
      }
      continue;
    }
    previous = position;
    superseded = 0;
    if (!visit(row, at->value().ToStringView())) break;
    at->Next();
  }
  if (!at->status().ok()) return fail(error_of(at->status()));
  return {};
}

Result<Marks> read_marks(RocksDatabase& database, const rocksdb::Snapshot* snapshot) {
  Marks marks;
  bool malformed = false;
  std::string from(1, char(RowKind::kMark)), to(1, char(uint8_t(RowKind::kMark) + 1));
  RETURN_IF_ERROR(
      scan_rows(database, snapshot, from, to, [&](std::string_view row, std::string_view value) {
        malformed = row.size() != kMarkRowBytes || value.size() != kMarkValueBytes;
        if (malformed) return false;
        marks[PartitionId(read_big(row.substr(1)))] = {Index(read_big(value)),
                                                       Term(read_big(value.substr(8)))};
        return true;
      }));
  if (malformed) return fail(ErrorCode::kDamaged, "engine: malformed applied mark");
  return marks;
}

class RocksView final : public View {
 public:
  explicit RocksView(std::shared_ptr<RocksDatabase> database) : database_(std::move(database)) {
    RocksScope scope(database_->entropy());
    database_->count_view(1);  // first: a job that does not see it must not see our snapshot either
    snapshot_ = database_->db().GetSnapshot();
  }
  ~RocksView() override {
    RocksScope scope(database_->entropy());
    database_->db().ReleaseSnapshot(snapshot_);
    database_->count_view(-1);
  }
  Result<> scan(std::string_view from, std::string_view to, const RowVisitor& visit) override {
    return scan_rows(*database_, snapshot_, from, to, visit);
  }
  // Read from the rows, of which a write under way may have added some.
  Result<Marks> applied() override { return read_marks(*database_, snapshot_); }

 private:
  std::shared_ptr<RocksDatabase> database_;
  const rocksdb::Snapshot* snapshot_;
};

class RocksEngine final : public Engine {
 public:
  RocksEngine(Host& host, RocksOptions options);

  Result<> open(Suspend suspend);

  Result<> write(const WriteBatch& batch) override;
  void start_write(std::shared_ptr<const WriteBatch> batch, Callback<void(Result<>)> done) override;
  Result<bool> first(std::string_view from, std::string_view to, std::string& row,
                     std::string& value) override;
  Result<bool> get(std::string_view row, std::string& value) override;
  Result<> scan(std::string_view from, std::string_view to, const RowVisitor& visit) override;
  std::unique_ptr<View> view(std::vector<RowRange> ranges) override;
  const Marks& applied() const override { return applied_; }
  const Marks& flushed() const override { return flushed_; }
  size_t unflushed_bytes() const override { return unflushed_bytes_; }
  void flush(Callback<void(Result<>)> done) override;
  Result<uint64_t> scrub(Suspend suspend, size_t bytes_per_second) override;

 private:
  Result<> blocking(Suspend suspend, Callback<Result<>(RocksDatabase&)> work);
  using Alive = std::weak_ptr<bool>;
  Result<> load_marks();
  Result<> written(const WriteBatch& batch, Result<> result);
  void post_pump(Duration after = Duration());
  void pump();
  void start_production_flush();
  void finish_soon(Result<> result);
  void finish(Result<> result);

  Clock& clock_;
  Scheduler& scheduler_;
  Offload& offload_;
  Disk& disk_;
  std::string dir_;
  bool simulated_;
  std::shared_ptr<RocksDatabase> database_;
  rocksdb::WriteBatch batch_;  // scratch
  bool writing_ = false;       // a start_write() is under way
  Marks applied_, flushed_, cut_;
  size_t unflushed_bytes_ = 0;
  size_t flushing_bytes_ = 0;  // of the flush under way
  bool unflushed_ = false;     // something was written since the last flush's cut
  Callback<void(Result<>)> done_;
  bool pump_posted_ = false;
  bool pump_finishes_ = false;   // the flush under way ends when its jobs have run
  std::optional<Error> broken_;  // a flush failed otherwise
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

RocksEngine::RocksEngine(Host& host, RocksOptions options)
    : clock_(*host.clock),
      scheduler_(*host.scheduler),
      offload_(*host.offload),
      disk_(*host.disk),
      dir_(options.dir),
      simulated_(options.simulated) {
  std::string path = simulated_ ? options.dir : host.disk->native_path(options.dir);
  if (!simulated_) seed_unscoped(host.random("rocksdb").next());
  database_ = std::make_shared<RocksDatabase>(
      std::move(options), std::move(path), host.random("rocksdb"), [this, alive = Alive(alive_)] {
        if (!alive.expired()) post_pump();
      });
}

Result<> RocksEngine::open(Suspend suspend) {
  // RocksDB would create its directory and never make the name durable.
  std::string parent = dir_.substr(0, dir_.rfind('/') == std::string::npos ? 0 : dir_.rfind('/'));
  RETURN_IF_ERROR(make_dir(suspend, disk_, dir_));
  RETURN_IF_ERROR(sync_dir(suspend, disk_, parent));
  if (simulated_) {
    RETURN_IF_ERROR(database_->open());
  } else {
    auto result = std::make_shared<Result<>>();
    offload(suspend, offload_, [database = database_, result] { *result = database->open(); });
    RETURN_IF_ERROR(std::move(*result));
  }
  return load_marks();
}

Result<> RocksEngine::load_marks() {
  ASSIGN_OR_RETURN(applied_, read_marks(*database_, nullptr));
  flushed_ = applied_;
  return {};
}

// --- reading and writing ---

// On any thread.
Result<> write_to(RocksDatabase& database, const WriteBatch& batch, rocksdb::WriteBatch& scratch) {
  if (database.memtables_waiting() >= kMemtablesWaitingMax)
    return fail(ErrorCode::kOverloaded, "engine: memtables wait to be flushed");
  RocksScope scope(database.entropy());
  scratch.Clear();
  std::vector<WriteBatch::Operation> operations = batch.operations();
  bool ranges = std::any_of(operations.begin(), operations.end(), [](const auto& operation) {
    return operation.kind == WriteBatch::kRemoveRange;
  });
  // In order of rows, each insertion starts where the one before it ended.
  if (!ranges)
    std::stable_sort(operations.begin(), operations.end(),
                     [](const auto& a, const auto& b) { return a.row < b.row; });
  for (const WriteBatch::Operation& operation : operations) {
    switch (operation.kind) {
      case WriteBatch::kPut: scratch.Put(operation.row, operation.value); break;
      case WriteBatch::kRemove: scratch.Delete(operation.row); break;
      case WriteBatch::kRemoveRange: scratch.DeleteRange(operation.row, operation.value); break;
    }
  }
  std::string row, value;
  for (const auto& [group, mark] : batch.marks()) {
    row.assign(1, char(RowKind::kMark));
    append_big(row, group.value());
    value.clear();
    append_big(value, mark.index.value());
    append_big(value, mark.term.value());
    scratch.Put(row, value);
  }
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  options.no_slowdown = true;
  database.hints().use(!ranges);
  rocksdb::Status status = database.db().Write(options, &scratch);
  if (!status.ok()) return fail(error_of(status));
  return {};
}

Result<> RocksEngine::write(const WriteBatch& batch) {
  CHECK(!writing_);
  if (broken_) return fail(*broken_);
  return written(batch, write_to(*database_, batch, batch_));
}

void RocksEngine::start_write(std::shared_ptr<const WriteBatch> batch,
                              Callback<void(Result<>)> done) {
  CHECK(!std::exchange(writing_, true));
  auto result = std::make_shared<Result<>>();
  if (broken_) *result = fail(*broken_);
  offload_.run(
      [database = database_, batch, result] {
        rocksdb::WriteBatch scratch;
        if (*result) *result = write_to(*database, *batch, scratch);
      },
      [this, alive = Alive(alive_), batch, result, done = std::move(done)]() mutable {
        if (alive.expired()) return;
        writing_ = false;
        done(written(*batch, std::move(*result)));
      });
}

Result<> RocksEngine::written(const WriteBatch& batch, Result<> result) {
  if (!result) {
    if (result.error().code == ErrorCode::kOverloaded) SOMETIMES(rocks_engine_refuses_to_stall);
    return result;
  }
  for (const auto& [group, mark] : batch.marks()) applied_[group] = mark;
  unflushed_bytes_ += batch.size_bytes();
  unflushed_ = true;
  return {};
}

Result<bool> RocksEngine::first(std::string_view from, std::string_view to, std::string& row,
                                std::string& value) {
  RocksScope scope(database_->entropy());
  Slice end(to);
  auto at = iterate(*database_, end, nullptr);
  at->Seek(from);
  if (!at->status().ok()) return fail(error_of(at->status()));
  if (!at->Valid()) return false;
  row.assign(at->key().data(), at->key().size());
  value.assign(at->value().data(), at->value().size());
  return true;
}

Result<bool> RocksEngine::get(std::string_view row, std::string& value) {
  RocksScope scope(database_->entropy());
  rocksdb::Status status = database_->db().Get(rocksdb::ReadOptions(), row, &value);
  if (status.ok()) return true;
  if (status.IsNotFound()) return false;
  return fail(error_of(status));
}

Result<> RocksEngine::scan(std::string_view from, std::string_view to, const RowVisitor& visit) {
  return scan_rows(*database_, nullptr, from, to, visit);
}

std::unique_ptr<View> RocksEngine::view(std::vector<RowRange>) {
  return std::make_unique<RocksView>(database_);
}

// --- flushing ---

void RocksEngine::flush(Callback<void(Result<>)> done) {
  if (done_ || broken_) {
    Result<> refusal = broken_ ? Result<>(fail(*broken_))
                               : fail(ErrorCode::kOverloaded, "a flush is already under way");
    scheduler_.post([alive = Alive(alive_), done = std::move(done), refusal]() mutable {
      if (!alive.expired()) done(std::move(refusal));
    });
    return;
  }
  done_ = std::move(done);
  cut_ = applied_;
  flushing_bytes_ = std::exchange(unflushed_bytes_, 0);
  if (!std::exchange(unflushed_, false)) return finish_soon({});
  if (!simulated_) return start_production_flush();
  Result<bool> started = database_->start_flush();
  if (!started) return finish_soon(fail(std::move(started.error())));
  if (!*started) return finish_soon({});
  pump_finishes_ = true;
  post_pump();
}

// Away from the loop; in the simulator, where there is nothing else, on it.
Result<> RocksEngine::blocking(Suspend suspend, Callback<Result<>(RocksDatabase&)> work) {
  if (simulated_) return work(*database_);
  auto result = std::make_shared<Result<>>();
  offload(suspend, offload_, [database = database_, result, work = std::move(work)]() mutable {
    *result = work(*database);
  });
  return std::move(*result);
}

Result<uint64_t> RocksEngine::scrub(Suspend suspend, size_t bytes_per_second) {
  uint64_t bytes = 0;
  auto tables = std::make_shared<std::vector<RocksDatabase::Table>>();
  RETURN_IF_ERROR(blocking(suspend, [tables](RocksDatabase& database) {
    *tables = database.tables();
    return Result<>();
  }));
  for (const RocksDatabase::Table& table : *tables) {
    RETURN_IF_ERROR(
        blocking(suspend, [table](RocksDatabase& database) { return database.verify(table); }));
    bytes += table.bytes;
    suspend.sleep_until(clock_.now() + time_to_read(table.bytes, bytes_per_second));
  }
  RETURN_IF_ERROR(
      blocking(suspend, [](RocksDatabase& database) { return database.verify_manifest(); }));
  return bytes;
}

void RocksEngine::start_production_flush() {
  auto result = std::make_shared<Result<>>();
  offload_.run([database = database_, result] { *result = database->flush_and_wait(); },
               [this, alive = Alive(alive_), result] {
                 if (!alive.expired()) finish(std::move(*result));
               });
}

void RocksEngine::post_pump(Duration after) {
  if (std::exchange(pump_posted_, true)) return;
  auto task = [this, alive = Alive(alive_)] {
    if (!alive.expired()) pump();
  };
  if (after > Duration())
    clock_.call_at(clock_.now() + after, std::move(task));
  else
    scheduler_.post(std::move(task));
}

void RocksEngine::pump() {
  // A job that failed queues itself again at once, and wants a rest before that.
  bool ran = database_->run_one();
  pump_posted_ = false;
  if (ran) post_pump(database_->take_rest());  // one job a turn; stops by itself
  if (!pump_finishes_) return;
  if (auto outcome = database_->flush_outcome()) return finish(std::move(*outcome));
  if (!ran) finish(fail(ErrorCode::kIo, "engine: a flush was given up"));
}

void RocksEngine::finish_soon(Result<> result) {
  scheduler_.post([this, alive = Alive(alive_), result = std::move(result)]() mutable {
    if (!alive.expired()) finish(std::move(result));
  });
}

void RocksEngine::finish(Result<> result) {
  pump_finishes_ = false;
  if (result) {
    flushed_ = cut_;
  } else if (result.error().code == ErrorCode::kNoSpace && !MUTANT(engine_stays_full)) {
    SOMETIMES(rocks_engine_flush_finds_disk_full);
    unflushed_ = true;
    unflushed_bytes_ += flushing_bytes_;
  } else {
    broken_ = result.error();
  }
  auto done = std::move(done_);
  done(std::move(result));
}

}  // namespace

Result<std::unique_ptr<Engine>> open_rocks_engine(Suspend suspend, Host& host, Fibers&,
                                                  RocksOptions options) {
  if (options.simulated && !rocks_interposed())
    return fail(ErrorCode::kInvalid,
                "this executable cannot simulate RocksDB: link it with -rdynamic");
  auto engine = std::make_unique<RocksEngine>(host, std::move(options));
  RETURN_IF_ERROR(engine->open(suspend));
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace kahuna::engine
