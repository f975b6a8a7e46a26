#include "net/turn.h"

#include <time.h>

#include <utility>

namespace kahuna::net {
namespace {

int64_t read(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

// BOOTTIME also counts while the machine sleeps, so that leases end in true time.
Time Turn::read_clock() {
  return Time::from_nanos(read(CLOCK_BOOTTIME));
}
WallTime Turn::wall() const {
  return WallTime::from_nanos(read(CLOCK_REALTIME));
}

void Turn::run_posted() {
  for (int round = 0; round < kPostedRoundsMax && !posted_.empty(); ++round) {
    running_.swap(posted_);
    for (Callback<void()>& task : running_) task();
    running_.clear();
  }
}

void Turn::run_deferred() {
  for (size_t i = 0; i < deferred_.size(); ++i) {
    Callback<void()> task = std::move(deferred_[i]);  // the vector may move while the task runs
    task();
  }
  deferred_.clear();
}

void Turn::clear() {
  // What a task captured may post again, or cancel timers, from its destructor.
  while (has_posted() || !timers_->empty()) {
    const auto posted = std::exchange(posted_, {});
    const auto deferred = std::exchange(deferred_, {});
    const auto timers = std::exchange(timers_, std::make_unique<TimerQueue>());
  }
}

}  // namespace kahuna::net
