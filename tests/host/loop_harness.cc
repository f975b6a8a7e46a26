// The production hosts: loops of net/, on loopback and in a temporary directory.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "net/loop.h"
#include "runtime/check.h"
#include "tests/host/harness.h"

namespace kahuna::host_test {
namespace {

class LoopHarness final : public HostHarness {
 public:
  explicit LoopHarness(net::IoBackend io) : io_(io) {
    std::string pattern = std::filesystem::temp_directory_path() / "kahuna-host-XXXXXX";
    CHECK(mkdtemp(pattern.data()) != nullptr);
    root_ = pattern;
    host_ = make("host");
    peer_ = make("peer");
  }
  ~LoopHarness() override {
    rival_.reset();
    peer_.reset();
    host_.reset();
    for (int fd : sockets_) close(fd);
    std::filesystem::remove_all(root_);
  }

  Host& host() override { return host_->host(); }
  Host& peer() override { return peer_->host(); }
  Host* rival() override {
    if (!rival_) rival_ = make("host");
    return &rival_->host();
  }
  Address host_address() override { return {"127.0.0.1", 0}; }
  Address refusing_address() override {
    const int fd = bound_socket();
    const Address address = address_of(fd);
    close(fd);
    return address;
  }
  // A listener whose queue of callers is full drops what comes.
  Address silent_address() override {
    const int fd = bound_socket();
    CHECK_EQ(listen(fd, 0), 0);
    sockets_.push_back(fd);
    const Address address = address_of(fd);
    sockaddr_in target = {};
    target.sin_family = AF_INET;
    target.sin_port = htons(address.port);
    inet_pton(AF_INET, "127.0.0.1", &target.sin_addr);
    for (int i = 0; i < 4; ++i) {
      const int caller = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      connect(caller, reinterpret_cast<sockaddr*>(&target), sizeof target);
      sockets_.push_back(caller);
    }
    usleep(20'000);
    return address;
  }
  bool run_until(const std::function<bool()>& done, Duration limit) override {
    const Time end = host_->host().clock->now() + limit;
    while (!done()) {
      if (host_->host().clock->now() > end) return false;
      host_->turn(Duration::micros(200));
      if (peer_) peer_->turn(Duration::micros(200));
      if (rival_) rival_->turn(Duration::micros(200));
    }
    return true;
  }

 private:
  std::unique_ptr<net::Loop> make(const std::string& dir) {
    auto loop = net::Loop::create({.io = io_, .data_dir = root_ + "/" + dir});
    CHECK(loop.has_value());
    return std::move(*loop);
  }
  static int bound_socket() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    CHECK_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static Address address_of(int fd) {
    sockaddr_in address = {};
    socklen_t length = sizeof address;
    CHECK_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
    return {"127.0.0.1", ntohs(address.sin_port)};
  }

  const net::IoBackend io_;
  std::string root_;
  std::vector<int> sockets_;
  std::unique_ptr<net::Loop> host_, peer_, rival_;
};

const HarnessRegistration epoll("epoll", [] {
  return std::make_unique<LoopHarness>(net::IoBackend::kEpoll);
});

bool kernel_has_uring() {
  auto loop = net::Loop::create({.io = net::IoBackend::kUring});
  return loop && (*loop)->backend() == net::IoBackend::kUring;
}

// Absent where the kernel refuses io_uring.
const bool uring = [] {
  if (kernel_has_uring()) {
    HarnessRegistration("uring",
                        [] { return std::make_unique<LoopHarness>(net::IoBackend::kUring); });
  }
  return true;
}();

}  // namespace
}  // namespace kahuna::host_test
