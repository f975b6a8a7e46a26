#include "sim/cluster.h"

#include <fmt/core.h>

#include <algorithm>

#include "kahuna/partition/position.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::sim {

// Sees the replicas of one process; lives as long as its node.
class Cluster::Watcher final : public node::Observer {
 public:
  Watcher(Cluster& cluster, size_t node) : cluster_(cluster), node_(node) {}

  // Promises are judged against what is durable at this moment.
  void on_send(const raft::Replica& replica, const raft::Message& message) override {
    for (ClusterListener* listener : cluster_.listeners_) listener->message(node_, message);
    if (auto wrong = cluster_.learners_.on_send(message)) cluster_.report("members", *wrong);
    bool promises = message.kind == raft::MessageKind::kVote ||
                    message.kind == raft::MessageKind::kTimeoutNow ||
                    (!message.rejected && (message.kind == raft::MessageKind::kVoteReply ||
                                           message.kind == raft::MessageKind::kAppendReply));
    if (!promises) return;
    on_step(replica);
    if (auto violation = cluster_.invariants_.sent(message)) cluster_.report("raft", *violation);
  }

  void on_step(const raft::Replica& replica) override {
    for (ClusterListener* listener : cluster_.listeners_) listener->step(node_, replica);
    // It begins anew with less than it promised: what it may not do then shows in what it sends.
    if (cluster_.slots_[node_].forgot) return;
    size_t group = replica.group().value();
    if (group >= seen_.size()) seen_.resize(group + 1);
    Slot& slot = cluster_.slots_[node_];
    if (!slot.id) slot.id = replica.status().self.node;
    bool first = !seen_[group];
    seen_[group] = true;
    auto violation = first && slot.directory_starts > 1 ? cluster_.invariants_.restarted(replica)
                                                        : cluster_.invariants_.observe(replica);
    if (violation) cluster_.report("raft", *violation);
    if (auto wrong = cluster_.log_times_.on_step(node_, replica))
      cluster_.report("log-time", *wrong);
    if (auto wrong = cluster_.learners_.on_step(slot.id, replica))
      cluster_.report("members", *wrong);
    if (cluster_.crashes_installing_ > 0 && replica.status().stateless)
      cluster_.on_installing(node_);
  }

  void on_apply(NodeId, PartitionId group, const raft::Entry& entry, const partition::Reply& reply,
                const partition::StateMachine& state) override {
    if (auto violation = cluster_.applies_.on_apply(node_, group, entry, reply))
      cluster_.report("apply", *violation);
    if (auto violation = cluster_.log_times_.applied(node_, group, entry, state.log_time()))
      cluster_.report("log-time", *violation);
  }

  void on_state(NodeId, PartitionId group, const partition::StateMachine& state) override {
    if (!state.applied().index) return;
    cluster_.applies_.goes_on(node_, group, state.applied().index);
    if (auto violation =
            cluster_.log_times_.holds(node_, group, state.applied().index, state.log_time()))
      cluster_.report("log-time", *violation);
  }

  void on_state_lost(NodeId, PartitionId group) override {
    SOMETIMES(sim_engine_has_lost_a_state);
    if (cluster_.slots_[node_].engine_damaged) return;
    cluster_.report("state-lost",
                    fmt::format("{} starts without the state of partition {}, though its engine "
                                "was never damaged",
                                cluster_.slots_[node_].name, group.value()));
  }

 private:
  Cluster& cluster_;
  const size_t node_;
  std::vector<bool> seen_;  // by partition
};

