#include "fake_host.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace kahuna::journal_test {

// --- disk ---

void FakeDisk::apply(Directory& directory, const Change& change) {
  if (!change.remove.empty()) directory.erase(change.remove);
  if (!change.add.empty()) directory[change.add] = change.inode;
}

void FakeDisk::crash(RandomStream& random) {
  for (const Change& change : changes_)
    if (random.chance(1, 2)) apply(durable_, change);
  changes_.clear();
  current_ = durable_;
  for (auto& [name, inode] : current_) {
    // A size change that was not synced may be lost as well.
    if (inode->current.size() != inode->durable.size() && random.chance(1, 2))
      inode->durable.resize(inode->current.size());
    for (size_t sector : inode->dirty) {
      size_t at = sector * kSector;
      if (at >= inode->durable.size() || at >= inode->current.size() || inode->poisoned ||
          random.chance(1, 2))
        continue;
      size_t n = std::min({kSector, inode->durable.size() - at, inode->current.size() - at});
      std::memcpy(inode->durable.data() + at, inode->current.data() + at, n);
    }
    inode->dirty.clear();
    inode->poisoned = false;
    inode->current = inode->durable;
  }
}

void FakeDisk::rot(const std::string& path, size_t at, std::byte bits) {
  Inode& inode = *current_.at(path);
  inode.current[at] ^= bits;
  if (at < inode.durable.size()) inode.durable[at] ^= bits;
}

std::vector<std::byte>* FakeDisk::bytes(const std::string& path) {
  auto it = current_.find(path);
  return it == current_.end() ? nullptr : &it->second->current;
}

std::vector<std::string> FakeDisk::names() const {
  std::vector<std::string> out;
  for (const auto& [name, inode] : current_) out.push_back(name);
  return out;
}

FakeDisk FakeDisk::clone() const {
  FakeDisk copy;
  for (const auto& [name, inode] : current_) {
    auto fresh = std::make_shared<Inode>();
    fresh->current = fresh->durable = inode->current;
    copy.current_[name] = copy.durable_[name] = fresh;
  }
  return copy;
}

size_t FakeDisk::used() const {
  size_t total = 0;
  for (const auto& [name, inode] : current_) total += inode->current.size();
  return total;
}

void FakeDisk::forget(const std::string& path) {
  current_.erase(path);
  durable_.erase(path);
}

// --- file ---

namespace {
void put(Inode& inode, uint64_t offset, ByteView bytes) {
  if (bytes.empty()) return;
  if (inode.current.size() < offset + bytes.size()) inode.current.resize(offset + bytes.size());
  std::memcpy(inode.current.data() + offset, bytes.data(), bytes.size());
  for (size_t s = offset / kSector; s <= (offset + bytes.size() - 1) / kSector; ++s)
    inode.dirty.insert(s);
}
bool counts_down(int& counter) {
  return counter >= 0 && counter-- == 0;
}
}  // namespace

class FakeFile : public File {
 public:
  FakeFile(Machine& machine, std::string path, InodePtr inode, bool direct)
      : machine_(machine), path_(std::move(path)), inode_(std::move(inode)), direct_(direct) {}
  ~FakeFile() override { *alive_ = false; }

  void read_at(uint64_t offset, MutableByteView bytes, IoDone done) override {
    machine_.start([this, alive = alive_, offset, bytes, done = std::move(done)]() mutable {
      if (!*alive) return;
      Result<size_t> result = size_t{0};
      if (misaligned(offset, bytes)) result = fail(ErrorCode::kIo, "misaligned read");
      for (size_t page = offset / 4096; page * 4096 < offset + bytes.size(); ++page) {
        auto passing = machine_.disk_.unreadable_for.find({path_, page});
        bool passes = passing != machine_.disk_.unreadable_for.end() && passing->second > 0;
        if (passes) --passing->second;
        if (passes || machine_.disk_.unreadable.contains({path_, page}))
          result = fail(ErrorCode::kIo, "latent sector error");
      }
      if (result && offset < inode_->current.size()) {
        size_t n = std::min<size_t>(bytes.size(), inode_->current.size() - offset);
        if (machine_.disk_.short_transfers && n > 4096 && machine_.random_.chance(1, 8)) n -= 4096;
        std::memcpy(bytes.data(), inode_->current.data() + offset, n);
        result = n;
      }
      report(alive, std::move(done), std::move(result));
    });
  }

