// Mailbox: what other threads hand to a loop, and the eventfd that wakes it.
//
// Owned by the loop. Producers are worker threads (finished jobs), other loops (posted tasks) and
// signal handlers (wake).
//
// 1. A producer writes to the eventfd only when the loop sleeps or is about to: a busy loop costs
//    its producers no system call.
// 2. Whatever is handed over before a wake-up is collected by the turn that follows it.
// 3. Nothing runs here; the loop runs what collect() returned, on its own thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/callback.h"
#include "runtime/error.h"

namespace kahuna::net {

// Blocking work and what follows it. `work` runs on a worker thread; both are destroyed on the
// loop's.
struct Job {
  Callback<void()> work;
  Callback<void()> done;
};

class Mailbox {
 public:
  // `posted_max`: tasks that post() holds before it refuses.
  static Result<std::unique_ptr<Mailbox>> create(size_t posted_max);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;

  // Any thread. False when posted_max tasks wait already; `task` is then left as it was.
  bool post(Callback<void()>&& task);
  // Worker threads. Bounded by the jobs that the loop has started.
  void finish(Job job);
  // Any thread or signal handler: makes the loop's wait return.
  void wake();

  // The descriptor to wait on, edge-triggered: it is never read.
  int wake_fd() const { return wake_fd_; }
  // Loop thread. True when nothing waits; from now on producers write to the eventfd.
  bool prepare_to_sleep();
  // Loop thread, after the wait.
  void awake() { sleeping_.store(false, std::memory_order_relaxed); }
  // Loop thread. Moves out everything that waits; appends to the vectors.
  void collect(std::vector<Job>& finished, std::vector<Callback<void()>>& posted);

 private:
  Mailbox(int wake_fd, size_t posted_max) : wake_fd_(wake_fd), posted_max_(posted_max) {}
  void wake_if_sleeping();

  const int wake_fd_;
  const size_t posted_max_;
  std::atomic<bool> sleeping_{false};
  std::atomic<size_t> waiting_{0};  // items in both vectors; changed under the mutex
  std::mutex mutex_;
  std::vector<Job> finished_;             // guarded by mutex_
  std::vector<Callback<void()>> posted_;  // guarded by mutex_
};

}  // namespace kahuna::net