Cluster::Cluster(World& world, ClusterOptions options, WorkloadState& workload)
    : world_(world),
      options_(options),
      workload_(workload),
      random_(world.random("cluster")),
      crashing_(world.random("crash-installing")),
      imaging_(world.random("images")),
      atlas_(options.atlas, options.nodes),
      descriptors_(partition::founding_descriptors(options.groups)),
      log_times_([this](size_t node) {
        return LogTimes::Clocks{world_.clock(slots_[node].handle).monotonic(world_.now()),
                                world_.fastest_clock()};
      }) {
  slots_.resize(options_.nodes);
  for (size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].name = fmt::format("n{}", i + 1);
    slots_[i].port = kPort;
    slots_[i].handle = world_.add_node(slots_[i].name);
    slots_[i].vacant = i >= founders();
  }
  for (size_t i = 0; i < workload_.workload.clients; ++i) add_client(fmt::format("c{}", i + 1));
  judge_ = clients_.size();
  add_client("judge");
  crashes_installing_ = options_.crashes_installing;
  members_changed_ = options_.vacancies > 0;
}

Cluster::~Cluster() {
  for (size_t i = 0; i < slots_.size(); ++i) crash(i, CrashKind::kProcess);
  for (ClientSlot& client : clients_)
    if (world_.running(client.handle))
      world_.crash(client.handle, CrashKind::kProcess, [&] { client.driver.reset(); });
}

void Cluster::add_client(std::string name) {
  ClientSlot client;
  client.handle = world_.add_node(std::move(name), {.client = true});
  clients_.push_back(std::move(client));
}

std::vector<Address> Cluster::addresses() const {
  std::vector<Address> list;
  for (const Slot& slot : slots_) list.push_back({slot.name, slot.port});
  return list;
}

void Cluster::start() {
  for (size_t i = 0; i < slots_.size(); ++i) restart(i);
  disturb_founding();
  for (size_t i = 0; i < clients_.size(); ++i) {
    Host& host = world_.start(clients_[i].handle);
    world_.in_turn(clients_[i].handle, [this, i, &host] {
      ClientDriver::Patience patience{workload_.workload.timeout,
                                      workload_.workload.attempt_timeout};
      if (i == judge_) patience = {Duration::seconds(30), Duration::seconds(3)};
      if (i == judge_ && options_.judge_timeout.nanos() > 0)
        patience = {options_.judge_timeout, options_.judge_timeout + Duration::seconds(1)};
      clients_[i].driver =
          std::make_unique<ClientDriver>(host, workload_, addresses(), i, patience);
    });
  }
}

void Cluster::restart(size_t node) {
  Slot& slot = slots_[node];
  if (up(node) || slot.frozen || violation_ || !may_start(node)) return;
  world_.cancel(std::exchange(slot.restart, 0));
  ++slot.starts;
  ++slot.directory_starts;
  for (ClusterListener* listener : listeners_) listener->process(node, true);
  slot.stopping = false;
  Host& host = world_.start(slot.handle, draw_loops(node));
  applies_.restarted(node);
  slot.watcher = std::make_unique<Watcher>(*this, node);
  slot.files = std::make_unique<SimSyncFileSystem>(world_, slot.handle);
  world_.in_turn(slot.handle, [this, node, &host] {
    slots_[node].node = node::Node::start(
        host, node_options(node), [this, node](Error error) { on_fatal(node, error); },
        slots_[node].watcher.get());
  });
}

size_t Cluster::draw_loops(size_t node) const {
  if (options_.loops == 1 || !options_.loops_vary) return options_.loops;
  RandomStream random = world_.random("loops", uint64_t{node} << 32 | slots_[node].starts);
  return 1 + random.below(options_.loops);
}

void Cluster::crash(size_t node, CrashKind kind) {
  Slot& slot = slots_[node];
  world_.cancel(std::exchange(slot.restart, 0));
  if (!world_.running(slot.handle)) return;
  const uint64_t boot = slot.node ? slot.node->boot() : 0;
  slot.booted_once |= slot.node && slot.node->booted();
  world_.crash(slot.handle, kind, [&] { slot.node.reset(); });
  for (ClusterListener* listener : listeners_) listener->process(node, false);
  slot.watcher.reset();
  slot.files.reset();
  keep_image(node, boot);
  damage_at_crash(node);
}

