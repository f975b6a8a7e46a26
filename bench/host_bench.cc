// The production host on loopback and on a real directory, for both back ends.
//
// Argument 0: 0 = epoll, 1 = io_uring. Directory: KAHUNA_BENCH_DIR, default /tmp.
// Echo: one server loop and one client loop, each on its own thread; each connection has one
// request of 128 bytes in flight. "cpu_us_per_op" is the processor time of both loops together.
// Durable: the server writes 4 KiB to a file and syncs it before it answers; writes that arrive
// while a sync is in flight share the next one.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "net/loop.h"
#include "runtime/check.h"

namespace kahuna::net {
namespace {

constexpr size_t kMessageBytes = 128;
constexpr size_t kBlockBytes = 4096;

std::string bench_dir() {
  const char* root = std::getenv("KAHUNA_BENCH_DIR");
  std::string pattern = std::string(root ? root : "/tmp") + "/kahuna-bench-XXXXXX";
  CHECK(mkdtemp(pattern.data()) != nullptr);
  return pattern;
}

std::unique_ptr<Loop> make_loop(IoBackend io, const std::string& dir) {
  auto loop = Loop::create({.io = io, .data_dir = dir});
  CHECK(loop.has_value());
  return std::move(*loop);
}

double cpu_seconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Makes batches of blocks durable; one sync in flight.
class Log {
 public:
  explicit Log(std::unique_ptr<File> file) : file_(std::move(file)), block_(kBlockBytes, 'b') {}
  void add(Callback<void()> durable) {
    waiting_.push_back(std::move(durable));
    if (!busy_) write();
  }

 private:
  void write() {
    busy_ = true;
    in_flight_.swap(waiting_);
    file_->write_at(offset_, as_bytes(block_), [this](Result<size_t> written) {
      CHECK(written.has_value());
      file_->sync([this](Result<> synced) {
        CHECK(synced.has_value());
        for (Callback<void()>& durable : in_flight_) durable();
        in_flight_.clear();
        busy_ = false;
        if (!waiting_.empty()) write();
      });
    });
    offset_ = (offset_ + kBlockBytes) % (kBlockBytes * 1024);
  }

  std::unique_ptr<File> file_;
  std::string block_;
  uint64_t offset_ = 0;
  bool busy_ = false;
  std::vector<Callback<void()>> waiting_, in_flight_;
};

// Answers every message with itself, at once or once it is durable.
class ServerEnd final : public StreamHandler {
 public:
  ServerEnd(std::unique_ptr<Stream> stream, Log* log) : stream_(std::move(stream)), log_(log) {
    stream_->set_handler(this);
  }
  void on_data(ByteView bytes) override {
    if (!log_) {
      stream_->write(bytes);
      return;
    }
    log_->add([this, text = std::string(as_text(bytes))] { stream_->write(as_bytes(text)); });
  }
  void on_writable() override {}
  void on_closed(Error) override {}

 private:
  std::unique_ptr<Stream> stream_;
  Log* log_;
};

// A loop on its own thread that answers until destroyed.
class Server {
 public:
  Server(IoBackend io, const std::string& dir, bool durable) : loop_(make_loop(io, dir)) {
    if (durable) open_log();
    auto listener =
        loop_->host().network->listen({"127.0.0.1", 0}, [this](std::unique_ptr<Stream> stream) {
          ends_.push_back(std::make_unique<ServerEnd>(std::move(stream), log_.get()));
        });
    CHECK(listener.has_value());
    listener_ = std::move(*listener);
    address_ = listener_->address();
    thread_ = std::thread([this] { loop_->run(); });
    while (durable && !ready_.load()) std::this_thread::yield();
  }
  ~Server() {
    loop_->stop();
    thread_.join();
    ends_.clear();
    log_.reset();
    listener_.reset();
  }
  Address address() const { return address_; }

 private:
  void open_log() {
    loop_->host().disk->open("log", {.create = true, .write = true},
                             [this](Result<std::unique_ptr<File>> file) {
                               CHECK(file.has_value());
                               log_ = std::make_unique<Log>(std::move(*file));
                               ready_.store(true);
                             });
  }

  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Log> log_;
  std::atomic<bool> ready_{false};  // log_ is open
  std::unique_ptr<Listener> listener_;
  std::vector<std::unique_ptr<ServerEnd>> ends_;
  Address address_;
  std::thread thread_;
};

class ClientEnd final : public StreamHandler {
 public:
  ClientEnd(std::unique_ptr<Stream> stream, size_t& answers)
      : stream_(std::move(stream)), answers_(answers) {
    stream_->set_handler(this);
  }
  void ask() {
    static const std::string message(kMessageBytes, 'm');
    received_ = 0;
    stream_->write(as_bytes(message));
  }
  void on_data(ByteView bytes) override {
    received_ += bytes.size();
    if (received_ < kMessageBytes) return;
    ++answers_;
    ask();
  }
  void on_writable() override {}
  void on_closed(Error) override {}

