#include "kahuna/engine/memory_engine.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "kahuna/engine/image.h"
#include "kahuna/engine/ordered_rows.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::engine {

namespace {

// A full image replaces the deltas once they are together larger than the state, and than this.
constexpr size_t kDeltaBytesMin = 256 * 1024;
constexpr std::string_view kAllRowsEnd = "\xff";  // above every RowKind

// What the flushing fiber shares with the engine: it may outlive the engine, or be cancelled.
struct FlushJob {
  std::string bytes;  // here, so that the buffer outlives a cancelled fiber's write
  std::unique_ptr<File> file;
  ImageName name;
};

// A copy: this engine is a twin for tests, and for states that fit memory twice.
class MemoryView final : public View {
 public:
  MemoryView(const OrderedRows& rows, const std::vector<RowRange>& ranges, Marks marks)
      : marks_(std::move(marks)) {
    for (const auto& [from, to] : ranges)
      rows.scan(from, to, [&](std::string_view row, std::string_view value) {
        rows_.put(row, value);
        return true;
      });
  }
  Result<> scan(std::string_view from, std::string_view to, const RowVisitor& visit) override {
    rows_.scan(from, to, visit);
    return {};
  }
  Result<Marks> applied() override { return marks_; }

 private:
  OrderedRows rows_;
  Marks marks_;
};

class MemoryEngine final : public Engine {
 public:
  // `fibers` and `disk` null: volatile.
  MemoryEngine(Scheduler& scheduler, Disk* disk, Fibers* fibers, std::string dir)
      : scheduler_(scheduler), disk_(disk), fibers_(fibers), dir_(std::move(dir)) {}

  Result<> load(Suspend suspend);

  Result<> write(const WriteBatch& batch) override;
  void start_write(std::shared_ptr<const WriteBatch> batch, Callback<void(Result<>)> done) override;
  Result<bool> first(std::string_view from, std::string_view to, std::string& row,
                     std::string& value) override;
  Result<bool> get(std::string_view row, std::string& value) override;
  Result<> scan(std::string_view from, std::string_view to, const RowVisitor& visit) override;
  std::unique_ptr<View> view(std::vector<RowRange> ranges) override {
    std::lock_guard lock(mutex_);
    return std::make_unique<MemoryView>(rows_, ranges, applied_);
  }
  const Marks& applied() const override { return applied_; }
  const Marks& flushed() const override { return flushed_; }
  size_t unflushed_bytes() const override { return unflushed_bytes_; }
  void flush(Callback<void(Result<>)> done) override;
  Result<uint64_t> scrub(Suspend suspend, size_t bytes_per_second) override;

 private:
  Result<std::vector<ImageName>> list_images(Suspend suspend);
  void replay(std::string_view operations);
  std::string make_image(ImageName name);
  void post(Callback<void()> task);
  Result<> write_image(Suspend suspend, FlushJob& job);
  Result<> remove_older(Suspend suspend, uint64_t than);
  void finish(Result<> result);

  Scheduler& scheduler_;
  Disk* disk_;
  Fibers* fibers_;
  std::string dir_;
  std::mutex mutex_;  // E6: held to change rows_ and applied_, and to read them on any loop
  OrderedRows rows_;
  Marks applied_, flushed_;

  std::string pending_;         // operations since the last image's cut, as in WriteBatch
  bool marks_pending_ = false;  // a mark changed since then
  size_t unflushed_bytes_ = 0;
  size_t delta_bytes_ = 0;   // of the deltas above the last full image
  uint64_t last_image_ = 0;  // number of the newest image
  bool has_full_ = false;

  bool writing_ = false;           // a start_write() is under way
  std::shared_ptr<FlushJob> job_;  // while a flush is under way
  Marks cut_;
  Callback<void(Result<>)> done_;
  std::optional<Error> broken_;  // M3
  // Expires with the engine, so that what was posted knows.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

void MemoryEngine::replay(std::string_view operations) {
  bool whole = WriteBatch::for_each_in(operations, [&](const WriteBatch::Operation& operation) {
    switch (operation.kind) {
      case WriteBatch::kPut: rows_.put(operation.row, operation.value); break;
      case WriteBatch::kRemove: rows_.remove(operation.row); break;
      case WriteBatch::kRemoveRange: rows_.remove_range(operation.row, operation.value); break;
    }
  });
  CHECK(whole);  // ours, or behind a good checksum
}

// Those that count: the newest full one, and what follows it.
Result<std::vector<ImageName>> MemoryEngine::list_images(Suspend suspend) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, list(suspend, *disk_, dir_));
  uint64_t full = 0;
  std::vector<uint64_t> deltas;
  for (const std::string& name : names) {
    auto image = parse_image_name(name);
    if (!image) continue;
    if (image->full)
      full = std::max(full, image->number);
    else
      deltas.push_back(image->number);
  }
  std::vector<ImageName> chain;
  if (full) chain.push_back({full, true});
  for (uint64_t number : deltas)  // ascending, as names are
    if (number > full) chain.push_back({number, false});
  return chain;
}

