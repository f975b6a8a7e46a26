// The journal: what a batch costs without a disk, what it costs on one, and how fast it recovers.
//
// The "memory" benchmarks run on a machine whose disk is memory and completes at once: they measure
// the journal's own processor time. The "disk" ones use the real loop and files under
// KAHUNA_BENCH_DIR (default: the current directory).
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kahuna/journal/journal.h"
#include "net/loop.h"

namespace kahuna::journal {
namespace {

// A machine of memory: every operation succeeds and completes in the same turn.
struct MemoryMachine : Clock, Scheduler, Disk, Offload {
  using Bytes = std::vector<std::byte>;
  struct MemoryFile : File {
    MemoryMachine* machine;
    std::shared_ptr<Bytes> bytes;
    void read_at(uint64_t offset, MutableByteView to, IoDone done) override {
      size_t n = offset >= bytes->size() ? 0 : std::min<size_t>(to.size(), bytes->size() - offset);
      std::memcpy(to.data(), bytes->data() + offset, n);
      machine->post([n, done = std::move(done)]() mutable { done(n); });
    }
    void write_at(uint64_t offset, ByteView from, IoDone done) override {
      if (bytes->size() < offset + from.size()) bytes->resize(offset + from.size());
      std::memcpy(bytes->data() + offset, from.data(), from.size());
      machine->post([n = from.size(), done = std::move(done)]() mutable { done(n); });
    }
    void sync(Done done) override {
      machine->post([done = std::move(done)]() mutable { done({}); });
    }
    uint64_t size() const override { return bytes->size(); }
  };

  Time now() const override { return Time(); }
  WallTime wall() const override { return WallTime(); }
  TimerId call_at(Time, Callback<void()>) override { return 1; }
  void cancel(TimerId) override {}
  void post(Callback<void()> task) override { ready.push_back(std::move(task)); }
  void defer(Callback<void()> task) override { deferred.push_back(std::move(task)); }
  void run(Callback<void()> work, Callback<void()> done) override {
    work();
    post(std::move(done));
  }
  void open(std::string path, OpenOptions,
            Callback<void(Result<std::unique_ptr<File>>)> done) override {
    auto file = std::make_unique<MemoryFile>();
    file->machine = this;
    auto& bytes = files[path];
    if (!bytes) bytes = std::make_shared<Bytes>();
    file->bytes = bytes;
    post([file = std::move(file), done = std::move(done)]() mutable { done(std::move(file)); });
  }
  void rename(std::string from, std::string to, Done done) override {
    files[to] = std::move(files[from]);
    files.erase(from);
    post([done = std::move(done)]() mutable { done({}); });
  }
  void remove(std::string path, Done done) override {
    files.erase(path);
    post([done = std::move(done)]() mutable { done({}); });
  }
  void list(std::string dir, Callback<void(Result<std::vector<std::string>>)> done) override {
    std::vector<std::string> names;
    for (auto& [name, bytes] : files) names.push_back(name.substr(dir.size() + 1));
    post([names, done = std::move(done)]() mutable { done(names); });
  }
  void make_dir(std::string, Done done) override {
    post([done = std::move(done)]() mutable { done({}); });
  }
  void sync_dir(std::string, Done done) override {
    post([done = std::move(done)]() mutable { done({}); });
  }
  std::string native_path(std::string_view) const override { return ""; }

  bool step() {
    auto& queue = ready.empty() ? deferred : ready;
    if (queue.empty()) return false;
    Callback<void()> task = std::move(queue.front());
    queue.pop_front();
    task();
    return true;
  }
  void settle() {
    while (step()) {
    }
  }

