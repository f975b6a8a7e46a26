#include "net/workers.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>

#include "runtime/check.h"

namespace kahuna::net {

Workers::Workers(Mailbox& mailbox, unsigned threads, std::string name)
    : mailbox_(mailbox), thread_count_(std::max(1u, threads)), name_(std::move(name)) {
  CHECK_LE(name_.size(), 15u);
}

Workers::~Workers() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::run(Callback<void()> work, Callback<void()> done) {
  if (threads_.empty()) start();
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(Job{std::move(work), std::move(done)});
  }
  ready_.notify_one();
}

void Workers::start() {
  // Signals belong to the main thread: workers start with all of them blocked.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (unsigned i = 0; i < thread_count_; ++i) {
    threads_.emplace_back([this] { serve(); });
    pthread_setname_np(threads_.back().native_handle(), name_.c_str());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Workers::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ready_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job.work();
    mailbox_.finish(std::move(job));
    lock.lock();
  }
}

}  // namespace kahuna::net
