#include "net/sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>

#include "net/errors.h"
#include "runtime/check.h"

namespace kahuna::net {
namespace {

constexpr int kBacklog = 1024;
// An address that was found too late for those who asked serves the next one, if it asks that soon.
constexpr Duration kNameKept = Duration::seconds(10);
// A silent peer is given up after kKeepIdleSeconds + kKeepProbes * kKeepIntervalSeconds, and so are
// bytes that stay unacknowledged.
constexpr int kKeepIdleSeconds = 15;
constexpr int kKeepIntervalSeconds = 5;
constexpr int kKeepProbes = 3;
constexpr int kUserTimeoutMs = (kKeepIdleSeconds + kKeepIntervalSeconds * kKeepProbes) * 1000;

void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);  // all of them are improvements, none a need
}

void tune(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdleSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepIntervalSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepProbes);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
}

int open_socket(int family) {
  return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
}

const sockaddr* raw(const SocketAddress& address) {
  return reinterpret_cast<const sockaddr*>(&address.storage);
}

class SocketListener final : public Listener {
 public:
  SocketListener(Poller& poller, CountedPtr<Acceptor> acceptor)
      : poller_(poller), acceptor_(std::move(acceptor)), address_(local_address(acceptor_->fd)) {}
  ~SocketListener() override { poller_.unwatch(*acceptor_); }
  Address address() const override { return address_; }

 private:
  Poller& poller_;
  CountedPtr<Acceptor> acceptor_;
  Address address_;
};

// One connect(). Its timer owns it until `done` ran; callbacks of name resolution count it too.
class Connector final : public Counted {
 public:
  using DoneCallback = Callback<void(Result<std::unique_ptr<Stream>>)>;

  Connector(Poller& poller, Turn& turn, Address address, DoneCallback done)
      : poller_(poller), turn_(turn), address_(std::move(address)), done_(std::move(done)) {}
  ~Connector() override { abandon(); }

  void arm(Duration timeout) {
    timer_ = turn_.call_at(turn_.now() + timeout, [self = CountedPtr<Connector>(this)] {
      self->timer_ = 0;
      self->finish(fail(ErrorCode::kTimeout, self->what() + ": no answer in time"));
    });
  }

  bool waits() const { return bool(done_); }

  void try_all(Result<std::vector<SocketAddress>> candidates) {
    if (!done_) return;
    if (!candidates) return finish(fail(std::move(candidates.error())));
    candidates_ = std::move(*candidates);
    try_next(EADDRNOTAVAIL);
  }

 private:
  std::string what() const { return "connect to " + to_string(address_); }

  // Starts with the next candidate; when there is none, `number` says why the last one failed.
  void try_next(int number) {
    while (next_ < candidates_.size()) {
      const SocketAddress& candidate = candidates_[next_++];
      const int fd = open_socket(candidate.storage.ss_family);
      if (fd < 0) {
        number = errno;
        continue;
      }
      tune(fd);
      attempt_ = make_counted<Connection>(poller_, turn_, fd, Connection::State::kConnecting);
      if (::connect(fd, raw(candidate), candidate.length) == 0 || errno == EINPROGRESS) {
        attempt_->on_connected = [this](int result) { attempted(result); };
        poller_.watch(*attempt_);
        return;
      }
      number = errno;
      attempt_ = nullptr;
    }
    Error error = error_from_errno(number, what());
    if (error.code != ErrorCode::kTimeout && error.code != ErrorCode::kIo) {
      error.code = ErrorCode::kUnavailable;
    }
    finish(fail(std::move(error)));
  }

  void attempted(int number) {
    const CountedPtr<Connector> self(this);
    if (!done_) return;
    CountedPtr<Connection> connection = std::exchange(attempt_, nullptr);
    connection->on_connected.reset();
    if (number != 0) {
      poller_.close(*connection);
      return try_next(number);
    }
    connection->state = Connection::State::kOpen;
    poller_.update(*connection);
    finish(connection->make_stream());
  }

  void finish(Result<std::unique_ptr<Stream>> result) {
    const CountedPtr<Connector> self(this);
    if (!done_) return;
    turn_.cancel(timer_);
    timer_ = 0;
    abandon();
    DoneCallback done = std::move(done_);
    done(std::move(result));
  }

  void abandon() {
    if (!attempt_) return;
    attempt_->on_connected.reset();
    poller_.close(*attempt_);
    attempt_ = nullptr;
  }

