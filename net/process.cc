#include "net/process.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "net/errors.h"
#include "runtime/check.h"

namespace kahuna::net {
namespace {

std::atomic<bool> installed{false};

}  // namespace

void ignore_broken_pipes() {
  signal(SIGPIPE, SIG_IGN);
}

uint64_t raise_descriptor_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlim_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  }
  return limit.rlim_cur;
}

// A thread waits for the signals, which every other thread blocks, and posts them to the loop. The
// callback is called on the loop's thread only; it is shared with tasks that may outlive this.
struct TerminationSignals::State {
  explicit State(Loop& target) : loop(target) {}
  Loop& loop;
  std::shared_ptr<Callback<void(int)>> on_signal;
  sigset_t signals = {};
  sigset_t before = {};
  std::atomic<bool> stopping{false};
  std::thread thread;

  void serve() {
    for (;;) {
      int number = 0;
      if (sigwait(&signals, &number) != 0) continue;
      if (stopping.load()) return;
      // A full queue loses the signal; people press the keys again.
      loop.post_remote([number, callback = std::weak_ptr(on_signal)] {
        if (const auto alive = callback.lock()) (*alive)(number);
      });
    }
  }
};

Result<std::unique_ptr<TerminationSignals>> TerminationSignals::create(
    Loop& loop, Callback<void(int)> on_signal) {
  CHECK(!installed.exchange(true));
  auto state = std::make_unique<State>(loop);
  state->on_signal = std::make_shared<Callback<void(int)>>(std::move(on_signal));
  sigemptyset(&state->signals);
  sigaddset(&state->signals, SIGINT);
  sigaddset(&state->signals, SIGTERM);
  const int error = pthread_sigmask(SIG_BLOCK, &state->signals, &state->before);
  if (error != 0) {
    installed.store(false);
    return fail(error_from_errno(error, "block signals"));
  }
  state->thread = std::thread([running = state.get()] { running->serve(); });
  pthread_setname_np(state->thread.native_handle(), "kahuna-signals");
  return std::unique_ptr<TerminationSignals>(new TerminationSignals(std::move(state)));
}

TerminationSignals::TerminationSignals(std::unique_ptr<State> state) : state_(std::move(state)) {}

TerminationSignals::~TerminationSignals() {
  state_->stopping.store(true);
  pthread_kill(state_->thread.native_handle(), SIGTERM);
  state_->thread.join();
  pthread_sigmask(SIG_SETMASK, &state_->before, nullptr);
  installed.store(false);
}

}  // namespace kahuna::net
