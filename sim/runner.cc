#include "sim/runner.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "kahuna/node/identity.h"
#include "kahuna/raft/configuration.h"
#include "runtime/check.h"
#include "runtime/probe.h"
#include "sim/checker.h"
#include "sim/cluster.h"
#include "sim/fault_plan.h"
#include "sim/runner_liveness.h"
#include "sim/scenario.h"
#include "sim/spec.h"
#include "sim/workload.h"
#include "sim/world.h"

namespace kahuna::sim {

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass: return "PASS";
    case Verdict::kFail: return "FAIL";
    case Verdict::kUnknown: return "UNKNOWN";
  }
  UNREACHABLE("verdict");
}

uint64_t RunReport::faults_fired() const {
  uint64_t sum = 0;
  for (const FaultCount& fault : faults) sum += fault.fired;
  return sum;
}

namespace {

Selection struck_in(const std::vector<FaultRecord>& log) {
  Selection struck;
  for (const FaultRecord& fault : log) struck.add(name_of(fault.kind), fault.number);
  return struck;
}

Selection issued_in(const History& history) {
  Selection issued;
  for (const Operation& operation : history.operations())
    if (operation.arrival != kNoArrival)
      issued.add(fmt::format("c{}", operation.host + 1), operation.arrival);
  return issued;
}

}  // namespace

Selection RunReport::struck() const {
  return struck_in(fault_log);
}
Selection RunReport::issued() const {
  return issued_in(history);
}

std::string RunReport::last_line(uint64_t seed) const {
  return fmt::format("{} seed={} hash={} sim={:.3f}s wall={:.3f}s events={} ops={} faults={}",
                     name_of(verdict), seed, to_string(hash), double(simulated.nanos()) / 1e9,
                     wall_s, events, history.counts().invoked, faults_fired());
}

namespace {

constexpr Duration kPeaceMax = Duration::seconds(60);
constexpr uint64_t kPeaceWrites = 3;

// What a cluster can have of it.
struct Bound {
  std::string_view name;
  uint64_t least, most;
  bool fixed;  // scripts of scenarios name them one by one: it is as the scenario has it
};
constexpr Bound kBounds[] = {{"nodes", 1, raft::kVotersMax, true},
                             {"vacancies", 0, raft::kVotersMax - 1, true},
                             {"groups", 1, node::kPartitionsMax, true},
                             {"loops", 1, kLoopsMax, false}};

class Run {
 public:
  explicit Run(const RunOptions& options) : options_(options), spec_(options.seed) {}

  Result<RunReport> run() {
    RETURN_IF_ERROR(draw());
    reset_probe_hits();
    RETURN_IF_ERROR(build());
    safety_phase();
    if (going()) liveness_phase();
    collect();
    return std::move(report_);
  }

 private:
  Result<> pin(const std::string& name, const std::string& value) {
    const auto number = parse_number(value);
    for (const Bound& bound : kBounds) {
      if (bound.name != name || !number) continue;
      if (*number < bound.least || *number > bound.most)
        return fail(ErrorCode::kInvalid,
                    fmt::format("{} must be {}..{}, not {}", name, bound.least, bound.most, value));
      const auto pinned = spec_.pinned(name);
      if (bound.fixed && scenario_ && pinned && *parse_number(*pinned) != *number)
        return fail(ErrorCode::kInvalid,
                    fmt::format("scenario {} has {}={}, which cannot be chosen", scenario_->name,
                                name, *pinned));
    }
    spec_.pin(name, value);
    return {};
  }