  std::map<std::string, std::shared_ptr<Bytes>> files;
  std::deque<Callback<void()>> ready, deferred;
  Host host{this, this, this, nullptr, this, 1};
};

std::unique_ptr<Journal> open_journal(Suspend s, Host& host, Fibers& fibers, Options options) {
  auto opened = Journal::open(s, host, fibers, std::move(options), [](Error) { std::abort(); });
  if (!opened) std::abort();
  return std::move(*opened);
}

struct MemoryWorld {
  MemoryMachine machine;
  Fibers fibers{machine, machine};
  std::unique_ptr<Journal> journal;
  explicit MemoryWorld(Options options = {}) { open(std::move(options)); }
  void open(Options options) {
    journal.reset();
    fibers.spawn("open", [this, options](Suspend s) {
      journal = open_journal(s, machine.host, fibers, options);
    });
    machine.settle();
  }
};

// Appends one entry to each of `groups` groups per turn.
struct Writer {
  Journal& journal;
  size_t groups;
  Payload payload;
  std::vector<uint64_t> next;
  uint64_t done = 0;
  Writer(Journal& j, size_t g, size_t bytes)
      : journal(j), groups(g), payload(std::string(bytes, 'v')), next(g, 2) {}
  void append(size_t group) {
    raft::Persist persist;
    persist.hard_state = {Term(1), {NodeId(1), 1}};
    persist.commit = Index(next[group] - 1);
    persist.entries.push_back(
        {Index(next[group]++), Term(1), raft::EntryKind::kCommand, kCurrentSemanticLevel, payload});
    if (!journal.append(PartitionId(group), std::move(persist), [this] { ++done; })) std::abort();
    if (next[group] % 1024 == 0) journal.release(PartitionId(group), Index(next[group] - 512));
  }
  void append_all() {
    for (size_t group = 0; group < groups; ++group) append(group);
  }
};

void batch_in_memory(benchmark::State& state) {
  auto groups = static_cast<size_t>(state.range(0));
  MemoryWorld world;
  Writer writer(*world.journal, groups, static_cast<size_t>(state.range(1)));
  for (auto _ : state) {
    writer.append_all();
    world.machine.settle();
  }
  if (writer.done != state.iterations() * groups) std::abort();
  state.SetItemsProcessed(static_cast<int64_t>(writer.done));
  state.counters["disk_bytes_per_entry"] =
      static_cast<double>(world.journal->statistics().bytes) / static_cast<double>(writer.done);
}
BENCHMARK(batch_in_memory)
    ->ArgNames({"groups", "bytes"})
    ->Args({1, 128})
    ->Args({16, 128})
    ->Args({256, 128})
    ->Args({10000, 128})
    ->Args({16, 4096});

// Reads back what fills `segments` segments of the default size.
void recover_from_memory(benchmark::State& state) {
  MemoryWorld world;
  {
    Writer writer(*world.journal, 64, static_cast<size_t>(state.range(1)));
    while (world.journal->statistics().segments < static_cast<size_t>(state.range(0)) + 1) {
      for (int i = 0; i < 16; ++i)
        for (size_t group = 0; group < 64; ++group) {
          raft::Persist persist;
          persist.hard_state = {Term(1), {NodeId(1), 1}};
          persist.entries.push_back({Index(writer.next[group]++), Term(1),
                                     raft::EntryKind::kCommand, kCurrentSemanticLevel,
                                     writer.payload});
          if (!world.journal->append(PartitionId(group), std::move(persist), [] {})) std::abort();
        }
      world.machine.settle();
    }
  }
  size_t entries = 0, bytes = 0;
  for (auto _ : state) {
    world.open({});
    auto found = world.journal->take_recovered();
    state.PauseTiming();
    for (auto& [id, group] : found) entries += group.entries.size();
    for (auto& [name, file] : world.machine.files) bytes += file->size();
    found.clear();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<int64_t>(entries));
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
}
BENCHMARK(recover_from_memory)
    ->ArgNames({"segments", "bytes"})
    ->Args({2, 128})
    ->Args({2, 4096})
    ->Unit(benchmark::kMillisecond);

// A closed loop of `groups` writers on the real disk: each appends again when it was synced.
void append_on_disk(benchmark::State& state) {
  auto groups = static_cast<size_t>(state.range(0));
  const char* base = std::getenv("KAHUNA_BENCH_DIR");
  std::string dir = std::string(base ? base : ".") + "/journal-bench-data";
  std::filesystem::remove_all(dir);
  net::LoopOptions how;
  how.data_dir = dir;
  how.io = state.range(2) ? net::IoBackend::kUring : net::IoBackend::kEpoll;
  auto loop = net::Loop::create(how);
  if (!loop) return state.SkipWithError(loop.error().text.c_str());
  {
    Host& host = (*loop)->host();
    Fibers fibers(*host.clock, *host.scheduler);
    std::unique_ptr<Journal> journal;
    fibers.spawn("open", [&](Suspend s) { journal = open_journal(s, host, fibers, {}); });
    while (!journal) (*loop)->turn(Duration::millis(10));
    Writer writer(*journal, groups, static_cast<size_t>(state.range(1)));
    for (auto _ : state) {
      uint64_t until = writer.done + groups;
      writer.append_all();
      while (writer.done < until) (*loop)->turn(Duration::millis(100));
    }
    state.SetItemsProcessed(static_cast<int64_t>(writer.done));
    state.counters["entries_per_batch"] =
        static_cast<double>(writer.done) / static_cast<double>(journal->statistics().batches);
    journal.reset();
  }
  loop->reset();
  std::filesystem::remove_all(dir);
}
BENCHMARK(append_on_disk)
    ->ArgNames({"groups", "bytes", "uring"})
    ->Args({1, 128, 1})
    ->Args({64, 128, 1})
    ->Args({1, 128, 0})
    ->Args({64, 128, 0})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace kahuna::journal
