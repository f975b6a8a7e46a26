#include "kahuna/cli/local.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "kahuna/cli/config.h"
#include "kahuna/cli/json.h"
#include "kahuna/cli/text.h"
#include "kahuna/client/client.h"

namespace kahuna::cli {
namespace {

constexpr uint16_t kPortStep = 10;
constexpr Duration kCheckInterval = Duration::millis(100);
constexpr Duration kStopPatience = Duration::seconds(10);

struct Plan {
  size_t nodes = 3;
  size_t partitions = 16;
  uint16_t base_port = 2073;
};

Result<uint64_t> number_of(const Config& config, const std::string& key, uint64_t otherwise) {
  const auto found = config.find(key);
  if (found == config.end()) return otherwise;
  return std::strtoull(found->second.text.c_str(), nullptr, 10);
}

// What DIR says, or what was asked for when it is new; refuses to mix the two.
Result<Plan> make_plan(const LocalOptions& options) {
  const std::string path = options.data + "/local.toml";
  Plan plan;
  struct stat found;
  if (::stat(path.c_str(), &found) != 0) {
    plan.nodes = options.nodes.value_or(plan.nodes);
    plan.partitions = options.partitions.value_or(plan.partitions);
    plan.base_port = options.base_port.value_or(plan.base_port);
    if (plan.base_port == 0 || plan.base_port + plan.nodes * kPortStep > 65'535) {
      return fail(ErrorCode::kInvalid, "--base-port leaves no room for the nodes' ports");
    }
    ::mkdir(options.data.c_str(), 0777);
    std::ofstream file(path);
    file << "# The cluster that 'kahuna local' made here.\n"
         << "nodes = " << plan.nodes << "\npartitions = " << plan.partitions
         << "\nbase_port = " << plan.base_port << "\n";
    if (!file.flush()) {
      return fail(ErrorCode::kIo, "cannot write " + path + ": " + std::strerror(errno));
    }
    return plan;
  }
  ASSIGN_OR_RETURN(const Config config, load_config(path));
  ASSIGN_OR_RETURN(plan.nodes, number_of(config, "nodes", plan.nodes));
  ASSIGN_OR_RETURN(plan.partitions, number_of(config, "partitions", plan.partitions));
  ASSIGN_OR_RETURN(const uint64_t port, number_of(config, "base_port", plan.base_port));
  plan.base_port = static_cast<uint16_t>(port);
  const bool differs = options.nodes.value_or(plan.nodes) != plan.nodes ||
                       options.partitions.value_or(plan.partitions) != plan.partitions ||
                       options.base_port.value_or(plan.base_port) != plan.base_port;
  if (differs) {
    return fail(
        ErrorCode::kInvalid,
        fmt::format("{} holds a cluster of {} nodes, {} partitions, ports from {}: leave those "
                    "flags out, or name another --data",
                    options.data, plan.nodes, plan.partitions, plan.base_port));
  }
  return plan;
}

// The last line of a file that says something, for people.
std::string last_line(const std::string& path) {
  std::ifstream file(path);
  std::string line, last;
  while (std::getline(file, line)) {
    if (!line.empty()) last = line;
  }
  return last;
}

struct Child {
  std::string name;
  Address address;
  std::string log;
  pid_t pid = 0;  // 0: not running
};

class LocalCluster {
 public:
  LocalCluster(World& world, const LocalOptions& options, Plan plan, bool json)
      : world_(world), clock_(*world.host().clock), options_(options), plan_(plan), json_(json) {
    for (size_t i = 0; i < plan_.nodes; ++i) {
      const std::string name = "n" + std::to_string(i + 1);
      const auto port = static_cast<uint16_t>(plan_.base_port + i * kPortStep);
      children_.push_back({.name = name,
                           .address = Address{"127.0.0.1", port},
                           .log = options_.data + "/" + name + ".log"});
    }
  }

  int run() {
    world_.on_signal([this](int) { stop(); });
    for (Child& child : children_) {
      if (const Result<> started = spawn(child); !started) {
        report_error(started.error(), json_);
        kill_all(SIGKILL);
        reap(true);
        return kUnavailable;
      }
    }
    client::Options options;
    for (const Child& child : children_) options.endpoints.push_back(child.address);
    options.timeout = Duration::seconds(1);
    client_ = client::Client::create(world_.host(), options);
    check();
    world_.run();
    client_.reset();
    return failed_ ? kUnavailable : kSuccess;
  }

