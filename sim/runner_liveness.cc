#include "sim/runner_liveness.h"

#include <fmt/core.h>

#include <algorithm>

#include "runtime/check.h"
#include "sim/checker_key.h"

namespace kahuna::sim {
namespace {

constexpr Duration kMinute = Duration::seconds(60);
constexpr Duration kRetry = Duration::millis(200);
constexpr size_t kParallel = 8;

class Liveness {
 public:
  Liveness(World& world, Cluster& cluster, WorkloadState& workload, const std::vector<size_t>& core,
           Duration give_up_max)
      : world_(world),
        cluster_(cluster),
        workload_(workload),
        core_(core),
        patience_(kMinute + give_up_max) {}

  std::optional<Violation> run() {
    cluster_.stop_clients();
    TrueTime end = world_.now() + workload_.workload.timeout * 3 / 2 + Duration::seconds(10);
    bool quiet =
        world_.run_until([&] { return cluster_.stuck() || cluster_.open_operations() == 0; }, end);
    if (world_.stopped()) return std::nullopt;
    if (!quiet) return Violation{"client", "an operation outlived its deadline:\n" + oldest_open()};
    bool settled = !cluster_.members_changed() ||
                   world_.run_until([&] { return cluster_.stuck() || members_settled(); },
                                    world_.now() + patience_ * 3);
    if (world_.stopped()) return std::nullopt;
    if (!settled && cluster_.waits_for_what_is_lost()) return std::nullopt;
    if (!settled)
      return Violation{"members",
                       fmt::format("members did not settle within {} in a healed cluster\n{}",
                                   to_string(patience_ * 3), cluster_.describe())};
    std::erase_if(core_, [&](size_t node) { return cluster_.vacant(node); });  // by now
    bool booted = world_.run_until([&] { return cluster_.stuck() || cluster_.all_booted(core_); },
                                   world_.now() + patience_);
    if (world_.stopped()) return std::nullopt;
    if (!booted)
      return Violation{"liveness", fmt::format("a healed node did not boot within {}\n{}",
                                               to_string(patience_), cluster_.describe())};
    // One that finds its store damaged meanwhile begins anew.
    bool repaired = world_.run_until(
        [&] { return cluster_.stuck() || (repaired_now() && cluster_.all_booted(core_)); },
        world_.now() + patience_);
    if (world_.stopped()) return std::nullopt;
    if (!repaired)
      return Violation{"repair", fmt::format("a damaged log was not repaired within {}\n{}",
                                             to_string(patience_), cluster_.describe())};
    partitions_ = cluster_.hosted_by(core_);
    if (world_.stopped()) return std::nullopt;
    if (!perform(cluster_.keys_in(partitions_), true)) return stalled("write");
    if (!perform(all_keys(), false)) return stalled("read");
    if (world_.stopped()) return std::nullopt;
    return converge();
  }

 private:
  std::vector<std::string> all_keys() const {
    std::vector<std::string> keys;
    for (const KeyHistory& key : split_by_key(workload_.history)) {
      const std::string& text = workload_.history.text(key.key);
      if (std::binary_search(partitions_.begin(), partitions_.end(), cluster_.partition_of(text)))
        keys.push_back(text);
    }
    return keys;
  }

  // Writes or reads every key, until each has been answered. False when patience ran out.
  bool perform(std::vector<std::string> keys, bool writes) {
    waiting_ = std::move(keys);
    writes_ = writes;
    unfinished_ = waiting_.size();
    progress_ = world_.now();
    world_.in_turn(cluster_.judge_handle(), [&] {
      for (size_t i = 0; i < kParallel && !waiting_.empty(); ++i) next();
    });
    while (unfinished_ > 0) {
      TrueTime end = progress_ + patience_;
      size_t before = unfinished_;
      bool moved = world_.run_until([&] { return cluster_.stuck() || unfinished_ < before; }, end);
      if (world_.stopped()) return true;
      if (!moved) return false;
    }
    return true;
  }

  void next() {
    if (waiting_.empty()) return;
    std::string key = std::move(waiting_.back());
    waiting_.pop_back();
    attempt(std::move(key));
  }

  void attempt(std::string key) {
    auto done = [this, key](const Operation& operation) {
      if (operation.is_ok()) {
        --unfinished_;
        progress_ = world_.now();
        next();
        return;
      }
      last_error_ = std::string(name_of(operation.error));
      world_.call_at(world_.now() + kRetry, [this, key] {
        world_.in_turn(cluster_.judge_handle(), [this, key] { attempt(key); });
      });
    };
    if (writes_)
      cluster_.judge().set(key, std::move(done));
    else
      cluster_.judge().get(key, std::move(done));
  }

  std::optional<Violation> stalled(const char* what) {
    return Violation{
        "liveness",
        fmt::format("no {} completed within {} of virtual time in a healed cluster of "
                    "{} nodes (last error: {})\n{}",
                    what, to_string(patience_), core_.size(), last_error_, cluster_.describe())};
  }

  std::optional<Violation> converge() {
    bool settled = world_.run_until([&] { return cluster_.stuck() || settled_now(); },
                                    world_.now() + patience_);
    if (world_.stopped()) return std::nullopt;
    if (!settled)
      return Violation{"liveness",
                       fmt::format("the replicas did not settle within {} of virtual time\n{}",
                                   to_string(patience_), cluster_.describe())};
    if (auto text = cluster_.differences(core_, partitions_))
      return Violation{"convergence", *text + "\n" + cluster_.describe()};
    return std::nullopt;
  }

  // Looking is dear: not after every event.
  bool settled_now() {
    if (world_.now() < look_again_) return false;
    look_again_ = world_.now() + Duration::millis(1);
    return cluster_.settled(core_, partitions_);
  }

  bool members_settled() {
    if (world_.now() < look_again_) return false;
    look_again_ = world_.now() + Duration::millis(1);
    return cluster_.members_settled();
  }

  bool repaired_now() {
    if (world_.now() < look_again_) return false;
    look_again_ = world_.now() + Duration::millis(1);
    return cluster_.repaired(core_);
  }

  std::string oldest_open() const {
    const auto& operations = workload_.history.operations();
    for (OperationNumber i = 0; i < operations.size(); ++i)
      if (cluster_.is_open(i)) return "  " + workload_.history.describe(i);
    return "";
  }

  World& world_;
  Cluster& cluster_;
  WorkloadState& workload_;
  std::vector<size_t> core_;
  const Duration patience_;
  std::vector<PartitionId> partitions_;  // that the core can serve, ascending
  std::vector<std::string> waiting_;
  bool writes_ = false;
  size_t unfinished_ = 0;
  TrueTime progress_, look_again_;
  std::string last_error_ = "none";
};

}  // namespace

std::optional<Violation> run_liveness(World& world, Cluster& cluster, WorkloadState& workload,
                                      const std::vector<size_t>& core, Duration give_up_max) {
  return Liveness(world, cluster, workload, core, give_up_max).run();
}

}  // namespace kahuna::sim
