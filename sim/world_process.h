// One incarnation of a simulated process: its event loop, and the Host it is given. Private to
// sim/world*.cc.
//
// A turn: inputs, then now() is sampled, then their callbacks, due timers, posted tasks, deferred
// tasks, then what was written to streams is sent. By default every input has a turn of its own;
// by draw a turn is postponed a little, and takes everything that arrived meanwhile.
//
// A halted process is dead but still there: every call on its host does nothing, and nothing of it
// runs any more. bury() then forgets what it had pending.
//
// A process with several event loops is as many of these. They share the disk, the clock and their
// end, and hand each other tasks, which arrive after a drawn delay and in order; the network is the
// first one's.
#pragma once

#include <string>
#include <vector>

#include "runtime/host.h"
#include "sim/sim_clock.h"
#include "sim/sim_disk_host.h"
#include "sim/sim_network.h"
#include "sim/world_kernel.h"

namespace kahuna::sim {

struct SchedulerProfile {
  PerMillion batch = 0;  // inputs that postpone the turn
  Duration batch_max = Duration::micros(200);
  bool fifo = false;  // posted tasks run in order instead of in drawn order
  uint32_t tasks_per_turn_max = 4096;
  Duration offload_min = Duration::micros(20), offload_max = Duration::micros(400);
  // A task for another loop of the node; such a part of them takes up to post_tail_max: that loop's
  // thread did not run.
  Duration post_min = Duration::nanos(200), post_max = Duration::micros(20);
  PerMillion post_tail = 2000;
  Duration post_tail_max = Duration::millis(5);
};

class Process final : public Scheduler, public Offload, public Loops {
 public:
  struct Machine {
    uint32_t node;
    std::string name;
    MachineClock* clock;
    SimDisk* disk;
  };
  Process(Kernel& kernel, SimNetwork& network, const SchedulerProfile& profile,
          const Machine& machine, uint64_t incarnation, size_t loop = 0);
  // The loops of one process, [0] being the first. Only when there are several.
  static void join(const std::vector<Process*>& loops);

  Host& host() { return host_; }
  SimClock& clock() { return clock_; }
  SimDiskHost& disk() { return disk_; }
  uint64_t incarnation() const { return incarnation_; }
  uint64_t id() const { return id_; }
  bool in_turn() const { return in_turn_; }
  bool dead() const { return dead_; }
  bool paused() const { return paused_; }

  void post(Callback<void()> task) override;
  void defer(Callback<void()> task) override;
  void run(Callback<void()> work, Callback<void()> done) override;

  // Loops.
  size_t count() const override { return loops_.size(); }
  size_t self() const override { return loop_of_process(id_); }
  Host& host(size_t loop) override { return loops_[loop]->host(); }
  bool post(size_t loop, Callback<void()>&& task) override;

  // An input has reached the process.
  void arrive(const Event& input);
  void wake_up();
  // A postponed turn is due.
  void turn_due();
  void set_paused(bool paused);
  // Makes sure that a turn ends after this.
  void want_turn() {
    if (!in_turn_ && !paused_ && !turn_pending_ && !dead_) postpone_turn(Duration());
  }
  // Runs `task` as a turn of its own.
  void run_in_turn(Callback<void()> task);
  void halt();
  void bury();

 private:
  struct Offloaded {
    Callback<void()> work, done;
  };
  void run_turn(const Event* input);
  void run_input(const Event& input);
  void run_posted();
  void postpone_turn(Duration by);
  bool postpones();

  Kernel& kernel_;
  SimNetwork& network_;
  const SchedulerProfile& profile_;
  const uint32_t node_;
  const uint64_t incarnation_;
  const uint64_t id_;  // with the loop in it
  SimClock clock_;
  SimDiskHost disk_;
  SimNetworkHost network_host_;
  Host host_;
  RandomStream random_;
  bool in_turn_ = false, dead_ = false, paused_ = false, turn_pending_ = false, woke_up_ = false;
  std::vector<Event> inbox_;
  std::vector<Callback<void()>> posted_;
  std::vector<Callback<void()>> deferred_;
  std::vector<Offloaded> offloaded_;
  std::vector<uint32_t> free_offloaded_;
  std::vector<Process*> loops_;             // of this process
  std::vector<TrueTime> last_post_;         // to each, when the last task arrives
  std::vector<Callback<void()>> arriving_;  // tasks of other loops on their way here
  std::vector<uint32_t> free_arriving_;
};

}  // namespace kahuna::sim
