#include "runtime/fiber.h"

#include <utility>

#include "runtime/counted.h"
#include "runtime/fiber_stack.h"
#include "runtime/fiber_switch.h"
#include "runtime/probe.h"

namespace kahuna {
namespace {
// Unwinds a fiber from its pending call to its entry frame. Caught there and nowhere else.
struct Cancelled {};

// The fiber that runs on this thread; null on the loop's own stack.
thread_local Fiber* running_fiber_ = nullptr;
}  // namespace

// Private to fiber.cc. Shared by its home's list, by wakers and by its posted resumption, so that
// these may outlive the fiber: they then find it done.
class Fiber final : public Counted {
 public:
  enum class Phase : uint8_t {
    kReady,  // its resumption is posted
    kRunning,
    kParked,
    kDone,
  };

  Fiber(Fibers::State* home, std::string name, Callback<void(Suspend)> body, uint64_t number)
      : home_(home), name_(std::move(name)), body_(std::move(body)), number_(number) {}
  ~Fiber() override { CHECK(!stack_); }

  void make_ready();  // posts the resumption
  void wake();        // leaves a permit, or readies a parked fiber
  void park();
  void yield();
  void cancel();  // on the loop: unwinds it and ends it
  std::string describe() const;

  Fibers::State* home() const { return home_; }
  const std::string& name() const { return name_; }

 private:
  friend class Fibers;
  void run_if_ready();
  void run();
  void suspend(Phase phase);
  void end();
  static void entry(void* self);

  Fibers::State* home_;  // null once done
  Phase phase_ = Phase::kReady;
  bool permit_ = false;  // a wake that came while not parked; at most one is kept
  bool readied_by_yield_ = false;
  bool cancelled_ = false;
  std::string name_;
  Callback<void(Suspend)> body_;
  uint64_t number_;  // order of spawning in its home
  uint64_t resumed_ = 0;
  FiberStack stack_;  // none before the first resumption
  FiberContext context_;
  CountedPtr<Fiber> keep_alive_;  // to itself; dropped at the end
  Fiber* previous_ = nullptr;
  Fiber* next_ = nullptr;
};

struct Fibers::State {
  State(Fibers& f, Clock& c, Scheduler& s, Options options)
      : fibers(f), clock(c), scheduler(s), stacks(options.stack_bytes) {}

