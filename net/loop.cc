#include "net/loop.h"

#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "net/epoll_poller.h"
#include "net/errors.h"
#include "net/files.h"
#include "net/mailbox.h"
#include "net/sockets.h"
#include "net/turn.h"
#include "net/uring_poller.h"
#include "net/workers.h"
#include "runtime/check.h"

namespace kahuna::net {
namespace {

// Longest sleep; only bounds arithmetic, nothing depends on waking up.
constexpr Duration kWaitMax = Duration::seconds(1'000);
// One that takes long holds up one other at most.
constexpr unsigned kNameThreads = 2;

Result<uint64_t> kernel_random() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
    return fail(error_from_errno(errno, "read random bytes"));
  }
  return seed;
}

}  // namespace

std::string_view name_of(IoBackend backend) {
  return backend == IoBackend::kUring ? "uring" : "epoll";
}

// The loops of one node, as the one at `self` sees them.
class Loop::Siblings final : public Loops {
 public:
  Siblings(std::vector<State*> all, size_t self) : all_(std::move(all)), self_(self) {}
  size_t count() const override { return all_.size(); }
  size_t self() const override { return self_; }
  Host& host(size_t loop) override;
  bool post(size_t loop, Callback<void()>&& task) override;

 private:
  const std::vector<State*> all_;
  const size_t self_;
};

// Members are destroyed from the last to the first: threads before what they report to.
struct Loop::State {
  IoBackend backend = IoBackend::kEpoll;
  std::string fallback_reason;
  std::atomic<bool> stop{false};
  std::unique_ptr<Mailbox> mailbox;
  std::unique_ptr<Poller> poller;
  Turn turn;
  std::unique_ptr<Workers> offload, names;
  std::unique_ptr<Sockets> sockets;
  std::unique_ptr<Files> files;
  Host host = {};
  std::unique_ptr<Siblings> siblings;
  std::vector<Job> finished;
  std::vector<Callback<void()>> remote;

  void run_turn(Duration wait_max);
  Duration wait_time(Duration wait_max) const;
};

Host& Loop::Siblings::host(size_t loop) {
  return all_[loop]->host;
}
bool Loop::Siblings::post(size_t loop, Callback<void()>&& task) {
  return all_[loop]->mailbox->post(std::move(task));
}

Result<std::unique_ptr<Loop>> Loop::create(LoopOptions options) {
  auto state = std::make_unique<State>();
  ASSIGN_OR_RETURN(state->mailbox, Mailbox::create(options.remote_tasks_max));
  if (options.io == IoBackend::kUring) {
    Result<std::unique_ptr<UringPoller>> uring = UringPoller::create(state->mailbox->wake_fd());
    if (uring) {
      state->poller = std::move(*uring);
      state->backend = IoBackend::kUring;
    } else {
      state->fallback_reason =
          "using epoll, because io_uring is not available: " + uring.error().text;
    }
  }
  if (!state->poller) {
    ASSIGN_OR_RETURN(state->poller, EpollPoller::create(state->mailbox->wake_fd()));
  }
  state->offload =
      std::make_unique<Workers>(*state->mailbox, options.offload_threads, "kahuna-offload");
  state->names = std::make_unique<Workers>(*state->mailbox, kNameThreads, "kahuna-names");
  state->sockets = std::make_unique<Sockets>(*state->poller, state->turn, *state->names,
                                             std::move(options.resolve));
  ASSIGN_OR_RETURN(state->files, Files::create({options.data_dir, options.inline_write_bytes_max},
                                               *state->poller, state->turn, *state->mailbox));
  ASSIGN_OR_RETURN(const uint64_t seed, kernel_random());
  state->host = Host{&state->turn,         &state->turn,         state->files.get(),
                     state->sockets.get(), state->offload.get(), seed};
  return std::unique_ptr<Loop>(new Loop(std::move(state)));
}

Loop::Loop(std::unique_ptr<State> state) : state_(std::move(state)) {}

Loop::~Loop() {
  // Tasks may own streams and files: they go while everything they need still stands.
  state_->turn.clear();
  state_->finished.clear();
  state_->remote.clear();
}

Host& Loop::host() {
  return state_->host;
}
IoBackend Loop::backend() const {
  return state_->backend;
}
const std::string& Loop::fallback_reason() const {
  return state_->fallback_reason;
}

void Loop::run() {
  while (!state_->stop.load(std::memory_order_relaxed)) state_->run_turn(kWaitMax);
  state_->run_turn(Duration());  // sends what the last one wrote
  state_->stop.store(false, std::memory_order_relaxed);
}

void Loop::turn(Duration wait_max) {
  state_->run_turn(wait_max);
}

void Loop::stop() {
  state_->stop.store(true);
  state_->mailbox->wake();
}

bool Loop::post_remote(Callback<void()>&& task) {
  return state_->mailbox->post(std::move(task));
}

void Loop::join(std::span<const std::unique_ptr<Loop>> loops) {
  CHECK_LE(loops.size(), kLoopsMax);
  std::vector<State*> all;
  for (const auto& loop : loops) all.push_back(loop->state_.get());
  for (size_t i = 0; i < all.size(); ++i) {
    all[i]->siblings = std::make_unique<Siblings>(all, i);
    all[i]->host.loops = all[i]->siblings.get();
  }
}

Duration Loop::State::wait_time(Duration wait_max) const {
  if (turn.has_posted() || poller->has_ready() || stop.load()) return Duration();
  const Time deadline = turn.next_deadline();
  Duration wait = std::min(wait_max, kWaitMax);
  if (deadline != Time::max()) wait = std::min(wait, deadline - Turn::read_clock());
  return std::max(wait, Duration());
}

void Loop::State::run_turn(Duration wait_max) {
  poller->flush();  // what the turn before wrote
  Duration wait = wait_time(wait_max);
  if (wait > Duration() && !mailbox->prepare_to_sleep()) wait = Duration();
  poller->collect(wait);
  mailbox->awake();
  mailbox->collect(finished, remote);
  turn.begin();

  poller->dispatch();
  for (Job& job : finished) {
    job.work.reset();
    job.done();
  }
  finished.clear();
  for (Callback<void()>& task : remote) task();
  remote.clear();
  turn.run_timers();
  turn.run_posted();
  turn.run_deferred();
}

}  // namespace kahuna::net
