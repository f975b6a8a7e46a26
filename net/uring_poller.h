// The io_uring back end. Needs Linux 6.1 (multishot receive, provided buffer rings, deferred task
// running); create() says why when it cannot be had, and the loop then uses epoll.
//
// 1. A turn costs one io_uring_enter: it submits all sends and file operations of the turn before
//    and waits for the next inputs.
// 2. Sends never wait in the kernel (MSG_DONTWAIT) and report failures and short sends only
//    (CQE_SKIP_SUCCESS), so a send that went well neither wakes the loop nor costs a completion.
//    What enter() did not report was sent whole: `out` is untouched until then, because no callback
//    runs between flush() and the end of collect().
// 3. Receives are multishot with buffers that the kernel picks from one ring; a buffer goes back
//    when its bytes were delivered.
// 4. The kernel refers to a Connection or an Acceptor while it has operations in flight;
//    `registry_` keeps it alive so long.
// 5. The ring is bound to the thread of the first collect(). Destroy the poller on that thread, or
//    after it ended: the kernel ends a thread's operations with it.
#pragma once

#include <liburing.h>
#include <pthread.h>

#include <memory>
#include <vector>

#include "net/poller.h"

namespace kahuna::net {

class UringPoller final : public Poller {
 public:
  static Result<std::unique_ptr<UringPoller>> create(int wake_fd);
  ~UringPoller() override;

  void watch(Acceptor& acceptor) override;
  void unwatch(Acceptor& acceptor) override;
  void watch(Connection& connection) override;
  void update(Connection& connection) override;
  void request_flush(Connection& connection) override;
  void close(Connection& connection) override;
  bool start(FileOp& operation) override;
  void collect(Duration wait) override;
  void dispatch() override;
  void flush() override;
  bool has_ready() const override { return !broken_.empty(); }

 private:
  // What a completion belongs to: in the low bits of its user data, below a pointer's alignment.
  enum class Tag : uint64_t { kWake, kAccept, kReceive, kPoll, kWatch, kSend, kFile, kIgnored };
  static constexpr uint64_t kTagMask = 7;

  static constexpr unsigned kSubmissions = 1024;
  static constexpr unsigned kCompletions = 8192;
  static constexpr unsigned kBuffers = 256;  // a power of two
  static constexpr size_t kBufferBytes = 16 * 1024;
  static constexpr int kBufferGroup = 0;

  struct Arrival {
    Tag tag;
    int32_t result;
    uint32_t flags;
    void* target;
  };

  explicit UringPoller(int wake_fd) : wake_fd_(wake_fd) {}
  Result<> set_up();
  Result<> set_up_buffers();
  void return_buffer(unsigned id);

  void enable();
  // A free submission; mark() comes after it was filled in.
  io_uring_sqe* submission();
  static void mark(io_uring_sqe* sqe, Tag tag, void* target);
  void submit_all();
  // One operation more, or one less, in flight for the target; the last may destroy it.
  void hold(PollTarget& target);
  void drop(PollTarget& target);

  // Called by flush(): no user code may run, and close descriptors, before they are submitted.
  void list_for_arming(Connection& connection);
  void arm(Acceptor& acceptor);
  void arm(Connection& connection);
  void submit(FileOp& operation);
  void send(Connection& connection);

  void take_completions();
  void wait_for_operations();
  std::unique_ptr<FileOp> take(FileOp* operation);
  void send_failed(Connection& connection, int32_t result);
  void dispatch_accept(const Arrival& arrival);
  void dispatch_receive(const Arrival& arrival);
  void dispatch_poll(const Arrival& arrival);

  const int wake_fd_;
  int spare_ = -1;  // given up for a moment when descriptors run out, to turn a caller away
  io_uring ring_ = {};
  bool has_ring_ = false;
  bool enabled_ = false;
  pthread_t owner_ = {};  // the thread that enabled the ring
  bool wake_watched_ = false;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::unique_ptr<std::byte[]> buffers_;
  std::vector<FileOp*> files_;     // in flight, or about to be; owned
  std::vector<FileOp*> starting_;  // of files_: not yet handed to the kernel
  std::vector<Arrival> arrivals_;
  std::vector<CountedPtr<Acceptor>> arming_acceptors_;
  std::vector<CountedPtr<Connection>> arming_;
  std::vector<CountedPtr<Connection>> dirty_;
  std::vector<CountedPtr<Connection>> sending_;  // submitted with the enter() that comes or runs
  // Found dead while nobody reads them: closed with this errno value in dispatch().
  std::vector<std::pair<CountedPtr<Connection>, int>> broken_;
  std::vector<CountedPtr<PollTarget>> registry_;  // targets with operations in flight
};

}  // namespace kahuna::net
