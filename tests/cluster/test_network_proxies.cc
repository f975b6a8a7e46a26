// A proxy for every ordered pair of nodes, all on one thread.
//
// A direction that is cut is not read any more: what was sent waits in the sender's kernel, as in a
// retransmission queue, and the end of a connection is not told either. A connection opened while
// either direction is cut stays silent until both are healed.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/check.h"
#include "tests/cluster/process.h"
#include "tests/cluster/test_network.h"

namespace kahuna::testing {
namespace {

constexpr size_t kBufferBytesMax = 64 * 1024;

sockaddr_in loopback_at(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int open_socket() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  CHECK_GE(fd, 0);
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return fd;
}

struct Link {
  size_t from, to;
  uint16_t port, target;
  int listener = -1;
};

// One direction of a connection.
struct Flow {
  size_t from, to;
  int source = -1, sink = -1;
  std::string waiting;
  bool ended = false;  // the source sent everything it will
  bool told = false;   // the sink knows

  bool wants_bytes() const { return !ended && waiting.size() < kBufferBytesMax; }
  bool wants_room() const { return !waiting.empty() || (ended && !told); }

  // False: the connection broke.
  bool pull() {
    char buffer[16 * 1024];
    const ssize_t n = ::recv(source, buffer, sizeof buffer, 0);
    if (n > 0) waiting.append(buffer, static_cast<size_t>(n));
    if (n == 0) ended = true;
    return n >= 0 || errno == EAGAIN || errno == EINTR;
  }
  bool push() {
    while (!waiting.empty()) {
      const ssize_t n = ::send(sink, waiting.data(), waiting.size(), MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      waiting.erase(0, static_cast<size_t>(n));
    }
    if (ended && !std::exchange(told, true)) ::shutdown(sink, SHUT_WR);
    return true;
  }
};

struct Connection {
  const Link* link;
  int near = -1, far = -1;  // from `link->from`; to `link->to` (-1: not dialled yet)
  bool broken = false;
  Flow out, back;

  Connection(const Link& through, int accepted)
      : link(&through),
        near(accepted),
        out{.from = through.from, .to = through.to, .source = accepted},
        back{.from = through.to, .to = through.from, .sink = accepted} {}
  ~Connection() {
    ::close(near);
    if (far >= 0) ::close(far);
  }
  void dial() {
    out.sink = back.source = far = open_socket();
    const sockaddr_in address = loopback_at(link->target);
    const int done = ::connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    if (done != 0 && errno != EINPROGRESS) broken = true;
  }
};

class Proxies final : public TestNetwork {
 public:
  explicit Proxies(size_t nodes) : size_(nodes), cut_(nodes * nodes), wake_(::eventfd(0, 0)) {
    const std::vector<uint16_t> ports = free_ports(nodes + nodes * nodes);
    listens_.assign(ports.begin(), ports.begin() + static_cast<ptrdiff_t>(nodes));
    for (size_t from = 0; from < nodes; ++from) {
      for (size_t to = 0; to < nodes; ++to) {
        Link link{.from = from,
                  .to = to,
                  .port = ports[nodes + from * nodes + to],
                  .target = listens_[to]};
        link.listener = open_socket();
        const sockaddr_in address = loopback_at(link.port);
        CHECK_EQ(::bind(link.listener, reinterpret_cast<const sockaddr*>(&address), sizeof address),
                 0);
        CHECK_EQ(::listen(link.listener, 64), 0);
        links_.push_back(link);
      }
    }
    thread_ = std::thread([this] { serve(); });
  }
  ~Proxies() override {
    stopping_ = true;
    wake();
    thread_.join();
    for (const Link& link : links_) ::close(link.listener);
    ::close(wake_);
  }