  Result<> draw() {
    std::string faults = options_.faults;
    if (!options_.scenario.empty()) {
      scenario_ = find_scenario(options_.scenario);
      for (const Unsteered& none : unsteered())
        if (none.name == options_.scenario)
          return fail(ErrorCode::kInvalid,
                      fmt::format("there is no scenario '{}': it is {}", none.name, none.why));
      if (!scenario_)
        return fail(ErrorCode::kInvalid,
                    fmt::format("no scenario '{}'; see kahuna sim --scenarios", options_.scenario));
      RETURN_IF_ERROR(spec_.pin_all(kScenarioSpec));
      RETURN_IF_ERROR(spec_.pin_all(scenario_->spec));
      if (faults.empty()) faults = scenario_->faults.empty() ? "off" : scenario_->faults;
    }
    for (const auto& [name, value] : options_.pins) RETURN_IF_ERROR(pin(name, value));
    state_.workload = draw_workload(spec_);
    if (!options_.workload.empty())
      RETURN_IF_ERROR(restrict_mix(state_.workload.mix, options_.workload));
    cluster_options_ = draw_cluster(spec_);
    if (faults == "off")
      cluster_options_.rots = cluster_options_.crashes_installing =
          cluster_options_.founding_crashes = 0;
    time_ = spec_.duration("time", Duration::seconds(5), Duration::seconds(60));
    canary_ = spec_.selection("canary");
    if (auto peace = spec_.text("peace")) {
      ASSIGN_OR_RETURN(Duration length, parse_duration(*peace));
      peace_ = TrueTime() + length;
    }
    whole_core_ = spec_.flag("heal-all", 50, 100);
    early_ = spec_.flag("faults-while-founding", 2, 100);
    ASSIGN_OR_RETURN(faults_, draw_faults(spec_, faults));
    // Leases rest on the bound; without them clocks may do what they like.
    FaultLimits limits;
    limits.clocks_unbounded = cluster_options_.raft.reads != raft::Reads::kLease;
    limits.drift_ppb_max =
        limits.clocks_unbounded ? 200'000'000 : cluster_options_.raft.clock_drift_ppm_max * 1000;
    cluster_options_.keep_images = faults_.has(FaultKind::kRollBack);
    world_options_ = draw_world(spec_, faults_, limits);
    fit_to_world(cluster_options_, state_.workload, world_options_);
    return {};
  }

  Result<> build() {
    world_ = std::make_unique<World>(options_.seed, world_options_);
    world_->stop_at(options_.until);
    if (options_.record_to > 0) world_->trace().record(options_.record_from, options_.record_to);
    state_.true_time = [](void* world) {
      return Time::from_nanos(static_cast<World*>(world)->now().nanos());
    };
    state_.true_time_context = world_.get();
    cluster_ = std::make_unique<Cluster>(*world_, cluster_options_, state_);
    if (options_.record) recorder_ = std::make_unique<Recorder>(*world_, *cluster_);
    plan_ = std::make_unique<FaultPlan>(*world_, spec_, faults_, *cluster_);
    report_.spec = spec_.describe();
    auto verified = spec_.verify();
    if (!verified) tear_down();
    return verified;
  }

  void tear_down() {
    plan_.reset();
    recorder_.reset();
    cluster_.reset();
    world_.reset();
  }

  bool going() const { return !cluster_->violation() && !world_->stopped(); }

  void safety_phase() {
    cluster_->start();
    if (early_ || (scenario_ && scenario_->at_founding))
      cluster_->run_clients();
    else
      begin_in_peace();
    if (!going()) return;
    plan_->begin();
    report_.faults_from = world_->now();
    if (scenario_) {
      Stage stage(*world_, *cluster_, state_, *plan_);
      scenario_->play(stage);
      missed_ = stage.missed();
      if (!missed_.empty()) missed_state_ = cluster_->describe();
      stage.finish();
      report_.recording.steps = stage.steps();
      if (!going()) return;
    }
    TrueTime end = world_->now() + time_;
    world_->run_until([&] { return cluster_->stuck(); }, end);
    if (going()) world_->run_until(end);
    // Faults may keep a cluster from being founded, or from serving, for long: wait for some work.
    if (going() && state_.workload.rate > 0)
      world_->run_until(
          [&] { return cluster_->stuck() || state_.history.counts().writes_done > 0; },
          end + kPeaceMax * 2);
    written_ = state_.history.counts().writes_done;
  }

