#include "sim/runner_pool.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "sim/command.h"

namespace kahuna::sim {
namespace {

using WallClock = std::chrono::steady_clock;

struct Child {
  size_t index = 0;
  pid_t pid = 0;
  int out = -1, err = -1;
  WallClock::time_point deadline;
  JobResult result;
};

bool make_pipe(int (&ends)[2]) {
  return pipe2(ends, O_CLOEXEC) == 0;
}

[[noreturn]] void become(const Job& job, int out, int err) {
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  if (!job.directory.empty() && chdir(job.directory.c_str()) != 0) _exit(127);
  for (const std::string& variable : job.environment) {
    size_t equals = variable.find('=');
    setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1);
  }
  std::vector<char*> argv;
  std::string name = "kahuna";
  argv.push_back(name.data());
  std::vector<std::string> arguments = job.arguments;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (job.fresh) {
    execv("/proc/self/exe", argv.data());
    _exit(127);
  }
  // Without the verb's own name, as main hands it over.
  int status = run_command(static_cast<int>(argv.size()) - 2, argv.data() + 1);
  std::fflush(stdout);
  _exit(status);
}

Result<Child> start(size_t index, const Job& job, int wall_limit_s) {
  int out[2], err[2];
  if (!make_pipe(out)) return fail(ErrorCode::kIo, std::strerror(errno));
  if (!make_pipe(err)) {
    close(out[0]);
    close(out[1]);
    return fail(ErrorCode::kIo, std::strerror(errno));
  }
  std::fflush(stdout);  // or the child would print it again
  Child child;
  child.index = index;
  child.deadline = WallClock::now() + std::chrono::seconds(wall_limit_s);
  child.pid = fork();
  if (child.pid == 0) become(job, out[1], err[1]);
  close(out[1]);
  close(err[1]);
  child.out = out[0];
  child.err = err[0];
  if (child.pid < 0) {
    close(out[0]);
    close(err[0]);
    return fail(ErrorCode::kIo, std::strerror(errno));
  }
  return child;
}

// Reads what there is; closes the descriptor at its end.
void drain(int& fd, std::string& into) {
  char buffer[65536];
  ssize_t got = read(fd, buffer, sizeof buffer);
  if (got > 0) {
    into.append(buffer, static_cast<size_t>(got));
    if (into.size() > 2 * RunnerPool::kOutputBytesMax)
      into.erase(0, into.size() - RunnerPool::kOutputBytesMax);
  } else if (got == 0 || errno != EINTR) {
    close(fd);
    fd = -1;
  }
}

void reap(Child& child) {
  int status = 0;
  while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  child.result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Waits until some output or end is there, or a deadline passed.
void pump(std::vector<Child>& children) {
  std::vector<pollfd> waits;
  for (const Child& child : children) {
    if (child.out >= 0) waits.push_back({child.out, POLLIN, 0});
    if (child.err >= 0) waits.push_back({child.err, POLLIN, 0});
  }
  poll(waits.data(), waits.size(), 1000);
  for (Child& child : children) {
    for (const pollfd& wait : waits) {
      if (wait.revents == 0) continue;
      if (wait.fd == child.out)
        drain(child.out, child.result.out);
      else if (wait.fd == child.err)
        drain(child.err, child.result.err);
    }
    if (WallClock::now() < child.deadline || child.result.timed_out) continue;
    child.result.timed_out = true;
    kill(child.pid, SIGKILL);
  }
}

}  // namespace

size_t processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<size_t>(CPU_COUNT(&set));
}

Result<> RunnerPool::run(const std::function<bool(size_t, Job&)>& next,
                         const std::function<bool(size_t, JobResult)>& done) {
  std::vector<Child> children;
  size_t index = 0;
  bool more = true, stopping = false;
  Result<> result;
  while (true) {
    while (more && !stopping && children.size() < parallel_) {
      Job job;
      if (!next(index, job)) {
        more = false;
        break;
      }
      auto child = start(index, job, wall_limit_s_);
      if (!child) {
        result = fail(child.error());
        stopping = true;
        break;
      }
      children.push_back(std::move(*child));
      ++index;
    }
    if (stopping)
      for (const Child& child : children) kill(child.pid, SIGKILL);
    if (children.empty()) return result;
    pump(children);
    for (size_t i = 0; i < children.size();) {
      if (children[i].out >= 0 || children[i].err >= 0) {
        ++i;
        continue;
      }
      Child child = std::move(children[i]);
      children.erase(children.begin() + static_cast<long>(i));
      reap(child);
      if (!stopping && !done(child.index, std::move(child.result))) stopping = true;
    }
  }
}

}  // namespace kahuna::sim
