// A clock and a scheduler that move when told: one thread, no disk, no network.
#pragma once

#include <deque>
#include <map>
#include <utility>

#include "runtime/host.h"

namespace kahuna::node_test {

class ManualHost final : public Clock, public Scheduler {
 public:
  Host& host() { return host_; }
  // Runs turns until nothing is ready, or `turns_max` of them. False: something still is.
  bool settle(size_t turns_max = 10'000) {
    while (turns_max-- > 0)
      if (!turn()) return true;
    return false;
  }
  // Moves the clock, timer by timer.
  void advance(Duration by) {
    const Time end = now_ + by;
    settle();
    while (!timers_.empty() && timers_.begin()->first.first <= end) {
      now_ = std::max(now_, timers_.begin()->first.first);
      settle();
    }
    now_ = end;
  }

  Time now() const override { return now_; }
  WallTime wall() const override { return WallTime(); }
  TimerId call_at(Time deadline, Callback<void()> task) override {
    timers_.emplace(std::pair(deadline, ++last_timer_), std::move(task));
    return last_timer_;
  }
  void cancel(TimerId id) override {
    std::erase_if(timers_, [id](const auto& timer) { return timer.first.second == id; });
  }
  void post(Callback<void()> task) override { posted_.push_back(std::move(task)); }
  void defer(Callback<void()> task) override { deferred_.push_back(std::move(task)); }

 private:
  bool turn() {
    bool worked = false;
    while (!timers_.empty() && timers_.begin()->first.first <= now_) {
      timers_.extract(timers_.begin()).mapped()();
      worked = true;
    }
    for (auto* ready : {&posted_, &deferred_}) {
      for (size_t left = ready->size(); left > 0; --left) {
        Callback<void()> task = std::move(ready->front());
        ready->pop_front();
        task();
        worked = true;
      }
    }
    return worked;
  }

  Time now_ = Time::from_nanos(1'000'000'000);
  TimerId last_timer_ = 0;
  std::map<std::pair<Time, TimerId>, Callback<void()>> timers_;
  std::deque<Callback<void()>> posted_, deferred_;
  Host host_{.clock = this,
             .scheduler = this,
             .disk = nullptr,
             .network = nullptr,
             .offload = nullptr,
             .random_seed = 1};
};

}  // namespace kahuna::node_test