 private:
  Result<> spawn(Child& child) {
    std::string founders;
    for (const Child& other : children_) {
      founders += (founders.empty() ? "" : ",") + other.name + "=" + to_string(other.address);
    }
    const std::vector<std::string> words = {"kahuna",       "server",
                                            "--name",       child.name,
                                            "--listen",     to_string(child.address),
                                            "--data",       options_.data + "/" + child.name,
                                            "--founders",   founders,
                                            "--partitions", std::to_string(plan_.partitions),
                                            "--loops",      std::to_string(options_.loops),
                                            "--engine",     options_.engine,
                                            "--io",         options_.io};
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const int log = ::open(child.log.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0666);
    if (log < 0) {
      return fail(ErrorCode::kIo, "cannot write " + child.log + ": " + std::strerror(errno));
    }
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (::getppid() != parent) ::_exit(1);
      ::setpgid(0, 0);  // Ctrl-C reaches us only; we stop the children
      sigset_t none;
      ::sigemptyset(&none);
      ::sigprocmask(SIG_SETMASK, &none, nullptr);
      ::dup2(log, STDOUT_FILENO);
      ::dup2(log, STDERR_FILENO);
      ::execv("/proc/self/exe", arguments.data());
      ::_exit(127);
    }
    ::close(log);
    if (pid < 0)
      return fail(ErrorCode::kIo, std::string("cannot start a process: ") + std::strerror(errno));
    child.pid = pid;
    return {};
  }

  void kill_all(int signal) {
    for (const Child& child : children_) {
      if (child.pid != 0) ::kill(child.pid, signal);
    }
  }

  // Notes which children ended; returns how many still run.
  size_t reap(bool wait) {
    size_t running = 0;
    for (Child& child : children_) {
      if (child.pid == 0) continue;
      int status = 0;
      if (::waitpid(child.pid, &status, wait ? 0 : WNOHANG) != child.pid) {
        ++running;
        continue;
      }
      child.pid = 0;
      if (stopping_) continue;
      failed_ = true;
      fmt::print(stderr, "kahuna: node {} {}; its log {} ends with:\n  {}\n", child.name,
                 WIFSIGNALED(status) ? fmt::format("was killed by signal {}", WTERMSIG(status))
                                     : fmt::format("exited with status {}", WEXITSTATUS(status)),
                 child.log, last_line(child.log));
    }
    return running;
  }

  void check() {
    const size_t running = reap(false);
    if (running == 0) {
      if (!stopping_) fmt::print(stderr, "kahuna: no node is left\n");
      return world_.stop();
    }
    if (stopping_ && clock_.now() >= kill_at_) kill_all(SIGKILL);
    if (!stopping_ && !ready_ && asking_ == 0) ask_all();
    clock_.call_at(clock_.now() + kCheckInterval, [this] { check(); });
  }

  // Ready when every running node serves and sees a leader in each partition.
  void ask_all() {
    serving_ = 0;
    for (const Child& child : children_) {
      if (child.pid == 0) continue;
      ++asking_;
      client_->status(child.address, [this](Result<std::string> status) {
        if (status) serving_ += serves(*status);
        if (--asking_ > 0 || ready_ || stopping_) return;
        size_t running = 0;
        for (const Child& other : children_) running += other.pid != 0;
        if (serving_ < running) return;
        ready_ = true;
        greet();
      });
    }
  }

  static bool serves(const std::string& text) {
    const Result<Json> status = parse_json(text);
    if (!status || !(*status)["serving"].is_true()) return false;
    for (const Json& partition : (*status)["partitions"].items) {
      if (partition["leader"].text.empty()) return false;
    }
    return true;
  }

  void greet() {
    std::string endpoints;
    for (const Child& child : children_) {
      endpoints += (endpoints.empty() ? "" : ",") + to_string(child.address);
    }
    if (json_) {
      fmt::print("{{\"ready\":true,\"endpoints\":{}}}\n", json_string(endpoints));
    } else {
      const bool usual = plan_.base_port == 2073;
      const std::string where = usual ? "" : "  export KAHUNA_ENDPOINTS=" + endpoints + "\n";
      fmt::print(
          "Kahuna is ready: {} nodes on {}, data in {}.\nIn another terminal:\n{}"
          "  kahuna put greeting aloha\n  kahuna get greeting\n  kahuna status\n"
          "Ctrl-C stops the cluster; the data stays.\n",
          plan_.nodes, endpoints, options_.data, where);
    }
    std::fflush(stdout);
  }

  void stop() {
    if (stopping_) return kill_all(SIGKILL);
    stopping_ = true;
    fmt::print(stderr, "kahuna: stopping {} nodes\n", plan_.nodes);
    kill_at_ = clock_.now() + kStopPatience;
    kill_all(SIGTERM);
  }

  World& world_;
  Clock& clock_;
  const LocalOptions& options_;
  const Plan plan_;
  const bool json_;
  std::vector<Child> children_;
  std::unique_ptr<client::Client> client_;
  size_t asking_ = 0, serving_ = 0;
  bool ready_ = false, stopping_ = false, failed_ = false;
  Time kill_at_;
};

}  // namespace

int run_verb(World& world, const ConnectOptions& connect, const LocalOptions& options) {
  const Result<Plan> plan = make_plan(options);
  if (!plan) {
    report_error(plan.error(), connect.json);
    return plan.error().code == ErrorCode::kInvalid ? kUsage : kUnavailable;
  }
  return LocalCluster(world, options, *plan, connect.json).run();
}

}  // namespace kahuna::cli