  std::string_view name() const override { return "proxies"; }
  Address listen(size_t node) const override { return {"127.0.0.1", listens_[node]}; }
  Address address(size_t from, size_t to) const override {
    return from == kTest || from == to ? listen(to)
                                       : Address{"127.0.0.1", links_[from * size_ + to].port};
  }
  int namespace_of(size_t) const override { return -1; }
  void cut(size_t from, size_t to) override {
    CHECK_LT(from, size_);
    CHECK_LT(to, size_);
    cut_[from * size_ + to] = true;
    wake();
  }
  void heal_all() override {
    for (auto& cut : cut_) cut = false;
    wake();
  }

 private:
  bool is_cut(size_t from, size_t to) const { return cut_[from * size_ + to]; }
  bool is_cut(const Flow& flow) const { return is_cut(flow.from, flow.to); }
  void wake() {
    const uint64_t one = 1;
    CHECK_EQ(::write(wake_, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  }

  void serve() {
    while (!stopping_) {
      tend();
      std::vector<pollfd> polled = {{wake_, POLLIN, 0}};
      for (const Link& link : links_) polled.push_back({link.listener, POLLIN, 0});
      for (const Connection& connection : connections_) {
        polled.push_back(interest(connection.out, connection.back));
        polled.push_back(interest(connection.back, connection.out));
      }
      CHECK(::poll(polled.data(), polled.size(), -1) >= 0 || errno == EINTR);
      if (polled[0].revents) {
        uint64_t ignored;
        CHECK_GT(::read(wake_, &ignored, sizeof ignored), 0);
      }
      size_t at = 1 + links_.size();
      for (Connection& connection : connections_) {
        act(connection, polled[at].revents, connection.out, connection.back);
        act(connection, polled[at + 1].revents, connection.back, connection.out);
        at += 2;
      }
      for (size_t i = 0; i < links_.size(); ++i)
        if (polled[1 + i].revents) accept(links_[i]);
    }
    connections_.clear();
  }

  // Dials for those who wait for it, and lets go of what is over; neither while a direction is cut.
  void tend() {
    connections_.remove_if([this](Connection& connection) {
      if (is_cut(connection.out) || is_cut(connection.back)) return false;
      if (connection.far < 0) connection.dial();
      return connection.broken || (connection.out.told && connection.back.told);
    });
  }

  // What to wait for at the descriptor that `reads` reads from and `writes` writes to. None at one
  // of which nothing may be learned: poll tells of its end unasked.
  pollfd interest(const Flow& reads, const Flow& writes) const {
    short events = 0;
    if (!is_cut(reads) && reads.wants_bytes()) events |= POLLIN;
    if (!is_cut(writes) && writes.wants_room()) events |= POLLOUT;
    return {events ? reads.source : -1, events, 0};
  }

  void act(Connection& connection, short events, Flow& reads, Flow& writes) {
    if (events == 0 || connection.broken) return;
    if (!is_cut(reads) && (events & (POLLIN | POLLERR | POLLHUP)) && !reads.pull())
      connection.broken = true;
    if (!is_cut(reads) && reads.sink >= 0 && !reads.waiting.empty() && !reads.push())
      connection.broken = true;
    if (!is_cut(writes) && !writes.push()) connection.broken = true;
    // What is broken is not polled again until tend() may let go of it.
    if (connection.broken) connection.out.ended = connection.back.ended = true;
    if (connection.broken) connection.out.told = connection.back.told = true;
    if (connection.broken) connection.out.waiting.clear(), connection.back.waiting.clear();
  }

  void accept(const Link& link) {
    const int fd = ::accept4(link.listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections_.emplace_back(link, fd);
  }

  const size_t size_;
  std::vector<uint16_t> listens_;
  std::vector<Link> links_;  // from * size_ + to
  std::vector<std::atomic<bool>> cut_;
  const int wake_;
  std::atomic<bool> stopping_{false};
  std::list<Connection> connections_;  // of the thread
  std::thread thread_;
};

}  // namespace

std::unique_ptr<TestNetwork> TestNetwork::proxies(size_t nodes) {
  return std::make_unique<Proxies>(nodes);
}

}  // namespace kahuna::testing