  void write_at(uint64_t offset, ByteView bytes, IoDone done) override {
    start_write(offset, bytes, false, std::move(done));
  }
  void write_durably_at(uint64_t offset, ByteView bytes, IoDone done) override {
    ++machine_.disk_.durable_writes;
    start_write(offset, bytes, true, std::move(done));
  }
  void start_write(uint64_t offset, ByteView bytes, bool durable, IoDone done) {
    ++machine_.disk_.writes;
    machine_.start(
        [this, alive = alive_, offset, bytes, durable, done = std::move(done)]() mutable {
          if (!*alive) return;
          FakeDisk& disk = machine_.disk_;
          Result<size_t> result = bytes.size();
          uint64_t landed = offset;
          if (misaligned(offset, bytes)) {
            result = fail(ErrorCode::kIo, "misaligned write");
          } else if (counts_down(disk.writes_until_error)) {
            result = fail(ErrorCode::kIo, "write failed");
          } else if (counts_down(disk.writes_until_lost)) {
          } else if (counts_down(disk.writes_until_misdirected)) {
            landed += static_cast<uint64_t>(disk.misdirect_by * int64_t{kSector});
            put(*inode_, landed, bytes);
          } else {
            size_t grows = offset + bytes.size() > inode_->current.size()
                               ? offset + bytes.size() - inode_->current.size()
                               : 0;
            if (grows > 0 && disk.used() + grows > disk.space) {
              result = fail(ErrorCode::kNoSpace, "disk full");
            } else {
              size_t n = bytes.size();
              if (disk.short_transfers && n > kSector && machine_.random_.chance(1, 6))
                n -= direct_ ? n % 4096 : kSector;
              put(*inode_, offset, bytes.first(n));
              result = n;
            }
          }
          if (durable && result) {
            if (counts_down(disk.syncs_until_error)) {
              inode_->poisoned = true;
              result = fail(ErrorCode::kIo, "sync failed");
            } else if (!inode_->poisoned) {
              make_durable(landed, *result);
            }
          }
          report(alive, std::move(done), std::move(result));
        });
    Machine::Operation& operation = machine_.operations_.back();
    operation.inode = inode_;
    operation.offset = offset;
    operation.bytes = bytes;
  }

  void sync(Done done) override {
    ++machine_.disk_.syncs;
    // Only what was written before the call is promised.
    auto dirty = std::make_shared<std::set<size_t>>(inode_->dirty);
    machine_.start([this, alive = alive_, dirty, done = std::move(done)]() mutable {
      if (!*alive) return;
      if (inode_->poisoned) dirty->clear();
      if (counts_down(machine_.disk_.syncs_until_error)) {
        inode_->poisoned = true;
        machine_.post([alive, done = std::move(done)]() mutable {
          if (*alive) done(fail(ErrorCode::kIo, "sync failed"));
        });
        return;
      }
      if (!inode_->poisoned) grow_durable(inode_->current.size());
      for (size_t sector : *dirty) make_durable(sector);
      machine_.post([alive, done = std::move(done)]() mutable {
        if (*alive) done({});
      });
    });
  }

  uint64_t size() const override { return inode_->current.size(); }

