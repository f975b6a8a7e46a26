// Actors: state that only its own messages touch, on the fibers of one loop (DESIGN §3).
//
//   struct Get { std::string key; Reply<std::string> reply; };
//   struct Put { std::string key, value; };
//   using Order = std::variant<Get, Put>;
//   class Store : public Actor<Order> { Result<> receive(Suspend s, Order order) override … };
//   ActorRef<Order> store = system.spawn<Order>("store", {}, [] { … a new Store … });
//   store.tell(Put{"k", "v"});
//   Result<std::string> v = ask<std::string>(
//       s, store, deadline, [](Reply<std::string> r) { return Get{"k", std::move(r)}; });
//
// 1. One message at a time. receive() may suspend; the actor's next message waits meanwhile, so
//    what an actor knows of itself survives a suspension, and what it knows of others does not.
// 2. The mailbox is bounded: full is kOverloaded, never growth. Control messages, timers among
//    them, go ahead of the others and have their own bound. Each kind is first in, first out.
// 3. An actor has a fiber, hence a stack, only while it has something to do.
// 4. Failure is an error returned by started() or receive(). The actor object is destroyed, its
//    children stop, and after a back-off a new object from the factory takes over the mailbox. The
//    message that failed is gone. Too many failures escalate: the actor stops and its parent fails
//    in turn; without a parent the system's handler is told.
// 5. A stopped actor refuses messages with kClosed; those that still waited are dropped.
// 6. Cancelling the Fibers kills the actors that were running. Destroying the system stops the
//    others at once; its Fibers must not run any more then.
#pragma once

#include <concepts>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/actor_cell.h"
#include "runtime/ask.h"
#include "runtime/callback.h"
#include "runtime/counted.h"
#include "runtime/fiber.h"
#include "runtime/ring_queue.h"

namespace kahuna {

template <class M>
class Actor;
template <class M>
class TypedCell;

// Who to send to. Copyable; keeps the mailbox alive, not the actor running.
template <class M>
class ActorRef {
 public:
  ActorRef() = default;
  explicit operator bool() const { return bool(cell_); }
  // Does not suspend. kOverloaded: the mailbox is full; kClosed: it stopped. Not done then, and not
  // moved from.
  Result<> tell(M&& message) const { return cell_->deliver(message, nullptr, false); }
  Result<> tell(const M& message) const { return tell(M(message)); }
  // Ahead of the queue, in a queue of its own.
  Result<> tell_control(M&& message) const { return cell_->deliver(message, nullptr, true); }
  Result<> tell_control(const M& message) const { return tell_control(M(message)); }
  // Stops it once it has dealt with its current message.
  void stop() const { cell_->stop(); }
  // False = the deadline came first.
  bool wait_stopped(Suspend s, Time deadline = Time::max()) const {
    CountedPtr<TypedCell<M>> keep = cell_;
    return keep->wait_stopped(s, deadline);
  }
  bool stopped() const { return cell_->closed(); }
  const std::string& path() const { return cell_->path(); }
  friend bool operator==(const ActorRef&, const ActorRef&) = default;

 private:
  friend class Actor<M>;
  friend class ActorSystem;
  template <class T, class N, class Make>
  friend Result<T> ask(Suspend s, const ActorRef<N>& to, Time deadline, Make make);
  explicit ActorRef(CountedPtr<TypedCell<M>> cell) : cell_(std::move(cell)) {}
  CountedPtr<TypedCell<M>> cell_;
};

// Asks and waits for the answer. `make` builds the message around the Reply it is given.
// kOverloaded, kClosed: never handled. kTimeout: the deadline came while the message was still
// waiting; it will not be handled. kUnknown: it was being handled, or had been, and no answer came.
// Anything else is the answer itself.
template <class T, class M, class Make>
Result<T> ask(Suspend s, const ActorRef<M>& to, Time deadline, Make make) {
  auto slot = make_counted<AskSlot<T>>();
  M message = make(Reply<T>(slot));
  RETURN_IF_ERROR(to.cell_->deliver(message, slot, false));
  return slot->wait(s, deadline);
}

template <class M>
using ActorFactory = Callback<std::unique_ptr<Actor<M>>()>;

class ActorSystem {
 public:
  // Told about failures that nobody supervises: the path of the actor, which has stopped, and why.
  using FailureHandler = Callback<void(const std::string& path, const Error& error)>;

  // `fibers` outlives this.
  ActorSystem(Fibers& fibers, FailureHandler on_failure);
  // Actors that are on a fiber die when it is unwound; the others now, without stopped(). For an
  // orderly end, stop_all() and run the loop until live() == 0.
  ~ActorSystem();
  ActorSystem(const ActorSystem&) = delete;
  ActorSystem& operator=(const ActorSystem&) = delete;

  // Starts soon. `factory` makes the actor, again after each failure.
  template <class M>
  ActorRef<M> spawn(std::string name, ActorOptions options, ActorFactory<M> factory) {
    return spawn_under<M>(nullptr, std::move(name), options, std::move(factory));
  }
  // Stops every actor, oldest first.
  void stop_all();
  size_t live() const { return cells_.size(); }
  // A line per actor, in the order of spawning: "#number path state mailbox=N restarts=N".
  std::string dump() const;
  Fibers& fibers() const { return fibers_; }

