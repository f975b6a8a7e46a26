#include "runtime/timer_queue.h"

#include <algorithm>
#include <utility>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna {
namespace {
constexpr size_t kArity = 4;
constexpr size_t kWorthDropping = 64;  // below this many entries dead ones are left to surface
}  // namespace

TimerId TimerQueue::add(Time deadline, Callback<void()> task) {
  CHECK(bool(task));
  uint32_t index;
  if (free_slots_.empty()) {
    CHECK_LT(slots_.size(), size_t{UINT32_MAX});
    index = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = free_slots_.back();
    free_slots_.pop_back();
  }
  Slot& slot = slots_[index];
  slot.task = std::move(task);
  slot.in_heap = true;
  ++slot.use;
  ++armed_;
  heap_.push_back({deadline, added_++, index, slot.use});
  sift_up(heap_.size() - 1);
  return TimerId{slot.use} << 32 | index;
}

void TimerQueue::cancel(TimerId id) {
  auto index = static_cast<uint32_t>(id);
  auto use = static_cast<uint32_t>(id >> 32);
  if (use % 2 == 0 || index >= slots_.size() || slots_[index].use != use) return;
  bool in_heap = slots_[index].in_heap;
  if (!in_heap && MUTANT(cancelled_timer_runs)) return;  // it is due, and about to run
  Callback<void()> task = disarm(index);  // its captures may call back into this queue, at the end
  if (!in_heap) return;
  ++dead_in_heap_;
  if (heap_.size() >= kWorthDropping && dead_in_heap_ > heap_.size() / 2)
    drop_all_dead();
  else
    drop_dead_tops();
}

Time TimerQueue::next_deadline() const {
  return heap_.empty() ? Time::max() : heap_.front().deadline;
}

size_t TimerQueue::run_due(Time now) {
  CHECK(!running_);
  if (heap_.empty() || heap_.front().deadline > now) return 0;
  running_ = true;
  while (!heap_.empty() && heap_.front().deadline <= now) {
    Entry entry = pop();
    slots_[entry.slot].in_heap = false;
    due_.push_back(entry);
    drop_dead_tops();
  }
  size_t ran = 0;
  for (size_t i = 0; i < due_.size(); ++i) {
    if (dead(due_[i])) continue;  // cancelled by a task of this run
    ++ran;
    fire(due_[i]);
  }
  due_.clear();
  running_ = false;
  return ran;
}

bool TimerQueue::run_one(Time now) {
  CHECK(!running_);
  if (heap_.empty() || heap_.front().deadline > now) return false;
  Entry entry = pop();
  slots_[entry.slot].in_heap = false;
  drop_dead_tops();
  fire(entry);
  return true;
}

void TimerQueue::fire(const Entry& entry) {
  Callback<void()> task = disarm(entry.slot);
  task();
}

// Frees the slot and returns its task.
Callback<void()> TimerQueue::disarm(uint32_t index) {
  Slot& slot = slots_[index];
  CHECK_EQ(slot.use % 2, 1u);
  ++slot.use;
  slot.in_heap = false;
  --armed_;
  // A slot whose count is used up is abandoned: ids are never reused.
  if (slot.use != 0) free_slots_.push_back(index);
  return std::move(slot.task);
}

TimerQueue::Entry TimerQueue::pop() {
  Entry top = heap_.front();
  heap_.front() = heap_.back();
  heap_.pop_back();
  if (!heap_.empty()) sift_down(0);
  return top;
}

// Keeps the front of the heap alive, so that next_deadline() is a look at it.
void TimerQueue::drop_dead_tops() {
  while (!heap_.empty() && dead(heap_.front())) {
    pop();
    --dead_in_heap_;
  }
}

void TimerQueue::drop_all_dead() {
  std::erase_if(heap_, [&](const Entry& entry) { return dead(entry); });
  dead_in_heap_ = 0;
  if (heap_.size() < 2) return;
  for (size_t at = (heap_.size() - 2) / kArity + 1; at-- > 0;) sift_down(at);
}

void TimerQueue::sift_up(size_t at) {
  Entry entry = heap_[at];
  while (at > 0) {
    size_t parent = (at - 1) / kArity;
    if (!before(entry, heap_[parent])) break;
    heap_[at] = heap_[parent];
    at = parent;
  }
  heap_[at] = entry;
}

void TimerQueue::sift_down(size_t at) {
  Entry entry = heap_[at];
  for (;;) {
    size_t child = at * kArity + 1;
    if (child >= heap_.size()) break;
    size_t end = std::min(child + kArity, heap_.size());
    size_t least = child;
    for (size_t i = child + 1; i < end; ++i)
      if (before(heap_[i], heap_[least])) least = i;
    if (!before(heap_[least], entry)) break;
    heap_[at] = heap_[least];
    at = least;
  }
  heap_[at] = entry;
}

}  // namespace kahuna
