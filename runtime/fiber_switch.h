// FiberContext: a switch between the loop's stack and one fiber's, over Boost.Context's fcontext.
// Private to fiber.cc.
//
// fcontext saves registers and nothing else. This adds what C++ and the tools need:
// 1. The exception state of the thread (the exceptions being handled, the number in flight) is
//    saved and restored, so that a catch block may contain a switch.
// 2. AddressSanitizer, ThreadSanitizer and valgrind are told which stack is live.
//
// Fibers switch only with the loop, never with each other.
#pragma once

#include <cxxabi.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

#include "runtime/check.h"
#include "runtime/fiber_stack.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define KAHUNA_FIBER_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define KAHUNA_FIBER_TSAN 1
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define KAHUNA_FIBER_VALGRIND 1
#endif

namespace kahuna {

// The last frames of a finished fiber never return, so AddressSanitizer would take their red zones
// for those of the stack's next user.
inline void forget_stack_poison([[maybe_unused]] FiberStack stack) {
#ifdef KAHUNA_FIBER_ASAN
  __asan_unpoison_memory_region(stack.low, stack.size());
#endif
}

class FiberContext {
 public:
  // Prepares `entry(argument)` to run on `stack` at the first enter(). When it returns,
  // the fiber has left forever.
  void create(FiberStack stack, void (*entry)(void*), void* argument) {
    stack_ = stack;
    entry_ = entry;
    argument_ = argument;
    fiber_ = boost::context::detail::make_fcontext(stack.top, stack.size(), &first_frame);
#ifdef KAHUNA_FIBER_VALGRIND
    valgrind_id_ = VALGRIND_STACK_REGISTER(stack.low, stack.top);
#endif
#ifdef KAHUNA_FIBER_TSAN
    tsan_fiber_ = __tsan_create_fiber(0);
#endif
  }

  // After the fiber left forever.
  void destroy() {
#ifdef KAHUNA_FIBER_VALGRIND
    VALGRIND_STACK_DEREGISTER(valgrind_id_);
#endif
#ifdef KAHUNA_FIBER_TSAN
    __tsan_destroy_fiber(tsan_fiber_);
#endif
  }

  // On the loop's stack: runs the fiber until it leaves.
  void enter() {
    ExceptionState* live = live_exceptions_ = exception_state();
    ExceptionState outer = *live;
    *live = exceptions_;
#ifdef KAHUNA_FIBER_TSAN
    tsan_loop_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(tsan_fiber_, 0);
#endif
#ifdef KAHUNA_FIBER_ASAN
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, stack_.low, stack_.size());
#endif
    fiber_ = boost::context::detail::jump_fcontext(fiber_, this).fctx;
#ifdef KAHUNA_FIBER_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
    exceptions_ = *live;
    *live = outer;
  }

  // On the fiber's stack: returns to the loop; comes back at the next enter().
  void leave() {
    // A destructor that runs because of an exception must not switch: the exception in flight
    // belongs to this thread's unwinder.
    CHECK_EQ(live_exceptions_->in_flight, 0u);
#ifdef KAHUNA_FIBER_ASAN
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, loop_low_, loop_bytes_);
#endif
#ifdef KAHUNA_FIBER_TSAN
    __tsan_switch_to_fiber(tsan_loop_, 0);
#endif
    loop_ = boost::context::detail::jump_fcontext(loop_, nullptr).fctx;
#ifdef KAHUNA_FIBER_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, &loop_low_, &loop_bytes_);
#endif
  }

 private:
  // What __cxa_get_globals() points at (Itanium C++ ABI, section 2.2.2).
  struct ExceptionState {
    void* handled = nullptr;
    unsigned in_flight = 0;
  };
  static ExceptionState* exception_state() {
    return reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
  }

  // No exception passes this frame: there is nothing below it to unwind into.
  static void first_frame(boost::context::detail::transfer_t from) noexcept {
    auto* self = static_cast<FiberContext*>(from.data);
    self->loop_ = from.fctx;
#ifdef KAHUNA_FIBER_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &self->loop_low_, &self->loop_bytes_);
#endif
    self->entry_(self->argument_);
    self->leave_forever();
  }

  [[noreturn]] void leave_forever() {
#ifdef KAHUNA_FIBER_ASAN
    __sanitizer_start_switch_fiber(nullptr, loop_low_, loop_bytes_);
#endif
#ifdef KAHUNA_FIBER_TSAN
    __tsan_switch_to_fiber(tsan_loop_, 0);
#endif
    boost::context::detail::jump_fcontext(loop_, nullptr);
    UNREACHABLE("a finished fiber was entered");
  }

  FiberStack stack_;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  boost::context::detail::fcontext_t fiber_ = nullptr;
  boost::context::detail::fcontext_t loop_ = nullptr;
  ExceptionState exceptions_;                  // the fiber's, while it is suspended
  ExceptionState* live_exceptions_ = nullptr;  // of the thread it runs on
#ifdef KAHUNA_FIBER_ASAN
  const void* loop_low_ = nullptr;
  size_t loop_bytes_ = 0;
#endif
#ifdef KAHUNA_FIBER_TSAN
  void* tsan_fiber_ = nullptr;
  void* tsan_loop_ = nullptr;
#endif
#ifdef KAHUNA_FIBER_VALGRIND
  unsigned valgrind_id_ = 0;
#endif
};

}  // namespace kahuna
