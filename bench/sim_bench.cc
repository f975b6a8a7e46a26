// What an event of the simulator costs: bare, as a timer, as bytes on a stream, as a synced write;
// and what a virtual second of a whole cluster costs, judges included.
#include <benchmark/benchmark.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim/runner.h"
#include "sim/world.h"

namespace kahuna::sim {
namespace {

// A thousand events in the queue, each scheduling its successor.
void BM_RawEvents(benchmark::State& state) {
  struct Source {
    World& world;
    uint64_t step = 0;
    void again() {
      step = step * 6364136223846793005ull + 1;
      world.call_at(world.now() + Duration::nanos(static_cast<int64_t>(1000 + (step >> 54))),
                    [this] { again(); });
    }
  };
  World world(1);
  std::vector<Source> sources(1000, Source{world});
  for (size_t i = 0; i < sources.size(); ++i) {
    sources[i].step = i;
    sources[i].again();
  }
  for (auto _ : state)
    for (int i = 0; i < 1000; ++i) world.step();
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_RawEvents);

// One process that re-arms 100 timers and cancels as many.
void BM_Timers(benchmark::State& state) {
  World world(1);
  NodeHandle n = world.add_node("n");
  Clock& clock = *world.start(n).clock;
  struct Beat {
    Clock& clock;
    TimerId guard = 0;
    int64_t period;
    void again() {
      clock.cancel(guard);
      guard = clock.call_at(clock.now() + Duration::seconds(10), [] {});
      clock.call_at(clock.now() + Duration::nanos(period), [this] { again(); });
    }
  };
  std::vector<Beat> beats(100, Beat{clock, 0, 0});
  for (size_t i = 0; i < beats.size(); ++i) {
    beats[i].period = static_cast<int64_t>(10'000 + i * 37);
    beats[i].again();
  }
  for (auto _ : state)
    for (int i = 0; i < 1000; ++i) world.step();
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_Timers);

class Echo : public StreamHandler {
 public:
  explicit Echo(std::unique_ptr<Stream> s) : stream(std::move(s)) { stream->set_handler(this); }
  void on_data(ByteView bytes) override {
    ++pieces;
    stream->write(bytes);
  }
  void on_writable() override {}
  void on_closed(Error) override {}
  std::unique_ptr<Stream> stream;
  uint64_t pieces = 0;
};

// 200 bytes there and back, on `range` connections; one item is one arrival.
void BM_StreamPingPong(benchmark::State& state) {
  World world(1);
  NodeHandle a = world.add_node("a"), b = world.add_node("b");
  world.start(a);
  world.start(b);
  std::vector<std::unique_ptr<Echo>> ends;
  auto listener = world.host(b).network->listen({"0.0.0.0", 1}, [&](auto stream) {
    ends.push_back(std::make_unique<Echo>(std::move(stream)));
  });
  for (int64_t i = 0; i < state.range(0); ++i)
    world.host(a).network->connect({"b", 1}, Duration::seconds(1), [&](auto stream) {
      ends.push_back(std::make_unique<Echo>(std::move(*stream)));
      ends.back()->stream->write(as_bytes(std::string(200, 'x')));
    });
  world.run_until(world.now() + Duration::millis(10));
  for (auto _ : state)
    for (int i = 0; i < 1000; ++i) world.step();
  state.SetItemsProcessed(state.iterations() * 1000);
  ends.clear();
}
BENCHMARK(BM_StreamPingPong)->Arg(1)->Arg(30);

// A journal's rhythm: append `range` bytes, sync; one item is one write with its sync.
void BM_WriteSync(benchmark::State& state) {
  World world(1);
  NodeHandle n = world.add_node("n");
  Host& host = world.start(n);
  std::unique_ptr<File> file;
  host.disk->open("f", {.create = true, .write = true}, [&](auto r) { file = std::move(*r); });
  world.run_until([&] { return file != nullptr; }, world.now() + Duration::seconds(1));
  std::string bytes(static_cast<size_t>(state.range(0)), 'x');
  uint64_t offset = 0, rounds = 0;
  std::function<void()> round = [&] {
    file->write_at(offset, as_bytes(bytes), [&](auto) {
      file->sync([&](auto) {
        offset = (offset + bytes.size()) % (uint64_t{32} << 20);
        ++rounds;
        round();
      });
    });
  };
  round();
  uint64_t before = rounds;
  for (auto _ : state)
    for (int i = 0; i < 2000; ++i) world.step();
  state.SetItemsProcessed(static_cast<int64_t>(rounds - before));
  file.reset();
}
BENCHMARK(BM_WriteSync)->Arg(512)->Arg(4096)->Arg(65536);

// Nothing but one timer a second on each of three nodes: virtual seconds per second.
void BM_IdleNodes(benchmark::State& state) {
  World world(1);
  std::vector<std::function<void()>> beats(3);
  for (int i = 0; i < 3; ++i) {
    Clock& clock = *world.start(world.add_node("n" + std::to_string(i))).clock;
    beats[static_cast<size_t>(i)] = [&clock, &beat = beats[static_cast<size_t>(i)]] {
      clock.call_at(clock.now() + Duration::seconds(1), [&beat] { beat(); });
    };
    beats[static_cast<size_t>(i)]();
  }
  for (auto _ : state) world.run_until(world.now() + Duration::seconds(1000));
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_IdleNodes);

// A whole run, as `kahuna sim` does it; one item is one virtual second.
void run_cluster(benchmark::State& state, RunOptions options, uint64_t seeds) {
  double simulated = 0, operations = 0;
  uint64_t events = 0;
  for (auto _ : state) {
    options.seed = options.seed % seeds + 1;
    auto report = run_seed(options);
    if (!report || report->verdict == Verdict::kFail) return state.SkipWithError("the run failed");
    simulated += double(report->simulated.nanos()) / 1e9;
    events += report->events;
    operations += double(report->history.counts().invoked);
  }
  state.SetItemsProcessed(static_cast<int64_t>(simulated));
  state.counters["events_per_virtual_s"] = double(events) / simulated;
  state.counters["ops_per_virtual_s"] = operations / simulated;
}

// Three nodes on one rack with nothing to do, by the number of user partitions.
void BM_ClusterIdle(benchmark::State& state) {
  RunOptions options;
  options.faults = "off";
  options.pins = {{"nodes", "3"},        {"rate", "0"},
                  {"time", "2000s"},     {"loops", "1"},
                  {"engine", "memory"},  {"raft-pace-percent", "100"},
                  {"net.place", "rack"}, {"groups", std::to_string(state.range(0))}};
  run_cluster(state, std::move(options), 1);
}
BENCHMARK(BM_ClusterIdle)->Arg(1)->Arg(16)->Unit(benchmark::kMillisecond);

// Five nodes, three partitions, a thousand operations a second, faults as drawn by ten seeds.
// Enough clients to keep the rate up unless faults keep it down.
void BM_ClusterLoaded(benchmark::State& state) {
  RunOptions options;
  options.faults = "on";
  options.pins = {
      {"nodes", "5"},       {"groups", "3"},           {"rate", "1000"},    {"time", "20s"},
      {"loops", "1"},       {"clients", "5"},          {"processes", "40"}, {"net.place", "rack"},
      {"engine", "memory"}, {"value-bytes-max", "200"}};
  run_cluster(state, std::move(options), 10);
}
BENCHMARK(BM_ClusterLoaded)->Iterations(10)->Unit(benchmark::kMillisecond);

// The default swarm: the first hundred seeds.
void BM_Swarm(benchmark::State& state) {
  run_cluster(state, {}, 100);
}
BENCHMARK(BM_Swarm)->Iterations(100)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kahuna::sim
