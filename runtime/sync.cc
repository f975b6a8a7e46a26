#include "runtime/sync.h"

namespace kahuna {

WaitQueue::Waiter::Waiter(WaitQueue& queue, uint64_t amount) : queue_(queue), amount_(amount) {
  previous_ = queue.last_;
  (previous_ ? previous_->next_ : queue.first_) = this;
  queue.last_ = this;
}

WaitQueue::Waiter::~Waiter() {
  leave();
}

void WaitQueue::Waiter::leave() {
  if (!std::exchange(queued_, false)) return;
  (previous_ ? previous_->next_ : queue_.first_) = next_;
  (next_ ? next_->previous_ : queue_.last_) = previous_;
}

bool WaitQueue::Waiter::wait(Suspend s, Time deadline) {
  Clock& clock = s.fibers().clock();
  struct Alarm {
    Clock& clock;
    TimerId id = 0;
    ~Alarm() { clock.cancel(id); }
  } alarm{clock};
  if (clock.now() < deadline) {
    wake_ = s.waker();
    if (deadline != Time::max()) alarm.id = clock.call_at(deadline, s.waker());
    while (outcome_ == Outcome::kNone && clock.now() < deadline) s.park();
  }
  leave();
  return granted();
}

void WaitQueue::settle_front(Waiter::Outcome outcome) {
  CHECK(first_ != nullptr);
  Waiter& waiter = *first_;
  waiter.leave();
  waiter.outcome_ = outcome;
  if (waiter.wake_) waiter.wake_();
}

void WaitQueue::grant_front() {
  settle_front(Waiter::Outcome::kGranted);
}

void WaitQueue::grant_all() {
  while (first_) settle_front(Waiter::Outcome::kGranted);
}

void WaitQueue::refuse_all() {
  while (first_) settle_front(Waiter::Outcome::kRefused);
}

bool Event::wait(Suspend s, Time deadline) {
  if (set_) return true;
  return WaitQueue::Waiter(waiting_).wait(s, deadline);
}

bool Notify::wait(Suspend s, Time deadline) {
  struct Turn {
    Notify& notify;
    WaitQueue::Waiter waiter;
    bool taken = false;
    ~Turn() {
      if (waiter.granted() && !taken) notify.one();  // cancelled before it could act on it
    }
  } turn{*this, WaitQueue::Waiter(waiting_)};
  turn.taken = turn.waiter.wait(s, deadline);
  return turn.taken;
}

bool WaitGroup::wait(Suspend s, Time deadline) {
  if (pending_ == 0) return true;
  return WaitQueue::Waiter(waiting_).wait(s, deadline);
}

bool Semaphore::try_acquire(uint64_t count) {
  if (!waiting_.empty() || permits_ < count) return false;
  permits_ -= count;
  return true;
}

// One fiber's turn at the permits. Dies without having taken them when the fiber gives up or is
// cancelled: what it was granted goes back, and it no longer holds back those behind it.
struct Semaphore::Turn {
  Turn(Semaphore& s, uint64_t count) : semaphore(s), waiter(s.waiting_, count) {}
  ~Turn() {
    if (taken) return;
    waiter.leave();
    if (waiter.granted()) semaphore.permits_ += waiter.amount();
    semaphore.serve();
  }
  Semaphore& semaphore;
  WaitQueue::Waiter waiter;
  bool taken = false;
};

Result<> Semaphore::acquire(Suspend s, uint64_t count, Time deadline) {
  if (try_acquire(count)) return {};
  if (closed_) return fail(ErrorCode::kClosed, "closed");
  Turn turn(*this, count);
  turn.taken = turn.waiter.wait(s, deadline);
  if (turn.taken) return {};
  if (turn.waiter.refused()) return fail(ErrorCode::kClosed, "closed while waiting");
  return fail(ErrorCode::kTimeout, "still waiting at the deadline");
}

void Semaphore::release(uint64_t count) {
  permits_ += count;
  serve();
}

void Semaphore::close() {
  closed_ = true;
  waiting_.refuse_all();
}

void Semaphore::serve() {
  while (!waiting_.empty() && waiting_.front()->amount() <= permits_) {
    permits_ -= waiting_.front()->amount();
    waiting_.grant_front();
  }
}

}  // namespace kahuna
