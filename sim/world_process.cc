#include "sim/world_process.h"

#include <algorithm>
#include <utility>

#include "runtime/probe.h"

namespace kahuna::sim {

Process::Process(Kernel& kernel, SimNetwork& network, const SchedulerProfile& profile,
                 const Machine& machine, uint64_t incarnation, size_t loop)
    : kernel_(kernel),
      network_(network),
      profile_(profile),
      node_(machine.node),
      incarnation_(incarnation),
      id_(process_id(incarnation, loop)),
      clock_(kernel, *machine.clock, machine.node, id_),
      disk_(kernel, *machine.disk, machine.node, machine.name, id_),
      network_host_(network, machine.node, incarnation),
      random_(kernel.seed, "sched", uint64_t{machine.node} << 32 | id_) {
  host_ = {&clock_, this, &disk_, &network_host_, this, random_.split("host").next()};
}

void Process::join(const std::vector<Process*>& loops) {
  for (Process* process : loops) {
    process->loops_ = loops;
    process->last_post_.resize(loops.size());
    process->host_.loops = process;
  }
}

bool Process::post(size_t loop, Callback<void()>&& task) {
  if (dead_) return true;
  Process& to = *loops_[loop];
  uint32_t slot;
  if (to.free_arriving_.empty()) {
    slot = static_cast<uint32_t>(to.arriving_.size());
    to.arriving_.emplace_back();
  } else {
    slot = to.free_arriving_.back();
    to.free_arriving_.pop_back();
  }
  to.arriving_[slot] = std::move(task);
  Duration delay = happens(random_, profile_.post_tail)
                       ? draw(random_, profile_.post_max, profile_.post_tail_max)
                       : draw(random_, profile_.post_min, profile_.post_max);
  last_post_[loop] = std::max(kernel_.now + delay, last_post_[loop]);
  kernel_.schedule(last_post_[loop], {EventKind::kPost, node_, slot, to.id_});
  return true;
}

void Process::post(Callback<void()> task) {
  if (dead_) return;
  posted_.push_back(std::move(task));
  want_turn();
}

void Process::defer(Callback<void()> task) {
  if (dead_) return;
  deferred_.push_back(std::move(task));
  want_turn();
}

void Process::run(Callback<void()> work, Callback<void()> done) {
  if (dead_) return;
  uint32_t slot;
  if (free_offloaded_.empty()) {
    slot = static_cast<uint32_t>(offloaded_.size());
    offloaded_.emplace_back();
  } else {
    slot = free_offloaded_.back();
    free_offloaded_.pop_back();
  }
  offloaded_[slot] = {std::move(work), std::move(done)};
  kernel_.schedule(kernel_.now + draw(random_, profile_.offload_min, profile_.offload_max),
                   {EventKind::kOffload, node_, slot, id_});
}

void Process::postpone_turn(Duration by) {
  turn_pending_ = true;
  kernel_.schedule(kernel_.now + by, {EventKind::kTurn, node_, id_});
}

bool Process::postpones() {
  if (!happens(random_, profile_.batch)) return false;
  ++kernel_.postponed_turns;
  postpone_turn(draw(random_, Duration::nanos(100), profile_.batch_max));
  return true;
}

void Process::arrive(const Event& input) {
  if (dead_) {
    network_.drop_input(input);
    return;
  }
  CHECK(!in_turn_);
  if (paused_ || turn_pending_ || postpones())
    inbox_.push_back(input);
  else
    run_turn(&input);
}

void Process::wake_up() {
  if (dead_) return;
  clock_.woke();
  if (paused_ || turn_pending_) return;
  if (!clock_.due())
    clock_.arm();
  else if (!postpones())
    run_turn(nullptr);
}

void Process::turn_due() {
  turn_pending_ = false;
  if (!dead_ && !paused_) run_turn(nullptr);
}

void Process::set_paused(bool paused) {
  if (dead_ || paused_ == paused) return;
  CHECK(!in_turn_);
  paused_ = paused;
  woke_up_ = !paused;
  if (!paused && !turn_pending_) postpone_turn(Duration());
}

void Process::run_in_turn(Callback<void()> task) {
  CHECK(!in_turn_);
  if (dead_) return;
  in_turn_ = true;
  clock_.begin_turn();
  task();
  in_turn_ = false;
  clock_.end_turn();
  if (!dead_) run_turn(nullptr);
}

void Process::run_turn(const Event* input) {
  in_turn_ = true;
  // As if the time were taken before the inputs were, and the pause came in between.
  const bool before = std::exchange(woke_up_, false) && MUTANT(time_taken_before_inputs);
  clock_.begin_turn(before);
  if (input) run_input(*input);
  if (!inbox_.empty()) {
    std::vector<Event> inputs;
    inputs.swap(inbox_);
    for (const Event& event : inputs) {
      if (dead_)
        network_.drop_input(event);
      else
        run_input(event);
    }
    inputs.clear();
    if (inbox_.empty()) inbox_.swap(inputs);
  }
  Callback<void()> task;
  while (!dead_ && clock_.take_due(task)) {
    task();
    task.reset();
  }
  run_posted();
  for (size_t i = 0; i < deferred_.size() && !dead_; ++i) {
    Callback<void()> next = std::move(deferred_[i]);
    next();
  }
  if (!dead_) {
    deferred_.clear();
    if (id_ == incarnation_) network_.flush(node_);
  }
  in_turn_ = false;
  clock_.end_turn();
  if (!dead_ && !posted_.empty() && !turn_pending_) postpone_turn(Duration::micros(1));
}

void Process::run_posted() {
  for (uint32_t ran = 0; !posted_.empty() && !dead_ && ran < profile_.tasks_per_turn_max;) {
    if (profile_.fifo || posted_.size() == 1) {
      // Those posted meanwhile come after all of these.
      std::vector<Callback<void()>> batch;
      batch.swap(posted_);
      for (size_t i = 0; i < batch.size(); ++i, ++ran) {
        if (dead_) return;
        batch[i]();
        batch[i].reset();
      }
      batch.clear();
      if (posted_.empty()) posted_.swap(batch);
    } else {
      size_t pick = random_.below(posted_.size());
      Callback<void()> task = std::move(posted_[pick]);
      if (pick + 1 != posted_.size()) posted_[pick] = std::move(posted_.back());
      posted_.pop_back();
      task();
      ++ran;
    }
  }
}

void Process::run_input(const Event& input) {
  switch (input.kind) {
    case EventKind::kDisk: disk_.complete(input); break;
    case EventKind::kOffload: {
      uint32_t slot = static_cast<uint32_t>(input.a);
      Offloaded job = std::move(offloaded_[slot]);
      free_offloaded_.push_back(slot);
      if (job.work) job.work();
      if (job.done && !dead_) job.done();
      break;
    }
    case EventKind::kPost: {
      uint32_t slot = static_cast<uint32_t>(input.a);
      Callback<void()> task = std::move(arriving_[slot]);
      free_arriving_.push_back(slot);
      task();
      break;
    }
    default: network_.run_input(input);
  }
}

void Process::halt() {
  if (dead_) return;
  dead_ = true;
  if (id_ == incarnation_) network_.kill(node_, incarnation_);
  disk_.kill();
}

void Process::bury() {
  CHECK(dead_ && !in_turn_);
  clock_.kill();
  for (const Event& event : inbox_) network_.drop_input(event);
  inbox_.clear();
  // What a destroyed callback owns may call back into the host, which ignores it.
  auto posted = std::move(posted_);
  auto deferred = std::move(deferred_);
  auto offloaded = std::move(offloaded_);
  auto arriving = std::move(arriving_);
  posted.clear();
  deferred.clear();
  offloaded.clear();
  arriving.clear();
  disk_.settle();
}

}  // namespace kahuna::sim
