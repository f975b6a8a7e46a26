#include "runtime/actor_cell.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "runtime/actor.h"

namespace kahuna {

// Owned by the fiber that runs the actor. When the fiber is cancelled the actor dies with it.
class ActorCell::Activation {
 public:
  explicit Activation(ActorCell* cell) : cell_(cell) {}
  Activation(Activation&&) = default;
  ~Activation() {
    if (cell_) cell_->abandon();
  }
  void run(Suspend s) {
    cell_->run(s);
    cell_->active_ = false;
    cell_ = nullptr;
  }

 private:
  CountedPtr<ActorCell> cell_;
};

ActorCell::ActorCell(ActorSystem& system, ActorCell* parent, std::string path, ActorOptions options,
                     uint64_t number)
    : system_(&system),
      parent_(parent),
      path_(std::move(path)),
      options_(options),
      number_(number) {
  CHECK_GT(options.mailbox_capacity, 0u);
  CHECK_GT(options.quantum, 0u);
  if (parent) parent->children_.emplace(number, CountedPtr<ActorCell>(this));
}

ActorCell::~ActorCell() {
  CHECK(!active_);
}

Clock& ActorCell::clock() const {
  CHECK(system_ != nullptr);
  return system_->fibers().clock();
}

void ActorCell::activate() {
  if (active_ || backoff_ != 0 || system_ == nullptr) return;
  active_ = true;
  system_->fibers().spawn(
      path_, [activation = Activation(this)](Suspend s) mutable { activation.run(s); });
}

void ActorCell::run(Suspend s) {
  uint32_t handled = 0;
  for (;;) {
    if (stopping_) return finish();
    if (failure_) {
      if (restart_later()) return;
    } else if (!has_behaviour()) {
      create_behaviour();
      if (Result<> started = start_behaviour(s); !started && !failure_)
        failure_ = std::move(started.error());
    } else if (waiting() == 0) {
      return;
    } else if (handled == options_.quantum) {
      handled = 0;
      s.yield();
    } else {
      ++handled;
      if (Result<> done = handle_next(s); !done && !failure_) failure_ = std::move(done.error());
    }
  }
}

bool ActorCell::restart_later() {
  Error error = std::move(*failure_);
  failure_.reset();
  Time now = clock().now();
  if (failures_ > 0 && now - last_failure_ > options_.restart_window) failures_ = 0;
  last_failure_ = now;
  ++failures_;
  disarm_all();
  stop_children();
  destroy_behaviour();
  if (failures_ > options_.max_restarts) {
    stop();
    escalate(error);
    return false;
  }
  Duration wait = options_.backoff_min;
  for (uint32_t i = 1; i < failures_ && wait < options_.backoff_max; ++i) wait = wait * 2;
  ++restarts_;
  backoff_ = clock().call_at(now + std::min(wait, options_.backoff_max),
                             [self = CountedPtr<ActorCell>(this)] {
                               self->backoff_ = 0;
                               self->activate();
                             });
  return true;
}

void ActorCell::escalate(const Error& error) {
  if (parent_)
    parent_->child_failed(Error(error.code, path_ + ": " + error.text));
  else
    system_->report_failure(path_, error);
}

void ActorCell::child_failed(const Error& error) {
  if (closed() || failure_) return;
  failure_ = error;
  activate();
}

void ActorCell::stop() {
  if (closed()) return;
  stopping_ = true;
  drop_messages();
  stop_children();
  if (backoff_ != 0) clock().cancel(std::exchange(backoff_, 0));
  activate();
}

void ActorCell::stop_children() {
  for (auto& [number, child] : std::exchange(children_, {})) {
    child->parent_ = nullptr;
    child->stop();
  }
}

TimerId ActorCell::arm(Time deadline, Callback<void()> deliver) {
  CHECK_LT(timers_.size(), kMaxTimers);
  CHECK(!stopped_.is_set());
  auto id = std::make_shared<TimerId>(0);
  *id = clock().call_at(deadline, [this, id, keep = CountedPtr<ActorCell>(this),
                                   deliver = std::move(deliver)]() mutable {
    std::erase(timers_, *id);
    deliver();
  });
  timers_.push_back(*id);
  return *id;
}

void ActorCell::disarm(TimerId id) {
  if (std::erase(timers_, id) > 0) clock().cancel(id);
}

void ActorCell::disarm_all() {
  for (TimerId id : std::exchange(timers_, {})) clock().cancel(id);
}

void ActorCell::finish() {
  if (has_behaviour()) behaviour_stopped();
  stop_children();
  become_stopped();
}

void ActorCell::abandon() {
  active_ = false;
  if (!stopped_.is_set()) become_stopped();
}

void ActorCell::leave_system() {
  stopping_ = true;
  if (ActorSystem* system = system_) {
    if (backoff_ != 0) clock().cancel(std::exchange(backoff_, 0));
    disarm_all();
    system_ = nullptr;
    system->forget(number_);
  }
}

void ActorCell::become_stopped() {
  CountedPtr<ActorCell> keep(this);
  for (auto& [number, child] : std::exchange(children_, {})) child->parent_ = nullptr;
  if (parent_) std::exchange(parent_, nullptr)->children_.erase(number_);
  leave_system();
  destroy_behaviour();
  drop_messages();
  stopped_.set();
}

std::string ActorCell::describe() const {
  const char* state = stopping_       ? "stopping"
                      : backoff_ != 0 ? "waiting to restart"
                      : active_       ? "active"
                                      : "idle";
  return "#" + std::to_string(number_) + " " + path_ + " " + state +
         " mailbox=" + std::to_string(waiting()) + " restarts=" + std::to_string(restarts_);
}

ActorSystem::ActorSystem(Fibers& fibers, FailureHandler on_failure)
    : fibers_(fibers), on_failure_(std::move(on_failure)) {
  CHECK(bool(on_failure_));
}

ActorSystem::~ActorSystem() {
  while (!cells_.empty()) {
    CountedPtr<ActorCell> cell = cells_.begin()->second;
    // An actor on a fiber dies when the fiber is unwound.
    if (cell->active_)
      cell->leave_system();
    else
      cell->become_stopped();
  }
}

void ActorSystem::stop_all() {
  std::vector<CountedPtr<ActorCell>> all;
  for (auto& [number, cell] : cells_) all.push_back(cell);
  for (auto& cell : all) cell->stop();
}

std::string ActorSystem::dump() const {
  std::string text;
  for (auto& [number, cell] : cells_) text += cell->describe() + "\n";
  return text;
}

}  // namespace kahuna