void Cluster::stop(size_t node, Callback<void()> done) {
  Slot& slot = slots_[node];
  if (!slot.node || std::exchange(slot.stopping, true)) return;
  uint64_t start = slot.starts;
  world_.in_turn(slot.handle, [&] {
    slot.node->shut_down(
        [this, node, start, asked = world_.now(), done = std::move(done)]() mutable {
          // The process ends outside its own turn.
          world_.call_soon([this, node, start, asked, done = std::move(done)]() mutable {
            if (slots_[node].starts != start || !world_.running(slots_[node].handle)) return;
            if (options_.stop_max > Duration() && world_.now() - asked > options_.stop_max)
              report("stop", fmt::format("{} took {} to stop", slots_[node].name,
                                         to_string(world_.now() - asked)));
            SOMETIMES(sim_process_stopped_when_asked);
            done();
          });
        });
  });
}

bool Cluster::move_leader(RandomStream& dice, std::string& text) {
  const PartitionId id = descriptors_[dice.below(descriptors_.size())].id;
  const size_t to = dice.below(slots_.size());
  if (!move_leader(id, to)) return false;
  text = fmt::format("partition {} to {}", id.value(), slots_[to].name);
  return true;
}

bool Cluster::move_leader(PartitionId id, size_t to) {
  // An earlier term's leader may not know yet that it is one no more.
  const Slot* leader = nullptr;
  Term term;
  for (const Slot& slot : slots_) {
    const raft::Replica* replica = slot.node ? slot.node->replica(id) : nullptr;
    if (!replica || replica->role() != raft::Role::kLeader || replica->term() < term) continue;
    leader = &slot;
    term = replica->term();
  }
  const Slot& target = slots_[to];
  if (!leader || leader == &target || !target.node || !target.node->id()) return false;
  if (world_.paused(leader->handle)) return false;
  world_.in_turn(leader->handle, [&] { leader->node->move_leader(id, target.node->id()); });
  return true;
}

void Cluster::freeze(size_t node) {
  Slot& slot = slots_[node];
  slot.frozen = true;
  world_.cancel(std::exchange(slot.restart, 0));
  if (!up(node)) return;
  switch (random_.below(4)) {
    case 0: world_.pause(slot.handle); break;
    case 1:
      for (uint32_t other = 0; other < world_.nodes(); ++other) {
        if (other == slot.handle.index) continue;
        world_.block(slot.handle, {other});
        world_.block({other}, slot.handle);
      }
      break;
    default: crash(node, CrashKind::kPower); break;
  }
}

void Cluster::on_fatal(size_t node, const Error& error) {
  slots_[node].last_fatal = error.text;
  world_.halt(slots_[node].handle);
  uint64_t start = slots_[node].starts;
  ErrorCode code = error.code;
  std::string text = error.text;
  world_.call_soon([this, node, start, code, text] {
    if (slots_[node].starts != start || !world_.running(slots_[node].handle)) return;
    judge_fatal(node, Error(code, text));
    if (code == ErrorCode::kRemoved && slots_[node].leaving) slots_[node].departed = true;
    crash(node, CrashKind::kProcess);
    restart_later(node);
  });
}

