// failover: how long clients of a local three-node cluster wait when a leader is killed, when one
// hands over, and whether anybody is elected for no reason. Prints a summary, and all figures as
// JSON.
//
//   failover [--kills N] [--moves N] [--idle SECONDS] [--busy] [--loops N] [--partitions N]
//   [--pause-ms N]
//            [--out FILE] [--flag WORD]…
//
// --kills: kill -9 of a node that leads, under load; from the kill to the first put that began
// after it and was
//   acknowledged, over the partitions that the node led: the first of them, and the last. Then the
//   node is started again, and has caught up before the next.
// --moves: move-leader, under the same load; the longest time without an acknowledgement in the
// partition, from
//   50 ms before to 100 ms after, and in as long a time before.
// --idle: without load; terms before and after. --busy: as many processes as there are cores spin
// meanwhile. Servers run with their defaults, in a temporary directory ($TMPDIR), on free ports of
// 127.0.0.1, and end with this process.
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "bench/failover/steady_load.h"
#include "kahuna/cli/json.h"
#include "tests/cluster/cluster.h"

namespace kahuna::bench {
namespace {

constexpr size_t kNodes = 3;
constexpr Duration kPatience = Duration::seconds(60);

struct Settings {
  size_t kills = 10, moves = 10, loops = 1, partitions = 16;
  int64_t pause_ms = 2, idle_s = 0;
  bool busy = false;
  std::string out;
  std::vector<std::string> flags;
};

struct Figures {
  std::vector<double> ms;
  void add(Duration d) { ms.push_back(double(d.nanos()) / 1e6); }
  double percent(size_t p) const {
    std::vector<double> sorted = ms;
    std::sort(sorted.begin(), sorted.end());
    return sorted.empty() ? 0 : sorted[(sorted.size() * p + 99) / 100 - (p > 0)];
  }
  double max() const { return percent(100); }
  std::string text() const {
    return fmt::format("min {:.1f}  median {:.1f}  p99 {:.1f}  max {:.1f} ms", percent(0),
                       percent(50), percent(99), max());
  }
  std::string json() const {
    return fmt::format(
        "{{\"count\":{},\"min_ms\":{:.2f},\"median_ms\":{:.2f},\"p99_ms\":{:.2f},\"max_ms\":{:.2f},"
        "\"all_ms\":[{:.2f}]}}",
        ms.size(), percent(0), percent(50), percent(99), max(), fmt::join(ms, ","));
  }
};

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "failover: {}\n", why);
  std::exit(1);
}

// Processes that do nothing but spin; ended by id.
class Spinners {
 public:
  explicit Spinners(size_t count) {
    const pid_t parent = ::getpid();
    for (size_t i = 0; i < count; ++i) {
      const pid_t pid = ::fork();
      if (pid < 0) give_up("cannot fork");
      if (pid > 0) {
        pids_.push_back(pid);
        continue;
      }
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(0);
      for (;;) asm volatile("");
    }
  }
  ~Spinners() {
    for (pid_t pid : pids_) ::kill(pid, SIGKILL);
    for (pid_t pid : pids_) ::waitpid(pid, nullptr, 0);
  }
  Spinners(const Spinners&) = delete;

 private:
  std::vector<pid_t> pids_;
};

class Bench {
 public:
  explicit Bench(const Settings& settings)
      : settings_(settings),
        loop_(*net::Loop::create({.io = net::IoBackend::kEpoll})),
        random_(loop_->host().random("failover")),
        cluster_(kNodes, flags(settings)) {
    cluster_.start_all();
    if (!cluster_.await_ready()) give_up("the cluster did not start:\n" + cluster_.log(0));
    loop_->turn(Duration());
    load_ = std::make_unique<SteadyLoad>(
        *loop_, SteadyLoad::Options{.endpoints = cluster_.addresses(),
                                    .partitions = settings.partitions,
                                    .pause = Duration::millis(settings.pause_ms)});
    admin_ =
        client::Client::create(loop_->host(), {.endpoints = cluster_.addresses(), .entity = 2});
  }

  void run() {
    std::string json = fmt::format("{{\"cpus\":{},\"loops\":{},\"partitions\":{},\"pause_ms\":{}",
                                   std::thread::hardware_concurrency(), settings_.loops,
                                   settings_.partitions, settings_.pause_ms);
    load_->begin();
    run_for(Duration::seconds(1));
    if (settings_.kills > 0) json += ",\"kill\":" + kills();
    if (settings_.moves > 0) json += ",\"move\":" + moves();
    load_->stop();
    wait("puts in flight end", [&] { return load_->in_flight() == 0; });
    if (settings_.idle_s > 0) json += ",\"idle\":" + idle();
    json += "}\n";
    if (settings_.out.empty()) return (void)fmt::print("{}", json);
    std::FILE* file = std::fopen(settings_.out.c_str(), "w");
    if (!file) give_up("cannot write " + settings_.out);
    fmt::print(file, "{}", json);
    std::fclose(file);
  }

