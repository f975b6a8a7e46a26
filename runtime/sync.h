// Event, Notify, Semaphore, Mutex, WaitGroup, Channel: for the fibers of one loop.
//
// 1. One thread: between two suspensions nothing else runs, so a condition that was tested stays
//    true until the next call that takes a Suspend.
// 2. Waiters are served first in, first out, and are not overtaken by later callers.
// 3. A waiter that is cancelled or times out leaves no trace; what it had already been given
//    (a permit, a lock, a notification) goes to the next one.
// 4. Objects outlive their waiters: destroying one with fibers waiting is CHECKed.
// 5. A deadline in the past still takes what is available at once. Time::max() = wait for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/fiber.h"
#include "runtime/time.h"

namespace kahuna {

// The queue of parked fibers under every primitive. Low level: prefer the classes below.
class WaitQueue {
 public:
  // One wait. Lives on the waiting fiber's stack; leaves the queue and disarms its timer when it
  // dies, on whatever path. `amount` is the primitive's own.
  class Waiter {
   public:
    Waiter(WaitQueue& queue, uint64_t amount = 0);
    ~Waiter();
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    // Parks until granted, refused, or `deadline`. True = granted.
    bool wait(Suspend s, Time deadline);
    void leave();
    bool granted() const { return outcome_ == Outcome::kGranted; }
    bool refused() const { return outcome_ == Outcome::kRefused; }
    uint64_t amount() const { return amount_; }

   private:
    friend class WaitQueue;
    enum class Outcome : uint8_t { kNone, kGranted, kRefused };
    WaitQueue& queue_;
    Waiter* previous_ = nullptr;
    Waiter* next_ = nullptr;
    uint64_t amount_;
    bool queued_ = true;
    Outcome outcome_ = Outcome::kNone;
    Callback<void()> wake_;
  };

  WaitQueue() = default;
  ~WaitQueue() { CHECK(first_ == nullptr); }
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;

  bool empty() const { return first_ == nullptr; }
  Waiter* front() { return first_; }
  // Grants the first waiter. CHECKs that there is one.
  void grant_front();
  void grant_all();
  void refuse_all();

 private:
  void settle_front(Waiter::Outcome outcome);
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
};

// Set or not. wait() returns while it is set.
class Event {
 public:
  void set() {
    set_ = true;
    waiting_.grant_all();
  }
  void reset() { set_ = false; }
  bool is_set() const { return set_; }
  // True = was set (perhaps reset again since); false = the deadline came first.
  bool wait(Suspend s, Time deadline = Time::max());

 private:
  bool set_ = false;
  WaitQueue waiting_;
};

// A condition variable without a mutex (see 1). Notifications are not stored.
class Notify {
 public:
  void one() {
    if (!waiting_.empty()) waiting_.grant_front();
  }
  void all() { waiting_.grant_all(); }
  bool has_waiters() const { return !waiting_.empty(); }
  // True = notified. Test the condition again: others may have run in between.
  bool wait(Suspend s, Time deadline = Time::max());
  // Waits until `condition()` holds; false = it does not and the deadline came.
  template <class Condition>
  bool wait_for(Suspend s, Condition condition, Time deadline = Time::max()) {
    while (!condition())
      if (!wait(s, deadline)) return condition();
    return true;
  }

 private:
  WaitQueue waiting_;
};

// Counted permits. A large request at the front holds back small ones behind it.
class Semaphore {
 public:
  explicit Semaphore(uint64_t permits) : permits_(permits) {}
  // kTimeout: the deadline came first. kClosed: close() was called and no permit was free.
  Result<> acquire(Suspend s, uint64_t count = 1, Time deadline = Time::max());
  // False = would have to wait.
  bool try_acquire(uint64_t count = 1);
  void release(uint64_t count = 1);
  // Fails those who wait, and whoever would wait from now on.
  void close();
  bool closed() const { return closed_; }
  uint64_t available() const { return permits_; }
  bool has_waiters() const { return !waiting_.empty(); }