 private:
  void grow_durable(size_t size) {
    if (inode_->durable.size() < size) inode_->durable.resize(size);
  }
  void make_durable(size_t sector) {
    Inode& inode = *inode_;
    size_t at = sector * kSector;
    if (at >= inode.current.size()) return;
    std::memcpy(inode.durable.data() + at, inode.current.data() + at,
                std::min(kSector, inode.current.size() - at));
    inode.dirty.erase(sector);
  }
  void make_durable(uint64_t offset, size_t bytes) {
    if (bytes == 0 || offset >= inode_->current.size()) return;
    grow_durable(std::min<size_t>(offset + bytes, inode_->current.size()));
    for (size_t s = offset / kSector; s <= (offset + bytes - 1) / kSector; ++s) make_durable(s);
  }
  void report(std::shared_ptr<bool> alive, IoDone done, Result<size_t> result) {
    machine_.post([alive, done = std::move(done), result = std::move(result)]() mutable {
      if (*alive) done(std::move(result));
    });
  }
  Machine& machine_;
  std::string path_;
  // Unbuffered transfers must be aligned, or they fail.
  bool misaligned(uint64_t offset, ByteView bytes) const {
    return direct_ && (offset % 4096 != 0 || bytes.size() % 4096 != 0 ||
                       reinterpret_cast<uintptr_t>(bytes.data()) % 4096 != 0);
  }
  InodePtr inode_;
  bool direct_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// --- machine ---

Machine::Machine(FakeDisk& disk, RandomStream random)
    : disk_(disk),
      random_(random),
      host_{this, this, this, nullptr, this, random.next()},
      fibers_(std::make_unique<Fibers>(*this, *this)) {}

Machine::~Machine() {
  fibers_.reset();
  ready_.clear();
  deferred_.clear();
  timers_.clear();
  operations_.clear();
}

bool Machine::turn() {
  bool any = false;
  while (!ready_.empty() || !deferred_.empty()) {
    any = true;
    while (!ready_.empty()) {
      Callback<void()> task = std::move(ready_.front());
      ready_.pop_front();
      task();
    }
    if (deferred_.empty()) break;
    Callback<void()> task = std::move(deferred_.front());
    deferred_.pop_front();
    task();
  }
  return any;
}

bool Machine::complete_one() {
  if (operations_.empty()) return false;
  size_t pick = random_.below(operations_.size());
  Operation operation = std::move(operations_[pick]);
  operations_.erase(operations_.begin() + static_cast<ptrdiff_t>(pick));
  operation.perform();
  return true;
}

void Machine::settle() {
  while (turn() || complete_one()) {
  }
}

bool Machine::run(Callback<void(Suspend)> body, size_t steps) {
  // The fiber may go on after this call gave up on it.
  auto ended = std::make_shared<bool>(false);
  fibers_->spawn("test", [ended, body = std::move(body)](Suspend s) mutable {
    body(s);
    *ended = true;
  });
  while (!*ended) {
    turn();
    if (*ended) break;
    if (steps-- == 0 || !complete_one()) return false;
  }
  return true;
}

void Machine::advance(Duration by) {
  now_ = now_ + by;
  while (!timers_.empty() && timers_.begin()->first.first <= now_) {
    post(std::move(timers_.begin()->second));
    timers_.erase(timers_.begin());
  }
}

void Machine::abandon() {
  for (Operation& operation : operations_) {
    if (!operation.inode) continue;
    for (size_t at = 0; at < operation.bytes.size(); at += kSector)
      if (random_.chance(1, 2))
        put(*operation.inode, operation.offset + at,
            operation.bytes.subspan(at, std::min(kSector, operation.bytes.size() - at)));
  }
}

TimerId Machine::call_at(Time deadline, Callback<void()> task) {
  TimerId id = next_timer_++;
  timers_[{deadline, id}] = std::move(task);
  return id;
}

void Machine::cancel(TimerId id) {
  std::erase_if(timers_, [id](const auto& timer) { return timer.first.second == id; });
}

void Machine::run(Callback<void()> work, Callback<void()> done) {
  work();
  post(std::move(done));
}

void Machine::open(std::string path, OpenOptions options,
                   Callback<void(Result<std::unique_ptr<File>>)> done) {
  start([this, path = std::move(path), options, done = std::move(done)]() mutable {
    auto& inode = disk_.current_[path];
    if (!inode) {
      if (!options.create) {
        disk_.current_.erase(path);
        post([done = std::move(done)]() mutable { done(fail(ErrorCode::kNotFound, "no file")); });
        return;
      }
      inode = std::make_shared<Inode>();
      disk_.changes_.push_back({"", path, inode});
    }
    post([this, path, inode = inode, direct = options.direct, done = std::move(done)]() mutable {
      done(std::unique_ptr<File>(std::make_unique<FakeFile>(*this, path, inode, direct)));
    });
  });
}

void Machine::rename(std::string from, std::string to, Done done) {
  start([this, from = std::move(from), to = std::move(to), done = std::move(done)]() mutable {
    FakeDisk::Change change{from, to, disk_.current_.at(from)};
    FakeDisk::apply(disk_.current_, change);
    disk_.changes_.push_back(change);
    post([done = std::move(done)]() mutable { done({}); });
  });
}

void Machine::remove(std::string path, Done done) {
  start([this, path = std::move(path), done = std::move(done)]() mutable {
    FakeDisk::Change change{path, "", nullptr};
    FakeDisk::apply(disk_.current_, change);
    disk_.changes_.push_back(change);
    post([done = std::move(done)]() mutable { done({}); });
  });
}

void Machine::list(std::string dir, Callback<void(Result<std::vector<std::string>>)> done) {
  start([this, dir = dir + "/", done = std::move(done)]() mutable {
    std::vector<std::string> names;
    for (const auto& [name, inode] : disk_.current_)
      if (name.starts_with(dir)) names.push_back(name.substr(dir.size()));
    post([names = std::move(names), done = std::move(done)]() mutable { done(std::move(names)); });
  });
}

void Machine::make_dir(std::string, Done done) {
  start([this, done = std::move(done)]() mutable {
    post([done = std::move(done)]() mutable { done({}); });
  });
}

void Machine::sync_dir(std::string, Done done) {
  start([this, done = std::move(done)]() mutable {
    for (const auto& change : disk_.changes_) FakeDisk::apply(disk_.durable_, change);
    disk_.changes_.clear();
    post([done = std::move(done)]() mutable { done({}); });
  });
}

}  // namespace kahuna::journal_test