 private:
  std::unique_ptr<Stream> stream_;
  size_t& answers_;
  size_t received_ = 0;
};

void run_echo(benchmark::State& state, bool durable) {
  const auto io = state.range(0) == 0 ? IoBackend::kEpoll : IoBackend::kUring;
  const auto connections = static_cast<size_t>(state.range(1));
  const std::string dir = bench_dir();
  {
    Server server(io, dir, durable);
    auto loop = make_loop(io, "");
    size_t answers = 0;
    std::vector<std::unique_ptr<ClientEnd>> ends;
    for (size_t i = 0; i < connections; ++i) {
      loop->host().network->connect(
          server.address(), Duration::seconds(5), [&](Result<std::unique_ptr<Stream>> stream) {
            CHECK(stream.has_value());
            ends.push_back(std::make_unique<ClientEnd>(std::move(*stream), answers));
          });
    }
    while (ends.size() < connections) loop->turn(Duration::millis(10));
    for (auto& end : ends) end->ask();
    while (answers < connections * 10) loop->turn(Duration::millis(10));
    answers = 0;
    size_t wanted = 0;
    const double before = cpu_seconds();
    for (auto _ : state) {
      wanted += connections;
      while (answers < wanted) loop->turn(Duration::seconds(1));
    }
    state.counters["cpu_us_per_op"] = (cpu_seconds() - before) * 1e6 / double(answers);
    state.SetItemsProcessed(static_cast<int64_t>(answers));
    ends.clear();
  }
  std::filesystem::remove_all(dir);
}

void BM_Echo(benchmark::State& state) {
  run_echo(state, false);
}
BENCHMARK(BM_Echo)
    ->ArgNames({"uring", "connections"})
    ->ArgsProduct({{0, 1}, {1, 64}})
    ->UseRealTime();

void BM_DurableEcho(benchmark::State& state) {
  run_echo(state, true);
}
BENCHMARK(BM_DurableEcho)
    ->ArgNames({"uring", "connections"})
    ->ArgsProduct({{0, 1}, {1, 64}})
    ->UseRealTime();

// Second argument: 1 = unbuffered.
void BM_WriteSync(benchmark::State& state) {
  const auto io = state.range(0) == 0 ? IoBackend::kEpoll : IoBackend::kUring;
  const bool direct = state.range(1) == 1;
  const std::string dir = bench_dir();
  {
    auto loop = make_loop(io, dir);
    std::unique_ptr<File> file;
    loop->host().disk->open("file", {.create = true, .write = true, .direct = direct},
                            [&](Result<std::unique_ptr<File>> opened) {
                              CHECK(opened.has_value());
                              file = std::move(*opened);
                            });
    while (!file) loop->turn(Duration::millis(10));
    std::unique_ptr<std::byte[], void (*)(void*)> block(
        static_cast<std::byte*>(std::aligned_alloc(4096, kBlockBytes)), std::free);
    std::fill_n(block.get(), kBlockBytes, std::byte{1});
    const double before = cpu_seconds();
    uint64_t offset = 0;
    const auto write_one = [&] {
      bool done = false;
      file->write_at(offset, ByteView(block.get(), kBlockBytes), [&](Result<size_t> written) {
        CHECK(written.has_value());
        file->sync([&](Result<> synced) {
          CHECK(synced.has_value());
          done = true;
        });
      });
      while (!done) loop->turn(Duration::seconds(1));
      offset = (offset + kBlockBytes) % (kBlockBytes * 256);
    };
    for (int i = 0; i < 256; ++i) write_one();  // allocates the blocks
    for (auto _ : state) write_one();
    state.counters["cpu_us_per_op"] =
        (cpu_seconds() - before) * 1e6 / double(state.iterations() + 256);
  }
  std::filesystem::remove_all(dir);
}
BENCHMARK(BM_WriteSync)
    ->ArgNames({"uring", "direct"})
    ->ArgsProduct({{0, 1}, {0, 1}})
    ->UseRealTime();

}  // namespace
}  // namespace kahuna::net
