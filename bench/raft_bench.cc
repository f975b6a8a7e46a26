// What consensus itself costs: three replicas in one loop, writes that complete at once, no
// network. "op" is one committed and applied entry on the leader, replicated to and acknowledged by
// both followers, who apply it too.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "kahuna/raft/invariants.h"
#include "kahuna/raft/replica.h"

namespace kahuna::raft {
namespace {

constexpr PartitionId kGroup{1};

class Trio {
 public:
  Trio() {
    for (size_t n = 0; n < 3; ++n) {
      Recovered recovered;
      recovered.hard_state.term = Term(1);
      recovered.commit = recovered.applied = Index(1);
      recovered.configuration.voters = {id(0), id(1), id(2)};
      replicas.push_back(std::make_unique<Replica>(Options(), kGroup, id(n), recovered,
                                                   RandomStream(n, "bench"), now));
    }
    now = replicas[0]->deadline();
    replicas[0]->on_timer(now);
    settle();
  }

  static ReplicaId id(size_t n) { return {NodeId(n + 1), 0}; }
  Replica& leader() { return *replicas[0]; }

  // Until nobody has anything to do.
  void settle() {
    for (bool busy = true; busy;) {
      busy = false;
      for (auto& replica : replicas) {
        if (!replica->has_ready()) continue;
        busy = true;
        turn(*replica);
      }
    }
  }

  void turn(Replica& replica) {
    Ready ready = replica.take_ready();
    for (Message& message : ready.messages)
      replicas[message.to.node.value() - 1]->receive(now, std::move(message));
    if (ready.persist) replica.persisted(now, ready.persist->id);
    if (!ready.committed.empty()) replica.applied(ready.committed.back().index);
    if (checker) violated |= checker->observe(replica).has_value();
  }

  void release() {
    for (auto& replica : replicas) replica->release(replica->status().applied);
  }

  Time now = Time::from_nanos(0);
  InvariantChecker* checker = nullptr;  // looks after every turn when set
  bool violated = false;
  std::vector<std::unique_ptr<Replica>> replicas;
};

void commit(benchmark::State& state) {
  Trio trio;
  Payload payload(std::string(static_cast<size_t>(state.range(1)), 'x'));
  int64_t batch = state.range(0), operations = 0;
  for (auto _ : state) {
    for (int64_t i = 0; i < batch; ++i)
      benchmark::DoNotOptimize(trio.leader().propose(trio.now, EntryKind::kCommand, payload));
    trio.settle();
    operations += batch;
    if ((operations & 1023) < batch) {
      trio.now = trio.leader().deadline();
      trio.leader().on_timer(trio.now);
      trio.settle();
      trio.release();
    }
  }
  state.SetItemsProcessed(operations);
}
BENCHMARK(commit)->ArgsProduct({{1, 16, 128}, {100}})->ArgNames({"batch", "bytes"});

// A round of reads confirmed by both followers.
void read(benchmark::State& state) {
  Trio trio;
  ReadToken token = 0;
  for (auto _ : state) {
    for (int64_t i = 0; i < state.range(0); ++i)
      benchmark::DoNotOptimize(trio.leader().read(trio.now, ++token));
    trio.settle();
  }
  state.SetItemsProcessed(static_cast<int64_t>(token));
}
BENCHMARK(read)->Arg(1)->Arg(16)->ArgName("reads");

// One beat of an idle group: two heartbeats, two answers.
void heartbeat(benchmark::State& state) {
  Trio trio;
  for (auto _ : state) {
    trio.now = trio.leader().deadline();
    trio.leader().on_timer(trio.now);
    trio.settle();
  }
}
BENCHMARK(heartbeat);

// A follower's part of it: receive and answer.
void heartbeat_follower(benchmark::State& state) {
  Trio trio;
  Message message;
  message.kind = MessageKind::kHeartbeat;
  message.group = kGroup;
  message.from = Trio::id(0);
  message.to = Trio::id(1);
  message.term = trio.leader().term();
  message.commit = trio.leader().status().commit;
  for (auto _ : state) {
    ++message.round;
    trio.replicas[1]->receive(trio.now, message);
    benchmark::DoNotOptimize(trio.replicas[1]->take_ready());
  }
}
BENCHMARK(heartbeat_follower);

// What a driver pays to look at a group that has nothing to do.
void idle(benchmark::State& state) {
  Trio trio;
  for (auto _ : state) {
    benchmark::DoNotOptimize(trio.leader().has_ready());
    benchmark::DoNotOptimize(trio.leader().deadline());
    trio.leader().on_timer(trio.now);
  }
}
BENCHMARK(idle);

// The invariant checker on a replica that did not change, and on all three while they commit.
void observe_unchanged(benchmark::State& state) {
  Trio trio;
  InvariantChecker checker;
  for (auto& replica : trio.replicas) (void)checker.observe(*replica);
  for (auto _ : state) benchmark::DoNotOptimize(checker.observe(trio.leader()));
}
BENCHMARK(observe_unchanged);

void commit_observed(benchmark::State& state) {
  Trio trio;
  InvariantChecker checker;
  trio.checker = &checker;
  Payload payload(std::string(100, 'x'));
  int64_t operations = 0;
  for (auto _ : state) {
    (void)trio.leader().propose(trio.now, EntryKind::kCommand, payload);
    trio.settle();
    if (++operations % 1024 != 0) continue;
    trio.now = trio.leader().deadline();
    trio.leader().on_timer(trio.now);
    trio.settle();
    trio.release();
  }
  if (trio.violated) state.SkipWithError("violation");
}
BENCHMARK(commit_observed);

void replica_memory(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(sizeof(Replica));
  state.counters["bytes"] = sizeof(Replica);
}
BENCHMARK(replica_memory);

}  // namespace
}  // namespace kahuna::raft
