// The simulated world: machines, their clocks, disks and processes, one network, one thread,
// virtual time, next event first. Built by whoever runs a simulation; the product sees only the
// Host of its process.
//
//   World world(seed, options);
//   NodeHandle n1 = world.add_node("n1");           // a machine; it has no process yet
//   Host& host = world.start(n1);                   // a process on it; build the product on `host`
//   world.run_until(world.now() + 10_s);
//   world.crash(n1, CrashKind::kPower, [&] { product.reset(); });   // then start() again
//
// 1. Same binary, seed, options and calls: the same events, and the same hash() after each.
// 2. Everything runs inside step(), run_until() and in_turn(). Product objects are built in
//    in_turn() or straight after start(), outside of any turn.
// 3. A process ends in this order, and crash() keeps to it: the host goes dead (calls on it do
//    nothing and have no effect on disk or network); the product's objects are destroyed; pending
//    callbacks are destroyed without running; the disk settles what was unsynced; peers may learn.
//    crash() must not be called from inside the turn of that process: use halt() there, and crash()
//    from a task of call_soon().
// 4. A Host stays valid, dead, until the World is destroyed. Product objects must be gone before.
// 5. Every event is folded into the trace (sim/trace.h).
//
// Faults beyond those of the profiles are made by the methods below; sim/fault_plan.h draws them.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/host.h"
#include "sim/sim_clock.h"
#include "sim/sim_disk.h"
#include "sim/sim_network.h"
#include "sim/world_kernel.h"
#include "sim/world_process.h"

namespace kahuna::sim {

struct NodeHandle {
  uint32_t index = UINT32_MAX;
  explicit operator bool() const { return index != UINT32_MAX; }
  friend auto operator<=>(NodeHandle, NodeHandle) = default;
};

struct WorldOptions {
  NetworkProfile network;
  DiskProfile disk;
  ClockProfile clock;
  SchedulerProfile scheduler;
};

struct NodeOptions {
  // A client's machine: its disk never fails, and frames from and to it are never tampered with.
  bool client = false;
  // No fault of a plan touches it.
  bool spared = false;
};

class World final : private Kernel {
 public:
  explicit World(uint64_t seed, WorldOptions options = {});
  ~World() override;

  // `name` is the node's host name in addresses: "n1" is reached at "n1:2073".
  NodeHandle add_node(std::string name, NodeOptions options = {});
  size_t nodes() const { return machines_.size(); }
  const std::string& name(NodeHandle node) const;
  const NodeOptions& options(NodeHandle node) const;
  bool is_client(NodeHandle node) const { return options(node).client; }

  // Starts a process, with one event loop or several (Host::loops). CHECKs that none runs there.
  // Returns the first loop's host.
  Host& start(NodeHandle node, size_t loops = 1);
  // A process runs (maybe paused, maybe halted) on the node.
  bool running(NodeHandle node) const;
  bool paused(NodeHandle node) const;  // or one of its loops
  // The node whose turn it is; UINT32_MAX outside of any.
  uint32_t running_node() const { return running_node_; }
  // How many processes were started on the node; the current one's number.
  uint64_t incarnation(NodeHandle node) const;
  Host& host(NodeHandle node);  // of the running process
  // Runs `task` as a turn of the first loop of the node's process. Nothing happens when it is
  // halted.
  void in_turn(NodeHandle node, Callback<void()> task);

  // The process is dead from this instant, callable from inside its own turn. crash() must follow.
  void halt(NodeHandle node);
  bool halted(NodeHandle node) const;
  // Ends the process; see 3. `destroy` destroys the product's objects.
  void crash(NodeHandle node, CrashKind kind, Callback<void()> destroy = {});
  // Event loops of the running process.
  size_t loops(NodeHandle node) const;
  // SIGSTOP and SIGCONT: inputs queue up, and the clock is sampled after they were collected.
  void pause(NodeHandle node);
  // The thread of one of its loops does not run, until resume().
  void pause_loop(NodeHandle node, size_t loop);
  void resume(NodeHandle node);