  // A cluster that was never founded shows nothing: most runs let it begin in peace, until clients
  // have written a little. What goes wrong all the time (lost frames, slow disks) does so then,
  // too.
  void begin_in_peace() {
    std::vector<size_t> all(cluster_->nodes());
    for (size_t i = 0; i < all.size(); ++i) all[i] = i;
    TrueTime end = world_->now() + kPeaceMax;
    world_->run_until([&] { return cluster_->stuck() || cluster_->all_booted(all); }, end);
    if (!going()) return;
    cluster_->run_clients();
    if (peace_) world_->run_until(*peace_);
    if (peace_ || state_.workload.rate == 0) return;
    world_->run_until(
        [&] { return cluster_->stuck() || state_.history.counts().writes_done >= kPeaceWrites; },
        end);
  }

  void liveness_phase() {
    cluster_->calm_down();
    report_.healed_from = world_->now();
    std::vector<size_t> core = draw_core();
    for (size_t i = 0; i < cluster_->nodes(); ++i)
      if (!std::binary_search(core.begin(), core.end(), i)) cluster_->freeze(i);
    plan_->begin_liveness(core);
    auto violation =
        run_liveness(*world_, *cluster_, state_, core, world_options_.network.give_up_max);
    if (!violation || !going()) return;
    // Damage had no limit: to stop and say so is right, to lie is not.
    const bool stalled = violation->kind == "liveness" || violation->kind == "repair";
    if (stalled && cluster_options_.atlas == FaultAtlas::Mode::kOff && cluster_->is_hurt()) {
      SOMETIMES(sim_stopped_for_damage_without_an_atlas);
      return;
    }
    cluster_->report(violation->kind, violation->text);
  }

  std::vector<size_t> draw_core() {
    RandomStream random = world_->random("core");
    std::vector<size_t> nodes;
    for (size_t i = 0; i < cluster_->nodes(); ++i)
      if (!cluster_->vacant(i)) nodes.push_back(i);
    for (size_t i = nodes.size(); i-- > 1;) std::swap(nodes[i], nodes[random.below(i + 1)]);
    // Those that forgot make no quorum.
    std::stable_partition(nodes.begin(), nodes.end(),
                          [&](size_t node) { return !cluster_->forgot(node); });
    size_t quorum = nodes.size() / 2 + 1;
    // Those left out may be the members of a group; one whose disk is damaged may yet refuse to
    // start.
    bool all = whole_core_ || cluster_->members_changed() || cluster_->applied_entries() == 0 ||
               cluster_->is_damaged();
    nodes.resize(all ? nodes.size() : random.between(quorum, nodes.size()));
    std::sort(nodes.begin(), nodes.end());
    return nodes;
  }

  // --- judgement ---

  void collect() {
    report_.hash = world_->hash();
    report_.events = world_->events();
    report_.simulated = Duration::nanos(world_->now().nanos());
    report_.checkpoints = world_->trace().checkpoints();
    report_.records = world_->trace().records();
    for (ProbeSite* site = first_probe_site(); site; site = site->next)
      report_.probes.emplace_back(site->name, site->hits.load());
    std::sort(report_.probes.begin(), report_.probes.end());
    collect_faults();
    if (recorder_) {
      auto steps = std::move(report_.recording.steps);
      report_.recording = recorder_->take();
      report_.recording.steps = std::move(steps);
    }
    report_.stopped = world_->stopped() && !cluster_->violation();
    if (report_.stopped)
      report_.details = cluster_->describe();
    else
      judge();
    tear_down();
    report_.history = std::move(state_.history);
  }

