// Actors: telling, asking, and the cost of waking an idle one.
#include <benchmark/benchmark.h>

#include <deque>
#include <memory>

#include "runtime/actor.h"

namespace kahuna {
namespace {

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

struct Message {
  uint64_t n = 0;
  Reply<uint64_t> reply;
};

struct Adder : Actor<Message> {
  uint64_t sum = 0;
  Result<> receive(Suspend, Message m) override {
    sum += m.n;
    if (m.n == 0) m.reply.send(sum);
    return {};
  }
};

struct World {
  BareLoop loop;
  Fibers fibers{loop, loop};
  ActorSystem system{fibers, [](const std::string&, const Error&) { std::abort(); }};
  ActorRef<Message> adder = system.spawn<Message>(
      "adder", {}, []() -> std::unique_ptr<Actor<Message>> { return std::make_unique<Adder>(); });
};

// One message to an idle actor: a fiber comes and goes for it.
void tell_idle(benchmark::State& state) {
  World w;
  w.loop.settle();
  for (auto _ : state) {
    (void)w.adder.tell(Message{1, {}});
    w.loop.settle();
  }
}
BENCHMARK(tell_idle);

void tell_batch_of_64(benchmark::State& state) {
  World w;
  w.loop.settle();
  for (auto _ : state) {
    for (int i = 0; i < 64; ++i) (void)w.adder.tell(Message{1, {}});
    w.loop.settle();
  }
  state.SetItemsProcessed(state.iterations() * 64);
}
BENCHMARK(tell_batch_of_64);

void ask_round_trip(benchmark::State& state) {
  World w;
  uint64_t asked = 0;
  w.fibers.spawn("asker", [&](Suspend s) {
    for (;;) {
      (void)ask<uint64_t>(s, w.adder, Time::from_nanos(1), [](Reply<uint64_t> r) {
        return Message{0, std::move(r)};
      });
      ++asked;
    }
  });
  for (auto _ : state) {
    uint64_t target = asked + 1;
    while (asked < target) w.loop.step();
  }
  w.fibers.cancel_all();
}
BENCHMARK(ask_round_trip);

}  // namespace
}  // namespace kahuna
