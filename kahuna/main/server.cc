#include "kahuna/main/server.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "kahuna/cli/log.h"
#include "kahuna/engine/memory_engine.h"
#include "kahuna/engine/rocks_engine.h"
#include "kahuna/main/loop_world.h"
#include "kahuna/node/node.h"

namespace kahuna {
namespace {

// How soon after boot the log says so.
constexpr Duration kBootCheckInterval = Duration::millis(10);
constexpr Duration kBootPatience = Duration::seconds(10);
constexpr Duration kWaitingInterval = Duration::seconds(60);
constexpr std::chrono::seconds kPauseBeforeStartingAgain{1};

node::Options node_options(const cli::ServerOptions& options) {
  node::Options result;
  // A synced 4 KiB write past the page cache is the quickest way to a durable entry.
  result.journal.direct = true;
  result.name = options.name;
  result.listen = options.listen;
  for (const auto& [name, address] : options.founders) result.founders.push_back({name, address});
  result.joins = options.joins;
  result.join = options.join;
  result.partitions = options.partitions;
  result.request_timeout = options.request_timeout;
  result.raft.election_timeout_min = options.election_timeout_min;
  result.raft.election_timeout_max = options.election_timeout_max;
  result.raft.heartbeat_interval = options.heartbeat_interval;
  if (options.reads == "lease") result.raft.reads = raft::Reads::kLease;
  result.raft.clock_drift_ppm_max = options.clock_drift_ppm_max;
  result.flush_bytes = options.flush_bytes;
  result.log_keep_bytes = options.log_keep_bytes;
  result.snapshot_bytes_per_second = options.snapshot_bytes_per_second;
  result.scrub_bytes_per_second = options.scrub_bytes_per_second;
  result.scrub_interval = options.scrub_interval;
  if (options.engine == "rocks") {
    result.open_engine = [](Suspend suspend, Host& host, Fibers& fibers, const std::string& dir) {
      engine::RocksOptions rocks;
      rocks.dir = dir;
      return engine::open_rocks_engine(suspend, host, fibers, rocks);
    };
  } else {
    result.open_engine = [](Suspend suspend, Host& host, Fibers& fibers, const std::string& dir) {
      return engine::open_memory_engine(suspend, host, fibers, dir);
    };
  }
  return result;
}

// The other loops of the node, each on a thread of its own.
class LoopThreads {
 public:
  explicit LoopThreads(std::span<const std::unique_ptr<net::Loop>> loops) : loops_(loops) {}
  ~LoopThreads() { stop(); }

  void start(node::Node& node) {
    for (size_t i = 0; i < loops_.size(); ++i) {
      threads_.emplace_back([&node, loop = loops_[i].get(), number = i + 1] {
        loop->run();
        node.leave(number);
      });
    }
  }
  // Afterwards nothing of the node is left on them.
  void stop() {
    for (size_t i = 0; i < threads_.size(); ++i) loops_[i]->stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::span<const std::unique_ptr<net::Loop>> loops_;
  std::vector<std::thread> threads_;
};

// The process begins anew, as any restart would, under the same number: who watches it sees none.
// Returns when that fails.
void start_again() {
  std::vector<std::string> words;
  std::ifstream line("/proc/self/cmdline", std::ios::binary);
  for (std::string word; std::getline(line, word, '\0');) words.push_back(std::move(word));
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  std::this_thread::sleep_for(kPauseBeforeStartingAgain);  // a disk may go on damaging
  execv("/proc/self/exe", pointers.data());
}

class Server {
 public:
  Server(LoopWorld& world, std::span<const std::unique_ptr<net::Loop>> others,
         const cli::ServerOptions& options)
      : world_(world),
        others_(others),
        options_(options),
        log_(*world.host().clock, options.log_level) {}

