// Network namespaces without a trace: they are held by descriptors of this process only, so they
// and everything in them vanish with it, however it ends.
//
// A cut needs no packet filter, which kernels may lack: every neighbour entry is static, and the
// one of a peer that must not be reached names a hardware address that nobody has.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "runtime/check.h"
#include "tests/cluster/process.h"
#include "tests/cluster/test_network.h"

namespace kahuna::testing {
namespace {

constexpr uint16_t kPort = 2073;
constexpr const char* kNobody = "02:00:00:00:ff:ff";

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Descriptor current_namespace() {
  return Descriptor(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

Descriptor memory_file(const std::string& content) {
  const int fd = ::memfd_create("ip", MFD_CLOEXEC);
  CHECK_GE(fd, 0);
  CHECK_EQ(::write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
  CHECK_EQ(::lseek(fd, 0, SEEK_SET), 0);
  return Descriptor(fd);
}

// Runs iproute2's commands, one a line, in a namespace.
Result<> run_ip(int name_space, const std::string& commands) {
  const Descriptor in = memory_file(commands), out = memory_file("");
  const pid_t pid = ::fork();
  CHECK_GE(pid, 0);
  if (pid == 0) {
    if (::setns(name_space, CLONE_NEWNET) != 0) ::_exit(126);
    ::dup2(in.get(), STDIN_FILENO);
    ::dup2(out.get(), STDOUT_FILENO);
    ::dup2(out.get(), STDERR_FILENO);
    ::execlp("ip", "ip", "-batch", "-", nullptr);
    ::_exit(127);
  }
  int status = 0;
  CHECK_EQ(::waitpid(pid, &status, 0), pid);
  if (status == 0) return {};
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    return fail(ErrorCode::kUnavailable, "there is no 'ip'; install iproute2");
  std::string said(500, '\0');
  const ssize_t n = ::pread(out.get(), said.data(), said.size(), 0);
  said.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return fail(ErrorCode::kUnavailable, "ip said: " + said);
}

class Namespaces final : public TestNetwork {
 public:
  explicit Namespaces(size_t nodes) : size_(nodes) {}
  ~Namespaces() override {
    if (home_.get() >= 0) CHECK_EQ(::setns(home_.get(), CLONE_NEWNET), 0);
  }

  Result<> make() {
    // A peer is given to the test's namespace by naming its process.
    if (::gettid() != ::getpid())
      return fail(ErrorCode::kInvalid, "only the first thread of a process may do this");
    Descriptor home = current_namespace();
    for (size_t i = 0; i < size_; ++i) {
      if (::unshare(CLONE_NEWNET) != 0) {
        const int number = errno;
        if (i > 0) CHECK_EQ(::setns(home.get(), CLONE_NEWNET), 0);
        return fail(ErrorCode::kUnavailable,
                    std::string("no network namespaces here: ") + std::strerror(number));
      }
      nodes_.push_back(current_namespace());
    }
    CHECK_EQ(::unshare(CLONE_NEWNET), 0);
    hub_ = current_namespace();
    home_ = std::move(home);
    return join();
  }

  std::string_view name() const override { return "namespaces"; }
  Address listen(size_t node) const override { return {ip_of(node), kPort}; }
  Address address(size_t, size_t to) const override { return listen(to); }
  int namespace_of(size_t node) const override { return nodes_[node].get(); }

  void cut(size_t from, size_t to) override { point(from, to, kNobody); }
  void heal_all() override {
    for (size_t from = 0; from <= size_; ++from) {
      std::string commands;
      for (size_t to = 0; to <= size_; ++to)
        if (from != to) commands += neighbour(from, to, hardware_of(to));
      const Result<> healed = run_ip(namespace_at(from), commands);
      CHECK(healed.has_value());
    }
  }

 private:
  // The test comes after the nodes.
  size_t place(size_t who) const { return who == kTest ? size_ : who; }
  int namespace_at(size_t who) const {
    return place(who) == size_ ? hub_.get() : nodes_[who].get();
  }
  std::string ip_of(size_t who) const { return fmt::format("10.0.0.{}", place(who) + 1); }
  std::string hardware_of(size_t who) const {
    return fmt::format("02:00:00:00:00:{:02x}", place(who) + 1);
  }
  std::string neighbour(size_t from, size_t to, std::string_view hardware) const {
    return fmt::format("neigh replace {} lladdr {} nud permanent dev {}\n", ip_of(to), hardware,
                       place(from) == size_ ? "bridge0" : "eth0");
  }
  void point(size_t from, size_t to, std::string_view hardware) {
    const Result<> done = run_ip(namespace_at(from), neighbour(from, to, hardware));
    CHECK(done.has_value());
  }

  Result<> join() {
    RETURN_IF_ERROR(run_ip(hub_.get(), fmt::format("link add bridge0 address {} type bridge\n"
                                                   "addr add {}/24 dev bridge0\n"
                                                   "link set lo up\nlink set bridge0 up\n",
                                                   hardware_of(kTest), ip_of(kTest))));
    for (size_t i = 0; i < size_; ++i) {
      RETURN_IF_ERROR(run_ip(
          nodes_[i].get(), fmt::format("link add eth0 address {} type veth peer name n{} netns {}\n"
                                       "addr add {}/24 dev eth0\n"
                                       "link set lo up\nlink set eth0 up\n",
                                       hardware_of(i), i, ::getpid(), ip_of(i))));
      RETURN_IF_ERROR(
          run_ip(hub_.get(), fmt::format("link set n{0} master bridge0\nlink set n{0} up\n", i)));
    }
    heal_all();  // makes every neighbour entry static
    return {};
  }

  const size_t size_;
  Descriptor home_, hub_;
  std::vector<Descriptor> nodes_;
};

}  // namespace

Result<std::unique_ptr<TestNetwork>> TestNetwork::namespaces(size_t nodes) {
  auto network = std::make_unique<Namespaces>(nodes);
  RETURN_IF_ERROR(network->make());
  return std::unique_ptr<TestNetwork>(std::move(network));
}

}  // namespace kahuna::testing