// A disk that refuses, or is full at boot, is the world's doing. Damage and foreign directories are
// not, but for damage that the plan made.
void Cluster::judge_fatal(size_t node, const Error& error) {
  if (slots_[node].forgot) {
    SOMETIMES(sim_node_that_forgot_refuses_to_boot);
    slots_[node].frozen = true;
    return;
  }
  switch (error.code) {
    case ErrorCode::kIo: return;
    case ErrorCode::kRemoved:
      if (slots_[node].began_anew && !slots_[node].leaving) return founded_without(node);
      if (!slots_[node].leaving) break;
      SOMETIMES(sim_member_has_left);
      return;
    case ErrorCode::kNoSpace:
      if (!slots_[node].node->booted()) return;  // one that runs waits for room
      break;
    case ErrorCode::kDamaged:
      // An engine found damaged is set up anew at the next start.
      if (slots_[node].engine_damaged && slots_[node].node->renews_engine() &&
          world_.disk(slots_[node].handle).open("engine.damaged", OpenOptions{}))
        return;
      // One that is alone has nobody to have its state from.
      if (!slots_[node].damaged &&
          !(slots_[node].engine_damaged &&
            (slots_.size() == 1 ||
             world_.disk(slots_[node].handle).open("engine.only", OpenOptions{}))))
        break;
      SOMETIMES(sim_damaged_node_refuses_to_boot);
      // Before a cluster is founded, which takes all founders, the operator does as the message
      // says.
      if (!is_founded()) {
        slots_[node].begins_anew = true;
        return;
      }
      slots_[node].frozen = slots_[node].lost = true;
      return;
    case ErrorCode::kWrongCluster:
      if (!slots_[node].began_anew) break;
      return founded_without(node);
    default: break;
  }
  report("fatal",
         fmt::format("{} stopped: {} ({})", slots_[node].name, error.text, name_of(error.code)));
}

// The others have founded the cluster with the directory that the node had before.
void Cluster::founded_without(size_t node) {
  SOMETIMES(sim_founded_without_the_new_directory);
  slots_[node].frozen = slots_[node].lost = true;
}

// What a scrub calls damaged is.
void Cluster::judge_scrub(size_t node, std::string_view text) {
  const Slot& slot = slots_[node];
  if (!text.starts_with("the log:") && !text.starts_with("the store:")) return;
  if (rotten_ == 0 && !slot.damaged && !slot.engine_damaged)
    report("scrub", fmt::format("{} finds damage where there is none: {}", slot.name, text));
}

void Cluster::restart_later(size_t node) {
  if (slots_[node].frozen || violation_) return;
  Duration wait = draw(random_, options_.restart_min, options_.restart_max);
  slots_[node].restart = world_.call_at(world_.now() + wait, [this, node] {
    slots_[node].restart = 0;
    restart(node);
  });
}

// Heard after every step of a replica without a state, so the crash is drawn for soon.
void Cluster::on_installing(size_t node) {
  if (calm_ || !crashing_.chance(1, 5)) return;
  --crashes_installing_;
  const CrashKind kind = crashing_.chance(1, 2) ? CrashKind::kPower : CrashKind::kProcess;
  const Duration wait = draw(crashing_, Duration::micros(1), Duration::millis(20));
  const uint64_t start = slots_[node].starts;
  world_.call_at(world_.now() + wait, [this, node, kind, start] {
    if (calm_ || slots_[node].starts != start || !up(node) || slots_[node].frozen) return;
    SOMETIMES(sim_crashes_a_node_that_installs);
    crash(node, kind);
    restart_later(node);
  });
}

void Cluster::run_clients() {
  for (size_t i = 0; i < judge_; ++i)
    world_.in_turn(clients_[i].handle, [this, i] { clients_[i].driver->run(); });
  if (options_.judge_timeout.nanos() == 0) return;
  std::vector<PartitionId> all;
  for (const partition::Descriptor& descriptor : descriptors_)
    if (descriptor.id.value() != 0) all.push_back(descriptor.id);
  world_.in_turn(judge_handle(), [&] {
    for (const std::string& key : keys_in(all)) judge().get(key, {});
  });
}
void Cluster::stop_clients() {
  for (ClientSlot& client : clients_) world_.in_turn(client.handle, [&] { client.driver->stop(); });
}
size_t Cluster::open_operations() const {
  size_t open = 0;
  for (const ClientSlot& client : clients_) open += client.driver->open_operations();
  return open;
}

