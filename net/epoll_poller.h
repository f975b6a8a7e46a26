// The epoll back end. Level of service: every kernel that runs Linux.
//
// 1. Connections are registered once, edge-triggered in both directions: no epoll_ctl afterwards.
//    What an edge said is remembered until a read or a send meets EAGAIN (or comes back short).
// 2. A turn costs one epoll_wait, one recv per connection that has bytes, one send per connection
//    that was written to.
// 3. All connections share one receive buffer; a connection gets at most kReadBytesMax of it per
//    turn, and those that did not fit are first in the next.
#pragma once

#include <sys/epoll.h>

#include <memory>
#include <vector>

#include "net/poller.h"

namespace kahuna::net {

class EpollPoller final : public Poller {
 public:
  // `wake_fd`: an eventfd whose writes end a wait.
  static Result<std::unique_ptr<EpollPoller>> create(int wake_fd);
  ~EpollPoller() override;

  void watch(Acceptor& acceptor) override;
  void unwatch(Acceptor& acceptor) override;
  void watch(Connection& connection) override;
  void update(Connection& connection) override;
  void request_flush(Connection& connection) override;
  void close(Connection& connection) override;
  bool start(FileOp&) override { return false; }
  void collect(Duration wait) override;
  void dispatch() override;
  void flush() override;
  bool has_ready() const override { return !readable_.empty(); }

 private:
  static constexpr size_t kBufferBytes = 1024 * 1024;
  static constexpr size_t kReadBytesMax = 64 * 1024;
  static constexpr size_t kReadBytesMin = 16 * 1024;  // with less room, wait for the next turn
  static constexpr int kEventsMax = 256;
  static constexpr int kAcceptsPerTurnMax = 64;

  struct Arrival {
    enum class Kind : uint8_t { kBytes, kClosed, kConnected, kAccepted };
    Kind kind;
    int number = 0;  // errno of kClosed and kConnected; descriptor of kAccepted
    CountedPtr<PollTarget> target;
    ByteView bytes;  // in buffer_
  };

  EpollPoller(int epoll, int spare)
      : epoll_(epoll), spare_(spare), buffer_(new std::byte[kBufferBytes]) {}
  void add(PollTarget& target, uint32_t events);
  void wait(Duration duration);
  void note(Connection& connection, uint32_t events);
  void accept_all(Acceptor& acceptor);
  void list_readable(Connection& connection);
  // False = the buffer is full, the connection was not finished.
  bool read(Connection& connection);
  void send(Connection& connection);
  void arrived(Arrival::Kind kind, PollTarget& target, int number, ByteView bytes = {});

  const int epoll_;
  int spare_;  // given up for a moment when descriptors run out, to turn a caller away
  std::unique_ptr<std::byte[]> buffer_;
  size_t used_ = 0;  // of buffer_, this turn
  epoll_event events_[kEventsMax];
  std::vector<Arrival> arrivals_;
  std::vector<CountedPtr<Connection>> readable_;
  std::vector<CountedPtr<Connection>> reading_;  // the part of readable_ that collect() works on
  std::vector<CountedPtr<Connection>> dirty_;
  bool has_precise_wait_ = true;  // epoll_pwait2
};

}  // namespace kahuna::net
