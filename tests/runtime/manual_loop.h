// ManualLoop: a deterministic Clock and Scheduler for tests. Time moves only when the test says so.
#pragma once

#include <deque>
#include <optional>
#include <utility>

#include "runtime/fiber.h"
#include "runtime/host.h"
#include "runtime/timer_queue.h"

namespace kahuna {

class ManualLoop : public Clock, public Scheduler {
 public:
  Time now() const override { return now_; }
  WallTime wall() const override { return WallTime::from_nanos(now_.nanos()); }
  TimerId call_at(Time deadline, Callback<void()> task) override {
    return timers_.add(deadline, std::move(task));
  }
  void cancel(TimerId id) override { timers_.cancel(id); }

  void post(Callback<void()> task) override { posted_.push_back(std::move(task)); }
  void defer(Callback<void()> task) override { deferred_.push_back(std::move(task)); }

  // Draws the order of posted tasks from now on, instead of first in, first out.
  void shuffle(RandomStream random) { random_ = random; }

  // Runs all that is ready, without moving time (timers that are due included).
  void settle() {
    for (;;) {
      if (timers_.run_due(now_) > 0) continue;
      if (!posted_.empty()) {
        size_t pick = random_ ? random_->below(posted_.size()) : 0;
        std::swap(posted_[0], posted_[pick]);
        Callback<void()> task = std::move(posted_.front());
        posted_.pop_front();
        task();
      } else if (!deferred_.empty()) {
        Callback<void()> task = std::move(deferred_.front());
        deferred_.pop_front();
        task();
      } else {
        return;
      }
    }
  }
  // Settles, moving time from deadline to deadline, up to `span` from now.
  void advance(Duration span) {
    Time end = now_ + span;
    settle();
    while (timers_.next_deadline() <= end) {
      now_ = timers_.next_deadline();
      settle();
    }
    now_ = end;
  }
  // Settles until nothing is armed.
  void drain() {
    settle();
    while (!timers_.empty()) {
      now_ = timers_.next_deadline();
      settle();
    }
  }
  // The fiber world hands back exactly what is pending.
  size_t armed() const { return timers_.size(); }
  size_t ready() const { return posted_.size() + deferred_.size(); }

 private:
  Time now_ = Time::from_nanos(1'000'000'000);
  TimerQueue timers_;
  std::deque<Callback<void()>> posted_;
  std::deque<Callback<void()>> deferred_;
  std::optional<RandomStream> random_;
};

}  // namespace kahuna