  Fibers& fibers;
  Clock& clock;
  Scheduler& scheduler;
  FiberStackPool stacks;
  Fiber* first = nullptr;  // fibers not done, in spawn order
  Fiber* last = nullptr;
  size_t live = 0;
  uint64_t spawned = 0;
};

void Fiber::make_ready() {
  phase_ = Phase::kReady;
  home_->scheduler.post([self = CountedPtr<Fiber>(this)] { self->run_if_ready(); });
}

void Fiber::wake() {
  switch (phase_) {
    case Phase::kParked:
      readied_by_yield_ = false;
      make_ready();
      break;
    case Phase::kReady:
      // A fiber that was woken looks at everything when it resumes; one that yielded does not.
      permit_ = permit_ || readied_by_yield_;
      break;
    case Phase::kRunning: permit_ = !MUTANT(lost_wakeup); break;
    case Phase::kDone: break;
  }
}

void Fiber::run_if_ready() {
  if (phase_ == Phase::kReady) run();
}

void Fiber::run() {
  CHECK(running_fiber_ == nullptr);
  CHECK(phase_ == Phase::kReady || phase_ == Phase::kParked);
  if (!stack_) {
    stack_ = home_->stacks.take();
    context_.create(stack_, &Fiber::entry, this);
  }
  phase_ = Phase::kRunning;
  ++resumed_;
  running_fiber_ = this;
  context_.enter();
  running_fiber_ = nullptr;
  if (phase_ == Phase::kDone) end();
}

void Fiber::entry(void* self) {
  auto* fiber = static_cast<Fiber*>(self);
  try {
    fiber->body_(Suspend(fiber));
  } catch (const Cancelled&) {
  }
  fiber->phase_ = Phase::kDone;
}

void Fiber::suspend(Phase phase) {
  CHECK(!cancelled_);  // a destructor suspended while the fiber was being unwound
  if (phase == Phase::kReady) {
    readied_by_yield_ = true;
    make_ready();
  } else {
    phase_ = phase;
  }
  context_.leave();
  if (cancelled_) throw Cancelled{};
}

void Fiber::park() {
  if (std::exchange(permit_, false)) {
    CHECK(!cancelled_);
    return;
  }
  suspend(Phase::kParked);
}

void Fiber::yield() {
  suspend(Phase::kReady);
}

void Fiber::cancel() {
  CHECK(running_fiber_ == nullptr);
  cancelled_ = true;
  if (stack_) {
    run();
    CHECK(phase_ == Phase::kDone);
  } else {
    phase_ = Phase::kDone;
    end();
  }
}

// The body's captures die last and may take anything with them, this fiber's home included.
void Fiber::end() {
  CountedPtr<Fiber> self = std::move(keep_alive_);
  Callback<void(Suspend)> body = std::move(body_);
  Fibers::State* home = std::exchange(home_, nullptr);
  if (stack_) {
    context_.destroy();
    home->stacks.give_back(std::exchange(stack_, FiberStack{}));
  }
  (previous_ ? previous_->next_ : home->first) = next_;
  (next_ ? next_->previous_ : home->last) = previous_;
  --home->live;
}

std::string Fiber::describe() const {
  const char* phase = phase_ == Phase::kRunning  ? "running"
                      : phase_ == Phase::kParked ? "parked"
                      : !stack_                  ? "new"
                                                 : "ready";
  return "#" + std::to_string(number_) + " " + name_ + " " + phase +
         " resumed=" + std::to_string(resumed_);
}

void Suspend::park() {
  CHECK(fiber_ == running_fiber_);
  fiber_->park();
}

Callback<void()> Suspend::waker() {
  CHECK(fiber_ == running_fiber_);
  return [fiber = CountedPtr<Fiber>(fiber_)]() mutable {
    if (CountedPtr<Fiber> once = std::move(fiber)) once->wake();
  };
}

void Suspend::yield() {
  CHECK(fiber_ == running_fiber_);
  fiber_->yield();
}

void Suspend::sleep_until(Time deadline) {
  CHECK(fiber_ == running_fiber_);
  Clock& clock = fiber_->home()->clock;
  if (clock.now() >= deadline) return;
  struct Alarm {
    Clock& clock;
    TimerId id = 0;
    ~Alarm() { clock.cancel(id); }
  } alarm{clock};
  if (deadline != Time::max()) alarm.id = clock.call_at(deadline, waker());
  while (clock.now() < deadline) fiber_->park();
}

Fibers& Suspend::fibers() const {
  CHECK(fiber_ == running_fiber_);
  return fiber_->home()->fibers;
}

std::string_view Suspend::fiber_name() const {
  CHECK(fiber_ == running_fiber_);
  return fiber_->name();
}

Fibers::Fibers(Clock& clock, Scheduler& scheduler, Options options)
    : state_(std::make_unique<State>(*this, clock, scheduler, options)) {}

Fibers::~Fibers() {
  cancel_all();
}

void Fibers::spawn(std::string name, Callback<void(Suspend)> body) {
  CHECK(bool(body));
  CountedPtr<Fiber> fiber(
      new Fiber(state_.get(), std::move(name), std::move(body), ++state_->spawned));
  fiber->keep_alive_ = fiber;
  fiber->previous_ = state_->last;
  (state_->last ? state_->last->next_ : state_->first) = fiber.get();
  state_->last = fiber.get();
  ++state_->live;
  fiber->make_ready();
}

void Fibers::cancel_all() {
  CHECK(running_fiber_ == nullptr);
  while (Fiber* fiber = state_->first) {
    CountedPtr<Fiber> keep(fiber);
    fiber->cancel();
  }
  CHECK_EQ(state_->live, 0u);
}

size_t Fibers::live() const {
  return state_->live;
}

Clock& Fibers::clock() const {
  return state_->clock;
}

Scheduler& Fibers::scheduler() const {
  return state_->scheduler;
}

std::string Fibers::dump() const {
  std::string text;
  for (const Fiber* fiber = state_->first; fiber; fiber = fiber->next_)
    text += fiber->describe() + "\n";
  return text;
}

}  // namespace kahuna
