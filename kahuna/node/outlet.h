// What one event loop of a node hands to another: collected over a turn, posted once at its end.
//
//   O1 batches arrive in order and once, unless the process ends first;
//   O2 while too much waits at the other loop, the batch grows and is tried again: its owner keeps
//      within bounds what it adds (requests in flight; peers' messages may be left out).
//
// A Batch owns what it holds (no Payload that is shared, no pointer into this loop). `Sink` is
// shared by the two loops; take() runs on the other.
#pragma once

#include <memory>
#include <utility>

#include "runtime/host.h"
#include "runtime/probe.h"

namespace kahuna::node {

template <class Batch, class Sink>
class Outlet {
 public:
  static constexpr Duration kRetry = Duration::millis(1);

  Outlet(Host& host, size_t to, std::shared_ptr<Sink> sink)
      : host_(host), to_(to), sink_(std::move(sink)) {}
  ~Outlet() { host_.clock->cancel(timer_); }
  Outlet(const Outlet&) = delete;
  Outlet& operator=(const Outlet&) = delete;

  // What this turn adds to. Valid until the turn's end.
  Batch& batch() {
    if (!batch_) batch_ = std::make_unique<Batch>();
    if (!scheduled_ && !timer_) {
      scheduled_ = true;
      host_.scheduler->defer([this, alive = std::weak_ptr<char>(alive_)] {
        if (!alive.expired()) flush();
      });
    }
    return *batch_;
  }
  size_t to() const { return to_; }

 private:
  void flush() {
    scheduled_ = false;
    if (!batch_) return;
    Callback<void()> task(
        [sink = sink_, batch = std::move(batch_)]() mutable { sink->take(std::move(*batch)); });
    if (!FAULT_POINT(loop_queue_is_full) && host_.loops->post(to_, std::move(task))) return;
    SOMETIMES(loop_queue_was_full);
    waiting_ = std::move(task);
    retry_later();
  }
  void retry_later() {
    timer_ = host_.clock->call_at(host_.clock->now() + kRetry, [this] {
      timer_ = 0;
      if (!host_.loops->post(to_, std::move(waiting_))) return retry_later();
      flush();
    });
  }

  Host& host_;
  const size_t to_;
  std::shared_ptr<Sink> sink_;
  std::unique_ptr<Batch> batch_;  // null when nothing was added
  Callback<void()> waiting_;      // refused; goes before batch_
  bool scheduled_ = false;
  TimerId timer_ = 0;  // armed while waiting_ waits
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace kahuna::node
