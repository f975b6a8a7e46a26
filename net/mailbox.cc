#include "net/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "net/errors.h"

namespace kahuna::net {

Result<std::unique_ptr<Mailbox>> Mailbox::create(size_t posted_max) {
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return fail(error_from_errno(errno, "create an eventfd"));
  return std::unique_ptr<Mailbox>(new Mailbox(fd, posted_max));
}

Mailbox::~Mailbox() {
  close(wake_fd_);
}

bool Mailbox::post(Callback<void()>&& task) {
  {
    std::lock_guard lock(mutex_);
    if (posted_.size() >= posted_max_) return false;
    posted_.push_back(std::move(task));
    waiting_.fetch_add(1);
  }
  wake_if_sleeping();
  return true;
}

void Mailbox::finish(Job job) {
  {
    std::lock_guard lock(mutex_);
    finished_.push_back(std::move(job));
    waiting_.fetch_add(1);
  }
  wake_if_sleeping();
}

void Mailbox::wake() {
  const uint64_t one = 1;
  // Fails only when the counter is full, which is as good as a wake-up.
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);
}

// The producer stores `waiting_` and then reads `sleeping_`, the loop stores `sleeping_` and then
// reads `waiting_`, all sequentially consistent: at least one of the two sees the other.
void Mailbox::wake_if_sleeping() {
  if (sleeping_.load() && sleeping_.exchange(false)) wake();
}

bool Mailbox::prepare_to_sleep() {
  if (waiting_.load() > 0) return false;
  sleeping_.store(true);
  if (waiting_.load() == 0) return true;
  sleeping_.store(false);
  return false;
}

void Mailbox::collect(std::vector<Job>& finished, std::vector<Callback<void()>>& posted) {
  if (waiting_.load() == 0) return;
  std::lock_guard lock(mutex_);
  for (Job& job : finished_) finished.push_back(std::move(job));
  for (Callback<void()>& task : posted_) posted.push_back(std::move(task));
  finished_.clear();
  posted_.clear();
  waiting_.store(0);
}

}  // namespace kahuna::net