void Cluster::calm_down() {
  calm_ = true;
  RandomStream promoting = world_.random("promoting");
  for (size_t node = 0; node < slots_.size(); ++node) {
    const Slot& slot = slots_[node];
    if (slot.vacant && promoting.chance(1, 2)) add_member(node);
    if (slot.learns && !slot.rises && slot.id && !slot.leaving && promoting.chance(1, 2))
      promote_member(node);
  }
  if (members_changed_) world_.in_turn(judge_handle(), [&] { judge().renew(); });
}

ClientDriver& Cluster::judge() {
  return *clients_[judge_].driver;
}
NodeHandle Cluster::judge_handle() const {
  return clients_[judge_].handle;
}

bool Cluster::is_open(OperationNumber number) const {
  const Operation& operation = workload_.history.operations()[number];
  if (operation.completion != Completion::kOpen) return false;
  return std::any_of(clients_.begin(), clients_.end(), [&](const ClientSlot& client) {
    return client.driver->client_number() == operation.client;
  });
}

void Cluster::report(std::string kind, std::string text) {
  if (violation_) return;
  violation_ = Violation{std::move(kind), std::move(text)};
  world_.stop();
}

bool Cluster::stuck() {
  constexpr uint64_t kInstantEventsMax = 2'000'000;
  if (world_.now() != instant_) {
    instant_ = world_.now();
    instant_events_ = world_.events();
  } else if (world_.events() - instant_events_ > kInstantEventsMax) {
    report("livelock", fmt::format("{} events happened and no time passed", kInstantEventsMax));
    return true;
  }
  return false;
}

PartitionId Cluster::partition_of(std::string_view key) const {
  return partition::find_descriptor(descriptors_, partition::position_of(key)).id;
}

std::vector<std::string> Cluster::keys_in(const std::vector<PartitionId>& partitions) const {
  std::map<PartitionId, std::string> keys;
  for (uint64_t i = 0; keys.size() < options_.groups; ++i) {
    CHECK_LT(i, uint64_t{1'000'000});
    std::string key = fmt::format("live{}/k", i);
    keys.try_emplace(partition_of(key), key);
  }
  std::vector<std::string> list;
  for (PartitionId id : partitions) list.push_back(keys[id]);
  return list;
}

bool Cluster::all_booted(const std::vector<size_t>& nodes) const {
  return std::all_of(nodes.begin(), nodes.end(), [&](size_t node) {
    const Slot& slot = slots_[node];
    return slot.lost || slot.vacant || (slot.node && slot.node->booted() && !slot.stopping);
  });
}

std::vector<PartitionId> Cluster::hosted_by(const std::vector<size_t>& nodes) {
  std::vector<PartitionId> hosted;
  for (const partition::Descriptor& descriptor : descriptors_) {
    if (descriptor.id.value() == 0) continue;
    size_t count = 0;
    for (size_t node : nodes) {
      const Slot& slot = slots_[node];
      if (slot.node && slot.node->replica(descriptor.id)) {
        ++count;
      } else if (!slot.lost) {
        report("lost-replica",
               fmt::format("{} does not run partition {}", slot.name, descriptor.id.value()));
        return {};
      }
    }
    if (count > members() / 2 && !beyond_repair(descriptor.id, nodes))
      hosted.push_back(descriptor.id);
  }
  return hosted;
}

bool Cluster::settled(const std::vector<size_t>& nodes,
                      const std::vector<PartitionId>& partitions) const {
  std::map<PartitionId, raft::Status> first;
  for (size_t node : nodes) {
    const Slot& slot = slots_[node];
    if (slot.lost) continue;
    if (!slot.node || !slot.node->booted()) return false;
    for (PartitionId id : partitions) {
      const raft::Replica* replica = slot.node->replica(id);
      if (!replica) continue;
      raft::Status status = replica->status();
      if (status.stateless || !slot.node->state(id)) return false;
      auto [other, is_first] = first.try_emplace(id, status);
      const raft::Status& one = other->second;
      if (status.applied != status.commit || status.applied != one.applied ||
          status.last != one.last || status.last.index != status.commit)
        return false;
    }
  }
  return true;
}

