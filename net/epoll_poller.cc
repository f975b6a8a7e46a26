#include "net/epoll_poller.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "net/errors.h"
#include "runtime/check.h"

namespace kahuna::net {
namespace {

constexpr uint32_t kConnectionEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
constexpr uint32_t kBroken = EPOLLERR | EPOLLHUP;
constexpr uint32_t kInput = EPOLLIN | EPOLLRDHUP | kBroken;

int pending_error(int fd) {
  int number = 0;
  socklen_t length = sizeof number;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length) != 0) return errno;
  return number;
}

int open_spare() {
  return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

}  // namespace

Result<std::unique_ptr<EpollPoller>> EpollPoller::create(int wake_fd) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return fail(error_from_errno(errno, "create an epoll instance"));
  std::unique_ptr<EpollPoller> poller(new EpollPoller(epoll, open_spare()));
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, wake_fd, &event) != 0) {
    return fail(error_from_errno(errno, "watch the wake-up descriptor"));
  }
  return poller;
}

EpollPoller::~EpollPoller() {
  for (const Arrival& arrival : arrivals_) {
    if (arrival.kind == Arrival::Kind::kAccepted) ::close(arrival.number);
  }
  if (spare_ >= 0) ::close(spare_);
  ::close(epoll_);
}

void EpollPoller::add(PollTarget& target, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.ptr = &target;
  // Fails only when memory or the system's watch limit is exhausted.
  CHECK_EQ(epoll_ctl(epoll_, EPOLL_CTL_ADD, target.fd, &event), 0);
}

void EpollPoller::watch(Acceptor& acceptor) {
  add(acceptor, EPOLLIN);
}

void EpollPoller::unwatch(Acceptor& acceptor) {
  ::close(acceptor.fd);
  acceptor.fd = -1;
  acceptor.on_accept.reset();
}

void EpollPoller::watch(Connection& connection) {
  add(connection, kConnectionEvents);
}

void EpollPoller::update(Connection& connection) {
  if (!connection.paused && connection.back_end.readable) list_readable(connection);
}

void EpollPoller::list_readable(Connection& connection) {
  if (std::exchange(connection.back_end.listed, true)) return;
  readable_.emplace_back(&connection);
}

void EpollPoller::request_flush(Connection& connection) {
  if (connection.blocked || std::exchange(connection.dirty, true)) return;
  dirty_.emplace_back(&connection);
}