Result<> MemoryEngine::load(Suspend suspend) {
  RETURN_IF_ERROR(make_dir(suspend, *disk_, dir_));
  RETURN_IF_ERROR(sync_dir(suspend, *disk_, ""));
  // What is read here counts as flushed, but a process that died may have left a name behind that
  // would not survive a loss of power.
  RETURN_IF_ERROR(sync_dir(suspend, *disk_, dir_));
  ASSIGN_OR_RETURN(std::vector<ImageName> chain, list_images(suspend));
  const uint64_t full = !chain.empty() && chain.front().full ? chain.front().number : 0;
  last_image_ = full;
  for (ImageName name : chain) {
    if (!name.full && name.number != last_image_ + 1)
      return fail(ErrorCode::kDamaged,
                  "engine image " + dir_ + "/" + name_of({last_image_ + 1, false}) + " is missing");
    ASSIGN_OR_RETURN(Image image, read_image(suspend, *disk_, dir_, name));
    replay(image.operations);
    for (const auto& [group, mark] : image.marks) applied_[group] = mark;
    last_image_ = name.number;
    if (!name.full) delta_bytes_ += image.bytes.size();
  }
  has_full_ = full != 0;
  flushed_ = applied_;
  return {};
}

Result<> MemoryEngine::write(const WriteBatch& batch) {
  CHECK(!writing_);
  if (broken_) return fail(*broken_);
  std::lock_guard lock(mutex_);
  replay(batch.bytes());
  if (disk_) pending_.append(batch.bytes());
  unflushed_bytes_ += batch.size_bytes();
  for (const auto& [group, mark] : batch.marks()) {
    applied_[group] = mark;
    marks_pending_ = true;
  }
  return {};
}

// Does nothing once the engine is gone.
void MemoryEngine::post(Callback<void()> task) {
  scheduler_.post([alive = std::weak_ptr<bool>(alive_), task = std::move(task)]() mutable {
    if (!alive.expired()) task();
  });
}

void MemoryEngine::start_write(std::shared_ptr<const WriteBatch> batch,
                               Callback<void(Result<>)> done) {
  CHECK(!std::exchange(writing_, true));
  post([this, batch = std::move(batch), done = std::move(done)]() mutable {
    writing_ = false;
    done(write(*batch));
  });
}

Result<bool> MemoryEngine::first(std::string_view from, std::string_view to, std::string& row,
                                 std::string& value) {
  std::lock_guard lock(mutex_);
  bool found = false;
  rows_.scan(from, to, [&](std::string_view found_row, std::string_view found_value) {
    row = found_row;
    value = found_value;
    found = true;
    return false;
  });
  return found;
}

Result<bool> MemoryEngine::get(std::string_view row, std::string& value) {
  std::lock_guard lock(mutex_);
  const std::string* found = rows_.find(row);
  if (found) value = *found;
  return found != nullptr;
}

Result<> MemoryEngine::scan(std::string_view from, std::string_view to, const RowVisitor& visit) {
  std::lock_guard lock(mutex_);
  rows_.scan(from, to, visit);
  return {};
}

std::string MemoryEngine::make_image(ImageName name) {
  std::string bytes = begin_image(name, applied_);
  if (name.full) {
    WriteBatch all;
    rows_.scan("", kAllRowsEnd, [&](std::string_view row, std::string_view value) {
      all.put(row, value);
      return true;
    });
    bytes.append(all.bytes());
  } else {
    bytes.append(pending_);
  }
  seal_image(bytes);
  return bytes;
}

void MemoryEngine::flush(Callback<void(Result<>)> done) {
  auto later = [&](Result<> result) {
    post([done = std::move(done), result]() mutable { done(std::move(result)); });
  };
  if (broken_) return later(fail(*broken_));
  if (done_) return later(fail(ErrorCode::kOverloaded, "a flush is already under way"));
  unflushed_bytes_ = 0;
  if (pending_.empty() && !marks_pending_) return later({});
  cut_ = applied_;
  marks_pending_ = false;
  done_ = std::move(done);
  if (!disk_) {
    pending_.clear();
    post([this] { finish({}); });
    return;
  }
  bool full = !has_full_ || delta_bytes_ > std::max(kDeltaBytesMin, rows_.bytes());
  job_ = std::make_shared<FlushJob>();
  job_->name = {last_image_ + 1, full};
  job_->bytes = make_image(job_->name);
  // Kept until the image is durable: after kNoSpace the next flush has to cover it again.
  fibers_->spawn("engine flush", [this, alive = std::weak_ptr<bool>(alive_), job = job_,
                                  cut_bytes = pending_.size()](Suspend suspend) {
    if (alive.expired()) return;
    Result<> result = write_image(suspend, *job);
    if (alive.expired()) return;
    if (result) pending_.erase(0, cut_bytes);
    finish(std::move(result));
  });
}

