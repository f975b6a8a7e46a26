// Fibers: direct-style code that may suspend, over Boost.Context's fcontext.
//
// A fiber switch hides in a plain call, so every function that may suspend takes a `Suspend` token
// as its first parameter; only the fiber's entry point is given one, and it cannot be copied into a
// callback's captures by accident (it is passed by value down the stack, and CHECKs that it is used
// on its own fiber). After every call that takes a Suspend, re-check term, role and epoch.
//
// 1. Fibers of a Fibers object run on one thread, one at a time, until they suspend.
// 2. A fiber is resumed from the scheduler (Scheduler::post), never from inside a completion.
// 3. Destroying Fibers unwinds every suspended fiber: the pending call throws Cancelled, which only
//    the fiber's entry frame catches; destructors on the way run, and must not suspend (CHECKed).
//    So a function that takes a Suspend is never noexcept, is not called by a destructor, and
//    catches no exception that it does not name.
// 4. Suspending inside a catch block is allowed: exception state is saved per fiber. Suspending
//    while an exception is in flight is not (CHECKed).
// 5. Stacks are guarded, pooled, 256 KiB of address space by default (RocksDB needs 128).
// 6. An exception that leaves a fiber's body terminates the process at the throw.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/callback.h"
#include "runtime/check.h"
#include "runtime/host.h"

namespace kahuna {

class Fiber;  // private to fiber.cc
class Fibers;

// Permission to suspend the current fiber. Pass by value, first parameter.
class Suspend {
 public:
  // Suspends until wake() of `waker()`'s result was called (possibly before). Low level: use
  // await(). A wake is a permit, not a count, and any waker of the fiber leaves it: park in a loop
  // that tests what it waits for.
  void park();
  // A callback that wakes this fiber: callable once, from the loop's thread, even after the fiber
  // or its Fibers is gone (then it does nothing).
  Callback<void()> waker();
  // Lets other ready work run first.
  void yield();
  // Returns at or after `deadline`.
  void sleep_until(Time deadline);
  Fibers& fibers() const;
  std::string_view fiber_name() const;

 private:
  friend class Fiber;
  friend class Fibers;
  explicit Suspend(Fiber* fiber) : fiber_(fiber) {}
  Fiber* fiber_;
};

class Fibers {
 public:
  struct Options {
    size_t stack_bytes = 256 * 1024;
  };
  // `clock` and `scheduler` outlive this object.
  Fibers(Clock& clock, Scheduler& scheduler, Options options);
  Fibers(Clock& clock, Scheduler& scheduler) : Fibers(clock, scheduler, Options()) {}
  ~Fibers();
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;

  // Starts a fiber soon (posted). `name` shows in dumps.
  void spawn(std::string name, Callback<void(Suspend)> body);
  // Unwinds all fibers now (see 3). Called by the destructor. Not from inside a fiber.
  void cancel_all();
  size_t live() const;
  // One line per fiber: "#number name new|ready|running|parked resumed=N". In spawn order.
  std::string dump() const;
  Clock& clock() const;
  Scheduler& scheduler() const;

 private:
  friend class Fiber;
  friend class Suspend;
  struct State;
  std::unique_ptr<State> state_;
};

// Turns a completion into a returned value:
//   Result<size_t> n = await<Result<size_t>>(
//       s, [&](IoDone done) { file.read_at(0, bytes, std::move(done)); });
// `start` runs at once and must arrange for its argument to be called at most once. If the fiber is
// cancelled meanwhile the late completion is dropped, but operation buffers must outlive it: hold
// them in the object that owns the File, not on the fiber's stack.
template <class T, class Start>
T await(Suspend suspend, Start start) {
  struct Slot {
    std::optional<T> value;
    Callback<void()> wake;
  };
  auto slot = std::make_shared<Slot>();
  slot->wake = suspend.waker();
  start(Callback<void(T)>([slot](T value) {
    slot->value.emplace(std::move(value));
    slot->wake();
  }));
  while (!slot->value) suspend.park();
  return std::move(*slot->value);
}

// The seam's calls in direct style. Whole = loops over short transfers of at most kTransferBytes,
// through a buffer that belongs to the operation: the caller's bytes need not outlive a cancelled
// fiber. (The File must still outlive its operations, as its contract says.)
inline constexpr size_t kTransferBytes = 1 << 20;
Result<std::unique_ptr<File>> open(Suspend s, Disk& disk, std::string path, OpenOptions options);
// Reads until `bytes` is full or the file ends; returns how many bytes were read. A read that fails
// (kIo) is tried again until it has failed `attempts` times in a row.
Result<size_t> read_whole(Suspend s, File& file, uint64_t offset, MutableByteView bytes,
                          int attempts = 1);
// Writes all of `bytes`. On an error any part of them may have been written.
Result<> write_whole(Suspend s, File& file, uint64_t offset, ByteView bytes);
Result<> sync(Suspend s, File& file);
Result<> rename(Suspend s, Disk& disk, std::string from, std::string to);
Result<> remove(Suspend s, Disk& disk, std::string path);
Result<std::vector<std::string>> list(Suspend s, Disk& disk, std::string dir);
Result<> make_dir(Suspend s, Disk& disk, std::string path);
Result<> sync_dir(Suspend s, Disk& disk, std::string path);
// Runs blocking `work` on the offload. `work` owns whatever it touches: it may still be running
// when the fiber has been cancelled and its stack is gone.
void offload(Suspend s, Offload& offload, Callback<void()> work);

}  // namespace kahuna