 private:
  struct Turn;
  void serve();
  uint64_t permits_;
  bool closed_ = false;
  WaitQueue waiting_;
};

// Not recursive; any fiber may unlock (ownership is the holder's convention). Prefer Guard.
class Mutex {
 public:
  class Guard {
   public:
    Guard(Suspend s, Mutex& mutex) : mutex_(&mutex) { mutex.lock(s); }
    Guard(Guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (mutex_) mutex_->unlock();
    }

   private:
    Mutex* mutex_;
  };

  void lock(Suspend s) { CHECK(bool(permit_.acquire(s))); }
  // False = the deadline came first.
  bool lock_until(Suspend s, Time deadline) { return bool(permit_.acquire(s, 1, deadline)); }
  bool try_lock() { return permit_.try_acquire(); }
  void unlock() {
    CHECK_EQ(permit_.available(), 0u);
    permit_.release();
  }
  bool locked() const { return permit_.available() == 0; }

 private:
  Semaphore permit_{1};
};

// Waits for a number of things to end.
class WaitGroup {
 public:
  void add(uint64_t count = 1) { pending_ += count; }
  void done() {
    CHECK_GT(pending_, 0u);
    if (--pending_ == 0) waiting_.grant_all();
  }
  uint64_t pending() const { return pending_; }
  // True = none pending at some moment since the call; false = the deadline came first.
  bool wait(Suspend s, Time deadline = Time::max());

 private:
  uint64_t pending_ = 0;
  WaitQueue waiting_;
};

// A bounded queue of values. Values come out in the order in which they went in.
template <class T>
class Channel {
 public:
  explicit Channel(size_t capacity) : space_(capacity), items_(0) { CHECK_GT(capacity, 0u); }

  // Moves from `value` only on success. kTimeout: full until the deadline; kClosed.
  Result<> send(Suspend s, T&& value, Time deadline = Time::max()) {
    if (space_.closed()) return closed_error();
    RETURN_IF_ERROR(space_.acquire(s, 1, deadline));
    if (space_.closed()) return closed_error();  // since this fiber was given its place
    push(std::move(value));
    return {};
  }
  Result<> send(Suspend s, const T& value, Time deadline = Time::max()) {
    return send(s, T(value), deadline);
  }
  // kOverloaded: full. Moves from `value` only on success.
  Result<> try_send(T&& value) {
    if (space_.closed()) return closed_error();
    if (!space_.try_acquire()) return fail(ErrorCode::kOverloaded, "the channel is full");
    push(std::move(value));
    return {};
  }
  Result<> try_send(const T& value) { return try_send(T(value)); }

  // kTimeout: empty until the deadline. kClosed: closed, and every value was received.
  Result<T> receive(Suspend s, Time deadline = Time::max()) {
    RETURN_IF_ERROR(items_.acquire(s, 1, deadline));
    return pop();
  }
  // kUnavailable: empty; kClosed as above.
  Result<T> try_receive() {
    if (items_.try_acquire()) return pop();
    if (items_.closed()) return closed_error();
    return fail(ErrorCode::kUnavailable, "the channel is empty");
  }

  // Senders fail from now on; receivers get what is left, then fail.
  void close() {
    space_.close();
    items_.close();
  }
  bool closed() const { return items_.closed(); }
  size_t size() const { return values_.size(); }

 private:
  static std::unexpected<Error> closed_error() {
    return fail(ErrorCode::kClosed, "the channel is closed");
  }
  void push(T value) {
    values_.push_back(std::move(value));
    items_.release();
  }
  T pop() {
    CHECK(!values_.empty());
    T value = std::move(values_.front());
    values_.pop_front();
    space_.release();
    return value;
  }

  Semaphore space_;  // free places
  Semaphore items_;  // values that no receiver was promised
  std::deque<T> values_;
};

}  // namespace kahuna