 private:
  friend class ActorCell;
  template <class M>
  friend class Actor;
  template <class M>
  ActorRef<M> spawn_under(ActorCell* parent, std::string name, ActorOptions options,
                          ActorFactory<M> factory);
  void forget(uint64_t number) { cells_.erase(number); }
  void report_failure(const std::string& path, const Error& error) { on_failure_(path, error); }

  Fibers& fibers_;
  FailureHandler on_failure_;
  std::map<uint64_t, CountedPtr<ActorCell>> cells_;  // not stopped, by number
  uint64_t spawned_ = 0;
};

// An actor's behaviour and state.
template <class M>
class Actor {
 public:
  using Message = M;

  virtual ~Actor() = default;
  // Before the first message, and again in each new object after a failure.
  virtual Result<> started(Suspend) { return {}; }
  virtual Result<> receive(Suspend s, M message) = 0;
  // Stopped in good order (not by failure or cancellation). Must not suspend.
  virtual void stopped() {}

 protected:
  // None of these before started().
  ActorRef<M> self() const { return ActorRef<M>(CountedPtr<TypedCell<M>>(cell_)); }
  Time now() const { return cell_->clock().now(); }
  // Sends itself a control message then; forgotten at a restart. At most
  // kMaxTimers are armed (CHECKed).
  TimerId tell_at(Time deadline, M message) { return cell_->tell_at(deadline, std::move(message)); }
  void cancel(TimerId id) { cell_->disarm(id); }
  // Its failures escalate to this actor, which it does not outlive.
  template <class N>
  ActorRef<N> spawn_child(std::string name, ActorOptions options, ActorFactory<N> factory) {
    CHECK(!cell_->closed());
    return cell_->system()->template spawn_under<N>(cell_, std::move(name), options,
                                                    std::move(factory));
  }

 private:
  friend class TypedCell<M>;
  TypedCell<M>* cell_ = nullptr;
};

// The mailbox and the behaviour. Private.
template <class M>
class TypedCell final : public ActorCell {
 public:
  TypedCell(ActorSystem& system, ActorCell* parent, std::string path, ActorOptions options,
            uint64_t number, ActorFactory<M> factory)
      : ActorCell(system, parent, std::move(path), options, number), factory_(std::move(factory)) {}

  // Moves from `message` only on success.
  Result<> deliver(M& message, CountedPtr<AskState> asked, bool control) {
    if (closed()) return fail(ErrorCode::kClosed, "stopped");
    RingQueue<Envelope>& queue = control ? control_ : queue_;
    if (queue.size() >= (control ? options().control_capacity : options().mailbox_capacity))
      return fail(ErrorCode::kOverloaded, "mailbox is full");
    queue.push_back(Envelope{std::move(message), std::move(asked)});
    activate();
    return {};
  }

 private:
  friend class Actor<M>;
  friend class ActorSystem;
  struct Envelope {
    M message;
    CountedPtr<AskState> asked;
  };

  // Timers have their own bound and are never refused.
  TimerId tell_at(Time deadline, M message) {
    return arm(deadline, [this, message = std::move(message)]() mutable {
      control_.push_back(Envelope{std::move(message), nullptr});
      activate();
    });
  }

  bool has_behaviour() const override { return behaviour_ != nullptr; }
  void create_behaviour() override {
    behaviour_ = factory_();
    CHECK(behaviour_ != nullptr);
    behaviour_->cell_ = this;
  }
  void destroy_behaviour() override { std::exchange(behaviour_, nullptr).reset(); }
  Result<> start_behaviour(Suspend s) override { return behaviour_->started(s); }
  void behaviour_stopped() override { behaviour_->stopped(); }
  size_t waiting() const override { return control_.size() + queue_.size(); }
  Result<> handle_next(Suspend s) override {
    Envelope next = control_.empty() ? queue_.pop_front() : control_.pop_front();
    if (next.asked && !next.asked->take()) return {};  // who asked has given up
    return behaviour_->receive(s, std::move(next.message));
  }
  void drop_messages() override {
    control_.clear();
    queue_.clear();
  }

  ActorFactory<M> factory_;
  std::unique_ptr<Actor<M>> behaviour_;  // none before the start, nor while waiting to restart
  RingQueue<Envelope> control_;
  RingQueue<Envelope> queue_;
};

template <class M>
ActorRef<M> ActorSystem::spawn_under(ActorCell* parent, std::string name, ActorOptions options,
                                     ActorFactory<M> factory) {
  uint64_t number = ++spawned_;
  std::string path = parent ? parent->path() + "/" + name : std::move(name);
  auto cell = make_counted<TypedCell<M>>(*this, parent, std::move(path), options, number,
                                         std::move(factory));
  cells_.emplace(number, cell);
  cell->activate();
  return ActorRef<M>(std::move(cell));
}

}  // namespace kahuna
