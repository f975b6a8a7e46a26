#include "sim/world.h"

#include <algorithm>

#include "sim/libc_guard.h"

namespace kahuna::sim {
namespace {
thread_local World* current_world = nullptr;
}

const char* name_of(EventKind kind) {
  switch (kind) {
    case EventKind::kNone: return "none";
    case EventKind::kTask: return "task";
    case EventKind::kTurn: return "turn";
    case EventKind::kWakeup: return "wakeup";
    case EventKind::kDisk: return "disk";
    case EventKind::kOffload: return "offload";
    case EventKind::kSyn: return "syn";
    case EventKind::kSynAck: return "syn-ack";
    case EventKind::kConnectTimeout: return "connect-timeout";
    case EventKind::kSegment: return "segment";
    case EventKind::kWritable: return "writable";
    case EventKind::kGiveUp: return "give-up";
    case EventKind::kFrameRelease: return "frame-release";
    case EventKind::kAccept: return "accept";
    case EventKind::kConnected: return "connected";
    case EventKind::kPost: return "post";
  }
  return "?";
}

World::World(uint64_t seed, WorldOptions options)
    : Kernel(seed), options_(options), network_(*this, options.network) {
  set_check_context(&World::where);
}

World::~World() {
  for (uint32_t node = 0; node < machines_.size(); ++node) {
    Process* process = machines_[node].process.get();
    if (!process) continue;
    each_loop(machines_[node], [](Process& loop) { loop.halt(); });
    each_loop(machines_[node], [](Process& loop) { loop.bury(); });
    network_.settle(node, process->incarnation(), false);
  }
  auto tasks = std::move(tasks_);
  tasks.clear();
  if (current_world == this) current_world = nullptr;
}

std::string World::where() {
  World* w = current_world;
  if (!w) return {};
  std::string node =
      w->running_node_ < w->machines_.size() ? w->machines_[w->running_node_].name : "-";
  return "node=" + node + " time=" + std::to_string(w->now().nanos()) +
         "ns event=" + std::to_string(w->events()) + " seed=" + std::to_string(w->seed());
}

World::Machine& World::machine(NodeHandle node) {
  CHECK_LT(node.index, machines_.size());
  return machines_[node.index];
}
const World::Machine& World::machine(NodeHandle node) const {
  CHECK_LT(node.index, machines_.size());
  return machines_[node.index];
}

NodeHandle World::add_node(std::string name, NodeOptions options) {
  uint32_t index = static_cast<uint32_t>(machines_.size());
  Machine m;
  m.name = name;
  m.options = options;
  m.clock = MachineClock(options_.clock, RandomStream(seed(), "clock", index));
  DiskProfile profile = options_.disk;
  if (options.client) {
    profile.read_error = profile.write_error = profile.sync_error = profile.short_transfer = 0;
  }
  m.disk = std::make_unique<SimDisk>(seed(), index, profile);
  machines_.push_back(std::move(m));
  network_.add_node(std::move(name), options.client);
  return {index};
}

const std::string& World::name(NodeHandle node) const {
  return machine(node).name;
}
const NodeOptions& World::options(NodeHandle node) const {
  return machine(node).options;
}
bool World::running(NodeHandle node) const {
  return machine(node).process != nullptr;
}
bool World::paused(NodeHandle node) const {
  const Machine& m = machine(node);
  return (m.process && m.process->paused()) ||
         std::any_of(m.more_loops.begin(), m.more_loops.end(),
                     [](const auto& loop) { return loop->paused(); });
}
size_t World::loops(NodeHandle node) const {
  return 1 + machine(node).more_loops.size();
}
uint64_t World::incarnation(NodeHandle node) const {
  return machine(node).incarnations;
}
SimDisk& World::disk(NodeHandle node) {
  return *machine(node).disk;
}
MachineClock& World::clock(NodeHandle node) {
  return machine(node).clock;
}

Host& World::host(NodeHandle node) {
  CHECK(machine(node).process != nullptr);
  return machine(node).process->host();
}

Host& World::start(NodeHandle node, size_t loops) {
  Machine& m = machine(node);
  CHECK(!m.process);
  uint64_t incarnation = ++m.incarnations;
  RandomStream random(seed(), "clock.origin", uint64_t{node.index} << 32 | incarnation);
  // Up to a day since the machine's boot.
  m.clock.restart(now(), random.below(uint64_t{86'400} * 1'000'000'000));
  Kernel& kernel = *this;
  Process::Machine place{node.index, m.name, &m.clock, m.disk.get()};
  auto make = [&](size_t loop) {
    return std::make_unique<Process>(kernel, network_, options_.scheduler, place, incarnation,
                                     loop);
  };
  m.process = make(0);
  if (loops > 1) {
    std::vector<Process*> all{m.process.get()};
    for (size_t loop = 1; loop < loops; ++loop)
      all.push_back(m.more_loops.emplace_back(make(loop)).get());
    Process::join(all);
  }
  Kernel::trace.fold_extra(uint64_t{node.index} << 32 | incarnation);
  return m.process->host();
}

void World::in_turn(NodeHandle node, Callback<void()> task) {
  CHECK(machine(node).process != nullptr);
  uint32_t before = std::exchange(running_node_, node.index);
  World* outer = std::exchange(current_world, this);
  LibcGuard guard;
  machine(node).process->run_in_turn(std::move(task));
  running_node_ = before;
  current_world = outer;
}

void World::halt(NodeHandle node) {
  each_loop(machine(node), [](Process& loop) { loop.halt(); });
}

bool World::halted(NodeHandle node) const {
  return machine(node).process && machine(node).process->dead();
}

void World::crash(NodeHandle node, CrashKind kind, Callback<void()> destroy) {
  Machine& m = machine(node);
  CHECK(m.process != nullptr);
  each_loop(m, [](Process& loop) { CHECK(!loop.in_turn()); });
  each_loop(m, [](Process& loop) { loop.halt(); });
  if (destroy) destroy();
  each_loop(m, [](Process& loop) { loop.bury(); });
  m.disk->crash(kind);
  uint64_t incarnation = m.process->incarnation();
  graveyard_.push_back(std::move(m.process));
  for (auto& loop : m.more_loops) graveyard_.push_back(std::move(loop));
  m.more_loops.clear();
  network_.settle(node.index, incarnation, kind == CrashKind::kProcess);
  Kernel::trace.fold_extra(uint64_t{node.index} << 8 | static_cast<uint8_t>(kind));
}

void World::pause(NodeHandle node) {
  each_loop(machine(node), [](Process& loop) { loop.set_paused(true); });
}
void World::pause_loop(NodeHandle node, size_t loop) {
  size_t number = 0;
  each_loop(machine(node), [&](Process& process) {
    if (number++ == loop) process.set_paused(true);
  });
}
void World::resume(NodeHandle node) {
  each_loop(machine(node), [](Process& loop) { loop.set_paused(false); });
}

uint64_t World::writes_in_flight(NodeHandle node) const {
  const Machine& m = machine(node);
  uint64_t writes = m.process ? m.process->disk().writes_in_flight() : 0;
  for (const auto& loop : m.more_loops) writes += loop->disk().writes_in_flight();
  return writes;
}

void World::on_next_write(NodeHandle node, Callback<void(Duration)> hook) {
  Machine& m = machine(node);
  if (!m.process) return;
  if (m.more_loops.empty()) return m.process->disk().on_next_write(std::move(hook));
  auto shared = std::make_shared<Callback<void(Duration)>>(std::move(hook));
  each_loop(m, [&](Process& loop) {
    loop.disk().on_next_write([shared](Duration taken) {
      if (*shared) std::exchange(*shared, nullptr)(taken);
    });
  });
}

Duration World::fastest_clock() const {
  int64_t ppb = kFrozenPpb;
  for (const Machine& m : machines_)
    if (!m.options.client) ppb = std::max(ppb, m.clock.rate_ppb());
  const int64_t elapsed = (now() - fastest_since_).nanos();
  const auto scaled = static_cast<int64_t>(static_cast<__int128>(elapsed) * ppb / 1'000'000'000);
  return fastest_ + Duration::nanos(elapsed + scaled + 1);
}

void World::clocks_change(Duration leap) {
  fastest_ = fastest_clock() + leap;
  fastest_since_ = now();
}

void World::set_clock_rate(NodeHandle node, int64_t ppb) {
  clocks_change(Duration());
  Machine& m = machine(node);
  m.clock.set_rate(now(), ppb);
  each_loop(m, [](Process& loop) { loop.clock().rearm(); });
}

void World::leap_clock(NodeHandle node, Duration by) {
  clocks_change(by);
  Machine& m = machine(node);
  m.clock.leap(now(), by);
  each_loop(m, [](Process& loop) { loop.clock().rearm(); });
}

EventId World::call_at(TrueTime at, Callback<void()> task) {
  uint32_t slot;
  if (free_tasks_.empty()) {
    slot = static_cast<uint32_t>(tasks_.size());
    tasks_.emplace_back();
  } else {
    slot = free_tasks_.back();
    free_tasks_.pop_back();
  }
  tasks_[slot] = std::move(task);
  return schedule(at, {EventKind::kTask, UINT32_MAX >> 8, slot});
}

void World::cancel(EventId id) {
  Event event;
  if (!queue.cancel(id, &event)) return;
  CHECK(event.kind == EventKind::kTask);
  Callback<void()> dropped = std::move(tasks_[event.a]);
  free_tasks_.push_back(static_cast<uint32_t>(event.a));
}

bool World::step() {
  if (stopped_ || queue.empty()) return false;
  auto popped = queue.pop();
  Kernel::now = TrueTime::from_nanos(popped.time);
  const Event& event = popped.payload;
  Kernel::trace.fold(popped.time, popped.sequence,
                     uint64_t{event.node} << 8 | static_cast<uint8_t>(event.kind), event.digest);
  World* outer = std::exchange(current_world, this);
  LibcGuard guard;
  dispatch(event);
  current_world = outer;
  if (events() == stop_at_) stopped_ = true;
  return true;
}

void World::run_until(TrueTime end) {
  while (!stopped_ && queue.next_time() <= end.nanos()) step();
  if (!stopped_ && now() < end) Kernel::now = end;
}

Process* World::find_process(uint32_t node, uint64_t id) {
  Machine& m = machines_[node];
  size_t loop = loop_of_process(id);
  if (loop > m.more_loops.size()) return nullptr;
  Process* process = loop == 0 ? m.process.get() : m.more_loops[loop - 1].get();
  return process && process->id() == id ? process : nullptr;
}

void World::dispatch(const Event& event) {
  switch (event.kind) {
    case EventKind::kTask: {
      Callback<void()> task = std::move(tasks_[event.a]);
      free_tasks_.push_back(static_cast<uint32_t>(event.a));
      task();
      return;
    }
    case EventKind::kTurn:
    case EventKind::kWakeup:
      running_node_ = event.node;
      if (Process* process = find_process(event.node, event.a)) {
        if (event.kind == EventKind::kTurn)
          process->turn_due();
        else
          process->wake_up();
      }
      break;
    case EventKind::kDisk:
    case EventKind::kPost:
    case EventKind::kOffload: deliver(event.node, event.b, event); break;
    default: network_.on_event(event);
  }
  running_node_ = UINT32_MAX;
}

void World::deliver(uint32_t node, uint64_t incarnation, const Event& input) {
  Process* process = find_process(node, incarnation);
  if (!process) {
    network_.drop_input(input);
    return;
  }
  running_node_ = node;
  process->arrive(input);
}

void World::want_turn(uint32_t node) {
  if (Process* process = machines_[node].process.get()) process->want_turn();
}

bool World::node_up(uint32_t node) const {
  return machines_[node].process && !machines_[node].process->dead();
}

uint64_t World::incarnation_of(uint32_t node) const {
  return machines_[node].process ? machines_[node].process->incarnation() : 0;
}

}  // namespace kahuna::sim