Result<> MemoryEngine::write_image(Suspend suspend, FlushJob& job) {
  // Members may be gone after any suspension: only locals and the job are touched.
  std::weak_ptr<bool> alive = alive_;
  Disk& disk = *disk_;
  std::string dir = dir_, final_path = dir + "/" + name_of(job.name);
  std::string temporary = final_path.substr(0, final_path.rfind('.')) + ".tmp";
  OpenOptions options{.create = true, .exclusive = true, .write = true};
  auto opened = open(suspend, disk, temporary, options);
  if (!opened && opened.error().code == ErrorCode::kInUse) {
    SOMETIMES(memory_engine_finds_stale_temporary);
    RETURN_IF_ERROR(remove(suspend, disk, temporary));
    opened = open(suspend, disk, temporary, options);
  }
  if (!opened) return fail(std::move(opened.error()));
  job.file = std::move(*opened);
  RETURN_IF_ERROR(write_whole(suspend, *job.file, 0, as_bytes(job.bytes)));
  RETURN_IF_ERROR(sync(suspend, *job.file));
  job.file.reset();
  RETURN_IF_ERROR(rename(suspend, disk, temporary, final_path));
  RETURN_IF_ERROR(sync_dir(suspend, disk, dir));
  if (job.name.full && !alive.expired()) RETURN_IF_ERROR(remove_older(suspend, job.name.number));
  return {};
}

Result<> MemoryEngine::remove_older(Suspend suspend, uint64_t than) {
  std::weak_ptr<bool> alive = alive_;
  Disk& disk = *disk_;
  std::string dir = dir_;
  ASSIGN_OR_RETURN(std::vector<std::string> names, list(suspend, disk, dir));
  for (const std::string& name : names) {
    if (alive.expired()) return {};
    auto image = parse_image_name(name);
    if (!image || image->number >= than) continue;
    SOMETIMES(memory_engine_removes_old_image);
    RETURN_IF_ERROR(remove(suspend, disk, dir + "/" + name));
  }
  return {};
}

Result<uint64_t> MemoryEngine::scrub(Suspend suspend, size_t bytes_per_second) {
  if (!disk_) return uint64_t{0};
  ASSIGN_OR_RETURN(std::vector<ImageName> chain, list_images(suspend));
  uint64_t bytes = 0;
  for (ImageName name : chain) {
    auto image = read_image(suspend, *disk_, dir_, name);
    if (!image && image.error().code == ErrorCode::kNotFound)
      continue;  // a full one has taken its place
    if (!image) return fail(std::move(image.error()));
    bytes += image->bytes.size();
    suspend.sleep_until(suspend.fibers().clock().now() +
                        time_to_read(image->bytes.size(), bytes_per_second));
  }
  return bytes;
}

void MemoryEngine::finish(Result<> result) {
  if (result) {
    flushed_ = cut_;
    if (job_) {
      last_image_ = job_->name.number;
      delta_bytes_ = job_->name.full ? 0 : delta_bytes_ + job_->bytes.size();
      has_full_ = has_full_ || job_->name.full;
    }
  } else if (result.error().code == ErrorCode::kNoSpace) {
    marks_pending_ = true;
    unflushed_bytes_ = std::max(unflushed_bytes_, pending_.size());
  } else {
    broken_ = result.error();
  }
  job_.reset();
  auto done = std::move(done_);
  done(std::move(result));
}

}  // namespace

Result<std::unique_ptr<Engine>> open_memory_engine(Suspend suspend, Host& host, Fibers& fibers,
                                                   std::string dir) {
  auto engine = std::make_unique<MemoryEngine>(*host.scheduler, host.disk, &fibers, std::move(dir));
  RETURN_IF_ERROR(engine->load(suspend));
  return std::unique_ptr<Engine>(std::move(engine));
}

std::unique_ptr<Engine> make_volatile_engine(Scheduler& scheduler) {
  return std::make_unique<MemoryEngine>(scheduler, nullptr, nullptr, std::string());
}

}  // namespace kahuna::engine
