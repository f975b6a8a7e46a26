// The timer queue: arm and fire, arm and cancel, with many others armed.
#include <benchmark/benchmark.h>

#include <vector>

#include "runtime/random.h"
#include "runtime/timer_queue.h"

namespace kahuna {
namespace {

// A deadline per request that is nearly always cancelled: later than most, then gone.
void add_cancel(benchmark::State& state) {
  TimerQueue queue;
  RandomStream random(1, "bench");
  int64_t now = 0;
  for (int64_t i = 0; i < state.range(0); ++i)
    queue.add(Time::from_nanos(static_cast<int64_t>(random.below(1'000'000'000))), [] {});
  for (auto _ : state) {
    TimerId id = queue.add(Time::from_nanos(now++ + 1'000'000'000), [] {});
    queue.cancel(id);
  }
}
BENCHMARK(add_cancel)->Arg(0)->Arg(1'000)->Arg(100'000);

// The simulator's rhythm: the first event fires and arms one at a random later time.
void fire_and_rearm(benchmark::State& state) {
  TimerQueue queue;
  RandomStream random(1, "bench");
  Time now;
  struct Event {
    TimerQueue* queue;
    RandomStream* random;
    Time* now;
    void operator()() {
      queue->add(*now + Duration::nanos(static_cast<int64_t>(random->below(1'000'000))), *this);
    }
  };
  for (int64_t i = 0; i < state.range(0); ++i) Event{&queue, &random, &now}();
  for (auto _ : state) {
    now = queue.next_deadline();
    queue.run_one(now);
  }
}
BENCHMARK(fire_and_rearm)->Arg(10)->Arg(1'000)->Arg(100'000);

// Waits that restart: the earliest is pushed back, as an election timer is by each heartbeat.
void push_back(benchmark::State& state) {
  TimerQueue queue;
  std::vector<TimerId> ids;
  int64_t now = 0;
  for (int64_t i = 0; i < state.range(0); ++i)
    ids.push_back(queue.add(Time::from_nanos(now++), [] {}));
  size_t next = 0;
  for (auto _ : state) {
    queue.cancel(ids[next]);
    ids[next] = queue.add(Time::from_nanos(now++), [] {});
    next = next + 1 == ids.size() ? 0 : next + 1;
  }
}
BENCHMARK(push_back)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace kahuna