std::optional<std::string> Cluster::differences(const std::vector<size_t>& nodes,
                                                const std::vector<PartitionId>& partitions) {
  for (const partition::Descriptor& descriptor : descriptors_) {
    if (std::find(partitions.begin(), partitions.end(), descriptor.id) == partitions.end())
      continue;
    std::optional<uint64_t> first;
    for (size_t node : nodes) {
      const raft::Replica* replica =
          slots_[node].node ? slots_[node].node->replica(descriptor.id) : nullptr;
      if (!replica || slots_[node].lost) continue;
      auto digest = state_digest(node, descriptor.id);
      // Nobody has read it before: the node would stop, and start with a new engine.
      if (!digest && digest.error().code == ErrorCode::kDamaged && slots_[node].engine_damaged)
        continue;
      if (!digest)
        return fmt::format("{}: its rows cannot be read: {}", slots_[node].name,
                           digest.error().text);
      if (!first) first = *digest;
      if (*first == *digest) continue;
      return fmt::format("partition {} at applied index {}: {} holds other rows than {}",
                         descriptor.id.value(), replica->status().applied.value(),
                         slots_[node].name, slots_[nodes.front()].name);
    }
  }
  return std::nullopt;
}

Result<uint64_t> Cluster::state_digest(size_t node, PartitionId id) {
  auto state = const_cast<partition::StateMachine*>(slots_[node].node->state(id));
  Result<Hash128> digest;
  world_.in_turn(slots_[node].handle, [&] { digest = state->digest(); });
  if (!digest) return fail(digest.error());
  return digest->low() ^ digest->high();
}

std::string Cluster::describe() const {
  std::string text;
  for (const Slot& slot : slots_) {
    text += fmt::format("  {}: {}{}{}{}{}", slot.name,
                        slot.vacant                  ? "vacant"
                        : !slot.node                 ? "down"
                        : world_.paused(slot.handle) ? "paused"
                        : slot.node->booted()        ? "up"
                                                     : "booting",
                        slot.frozen ? ", frozen" : "", slot.joins ? ", joined" : "",
                        slot.leaving  ? ", leaving"
                        : slot.rises  ? ", to vote"
                        : slot.learns ? ", to learn"
                                      : "",
                        slot.last_fatal.empty() ? "" : ", last stopped by: " + slot.last_fatal);
    if (slot.node && slot.node->booted()) {
      for (PartitionId id : slot.node->partitions()) {
        const raft::Replica* replica = slot.node->replica(id);
        if (!replica) continue;
        raft::Status s = replica->status();
        auto names = [&](const std::vector<ReplicaId>& list) {
          std::string all;
          for (ReplicaId each : list) {
            auto at = std::find_if(slots_.begin(), slots_.end(),
                                   [&](const Slot& s) { return s.id == each.node; });
            all += " " + (at == slots_.end() ? std::to_string(each.node.value()) : at->name);
          }
          return all;
        };
        text += fmt::format(
            "\n    p{}: {} term {} base {} last {}.{} commit {} applied {} durable {}{}{}",
            id.value(),
            s.role == raft::Role::kLeader     ? "leader"
            : s.role == raft::Role::kFollower ? "follower"
                                              : "candidate",
            s.hard_state.term.value(), s.base.index.value(), s.last.term.value(),
            s.last.index.value(), s.commit.value(), s.applied.value(), s.durable.value(),
            s.quiet       ? ", quiet"
            : s.stateless ? ", its state is being replaced"
                          : "",
            !members_changed_
                ? ""
                : fmt::format(", voters{}, outgoing{}, learners{}", names(s.configuration->voters),
                              names(s.configuration->outgoing), names(s.configuration->learners)));
      }
    }
    text += '\n';
  }
  return text;
}

}  // namespace kahuna::sim