 private:
  static std::vector<std::string> flags(const Settings& settings) {
    std::vector<std::string> flags = {"--loops", std::to_string(settings.loops), "--partitions",
                                      std::to_string(settings.partitions)};
    flags.insert(flags.end(), settings.flags.begin(), settings.flags.end());
    return flags;
  }

  Time now() const { return loop_->host().clock->now(); }
  void run_for(Duration length) {
    const Time end = now() + length;
    while (now() < end) loop_->turn(std::min(end - now(), Duration::millis(20)));
  }
  bool happens(const std::function<bool()>& what, Duration patience = kPatience) {
    const Time end = now() + patience;
    while (!what()) {
      if (now() >= end) return false;
      loop_->turn(Duration::millis(1));
    }
    return true;
  }
  void wait(const char* for_what, const std::function<bool()>& what) {
    if (!happens(what)) give_up(fmt::format("waited in vain for: {}", for_what));
  }

  // What each node says of itself; null when it does not answer.
  std::vector<cli::Json> survey() {
    const auto addresses = cluster_.addresses();
    auto answers = std::make_shared<std::vector<cli::Json>>(addresses.size());
    auto missing = std::make_shared<size_t>(addresses.size());
    for (size_t node = 0; node < addresses.size(); ++node) {
      admin_->status(addresses[node], [=](Result<std::string> text) {
        --*missing;
        if (text) (*answers)[node] = cli::parse_json(*text).value_or(cli::Json());
      });
    }
    wait("answers to status", [&] { return *missing == 0; });
    return *answers;
  }
  static const cli::Json& replica(const cli::Json& status, size_t partition) {
    static const cli::Json none;
    for (const cli::Json& each : status["partitions"].items)
      if (each["id"].text == std::to_string(partition)) return each;
    return none;
  }
  static uint64_t number(const cli::Json& value) {
    return std::strtoull(value.text.c_str(), nullptr, 10);
  }
  static std::string name_of(size_t node) { return "n" + std::to_string(node + 1); }

  // The node that leads the partition by its own word; waits until there is one.
  size_t leader_of(size_t partition, std::vector<cli::Json>& statuses) {
    size_t found = kNodes;
    wait("a leader", [&] {
      statuses = survey();
      for (size_t node = 0; node < kNodes && found == kNodes; ++node)
        if (replica(statuses[node], partition)["role"].text == "leader") found = node;
      return found < kNodes;
    });
    return found;
  }
  // All nodes serve, and none is far behind in any partition.
  bool caught_up() {
    constexpr uint64_t kNear = 100;
    const auto statuses = survey();
    for (size_t partition = 0; partition <= settings_.partitions; ++partition) {
      uint64_t most = 0;
      for (const cli::Json& status : statuses)
        most = std::max(most, number(replica(status, partition)["commit"]));
      for (const cli::Json& status : statuses) {
        const cli::Json& mine = replica(status, partition);
        if (!status["serving"].is_true() || mine["leader"].text.empty() ||
            number(mine["commit"]) + kNear < most)
          return false;
      }
    }
    return true;
  }

  std::string kills() {
    Figures first, last;
    const uint64_t failed = load_->failed(), unknown = load_->unknown();
    for (size_t round = 0; round < settings_.kills; ++round) {
      load_->forget();
      run_for(Duration::millis(static_cast<int64_t>(300 + random_.below(400))));
      std::vector<cli::Json> statuses;
      const size_t node = leader_of(round % settings_.partitions + 1, statuses);
      std::vector<size_t> led;
      for (size_t partition = 1; partition <= settings_.partitions; ++partition)
        if (replica(statuses[node], partition)["role"].text == "leader") led.push_back(partition);
      loop_->turn(Duration());
      const Time killed = now();
      cluster_.signal(node, SIGKILL);
      wait("puts after a kill", [&] {
        return std::all_of(led.begin(), led.end(),
                           [&](size_t p) { return load_->first_after(p, killed).has_value(); });
      });
      std::vector<Duration> taken;
      for (size_t partition : led) taken.push_back(*load_->first_after(partition, killed) - killed);
      first.add(*std::min_element(taken.begin(), taken.end()));
      last.add(*std::max_element(taken.begin(), taken.end()));
      fmt::print(stderr, "kill {:3}: {} led {:2}; first {:7.1f} ms, last {:7.1f} ms\n", round + 1,
                 name_of(node), led.size(), first.ms.back(), last.ms.back());
      cluster_.process(node).wait(kPatience);
      cluster_.start(node);
      wait("the killed node to catch up",
           [&] { return run_for(Duration::millis(50)), caught_up(); });
    }
    fmt::print("kill -9, {} times: first partition  {}\n", settings_.kills, first.text());
    fmt::print("             {}      last partition   {}\n", "", last.text());
    return outcome(failed, unknown,
                   fmt::format("\"first\":{},\"last\":{}", first.json(), last.json()));
  }