void EpollPoller::close(Connection& connection) {
  if (connection.fd < 0) return;
  if (connection.state == Connection::State::kOpen && !connection.out.empty()) {
    [[maybe_unused]] const ssize_t sent = ::send(
        connection.fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  connection.state = Connection::State::kClosed;
  std::string().swap(connection.out);
  ::close(connection.fd);
  connection.fd = -1;
}

void EpollPoller::collect(Duration duration) {
  CHECK(arrivals_.empty());
  used_ = 0;
  wait(readable_.empty() ? duration : Duration());
  reading_.swap(readable_);
  size_t done = 0;
  while (done < reading_.size() && read(*reading_[done])) ++done;
  // Those that found no room come before those that have more.
  readable_.insert(readable_.begin(), std::make_move_iterator(reading_.begin() + done),
                   std::make_move_iterator(reading_.end()));
  reading_.clear();
}

void EpollPoller::wait(Duration duration) {
  int count = -1;
  constexpr int64_t kSecond = 1'000'000'000;
  if (has_precise_wait_) {
    const timespec limit{duration.nanos() / kSecond, duration.nanos() % kSecond};
    count = epoll_pwait2(epoll_, events_, kEventsMax, &limit, nullptr);
    if (count < 0 && (errno == ENOSYS || errno == EPERM)) has_precise_wait_ = false;
  }
  if (!has_precise_wait_) {
    // Rounded up: waking before a deadline would only wait again.
    const int64_t millis = (duration.nanos() + 999'999) / 1'000'000;
    count = epoll_wait(epoll_, events_, kEventsMax,
                       static_cast<int>(std::min<int64_t>(millis, 1'000'000)));
  }
  if (count < 0) {
    CHECK_EQ(errno, EINTR);
    return;
  }
  for (int i = 0; i < count; ++i) {
    auto* target = static_cast<PollTarget*>(events_[i].data.ptr);
    if (!target) continue;  // the eventfd; edge-triggered, never read
    if (target->kind == PollTarget::Kind::kListener) {
      accept_all(static_cast<Acceptor&>(*target));
    } else {
      note(static_cast<Connection&>(*target), events_[i].events);
    }
  }
}

void EpollPoller::note(Connection& connection, uint32_t events) {
  if (events & kInput) {
    connection.back_end.readable = true;
    connection.back_end.events |= events & (EPOLLRDHUP | kBroken);
  }
  if (connection.state == Connection::State::kConnecting) {
    if (events & (EPOLLOUT | kBroken)) {
      arrived(Arrival::Kind::kConnected, connection, pending_error(connection.fd));
    }
    return;
  }
  if ((events & EPOLLOUT) && std::exchange(connection.blocked, false)) request_flush(connection);
  if (events & kInput) list_readable(connection);
}

void EpollPoller::accept_all(Acceptor& acceptor) {
  for (int i = 0; i < kAcceptsPerTurnMax; ++i) {
    const int fd = accept4(acceptor.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      arrived(Arrival::Kind::kAccepted, acceptor, fd);
      continue;
    }
    if (errno != EMFILE && errno != ENFILE) return;
    // Out of descriptors: a caller left in the queue would make every wait return at once.
    if (spare_ < 0) spare_ = open_spare();
    if (spare_ < 0) return;
    ::close(spare_);
    const int refused = accept4(acceptor.fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (refused >= 0) ::close(refused);
    spare_ = open_spare();
  }
}

bool EpollPoller::read(Connection& connection) {
  auto& state = connection.back_end;
  if (connection.state != Connection::State::kOpen) {
    state.listed = false;
    return true;
  }
  if (connection.paused) {
    state.listed = false;
    if (state.events & kBroken) {
      const int number = pending_error(connection.fd);
      arrived(Arrival::Kind::kClosed, connection, number != 0 ? number : ECONNRESET);
    }
    return true;
  }
  for (;;) {
    const size_t room = std::min(kBufferBytes - used_, kReadBytesMax);
    if (room < kReadBytesMin) return false;
    std::byte* place = buffer_.get() + used_;
    const ssize_t count = recv(connection.fd, place, room, MSG_DONTWAIT);
    if (count > 0) {
      const size_t bytes = static_cast<size_t>(count);
      arrived(Arrival::Kind::kBytes, connection, 0, ByteView(place, bytes));
      used_ = std::min(kBufferBytes, (used_ + bytes + 63) & ~size_t{63});
      if (bytes == room) {  // more may wait: in the next turn
        readable_.emplace_back(&connection);
        return true;
      }
      // A short read emptied the socket; go on only to meet an end that was announced.
      if (state.events != 0) continue;
    } else if (count == 0) {
      arrived(Arrival::Kind::kClosed, connection, 0);
    } else if (errno == EINTR) {
      continue;
    } else if (errno != EAGAIN) {
      arrived(Arrival::Kind::kClosed, connection, errno);
    }
    state.readable = false;
    state.listed = false;
    state.events = 0;
    return true;
  }
}

void EpollPoller::arrived(Arrival::Kind kind, PollTarget& target, int number, ByteView bytes) {
  arrivals_.push_back(Arrival{kind, number, CountedPtr<PollTarget>(&target), bytes});
}

void EpollPoller::dispatch() {
  for (Arrival& arrival : arrivals_) {
    if (arrival.kind == Arrival::Kind::kAccepted) {
      auto& acceptor = static_cast<Acceptor&>(*arrival.target);
      if (!acceptor.on_accept) {
        ::close(arrival.number);
        continue;
      }
      // The callback may destroy its listener, and with it the callback itself.
      Callback<void(int)> callback = std::move(acceptor.on_accept);
      callback(arrival.number);
      if (acceptor.fd >= 0) acceptor.on_accept = std::move(callback);
      continue;
    }
    auto& connection = static_cast<Connection&>(*arrival.target);
    switch (arrival.kind) {
      case Arrival::Kind::kBytes: connection.deliver(arrival.bytes); break;
      case Arrival::Kind::kClosed: connection.deliver_close(arrival.number); break;
      case Arrival::Kind::kConnected:
        if (connection.on_connected) {
          Callback<void(int)> callback = std::move(connection.on_connected);
          callback(arrival.number);
        }
        break;
      case Arrival::Kind::kAccepted: break;
    }
  }
  arrivals_.clear();
}

void EpollPoller::flush() {
  for (const CountedPtr<Connection>& connection : dirty_) {
    connection->dirty = false;
    if (connection->state == Connection::State::kOpen) send(*connection);
  }
  dirty_.clear();
}

void EpollPoller::send(Connection& connection) {
  while (!connection.out.empty()) {
    const ssize_t count = ::send(connection.fd, connection.out.data(), connection.out.size(),
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      connection.sent(static_cast<size_t>(count));
    } else if (errno == EAGAIN || errno == ENOBUFS) {
      connection.blocked = true;
      return;
    } else if (errno != EINTR) {
      // The connection is lost; the next turn reads what came before the loss, then reports it.
      connection.sent(connection.out.size());
      connection.back_end.readable = true;
      connection.back_end.events |= EPOLLERR;
      list_readable(connection);
      return;
    }
  }
}

}  // namespace kahuna::net