  Poller& poller_;
  Turn& turn_;
  const Address address_;
  DoneCallback done_;  // empty once it was called
  TimerId timer_ = 0;
  std::vector<SocketAddress> candidates_;
  size_t next_ = 0;
  CountedPtr<Connection> attempt_;
};

}  // namespace

struct Sockets::Lookup {
  std::vector<CountedPtr<Connector>> waiting;
  std::optional<Result<std::vector<SocketAddress>>> found;  // by nobody who waits
  Time at;                                                  // ... when
};

Sockets::Sockets(Poller& poller, Turn& turn, Offload& names, Resolve resolve)
    : poller_(poller),
      turn_(turn),
      names_(names),
      resolve_(resolve ? std::move(resolve)
                       : [](const Address& address) { return resolve_blocking(address, false); }) {}
Sockets::~Sockets() = default;

Result<std::unique_ptr<Listener>> Sockets::listen(
    const Address& address, Callback<void(std::unique_ptr<Stream>)> on_accept) {
  const std::string what = "listen on " + to_string(address);
  ASSIGN_OR_RETURN(const std::vector<SocketAddress> candidates, resolve_blocking(address, true));
  if (candidates.empty()) return fail(ErrorCode::kNotFound, what + ": the name has no address");
  const SocketAddress& candidate = candidates.front();
  auto acceptor = make_counted<Acceptor>();
  const auto refuse = [&] {
    Error error = error_from_errno(errno, what);
    if (acceptor->fd >= 0) close(acceptor->fd);
    return fail(std::move(error));
  };
  acceptor->fd = open_socket(candidate.storage.ss_family);
  if (acceptor->fd < 0) return refuse();
  set_option(acceptor->fd, SOL_SOCKET, SO_REUSEADDR, 1);
  tune(acceptor->fd);  // accepted sockets inherit these
  if (candidate.storage.ss_family == AF_INET6) {
    set_option(acceptor->fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  }
  if (bind(acceptor->fd, raw(candidate), candidate.length) != 0) return refuse();
  if (::listen(acceptor->fd, kBacklog) != 0) return refuse();
  acceptor->on_accept = [this, on_accept = std::move(on_accept)](int fd) mutable {
    auto connection = make_counted<Connection>(poller_, turn_, fd, Connection::State::kOpen);
    poller_.watch(*connection);
    on_accept(connection->make_stream());
  };
  poller_.watch(*acceptor);
  return std::make_unique<SocketListener>(poller_, std::move(acceptor));
}

void Sockets::connect(const Address& address, Duration timeout,
                      Callback<void(Result<std::unique_ptr<Stream>>)> done) {
  auto connector = make_counted<Connector>(poller_, turn_, address, std::move(done));
  connector->arm(timeout);
  if (auto literal = resolve_literal(address)) {
    turn_.post([connector, literal = std::move(*literal)]() mutable {
      connector->try_all(std::move(literal));
    });
    return;
  }
  const std::pair name(address.host, address.port);
  auto [at, begins] = lookups_.try_emplace(name);
  Lookup& lookup = at->second;
  if (lookup.found && turn_.now() - lookup.at > kNameKept) lookup.found.reset(), begins = true;
  if (lookup.found) {
    turn_.post([connector, found = std::move(*lookup.found)]() mutable {
      connector->try_all(std::move(found));
    });
    lookups_.erase(at);
    return;
  }
  lookup.waiting.push_back(std::move(connector));
  if (!begins) return;
  // The result is written by the worker and read by the loop afterwards, through the mailbox.
  auto found = std::make_shared<Result<std::vector<SocketAddress>>>();
  names_.run([found, address, resolve = resolve_] { *found = resolve(address); },
             [this, found, name] { resolved(name, std::move(*found)); });
}

void Sockets::resolved(const std::pair<std::string, uint16_t>& name,
                       Result<std::vector<SocketAddress>> found) {
  Lookup& lookup = lookups_.at(name);
  std::erase_if(lookup.waiting, [](const auto& connector) { return !connector->waits(); });
  if (lookup.waiting.empty() && found) {
    lookup.found = std::move(found);
    lookup.at = turn_.now();
    return;
  }
  const auto waiting = std::move(lookup.waiting);
  lookups_.erase(name);
  for (const auto& connector : waiting) connector->try_all(found);
}

}  // namespace kahuna::net
