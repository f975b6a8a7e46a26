// TimerQueue: the timers of one loop, or of one simulated world. Used by hosts; product code arms
// timers through its Clock.
//
// 1. Timers fire in order of deadline, then of arming: the same calls give the same order always.
// 2. An id is never reused and never 0.
// 3. After cancel(id) the task never runs, and its captures are gone.
// 4. A timer armed by a task that run_due() runs waits for the next run_due(), even when it is due.
//
// add is O(log n) (O(1) when the deadline is later than most), cancel O(1) amortised: a cancelled
// entry stays in the heap until it reaches the top or makes up half of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/callback.h"
#include "runtime/host.h"
#include "runtime/time.h"

namespace kahuna {

class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  TimerId add(Time deadline, Callback<void()> task);
  // Does nothing for 0, and for a timer that ran or was cancelled.
  void cancel(TimerId id);
  // The earliest deadline; Time::max() when nothing is armed. Not from inside a task.
  Time next_deadline() const;
  // Runs every timer with deadline <= now that was armed before the call; returns how many ran.
  // Tasks may add and cancel; not reentrant.
  size_t run_due(Time now);
  // Runs the first timer alone if it is due; returns whether there was one. What it arms may be
  // next.
  bool run_one(Time now);
  // Armed timers.
  size_t size() const { return armed_; }
  bool empty() const { return armed_ == 0; }

 private:
  // Timers live in slots that are reused; an id is a slot and how often it was used.
  struct Slot {
    Callback<void()> task;
    uint32_t use = 0;  // odd while armed
    bool in_heap = false;
  };
  struct Entry {
    Time deadline;
    uint64_t order;
    uint32_t slot;
    uint32_t use;
  };
  static bool before(const Entry& a, const Entry& b) {
    return a.deadline != b.deadline ? a.deadline < b.deadline : a.order < b.order;
  }
  bool dead(const Entry& entry) const { return slots_[entry.slot].use != entry.use; }
  void sift_up(size_t at);
  void sift_down(size_t at);
  Entry pop();
  void drop_dead_tops();
  void drop_all_dead();
  Callback<void()> disarm(uint32_t slot);
  void fire(const Entry& entry);

  std::vector<Entry> heap_;  // 4-ary
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  std::vector<Entry> due_;  // what the current run_due() has taken from the heap
  uint64_t added_ = 0;
  size_t armed_ = 0;
  size_t dead_in_heap_ = 0;
  bool running_ = false;
};

}  // namespace kahuna