  void collect_faults() {
    std::map<std::string, uint64_t> counts = plan_->counts();
    for (size_t kind = 0; kind < kFaultKinds; ++kind) {
      std::string name(name_of(static_cast<FaultKind>(kind)));
      auto fired = counts.find(name);
      report_.faults.push_back({name, faults_.has(static_cast<FaultKind>(kind)),
                                fired == counts.end() ? 0 : fired->second});
    }
    for (const auto& [name, fired] : counts)
      if (name.starts_with("point:")) report_.faults.push_back({name, true, fired});
    report_.faults.push_back({"rot-journal", cluster_options_.rots > 0, cluster_->rotten()});
    report_.plan = plan_->describe();
    report_.fault_log = plan_->log();
    report_.fault_log_whole = report_.fault_log.size() < FaultPlan::kLogMax;
  }

  void judge() {
    if (cluster_->violation()) {
      verdict(Verdict::kFail, cluster_->violation()->kind, cluster_->violation()->text);
      return;
    }
    if (std::optional<std::string> song = sings()) return verdict(Verdict::kFail, "canary", *song);
    Judgement registers = check_registers(state_.history);
    if (registers.finding == Finding::kViolation)
      return verdict(Verdict::kFail, registers.kind, registers.text);
    Judgement stamps = check_stamps(state_.history);
    if (stamps.finding == Finding::kViolation)
      return verdict(Verdict::kFail, stamps.kind, stamps.text);
    if (registers.finding == Finding::kUndecided)
      return verdict(Verdict::kUnknown, "undecided", registers.text);
    if (!missed_.empty())
      return verdict(Verdict::kUnknown, "vacuous",
                     "the scenario did not get there: " + missed_ + "\n" + missed_state_);
    if (written_ == 0 && state_.workload.rate > 0)
      verdict(Verdict::kUnknown, "vacuous", "nothing was written in the first phase");
  }

  // A made-up violation, by which the tools that look into failures are tested: the run fails when
  // each of these faults struck and each of these arrivals became an operation.
  std::optional<std::string> sings() const {
    if (!canary_) return std::nullopt;
    std::string song = "all that was asked for happened";
    Selection issued = issued_in(state_.history), struck = struck_in(report_.fault_log);
    for (const auto& [name, number] : canary_->items())
      if (!issued.has(name, number) && !struck.has(name, number)) return std::nullopt;
    for (OperationNumber each = 0; each < state_.history.operations().size(); ++each) {
      const Operation& operation = state_.history.operations()[each];
      const bool asked = operation.arrival != kNoArrival &&
                         canary_->has(fmt::format("c{}", operation.host + 1), operation.arrival);
      if (asked) song += "\n" + state_.history.describe(each);
    }
    return song;
  }

  void verdict(Verdict verdict, const std::string& kind, const std::string& text) {
    report_.verdict = verdict;
    size_t end = text.find('\n');
    report_.reason = kind + ": " + text.substr(0, end);
    report_.details = end == std::string::npos ? "" : text.substr(end + 1);
  }

  const RunOptions& options_;
  Spec spec_;
  RunReport report_;
  WorkloadState state_;
  ClusterOptions cluster_options_;
  FaultSet faults_;
  WorldOptions world_options_;
  Duration time_;
  std::optional<TrueTime>
      peace_;  // when the faults begin; none: when clients have written a little
  std::optional<Selection> canary_;
  const Scenario* scenario_ = nullptr;
  std::string missed_, missed_state_;  // the step that the scenario did not reach; the nodes then
  bool whole_core_ = false;
  bool early_ = false;
  uint64_t written_ = 0;
  std::unique_ptr<World> world_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<FaultPlan> plan_;
};

}  // namespace

Result<RunReport> run_seed(const RunOptions& options) {
  if (!options.mutant.empty()) {
#ifdef KAHUNA_MUTANTS
    set_active_mutant(options.mutant);
#else
    return fail(ErrorCode::kInvalid,
                "--mutant needs a build with planted bugs: cmake --preset mutants");
#endif
  }
  return Run(options).run();
}

}  // namespace kahuna::sim
