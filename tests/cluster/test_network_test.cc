// What the chaos tests rely on: a cut is silent, one-way, and over when it is healed.
#include "tests/cluster/test_network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "runtime/check.h"

namespace kahuna::testing {
namespace {

constexpr int kSoonMs = 5'000, kSilenceMs = 300;

// A TCP socket of one node (or of the test).
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) { CHECK_GE(fd, 0); }
  ~Socket() { ::close(fd_); }
  Socket(const Socket&) = delete;

  static int open_in(int name_space) {
    int fd = -1;
    std::thread([&] {
      if (name_space >= 0) CHECK_EQ(::setns(name_space, CLONE_NEWNET), 0);
      fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }).join();
    return fd;
  }
  static sockaddr_in raw(const Address& address) {
    sockaddr_in result{};
    result.sin_family = AF_INET;
    result.sin_port = htons(address.port);
    CHECK_EQ(::inet_pton(AF_INET, address.host.c_str(), &result.sin_addr), 1);
    return result;
  }

  void listen(const Address& address) {
    const sockaddr_in at = raw(address);
    CHECK_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    CHECK_EQ(::listen(fd_, 8), 0);
  }
  void connect(const Address& address) {
    const sockaddr_in at = raw(address);
    (void)::connect(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at);
  }
  bool ready(short events, int patience_ms) const {
    pollfd polled{fd_, events, 0};
    return ::poll(&polled, 1, patience_ms) == 1;
  }
  std::unique_ptr<Socket> accept() const {
    CHECK(ready(POLLIN, kSoonMs));
    return std::make_unique<Socket>(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  }
  void send(const std::string& text) const {
    CHECK(ready(POLLOUT, kSoonMs));
    CHECK_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL),
             static_cast<ssize_t>(text.size()));
  }
  std::string receive(int patience_ms) const {
    if (!ready(POLLIN, patience_ms)) return "(nothing)";
    char buffer[100];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    return n < 0 ? "(broken)" : n == 0 ? "(end)" : std::string(buffer, static_cast<size_t>(n));
  }

 private:
  const int fd_;
};

class Networks : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (GetParam() == std::string("proxies")) {
      network_ = TestNetwork::proxies(3);
      return;
    }
    auto made = TestNetwork::namespaces(3);
    if (!made) GTEST_SKIP() << made.error().text;
    network_ = std::move(*made);
  }
  std::unique_ptr<Socket> socket_of(size_t who) const {
    return std::make_unique<Socket>(
        Socket::open_in(who == TestNetwork::kTest ? -1 : network_->namespace_of(who)));
  }
  std::unique_ptr<Socket> listener_of(size_t node) const {
    auto socket = socket_of(node);
    socket->listen(network_->listen(node));
    return socket;
  }
  std::unique_ptr<Socket> dial(size_t from, size_t to) const {
    auto socket = socket_of(from);
    socket->connect(network_->address(from, to));
    return socket;
  }

  std::unique_ptr<TestNetwork> network_;
};

TEST_P(Networks, ACutIsOneWayAndLosesNothingForGood) {
  const auto listener = listener_of(1);
  const auto a = dial(0, 1);
  const auto b = listener->accept();
  a->send("1");
  EXPECT_EQ(b->receive(kSoonMs), "1");
  network_->cut(0, 1);
  a->send("2");
  EXPECT_EQ(b->receive(kSilenceMs), "(nothing)");
  b->send("3");
  EXPECT_EQ(a->receive(kSoonMs), "3");
  network_->heal_all();
  EXPECT_EQ(b->receive(kSoonMs), "2");
}

TEST_P(Networks, TheOtherDirectionLikewise) {
  const auto listener = listener_of(1);
  const auto a = dial(0, 1);
  const auto b = listener->accept();
  network_->cut(1, 0);
  b->send("1");
  EXPECT_EQ(a->receive(kSilenceMs), "(nothing)");
  a->send("2");
  EXPECT_EQ(b->receive(kSoonMs), "2");
  network_->heal_all();
  EXPECT_EQ(a->receive(kSoonMs), "1");
}

TEST_P(Networks, AnEndIsNotHeardThroughACut) {
  const auto listener = listener_of(1);
  auto a = dial(0, 1);
  const auto b = listener->accept();
  network_->cut(0, 1);
  a.reset();
  EXPECT_EQ(b->receive(kSilenceMs), "(nothing)");
  network_->heal_all();
  EXPECT_EQ(b->receive(kSoonMs), "(end)");
}

TEST_P(Networks, NobodyGetsThroughUntilHealed) {
  const auto listener = listener_of(1);
  network_->cut(1, 0);
  const auto a = dial(0, 1);
  EXPECT_EQ(a->receive(kSilenceMs), "(nothing)");
  network_->heal_all();
  const auto b = listener->accept();
  a->send("1");
  EXPECT_EQ(b->receive(kSoonMs), "1");
}

TEST_P(Networks, OthersAreNotCut) {
  const auto first = listener_of(1), second = listener_of(2);
  network_->cut(0, 1);
  network_->cut(1, 0);
  const auto a = dial(0, 2), b = dial(2, 1), c = dial(TestNetwork::kTest, 1);
  a->send("a"), b->send("b"), c->send("c");
  EXPECT_EQ(second->accept()->receive(kSoonMs), "a");
  const std::string one = first->accept()->receive(kSoonMs);
  EXPECT_EQ(one + first->accept()->receive(kSoonMs), one == "b" ? "bc" : "cb");
}

INSTANTIATE_TEST_SUITE_P(, Networks, ::testing::Values("namespaces", "proxies"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace kahuna::testing
