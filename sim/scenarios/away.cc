// Nodes that were away for long, and threads that hang.
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

// One thread of a node hangs: its partitions are led elsewhere soon, although the node answers, and
// leads what its other thread has.
void wedged_group(Stage& s) {
  bool idle = s.random().chance(1, 2);
  size_t old = s.settle(1);
  s.settle(2);
  uint64_t term = s.term(old, 1);
  if (idle) {
    s.stop_clients();
    s.run(Duration::seconds(20));
  }
  old = s.leader(1).value_or(old);
  term = s.term(old, 1);
  s.pause_loop(old, 1);
  s.must(
      "another node leads the partition of the thread that hangs",
      [&] {
        for (size_t node : s.others(old))
          if (s.leads(node, 1) && s.term(node, 1) > term) return true;
        return false;
      },
      Duration::seconds(20));
  s.prove("the node itself lives", s.hosts(old, 2));
  s.run(Duration::seconds(2));
  s.resume(old);
  s.must("the thread that hung follows", [&] { return !s.leads(old, 1); });
}

// A node is away for longer than any patience; the log it lacks is gone by then. It is still a
// member.
void away_for_long(Stage& s) {
  size_t lead = s.settle();
  size_t away = s.others(lead)[s.random().below(2)];
  uint64_t had = s.last(away);
  s.crash(away);
  s.run(Duration::seconds(130));
  auto now = s.leader();
  s.must("the others serve without it", now && s.commit(*now) > had + 100);
  s.start(away);
  s.must("it takes part again", [&] {
    auto leader = s.leader();
    return leader && s.hosts(away) && s.status(away).applied.value() + 20 > s.commit(*leader);
  });
  size_t other =
      s.others(away)[0] == s.leader().value_or(0) ? s.others(away)[1] : s.others(away)[0];
  s.crash(other);
  uint64_t before = s.writes_done();
  s.must("and makes a majority", [&] { return s.writes_done() > before + 20; });
}

constexpr Scenario kScenarios[] = {
    {"H-R26", "a node is away for minutes: it is still a member, and catches up",
     "rate=50,log-keep-bytes=0,log-keep-entries=100,flush-interval=1s", "drift", away_for_long},
    {"H-R29-thread", "one thread of a live node hangs: what it led is led by others",
     "groups=2,loops=2,loops-vary=off,quiesce=soon,sign-of-life-timeouts=2,quiet-probe-timeouts=5",
     "drift", wedged_group},
};

}  // namespace

std::span<const Scenario> away_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
