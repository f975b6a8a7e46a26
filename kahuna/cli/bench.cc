#include "kahuna/cli/bench.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "kahuna/cli/text.h"
#include "kahuna/cli/verbs.h"
#include "kahuna/client/client.h"
#include "kahuna/client/histogram.h"

namespace kahuna::cli {
namespace {

using client::Client;
using client::Histogram;

constexpr Duration kProgressInterval = Duration::seconds(1);

struct Tally {
  Histogram puts, gets;
  uint64_t failed = 0, unknown = 0;
};

Duration cpu_used() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return Duration::seconds(t.tv_sec) + Duration::micros(t.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

class Bench {
 public:
  Bench(World& world, const ConnectOptions& connect, const BenchOptions& options)
      : world_(world),
        clock_(*world.host().clock),
        options_(options),
        random_(world.host().random("bench")),
        value_(make_value()) {
    const size_t clients = options.clients == 0 ? options.connections : options.clients;
    for (size_t i = 0; i < clients; ++i) {
      client::Options client_options;
      client_options.endpoints = connect.endpoints;
      client_options.timeout = connect.timeout;
      client_options.entity = i;
      clients_.push_back(Client::create(world.host(), client_options));
    }
  }

  Result<> run() {
    world_.on_signal([this](int) {
      interrupted_ = true;
      finish();
    });
    show_progress_ = isatty(STDERR_FILENO) == 1;
    if (options_.workload != Workload::kPut) {
      filling_ = true;
      start_all();
      world_.run();
      filling_ = false;
      if (first_error_ && !interrupted_) return fail(*first_error_);
    }
    if (interrupted_) return {};
    const Time now = clock_.now();
    begin_ = now + options_.warmup;
    end_ = begin_ + options_.duration;
    clock_.call_at(begin_, [this] { cpu_before_ = cpu_used(); });
    clock_.call_at(end_, [this] { finish(); });
    arm_progress();
    if (options_.rate > 0) {
      running_ = true;
      schedule_start_ = now;
      for (size_t slot = 0; slot < slots(); ++slot) idle_.push_back(slot);
      pump();
    } else {
      start_all();
    }
    world_.run();
    if (show_progress_) fmt::print(stderr, "\r\033[K");
    return {};
  }

  void print(bool json) const {
    Histogram all = tally_.puts;
    all.merge(tally_.gets);
    const double seconds = static_cast<double>(measured_.nanos()) / 1e9;
    const double rate = seconds > 0 ? static_cast<double>(all.count()) / seconds : 0;
    const double cpu = static_cast<double>(cpu_.nanos()) / 1e9;
    if (json) return print_json(all, seconds, rate, cpu);
    fmt::print("{} operations in {:.1f} s: {:.0f} a second; {} failed, {} of unknown outcome\n",
               all.count(), seconds, rate, tally_.failed, tally_.unknown);
    fmt::print("{} connections x {} in flight{}; client CPU {:.2f} s\n", options_.connections,
               options_.pipeline,
               options_.rate ? fmt::format("; open loop at {}/s", options_.rate) : "", cpu);
    std::vector<std::vector<std::string>> rows = {
        {"", "count", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"}};
    if (tally_.puts.count()) rows.push_back(row("put", tally_.puts));
    if (tally_.gets.count()) rows.push_back(row("get", tally_.gets));
    fmt::print("{}", table(rows));
    if (first_error_) fmt::print(stderr, "kahuna: first error: {}\n", first_error_->text);
  }

  bool measured_anything() const { return tally_.puts.count() + tally_.gets.count() > 0; }
  const std::optional<Error>& first_error() const { return first_error_; }

 private:
  size_t slots() const { return options_.connections * options_.pipeline; }

  std::string make_value() {
    std::string value(options_.value_bytes, ' ');
    for (char& c : value) c = static_cast<char>('a' + random_.below(26));
    return value;
  }
  std::string key(uint64_t number) const { return fmt::format("{}{:08}", options_.prefix, number); }

  void start_all() {
    running_ = true;
    in_flight_ = 0;
    for (size_t slot = 0; slot < slots(); ++slot) next(slot, clock_.now());
    if (in_flight_ == 0) world_.stop();
  }

  // Starts the slot's next operation, whose time counts from `since`.
  void next(size_t slot, Time since) {
    if (!running_) return;
    Client& client = *clients_[slot % clients_.size()];
    if (filling_) {
      if (filled_ >= options_.keys) return;
      return put(client, slot, filled_++, since);
    }
    const uint64_t number = random_.below(options_.keys);
    const bool puts = options_.workload == Workload::kPut ||
                      (options_.workload == Workload::kMixed && random_.chance(1, 2));
    if (puts) return put(client, slot, number, since);
    ++in_flight_;
    client.get(key(number), std::nullopt, [this, slot, since](auto result) {
      ended(slot, since, tally_.gets, result ? nullptr : &result.error());
    });
  }

  void put(Client& client, size_t slot, uint64_t number, Time since) {
    ++in_flight_;
    client.set(key(number), value_, {}, [this, slot, since](auto result) {
      ended(slot, since, tally_.puts, result ? nullptr : &result.error());
    });
  }

  void ended(size_t slot, Time since, Histogram& histogram, const Error* error) {
    --in_flight_;
    const Time now = clock_.now();
    const bool counts = !filling_ && running_ && now >= begin_;
    if (error) {
      if (!first_error_) first_error_ = *error;
      if (counts)
        ++(did_it_happen(error->code) == Happened::kUnknown ? tally_.unknown : tally_.failed);
      if (filling_) return finish();
    } else if (counts) {
      histogram.add(now - since);
    }
    if (!running_) return;
    if (!filling_ && options_.rate > 0) {
      idle_.push_back(slot);
      return pump();
    }
    next(slot, now);
    if (filling_ && in_flight_ == 0) world_.stop();
  }

  // Open loop: starts what is due while slots are free.
  void pump() {
    const Time now = clock_.now();
    while (running_ && !idle_.empty()) {
      const auto offset = static_cast<int64_t>(static_cast<unsigned __int128>(scheduled_) *
                                               1'000'000'000 / options_.rate);
      const Time due = schedule_start_ + Duration::nanos(offset);
      if (due > now) {
        if (pump_timer_ == 0) {
          pump_timer_ = clock_.call_at(due, [this] {
            pump_timer_ = 0;
            pump();
          });
        }
        return;
      }
      ++scheduled_;
      const size_t slot = idle_.back();
      idle_.pop_back();
      next(slot, due);
    }
  }

  void finish() {
    if (!running_) return;
    running_ = false;
    if (!filling_) {
      const Time now = std::min(clock_.now(), end_);
      measured_ = std::max(now - begin_, Duration());
      cpu_ = cpu_used() - cpu_before_;
    }
    world_.stop();
  }

  void arm_progress() {
    if (!show_progress_) return;
    clock_.call_at(clock_.now() + kProgressInterval, [this] {
      if (!running_) return;
      const uint64_t done = tally_.puts.count() + tally_.gets.count();
      fmt::print(stderr, "\r\033[K{} a second, {} failed, {} unknown, {} to go", done - shown_,
                 tally_.failed, tally_.unknown, short_duration(end_ - clock_.now()));
      std::fflush(stderr);
      shown_ = done;
      arm_progress();
    });
  }

  static std::vector<std::string> row(std::string name, const Histogram& h) {
    const auto p = [&](uint64_t parts, uint64_t whole) {
      return short_duration(h.percentile(parts, whole));
    };
    return {std::move(name),
            std::to_string(h.count()),
            short_duration(h.mean()),
            p(50, 100),
            p(90, 100),
            p(99, 100),
            p(999, 1000),
            p(9999, 10'000),
            short_duration(h.max())};
  }

  static std::string latencies(const Histogram& h) {
    return fmt::format(
        "{{\"count\":{},\"mean\":{},\"p50\":{},\"p90\":{},\"p99\":{},\"p99.9\":{},\"p99.99\":{},"
        "\"max\":{}}}",
        h.count(), micros(h.mean()), micros(h.percentile(50, 100)), micros(h.percentile(90, 100)),
        micros(h.percentile(99, 100)), micros(h.percentile(999, 1000)),
        micros(h.percentile(9999, 10'000)), micros(h.max()));
  }

  void print_json(const Histogram& all, double seconds, double rate, double cpu) const {
    static constexpr const char* kNames[] = {"put", "get", "mixed"};
    fmt::print(
        "{{\"workload\":\"{}\",\"connections\":{},\"pipeline\":{},\"value_bytes\":{},\"keys\":{},"
        "\"rate\":{},\"seconds\":{:.3f},\"operations\":{},\"failed\":{},\"unknown\":{},"
        "\"ops_per_second\":{:.1f},\"client_cpu_seconds\":{:.3f},\"latency_us\":{},"
        "\"put_latency_us\":{},\"get_latency_us\":{}}}\n",
        kNames[static_cast<int>(options_.workload)], options_.connections, options_.pipeline,
        options_.value_bytes, options_.keys, options_.rate, seconds, all.count(), tally_.failed,
        tally_.unknown, rate, cpu, latencies(all), latencies(tally_.puts), latencies(tally_.gets));
  }

  World& world_;
  Clock& clock_;
  const BenchOptions& options_;
  RandomStream random_;
  std::string value_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<size_t> idle_;
  size_t in_flight_ = 0;
  bool running_ = false, filling_ = false, interrupted_ = false, show_progress_ = false;
  uint64_t filled_ = 0, scheduled_ = 0, shown_ = 0;
  TimerId pump_timer_ = 0;
  Time begin_, end_, schedule_start_;
  Duration measured_, cpu_before_, cpu_;
  Tally tally_;
  std::optional<Error> first_error_;
};

}  // namespace

int run_verb(World& world, const ConnectOptions& connect, const BenchOptions& options) {
  Bench bench(world, connect, options);
  if (const Result<> done = bench.run(); !done) {
    report_error(done.error(), connect.json);
    return status_of(done.error().code);
  }
  bench.print(connect.json);
  if (!bench.measured_anything() && bench.first_error())
    return status_of(bench.first_error()->code);
  return kSuccess;
}

}  // namespace kahuna::cli
