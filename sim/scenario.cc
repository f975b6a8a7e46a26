#include "sim/scenario.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <tuple>

#include "runtime/probe.h"

namespace kahuna::sim {

Stage::Stage(World& world, Cluster& cluster, WorkloadState& workload, FaultPlan& plan)
    : world_(world),
      cluster_(cluster),
      workload_(workload),
      plan_(plan),
      random_(world.random("stage")) {
  cluster_.listen(this);
}

Stage::~Stage() {
  cluster_.unlisten(this);
}

// --- looking ---

bool Stage::hosts(size_t node, uint64_t group) const {
  return cluster_.replica(node, PartitionId(group)) != nullptr;
}

bool Stage::whole(size_t node, uint64_t group) const {
  const raft::Replica* replica = cluster_.replica(node, PartitionId(group));
  return replica && replica->is_whole();
}

raft::Status Stage::status(size_t node, uint64_t group) const {
  const raft::Replica* replica = cluster_.replica(node, PartitionId(group));
  return replica ? replica->status() : raft::Status{};
}

bool Stage::leads(size_t node, uint64_t group) const {
  return hosts(node, group) && status(node, group).role == raft::Role::kLeader;
}

std::optional<size_t> Stage::leader(uint64_t group) const {
  return leader_but(nodes(), group);
}

std::optional<size_t> Stage::leader_but(size_t old, uint64_t group) const {
  std::optional<size_t> found;
  for (size_t node = 0; node < nodes(); ++node) {
    if (node == old || !leads(node, group) || world_.paused(cluster_.handle(node))) continue;
    if (!found || term(node, group) > term(*found, group)) found = node;
  }
  return found;
}

std::vector<size_t> Stage::others(size_t node) const {
  std::vector<size_t> list;
  for (size_t other = 0; other < nodes(); ++other)
    if (other != node) list.push_back(other);
  return list;
}

uint64_t Stage::probe(std::string_view name) const {
  for (ProbeSite* site = first_probe_site(); site; site = site->next)
    if (name == site->name) return site->hits.load();
  return 0;
}

bool Stage::said(size_t node, std::string_view words) const {
  const auto& told = cluster_.damage_told(node);
  return std::any_of(told.begin(), told.end(),
                     [&](const std::string& text) { return text.find(words) != text.npos; });
}

// --- waiting ---

bool Stage::going() const {
  return missed_.empty() && !cluster_.violation() && !world_.stopped();
}

bool Stage::until(std::string what, const std::function<bool()>& reached, Duration limit) {
  if (!going()) return false;
  if (world_.run_until([&] { return cluster_.stuck() || reached(); }, world_.now() + limit)) {
    tell(what);
    return going();
  }
  if (going()) missed_ = std::move(what);
  return false;
}

bool Stage::must(std::string what, const std::function<bool()>& reached, Duration limit) {
  if (happens(reached, limit)) {
    tell(what);
    return true;
  }
  if (going())
    cluster_.report("scenario", fmt::format("did not happen within {}: {}\n{}", to_string(limit),
                                            what, cluster_.describe()));
  return false;
}

void Stage::must(std::string what, bool so) {
  if (going() && !so)
    cluster_.report("scenario", fmt::format("is not so: {}\n{}", what, cluster_.describe()));
}

void Stage::settle_members() {
  must(
      "all members are where they are to be", [&] { return members_settled(); },
      Duration::seconds(120));
}

bool Stage::happens(const std::function<bool()>& what, Duration limit) {
  return going() &&
         world_.run_until([&] { return cluster_.stuck() || what(); }, world_.now() + limit) &&
         going();
}

void Stage::run(Duration length) {
  if (!going()) return;
  TrueTime end = world_.now() + length;
  world_.run_until([&] { return cluster_.stuck(); }, end);
  if (going()) world_.run_until(end);
}

size_t Stage::settle(uint64_t group) {
  auto settled = [&] {
    auto first = leader(group);
    if (!first || commit(*first, group) == 0) return false;
    for (size_t node = 0; node < nodes(); ++node)
      if (!vacant(node) && (!hosts(node, group) || term(node, group) != term(*first, group) ||
                            commit(node, group) + 10 < commit(*first, group)))
        return false;
    return true;
  };
  until(fmt::format("all follow one leader of partition {}", group), settled);
  return leader(group).value_or(0);
}

size_t Stage::leave_one_behind() {
  const size_t away = others(settle())[random_.below(2)];
  const uint64_t had = last(away);
  crash(away);
  until(
      "the others compact their logs beyond what it has",
      [&] {
        for (size_t node : others(away))
          if (status(node).base.index.value() <= had) return false;
        return true;
      },
      Duration::seconds(240));
  return away;
}

void Stage::prove(std::string what, bool so) {
  if (going() && !so) missed_ = std::move(what);
}

void Stage::repeat_until_hit(std::string_view name, int rounds_max,
                             const std::function<void()>& round, uint64_t times) {
  uint64_t goal = probe(name) + times;
  for (int i = 0; i < rounds_max && going() && probe(name) < goal; ++i) round();
  prove(fmt::format("{} was hit", name), probe(name) >= goal);
}

Duration Stage::write_latency(TrueTime since, size_t percent) const {
  const Time from = Time::from_nanos(since.nanos());
  std::vector<Duration> taken;
  for (const Operation& operation : workload_.history.operations()) {
    if (!operation.mutates() || operation.invoked_at < from) continue;
    taken.push_back((operation.completed ? operation.completed_at : workload_.now()) -
                    operation.invoked_at);
  }
  if (taken.empty()) return {};
  std::sort(taken.begin(), taken.end());
  return taken[(taken.size() - 1) * percent / 100];
}

// --- doing ---

void Stage::tell(std::string text) {
  steps_.push_back({world_.now(), std::move(text)});
}

void Stage::crash(size_t node, CrashKind kind) {
  if (!going()) return;
  tell("crash " + world_.name(cluster_.handle(node)));
  down_.insert(node);
  cluster_.crash(node, kind);
}

bool Stage::crash_while_writing(size_t node) {
  if (!going() || !cluster_.up(node)) return false;
  auto lost = std::make_shared<bool>(false);
  NodeHandle handle = cluster_.handle(node);
  uint64_t incarnation = world_.incarnation(handle);
  auto share = static_cast<int64_t>(random_.below(1000));
  world_.on_next_write(handle, [=, this](Duration taken) {
    world_.call_at(world_.now() + taken * share / 1000, [=, this] {
      if (!cluster_.up(node) || world_.incarnation(handle) != incarnation) return;
      down_.insert(node);
      cluster_.crash(node, CrashKind::kPower);
      *lost = true;
    });
  });
  return until("power fails in the middle of a write", [&] { return *lost; });
}

void Stage::start(size_t node) {
  tell("start " + world_.name(cluster_.handle(node)));
  down_.erase(node);
  cluster_.restart(node);
}

void Stage::stop(size_t node) {
  if (!going() || !cluster_.up(node)) return;
  tell("stop " + world_.name(cluster_.handle(node)));
  down_.insert(node);
  cluster_.stop(node, [this, node] { cluster_.crash(node, CrashKind::kProcess); });
}

void Stage::pause(size_t node) {
  if (!going() || !cluster_.up(node)) return;
  tell("pause " + world_.name(cluster_.handle(node)));
  world_.pause(cluster_.handle(node));
}

void Stage::pause_loop(size_t node, size_t loop) {
  if (!going() || !cluster_.up(node)) return;
  tell("a thread hangs on " + world_.name(cluster_.handle(node)));
  world_.pause_loop(cluster_.handle(node), loop);
}

void Stage::resume(size_t node) {
  if (!cluster_.up(node) || !world_.paused(cluster_.handle(node))) return;
  tell("resume " + world_.name(cluster_.handle(node)));
  world_.resume(cluster_.handle(node));
}

void Stage::block(NodeHandle from, NodeHandle to) {
  if (!going() || from == to) return;
  world_.block(from, to);
  blocked_.emplace_back(from, to);
}

void Stage::cut(size_t from, size_t to) {
  block(cluster_.handle(from), cluster_.handle(to));
}

void Stage::isolate(size_t node, bool from_clients) {
  tell("isolate " + world_.name(cluster_.handle(node)));
  for (size_t other : others(node)) {
    cut(node, other);
    cut(other, node);
  }
  if (from_clients) cut_clients(node);
}

void Stage::cut_clients(size_t node, size_t spared) {
  NodeHandle server = cluster_.handle(node);
  for (uint32_t machine = 0; machine < world_.nodes(); ++machine) {
    if (!world_.is_client({machine})) continue;
    if (spared > 0) {
      --spared;
      continue;
    }
    block(server, {machine});
    block({machine}, server);
  }
}

void Stage::heal() {
  if (!blocked_.empty()) tell("heal the network");
  for (auto [from, to] : std::exchange(blocked_, {})) world_.unblock(from, to);
}

void Stage::deafen(size_t node, bool on) {
  if (!going() || on == deaf_.contains(node)) return;
  tell((on ? "deafen " : "let hear ") + world_.name(cluster_.handle(node)));
  on ? (void)deaf_.insert(node) : (void)deaf_.erase(node);
  plan_.hold(kHearsNothing, node, on);
}

void Stage::mend(size_t one, size_t other) {
  NodeHandle a = cluster_.handle(one), b = cluster_.handle(other);
  std::erase_if(blocked_, [&](const auto& link) {
    if (link != std::pair(a, b) && link != std::pair(b, a)) return false;
    world_.unblock(link.first, link.second);
    return true;
  });
}

void Stage::reset_connection(size_t node, bool half_open) {
  if (going()) world_.network().reset_one(cluster_.handle(node).index, half_open);
}

void Stage::message(size_t node, const raft::Message& message) {
  if (hook_) hook_(node, message);
}

void Stage::hold(std::string_view point, size_t node, bool on) {
  std::pair key(std::string(point), node);
  if (!going() || on == held_.contains(key)) return;
  on ? (void)held_.insert(key) : (void)held_.erase(key);
  plan_.hold(point, node, on);
}

void Stage::lead(size_t node, uint64_t group) {
  settle(group);
  auto leads_it = [&] { return leader(group) == node; };
  for (int tries = 0; tries < 10 && going() && !leads_it(); ++tries) {
    hand_over(group, node);
    happens(leads_it, Duration::seconds(2));
  }
  prove(fmt::format("that one leads partition {}", group), leads_it());
}

void Stage::remove(size_t node, bool dead, Coming next) {
  if (!going()) return;
  tell((dead ? "remove dead " : "remove ") + world_.name(cluster_.handle(node)));
  cluster_.comes_next(node, next);
  cluster_.remove_member(node, dead);
}

void Stage::add(size_t node, Coming how) {
  if (!going()) return;
  tell("add " + world_.name(cluster_.handle(node)));
  cluster_.comes_next(node, how);
  cluster_.add_member(node);
}

void Stage::promote(size_t node) {
  if (!going()) return;
  tell("promote " + world_.name(cluster_.handle(node)));
  cluster_.promote_member(node);
}

bool Stage::votes(NodeId member, uint64_t group) const {
  auto lead = leader(group);
  return lead && status(*lead, group).configuration->votes({member, 1});
}

bool Stage::has_state(size_t node, uint64_t group) const {
  auto lead = leader(group);
  auto follower = lead ? cluster_.replica(*lead, PartitionId(group))->follower({member(node), 1})
                       : std::nullopt;
  return follower && follower->has_state;
}

bool Stage::idle_client_is_answered(Duration limit) {
  const TrueTime end = world_.now() + limit;
  const std::string key = cluster_.keys_in({PartitionId(1)}).front();
  while (going() && world_.now() < end) {
    auto answer = std::make_shared<std::optional<bool>>();
    world_.in_turn(cluster_.judge_handle(), [&] {
      cluster_.judge().get(key,
                           [answer](const Operation& operation) { *answer = operation.is_ok(); });
    });
    if (!happens([&] { return answer->has_value(); }, limit)) return false;
    if (**answer) return true;
  }
  return false;
}

void Stage::set_rate(size_t node, int64_t ppb) {
  if (!going()) return;
  rates_.emplace(node, clock(node).rate_ppb());
  world_.set_clock_rate(cluster_.handle(node), ppb);
}

void Stage::finish() {
  hook_ = {};
  heal();
  if (cluster_.violation() || world_.stopped()) return;
  for (auto [node, ppb] : std::exchange(rates_, {}))
    world_.set_clock_rate(cluster_.handle(node), ppb);
  for (size_t node = 0; node < nodes(); ++node) resume(node);
  for (size_t node : std::exchange(down_, {})) cluster_.restart(node);
  for (const auto& [point, node] : std::exchange(held_, {})) plan_.hold(point, node, false);
  for (size_t node : std::exchange(deaf_, {})) plan_.hold(kHearsNothing, node, false);
}

// --- the list ---

std::vector<Scenario> scenarios() {
  std::vector<Scenario> all;
  for (auto part : {election_scenarios(), log_scenarios(), read_scenarios(), disk_scenarios(),
                    damage_scenarios(), snapshot_scenarios(), quiescence_scenarios(),
                    lease_scenarios(), time_scenarios(), away_scenarios(), members_scenarios(),
                    learners_scenarios(), slow_scenarios()})
    all.insert(all.end(), part.begin(), part.end());
  // H-R2 before H-R10.
  std::sort(all.begin(), all.end(), [](const Scenario& a, const Scenario& b) {
    auto key = [](std::string_view name) {
      size_t digits = name.find_first_of("0123456789");
      return std::tuple(name.substr(0, digits),
                        name.find_first_not_of("0123456789", digits) == name.npos
                            ? name.size()
                            : name.find_first_not_of("0123456789", digits),
                        name);
    };
    return key(a.name) < key(b.name);
  });
  return all;
}

std::span<const Unsteered> unsteered() {
  static constexpr Unsteered kUnsteered[] = {
      {"H-R30", "about splits and merges, which there are none of yet"},
      {"H-R32", "about zones, which there are none of yet"},
      {"H-R35", "about two ways to sync in one cluster; here all nodes sync in one way"},
      {"H-R38", "about shared secrets, which there are none of yet"},
      {"H-R39", "about a number of replicas that is set; here every voting member has one"},
      {"T-29", "about splits and merges, which there are none of yet"},
  };
  return kUnsteered;
}

const Scenario* find_scenario(std::string_view name) {
  static const std::vector<Scenario> all = scenarios();
  auto found = std::find_if(all.begin(), all.end(),
                            [&](const Scenario& scenario) { return scenario.name == name; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace kahuna::sim