  std::string moves() {
    constexpr Duration kBefore = Duration::millis(50), kAfter = Duration::millis(100);
    Figures taken, gaps, usual;
    size_t refused = 0;
    const uint64_t failed = load_->failed(), unknown = load_->unknown();
    for (size_t round = 0; round < settings_.moves; ++round) {
      const size_t partition = round % settings_.partitions + 1;
      load_->forget();
      std::vector<cli::Json> statuses;
      const size_t from = leader_of(partition, statuses);
      const size_t to = (from + 1 + random_.below(kNodes - 1)) % kNodes;
      run_for(Duration::millis(400));
      const Time asked = now();
      std::optional<Result<>> moved;
      admin_->move_leader(PartitionId(partition), name_of(to),
                          [&](Result<> result) { moved = std::move(result); });
      wait("an answer to move-leader", [&] { return moved.has_value(); });
      refused += !*moved;
      const Time ended = now();
      run_for(kAfter);
      taken.add(ended - asked);
      gaps.add(load_->longest_gap(partition, asked - kBefore, ended + kAfter));
      usual.add(load_->longest_gap(partition, asked - kBefore - (ended + kAfter - asked + kBefore),
                                   asked - kBefore));
      fmt::print(stderr,
                 "move {:3}: partition {:2} to {}{}: {:6.1f} ms; longest gap {:6.1f} ms, before "
                 "{:6.1f} ms\n",
                 round + 1, partition, name_of(to), *moved ? "" : " (" + moved->error().text + ")",
                 taken.ms.back(), gaps.ms.back(), usual.ms.back());
    }
    fmt::print("move-leader, {} times: answered after     {}\n", settings_.moves, taken.text());
    fmt::print("                 longest gap around it    {}\n", gaps.text());
    fmt::print("                 as long a time before    {}\n", usual.text());
    return outcome(failed, unknown,
                   fmt::format("\"refused\":{},\"taken\":{},\"gap\":{},\"gap_before\":{}", refused,
                               taken.json(), gaps.json(), usual.json()));
  }

  std::string outcome(uint64_t failed, uint64_t unknown, const std::string& figures) {
    failed = load_->failed() - failed, unknown = load_->unknown() - unknown;
    fmt::print("                 requests failed: {}, of unknown outcome: {}\n", failed, unknown);
    return fmt::format("{{{},\"failed\":{},\"unknown\":{}}}", figures, failed, unknown);
  }

  // The highest term of each partition, summed up.
  uint64_t terms() {
    uint64_t sum = 0;
    const auto statuses = survey();
    for (size_t partition = 0; partition <= settings_.partitions; ++partition) {
      uint64_t highest = 0;
      for (const cli::Json& status : statuses)
        highest = std::max(highest, number(replica(status, partition)["term"]));
      sum += highest;
    }
    return sum;
  }

  std::string idle() {
    wait("all to have caught up", [&] { return run_for(Duration::millis(50)), caught_up(); });
    run_for(Duration::seconds(3));
    const uint64_t before = terms();
    {
      Spinners spinners(settings_.busy ? std::thread::hardware_concurrency() : 0);
      run_for(Duration::seconds(settings_.idle_s));
    }
    const uint64_t elections = terms() - before;
    fmt::print("idle for {} s{}: {} elections\n", settings_.idle_s,
               settings_.busy ? ", all cores busy" : "", elections);
    return fmt::format("{{\"seconds\":{},\"busy\":{},\"elections\":{}}}", settings_.idle_s,
                       settings_.busy, elections);
  }

  const Settings settings_;
  std::unique_ptr<net::Loop> loop_;
  RandomStream random_;
  testing::Cluster cluster_;
  std::unique_ptr<SteadyLoad> load_;
  std::unique_ptr<client::Client> admin_;
};

Settings parse(int argc, char** argv) {
  Settings s;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&]() -> std::string {
      if (++i == argc) give_up(word + " wants a value");
      return argv[i];
    };
    const auto count = [&] { return std::strtoull(value().c_str(), nullptr, 10); };
    if (word == "--kills")
      s.kills = count();
    else if (word == "--moves")
      s.moves = count();
    else if (word == "--loops")
      s.loops = count();
    else if (word == "--partitions")
      s.partitions = count();
    else if (word == "--pause-ms")
      s.pause_ms = static_cast<int64_t>(count());
    else if (word == "--idle")
      s.idle_s = static_cast<int64_t>(count());
    else if (word == "--busy")
      s.busy = true;
    else if (word == "--out")
      s.out = value();
    else if (word == "--flag")
      s.flags.push_back(value());
    else
      give_up(
          "failover [--kills N] [--moves N] [--idle SECONDS] [--busy] [--loops N] [--partitions N] "
          "[--pause-ms N] [--out FILE] [--flag WORD]...");
  }
  return s;
}

}  // namespace
}  // namespace kahuna::bench

int main(int argc, char** argv) {
  kahuna::bench::Bench(kahuna::bench::parse(argc, argv)).run();
}
