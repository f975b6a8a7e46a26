// Workers: a few threads that run blocking work for one loop, in the order it was handed over.
//
// Owned by the loop and called from its thread only; results come back through the loop's Mailbox.
//
// 1. With one thread, jobs run one after the other, in order.
// 2. Threads start with the first job, so that an unused pool costs nothing.
// 3. Destruction waits for the jobs that run and drops those that have not begun.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "net/mailbox.h"
#include "runtime/host.h"

namespace kahuna::net {

class Workers final : public Offload {
 public:
  // `name` shows in ps and gdb; at most 15 characters.
  Workers(Mailbox& mailbox, unsigned threads, std::string name);
  ~Workers() override;

  void run(Callback<void()> work, Callback<void()> done) override;

 private:
  void start();
  void serve();

  Mailbox& mailbox_;
  const unsigned thread_count_;
  const std::string name_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Job> jobs_;   // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace kahuna::net
