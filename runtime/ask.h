// The two ends of an ask(): the Reply that travels in the message, and the slot that the asker
// waits on. See actor.h.
#pragma once

#include <optional>
#include <utility>

#include "runtime/counted.h"
#include "runtime/error.h"
#include "runtime/fiber.h"

namespace kahuna {

class AskState : public Counted {
 public:
  // The actor begins to handle the message. False = the asker gave up before: do not.
  bool take() {
    taken_ = taken_ || !given_up_;
    return !given_up_;
  }
  bool taken() const { return taken_; }
  bool given_up() const { return given_up_; }

 protected:
  bool taken_ = false;
  bool given_up_ = false;
};

template <class T>
class AskSlot final : public AskState {
 public:
  void answer(Result<T> result) {
    if (given_up_ || result_) return;
    result_.emplace(std::move(result));
    if (wake_) wake_();
  }

  Result<T> wait(Suspend s, Time deadline) {
    struct Wait {
      AskSlot& slot;
      Clock& clock;
      TimerId alarm = 0;
      ~Wait() {
        clock.cancel(alarm);
        slot.given_up_ = true;
      }
    } wait{*this, s.fibers().clock()};
    if (!result_ && wait.clock.now() < deadline) {
      wake_ = s.waker();
      if (deadline != Time::max()) wait.alarm = wait.clock.call_at(deadline, s.waker());
      while (!result_ && wait.clock.now() < deadline) s.park();
    }
    if (result_) return std::move(*result_);
    if (taken_) return fail(ErrorCode::kUnknown, "no answer by the deadline");
    return fail(ErrorCode::kTimeout, "not handled by the deadline");
  }

 private:
  std::optional<Result<T>> result_;
  Callback<void()> wake_;
};

// Answers one ask. Dropped without an answer, it answers for itself: kClosed when the message was
// never handled, else kUnknown.
template <class T>
class Reply {
 public:
  Reply() = default;
  explicit Reply(CountedPtr<AskSlot<T>> slot) : slot_(std::move(slot)) {}
  Reply(Reply&& other) noexcept : slot_(std::move(other.slot_)) {}
  Reply& operator=(Reply&& other) noexcept {
    if (this != &other) {
      drop();
      slot_ = std::move(other.slot_);
    }
    return *this;
  }
  ~Reply() { drop(); }

  // At most once.
  void send(Result<T> result) {
    CHECK(bool(slot_));
    CountedPtr<AskSlot<T>> slot = std::move(slot_);
    slot->answer(std::move(result));
  }
  // Whether an answer is still of use to somebody.
  bool wanted() const { return slot_ && !slot_->given_up(); }

 private:
  void drop() {
    CountedPtr<AskSlot<T>> slot = std::move(slot_);
    if (!slot) return;
    if (slot->taken())
      slot->answer(fail(ErrorCode::kUnknown, "dropped without an answer"));
    else
      slot->answer(fail(ErrorCode::kClosed, "dropped before it was handled"));
  }
  CountedPtr<AskSlot<T>> slot_;
};

}  // namespace kahuna
