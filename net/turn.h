// Turn: the clock and the scheduler of a loop, without system calls other than reading clocks.
//
// Owned by the loop; its thread only.
//
// 1. now() changes in begin() only, which the loop calls once all inputs of a turn are collected.
// 2. A timer armed in a turn never runs in that turn, however old its deadline.
// 3. Within a turn: timers, then posted tasks, then deferred ones, each first in, first out. Tasks
//    posted by posted tasks run in the same turn, up to kPostedRoundsMax rounds.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "runtime/host.h"
#include "runtime/timer_queue.h"

namespace kahuna::net {

class Turn final : public Clock, public Scheduler {
 public:
  Turn() : timers_(std::make_unique<TimerQueue>()) { begin(); }

  Time now() const override { return now_; }
  WallTime wall() const override;
  TimerId call_at(Time deadline, Callback<void()> task) override {
    return timers_->add(std::max(deadline, now_ + Duration::nanos(1)), std::move(task));
  }
  void cancel(TimerId id) override { timers_->cancel(id); }
  void post(Callback<void()> task) override { posted_.push_back(std::move(task)); }
  void defer(Callback<void()> task) override { deferred_.push_back(std::move(task)); }

  // For the loop.
  static Time read_clock();
  void begin() { now_ = read_clock(); }
  void run_timers() { timers_->run_due(now_); }
  void run_posted();
  void run_deferred();
  bool has_posted() const { return !posted_.empty() || !deferred_.empty(); }
  // Of the next timer; Time::max() when there is none.
  Time next_deadline() const { return timers_->next_deadline(); }
  // Drops everything that has not run.
  void clear();

 private:
  static constexpr int kPostedRoundsMax = 16;

  Time now_;
  std::unique_ptr<TimerQueue> timers_;
  std::vector<Callback<void()>> posted_;
  std::vector<Callback<void()>> running_;  // the round of posted tasks that runs now
  std::vector<Callback<void()>> deferred_;
};

}  // namespace kahuna::net
