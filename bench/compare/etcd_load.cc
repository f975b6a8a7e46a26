// etcd_load: a closed loop of puts or linearizable gets against etcd's gRPC API, one call in flight
// per connection; prints one JSON line with the keys of `kahuna bench --json`.
//
//   etcd_load --ports 23790,23791,23792 --workload put|get --connections C --value-size B --keys K
//             --duration S --warmup S
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

#include "bench/compare/etcd_connection.h"
#include "kahuna/client/histogram.h"
#include "runtime/random.h"

namespace kahuna::bench {
namespace {

struct Settings {
  std::vector<uint16_t> ports;
  bool puts = true;
  size_t connections = 64, value_bytes = 128;
  uint64_t keys = 10'000;
  double duration_s = 5, warmup_s = 1;
};

Time now() {
  return Time::from_nanos(std::chrono::steady_clock::now().time_since_epoch().count());
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

class Load {
 public:
  explicit Load(const Settings& settings)
      : settings_(settings),
        value_(settings.value_bytes, 'v'),
        epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (size_t i = 0; i < settings.connections; ++i) {
      workers_.push_back(
          {std::make_unique<EtcdConnection>(settings.ports[i % settings.ports.size()])});
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      epoll_ctl(epoll_, EPOLL_CTL_ADD, workers_[i].connection->socket(), &event);
    }
  }
  ~Load() { ::close(epoll_); }

  int run() {
    if (!settings_.puts) fill();
    const Time start = now();
    begin_ = start + seconds(settings_.warmup_s);
    const Time end = begin_ + seconds(settings_.duration_s);
    for (Worker& worker : workers_) next(worker);
    double cpu_before = cpu_seconds();
    bool measuring = false;
    while (now() < end) {
      turn();
      if (!measuring && now() >= begin_) {
        measuring = true;
        cpu_before = cpu_seconds();
      }
    }
    print(cpu_seconds() - cpu_before);
    return failed_ == 0 ? 0 : 1;
  }

 private:
  struct Worker {
    std::unique_ptr<EtcdConnection> connection;
    Time started;
  };
  static Duration seconds(double s) { return Duration::nanos(static_cast<int64_t>(s * 1e9)); }
  static std::string key(uint64_t number) { return fmt::format("bench-{:08}", number); }

  void fill() {
    filling_ = true;
    in_flight_ = 0;
    for (Worker& worker : workers_) next(worker);
    while (in_flight_ > 0) turn();
    filling_ = false;
  }

  void next(Worker& worker) {
    if (filling_ && filled_ >= settings_.keys) return;
    const std::string name = key(filling_ ? filled_++ : random_.below(settings_.keys));
    ++in_flight_;
    worker.started = now();
    if (filling_ || settings_.puts) {
      worker.connection->call("/etcdserverpb.KV/Put", put_request(name, value_));
    } else {
      worker.connection->call("/etcdserverpb.KV/Range", range_request(name));
    }
  }

  void turn() {
    epoll_event events[64];
    const int count = epoll_wait(epoll_, events, 64, 100);
    for (int i = 0; i < count; ++i) {
      Worker& worker = workers_[events[i].data.u64];
      if (!worker.connection->on_readable()) continue;
      --in_flight_;
      const bool good =
          worker.connection->grpc_status() == 0 &&
          (filling_ || settings_.puts || range_count(worker.connection->response()) == 1);
      const Time ended = now();
      if (!good) {
        ++failed_;
      } else if (!filling_ && ended >= begin_) {
        latencies_.add(ended - worker.started);
      }
      next(worker);
    }
  }

  void print(double cpu) const {
    const auto micros = [&](uint64_t parts, uint64_t whole) {
      return static_cast<double>(latencies_.percentile(parts, whole).nanos()) / 1e3;
    };
    fmt::print(
        "{{\"workload\":\"{}\",\"connections\":{},\"value_bytes\":{},\"keys\":{},\"seconds\":{:.3f}"
        ","
        "\"operations\":{},\"failed\":{},\"ops_per_second\":{:.1f},\"client_cpu_seconds\":{:.3f},"
        "\"latency_us\":{{\"mean\":{:.3f},\"p50\":{:.3f},\"p90\":{:.3f},\"p99\":{:.3f},"
        "\"p99.9\":{:.3f}}}}}\n",
        settings_.puts ? "put" : "get", settings_.connections, settings_.value_bytes,
        settings_.keys, settings_.duration_s, latencies_.count(), failed_,
        static_cast<double>(latencies_.count()) / settings_.duration_s, cpu,
        static_cast<double>(latencies_.mean().nanos()) / 1e3, micros(50, 100), micros(90, 100),
        micros(99, 100), micros(999, 1000));
  }

  const Settings& settings_;
  const std::string value_;
  const int epoll_;
  std::vector<Worker> workers_;
  RandomStream random_{1, "etcd-load"};
  client::Histogram latencies_;
  Time begin_ = Time::max();
  size_t in_flight_ = 0;
  uint64_t filled_ = 0, failed_ = 0;
  bool filling_ = false;
};

int run(int argc, char** argv) {
  std::map<std::string, std::string> given = {
      {"--ports", "2379"}, {"--workload", "put"}, {"--connections", "64"}, {"--value-size", "128"},
      {"--keys", "10000"}, {"--duration", "5"},   {"--warmup", "1"}};
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!given.contains(argv[i])) {
      fmt::print(stderr, "etcd_load: no such option '{}'\n", argv[i]);
      return 2;
    }
    given[argv[i]] = argv[i + 1];
  }
  Settings settings;
  for (const char* p = given["--ports"].c_str(); *p != 0; p += *p == ',') {
    char* end = nullptr;
    settings.ports.push_back(static_cast<uint16_t>(std::strtoul(p, &end, 10)));
    if (end == p) {
      fmt::print(stderr, "etcd_load: --ports wants PORT,PORT,…\n");
      return 2;
    }
    p = end;
  }
  settings.puts = given["--workload"] == "put";
  settings.connections = std::strtoul(given["--connections"].c_str(), nullptr, 10);
  settings.value_bytes = std::strtoul(given["--value-size"].c_str(), nullptr, 10);
  settings.keys = std::strtoull(given["--keys"].c_str(), nullptr, 10);
  settings.duration_s = std::strtod(given["--duration"].c_str(), nullptr);
  settings.warmup_s = std::strtod(given["--warmup"].c_str(), nullptr);
  return Load(settings).run();
}

}  // namespace
}  // namespace kahuna::bench

int main(int argc, char** argv) {
  return kahuna::bench::run(argc, argv);
}
