#include "tests/cluster/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "runtime/check.h"

namespace kahuna::testing {
namespace {

constexpr Duration kToolPatience = Duration::seconds(60);

pid_t start(const std::vector<std::string>& words, int input, int out, int err,
            int name_space = -1) {
  const std::string binary = kahuna_binary();
  std::vector<char*> arguments = {const_cast<char*>("kahuna")};
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  CHECK_GE(pid, 0);
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);
  if (name_space >= 0 && ::setns(name_space, CLONE_NEWNET) != 0) ::_exit(126);
  ::dup2(input, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  ::execv(binary.c_str(), arguments.data());
  ::_exit(127);
}

}  // namespace

std::string kahuna_binary() {
  if (const char* named = std::getenv("KAHUNA_BINARY")) return named;
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe");
  return (here.parent_path().parent_path() / "bin" / "kahuna").string();
}

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "kahuna-cluster-XXXXXX").string();
  CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  if (std::getenv("KAHUNA_KEEP")) return;  // for looking at what a failure left
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Process::Process(const std::vector<std::string>& words, const std::string& log, int name_space) {
  const int out = ::open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0666);
  const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  CHECK_GE(out, 0);
  pid_ = start(words, in, out, out, name_space);
  ::close(out);
  ::close(in);
}

Process::~Process() {
  if (ended_) return;
  ::kill(pid_, SIGKILL);
  wait(Duration::seconds(60));
}

void Process::signal(int number) {
  if (!ended_) ::kill(pid_, number);
}

std::optional<int> Process::wait(Duration patience) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(patience.nanos());
  while (!ended_) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      ended_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      break;
    }
    if (std::chrono::steady_clock::now() >= end) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return ended_;
}

Ran run_kahuna(const std::vector<std::string>& words, const std::string& input) {
  const TemporaryDirectory place;
  const std::string in = place.path() + "/in", out = place.path() + "/out",
                    err = place.path() + "/err";
  std::ofstream(in) << input;
  const auto open_for_write = [](const std::string& path) {
    return ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
  };
  const int files[] = {::open(in.c_str(), O_RDONLY | O_CLOEXEC), open_for_write(out),
                       open_for_write(err)};
  const pid_t pid = start(words, files[0], files[1], files[2]);
  for (const int file : files) ::close(file);
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::nanoseconds(kToolPatience.nanos());
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() >= end) ::kill(pid, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), read_file(out),
          read_file(err)};
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

std::vector<uint16_t> free_ports(size_t count) {
  std::vector<uint16_t> ports;
  std::vector<int> sockets;
  while (ports.size() < count) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    CHECK_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), size), 0);
    CHECK_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size), 0);
    ports.push_back(ntohs(address.sin_port));
    sockets.push_back(socket);  // held, so that the next one differs
  }
  for (const int socket : sockets) ::close(socket);
  return ports;
}

}  // namespace kahuna::testing