  SimDisk& disk(NodeHandle node);
  uint64_t writes_in_flight(NodeHandle node) const;
  // Calls `hook` once, when a write or sync of the running process begins, with how long it will
  // take; inside the process's turn. For crashes aimed at writes.
  void on_next_write(NodeHandle node, Callback<void(Duration)> hook);
  MachineClock& clock(NodeHandle node);
  // Rates change through here, so that armed timers follow.
  void set_clock_rate(NodeHandle node, int64_t ppb);
  void leap_clock(NodeHandle node, Duration by);
  // How far any node's monotonic clock can have come since the run began: it is as if one had been
  // the fastest of them at every moment, and had made all of their leaps. Never less than what one
  // measured.
  Duration fastest_clock() const;
  SimNetwork& network() { return network_; }
  const WorldOptions& world_options() const { return options_; }
  // Turns that took several inputs' time to come.
  uint64_t postponed_turns() const { return Kernel::postponed_turns; }
  // The scheduler's options may be changed at any time.
  SchedulerProfile& scheduler() { return options_.scheduler; }
  // One direction; counted.
  void block(NodeHandle from, NodeHandle to) { network_.block(from.index, to.index); }
  void unblock(NodeHandle from, NodeHandle to) { network_.unblock(from.index, to.index); }

  // True time; no node can read it.
  TrueTime now() const { return Kernel::now; }
  // Runs `task` at that true time, outside of any process. May crash, start and pause nodes.
  EventId call_at(TrueTime at, Callback<void()> task);
  EventId call_soon(Callback<void()> task) { return call_at(now(), std::move(task)); }
  void cancel(EventId task);

  // Runs the next event; false when there is none, or stop() or stop_at() said so.
  bool step();
  // Runs every event up to and including `end`; now() is then `end`, unless stopped before.
  void run_until(TrueTime end);
  // Runs until `done()` holds (asked after every event); false when `end` came first or nothing is
  // left to happen.
  template <class Predicate>
  bool run_until(Predicate done, TrueTime end) {
    while (!done()) {
      if (stopped_ || queue.next_time() > end.nanos()) return false;
      if (!step()) return false;
    }
    return true;
  }
  // No event runs any more.
  void stop() { stopped_ = true; }
  // Stops after the event of that number; 0 = never. For `--until`.
  void stop_at(uint64_t event_number) { stop_at_ = event_number; }
  bool stopped() const { return stopped_; }

  uint64_t seed() const { return Kernel::seed; }
  uint64_t events() const { return Kernel::trace.events(); }
  Hash128 hash() const { return Kernel::trace.hash(); }
  Trace& trace() { return Kernel::trace; }
  // A stream of the harness's own; never shifts the world's.
  RandomStream random(std::string_view domain, uint64_t entity = 0) const {
    return RandomStream(Kernel::seed, domain, entity);
  }
  // "node=… time=… event=… seed=…" of the world that runs on this thread; empty when none does.
  static std::string where();

 private:
  struct Machine {
    std::string name;
    NodeOptions options;
    MachineClock clock;
    std::unique_ptr<SimDisk> disk;
    std::unique_ptr<Process> process;                  // null when none runs
    std::vector<std::unique_ptr<Process>> more_loops;  // of that process: its second and so on
    uint64_t incarnations = 0;
  };

  void deliver(uint32_t node, uint64_t incarnation, const Event& input) override;
  void want_turn(uint32_t node) override;
  bool node_up(uint32_t node) const override;
  uint64_t incarnation_of(uint32_t node) const override;
  // The loop of that id, if its process still runs.
  Process* find_process(uint32_t node, uint64_t id);
  template <class Visit>
  static void each_loop(Machine& machine, Visit visit) {
    if (!machine.process) return;
    visit(*machine.process);
    for (auto& process : machine.more_loops) visit(*process);
  }
  void dispatch(const Event& event);
  void clocks_change(Duration leap);
  Machine& machine(NodeHandle node);
  const Machine& machine(NodeHandle node) const;

  WorldOptions options_;
  std::deque<Machine> machines_;  // processes hold pointers into them
  SimNetwork network_;
  std::vector<std::unique_ptr<Process>> graveyard_;
  std::vector<Callback<void()>> tasks_;
  std::vector<uint32_t> free_tasks_;
  uint64_t stop_at_ = 0;
  bool stopped_ = false;
  Duration fastest_;        // fastest_clock() when a clock was last changed,
  TrueTime fastest_since_;  // which was then
  uint32_t running_node_ = UINT32_MAX;
};

}  // namespace kahuna::sim
