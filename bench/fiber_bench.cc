// Fibers: a switch to a fiber and back, waking, spawning, awaiting.
#include <benchmark/benchmark.h>

#include <deque>
#include <string>

#include "runtime/fiber.h"

namespace kahuna {
namespace {

// A first-in, first-out loop whose time stands still.
struct BareLoop : Clock, Scheduler {
  Time now() const override { return Time(); }
  WallTime wall() const override { return WallTime(); }
  TimerId call_at(Time, Callback<void()>) override { return 1; }
  void cancel(TimerId) override {}
  void post(Callback<void()> task) override { posted.push_back(std::move(task)); }
  void defer(Callback<void()> task) override { posted.push_back(std::move(task)); }
  bool step() {
    if (posted.empty()) return false;
    Callback<void()> task = std::move(posted.front());
    posted.pop_front();
    task();
    return true;
  }
  void settle() {
    while (step()) {
    }
  }
  std::deque<Callback<void()>> posted;
};

// Loop to fiber and back, through the scheduler's queue.
void yield_pair(benchmark::State& state) {
  BareLoop loop;
  Fibers fibers(loop, loop);
  fibers.spawn("f", [](Suspend s) {
    for (;;) s.yield();
  });
  for (auto _ : state) loop.step();
}
BENCHMARK(yield_pair);

// The same round many fibers, which do not fit the nearest cache.
void yield_pair_of_many(benchmark::State& state) {
  BareLoop loop;
  Fibers fibers(loop, loop);
  for (int64_t i = 0; i < state.range(0); ++i)
    fibers.spawn("f", [](Suspend s) {
      for (;;) s.yield();
    });
  for (auto _ : state) loop.step();
}
BENCHMARK(yield_pair_of_many)->Arg(100)->Arg(10'000);

void wake_parked(benchmark::State& state) {
  BareLoop loop;
  Fibers fibers(loop, loop);
  Callback<void()> wake;
  fibers.spawn("f", [&](Suspend s) {
    for (;;) {
      wake = s.waker();
      s.park();
    }
  });
  loop.settle();
  for (auto _ : state) {
    Callback<void()> now = std::move(wake);
    now();
    loop.step();
  }
}
BENCHMARK(wake_parked);

void spawn_and_end(benchmark::State& state) {
  BareLoop loop;
  Fibers fibers(loop, loop);
  uint64_t ran = 0;
  for (auto _ : state) {
    fibers.spawn("fiber", [&](Suspend) { ++ran; });
    loop.step();
  }
  benchmark::DoNotOptimize(ran);
}
BENCHMARK(spawn_and_end);

// Stacks that were never used before, and are unwound at the end.
void spawn_park_cancel_1000(benchmark::State& state) {
  BareLoop loop;
  for (auto _ : state) {
    Fibers fibers(loop, loop);
    for (int i = 0; i < 1000; ++i) fibers.spawn("fiber", [](Suspend s) { s.park(); });
    loop.settle();
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(spawn_park_cancel_1000)->Unit(benchmark::kMicrosecond);

void await_completion(benchmark::State& state) {
  BareLoop loop;
  Fibers fibers(loop, loop);
  fibers.spawn("f", [&](Suspend s) {
    for (;;) {
      await<int>(s, [&](Callback<void(int)> done) {
        loop.post([done = std::move(done)]() mutable { done(1); });
      });
    }
  });
  loop.step();
  for (auto _ : state) {
    loop.step();  // the completion
    loop.step();  // the fiber
  }
}
BENCHMARK(await_completion);

}  // namespace
}  // namespace kahuna
