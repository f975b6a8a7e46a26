// Loop: one event loop of the production world; builds the Host that runtime/host.h describes.
//
// A process has one Loop per core. A Loop belongs to the thread that runs it: everything except
// stop() and post_remote() is called on that thread, or before run() on the thread that created it.
// Whatever was built from host() is destroyed before the Loop, except the buffers of operations in
// flight, which outlive it. The Loop is destroyed on the thread that ran it, or after that thread
// ended.
//
// 1. A turn collects inputs (bytes, completions, tasks of other loops), samples now(), then runs:
//    completions in order of arrival, finished blocking jobs, tasks of other loops, due timers,
//    posted tasks, deferred tasks. The next turn begins by sending what was written. Inputs come
//    before timers, so that a loop that was held up hears its peers before it concludes that they
//    were silent.
// 2. An idle loop sleeps in one system call and has no periodic work.
// 3. Destruction drops what has not completed; blocking jobs that run are waited for.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/callback.h"
#include "runtime/host.h"

namespace kahuna::net {

struct SocketAddress;
enum class IoBackend : uint8_t { kUring, kEpoll };
std::string_view name_of(IoBackend backend);  // "uring", "epoll"

struct LoopOptions {
  // kUring falls back to epoll when the kernel refuses it; see Loop::fallback_reason().
  IoBackend io = IoBackend::kUring;
  // The node's directory; created with its parents when missing. "" = no disk: file calls fail.
  std::string data_dir;
  // Threads for Offload. Disk operations and name resolution have their own.
  // The engine writes, flushes, and is searched for damage at the same time.
  unsigned offload_threads = 3;
  // Tasks from other loops that wait; post_remote() refuses more.
  size_t remote_tasks_max = 64 * 1024;
  // Buffered writes up to this size are copied into the page cache at once instead of by a thread:
  // microseconds cheaper; the copy can wait when the system throttles writers. 0 = never.
  size_t inline_write_bytes_max = 64 * 1024;
  // In place of the system's resolver; may block.
  std::function<Result<std::vector<SocketAddress>>(const Address&)> resolve = {};
};

class Loop {
 public:
  // Errors: the data directory cannot be made, or the system is out of descriptors.
  static Result<std::unique_ptr<Loop>> create(LoopOptions options);
  ~Loop();
  Loop(const Loop&) = delete;

  Host& host();
  // The back end in use, and why it is not the one asked for ("" when it is).
  IoBackend backend() const;
  const std::string& fallback_reason() const;

  // Runs turns until stop(). May be called again afterwards.
  void run();
  // Runs one turn; waits for input at most `wait_max`. For tests and tools.
  void turn(Duration wait_max);
  // Any thread, and signal handlers. The turn that runs is finished, and what it wrote is sent.
  void stop();
  // Any thread. Runs `task` on this loop; false = the queue is full, `task` is left as it was.
  bool post_remote(Callback<void()>&& task);
  // Makes them the loops of one node: [0] is the home loop. Before any of them runs; all outlive
  // what is built from their hosts.
  static void join(std::span<const std::unique_ptr<Loop>> loops);

 private:
  struct State;
  class Siblings;
  explicit Loop(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace kahuna::net