  int run() {
    const net::Loop& loop = world_.loop();
    if (!loop.fallback_reason().empty()) {
      log_.warn("io-fallback",
                {{"io", std::string(name_of(loop.backend()))}, {"reason", loop.fallback_reason()}});
    }
    log_.info("starting", {{"name", options_.name},
                           {"listen", to_string(options_.listen)},
                           {"data", options_.data},
                           {"engine", options_.engine},
                           {"loops", std::to_string(options_.loops)},
                           {"io", std::string(name_of(loop.backend()))}});
    world_.on_signal([this](int number) { on_signal(number); });
    started_ = world_.host().clock->now();
    node::Options options = node_options(options_);
    options.on_disk_full = [this](std::string_view why) {
      if (why.empty())
        log_.info("disk-has-room", {{"text", "the disk has room again: this node takes writes"}});
      else
        log_.warn("disk-full",
                  {{"text", "the disk is full: this node takes no writes until there is room"},
                   {"reason", std::string(why)}});
    };
    options.on_damage = [this](std::string_view text) {
      log_.warn("disk-damage", {{"text", std::string(text)}});
    };
    options.on_slow_disk = [this](std::string_view text) {
      log_.warn("disk-slow", {{"text", std::string(text)}});
    };
    node_ = node::Node::start(world_.host(), std::move(options), [this](Error error) {
      fatal_.emplace(std::move(error));
      world_.stop();
    });
    LoopThreads threads(others_);
    threads.start(*node_);
    await_boot();
    world_.run();
    world_.host().clock->cancel(boot_timer_);
    threads.stop();
    const bool again = node_->renews_engine() && !stopping_;
    node_.reset();
    if (!fatal_) {
      log_.info("stopped");
      return cli::kSuccess;
    }
    if (again) {
      log_.warn("starting-again", {{"text", fatal_->text}});
      start_again();
    }
    log_.error("fatal", {{"code", std::string(name_of(fatal_->code))}, {"text", fatal_->text}});
    std::fprintf(stderr, "kahuna: %s: %s\n", std::string(name_of(fatal_->code)).c_str(),
                 fatal_->text.c_str());
    return cli::kNegative;
  }

 private:
  void on_signal(int number) {
    if (stopping_) {
      log_.warn("stopping-at-once", {{"signal", std::to_string(number)}});
      return world_.stop();
    }
    stopping_ = true;
    log_.info("stopping", {{"signal", std::to_string(number)}});
    node_->shut_down([this] { world_.stop(); });
  }

  // Checks at short intervals until the node serves; never afterwards.
  void await_boot() {
    if (stopping_) return;
    if (node_->booted()) {
      return log_.info("serving", {{"name", options_.name},
                                   {"address", to_string(node_->address())},
                                   {"node", std::to_string(node_->id().value())}});
    }
    const Time now = world_.host().clock->now();
    if (now - started_ > kBootPatience && (!warned_ || now - *warned_ > kWaitingInterval)) {
      warned_ = now;
      tell_waiting();
    }
    boot_timer_ = world_.host().clock->call_at(now + kBootCheckInterval, [this] { await_boot(); });
  }

  void tell_waiting() {
    const std::string asked = node_->asked();
    if (!asked.empty())
      return log_.warn("waiting", {{"for", options_.joins ? "being let into the cluster"
                                                          : "all founders to found the cluster"},
                                   {"asked", asked}});
    if (!options_.joins) return log_.warn("waiting", {{"for", "recovery"}});
    const std::string listen = to_string(options_.listen);
    log_.warn("waiting", {{"for", options_.join.empty()
                                      ? "recovery, or 'kahuna members add " + listen +
                                            "', to be asked of the cluster that is to let it in"
                                      : "recovery"}});
  }

  LoopWorld& world_;
  const std::span<const std::unique_ptr<net::Loop>> others_;
  const cli::ServerOptions& options_;
  cli::Log log_;
  std::unique_ptr<node::Node> node_;
  std::optional<Error> fatal_;
  Time started_;
  TimerId boot_timer_ = 0;
  bool stopping_ = false;
  std::optional<Time> warned_;
};

}  // namespace

int run_server(const cli::ServerOptions& options) {
  net::ignore_broken_pipes();
  net::raise_descriptor_limit();
  net::LoopOptions loop_options;
  loop_options.io = options.io == "uring" ? net::IoBackend::kUring : net::IoBackend::kEpoll;
  loop_options.data_dir = options.data;
  std::vector<std::unique_ptr<net::Loop>> loops;
  for (size_t i = 0; i < options.loops; ++i) {
    Result<std::unique_ptr<net::Loop>> loop = net::Loop::create(loop_options);
    if (!loop) {
      std::fprintf(stderr, "kahuna: %s\n", loop.error().text.c_str());
      return cli::kNegative;
    }
    loops.push_back(std::move(*loop));
  }
  if (loops.size() > 1) net::Loop::join(loops);
  LoopWorld world(std::move(loops[0]));
  return Server(world, std::span(loops).subspan(1), options).run();
}

}  // namespace kahuna
