// Reads, and what clients do when they hear nothing.
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

// The leader is cut off from its peers, not from its clients, who go on reading from it.
void cut_off_leader_is_read(Stage& s) {
  size_t old = s.settle();
  uint64_t term = s.term(old), asked = s.asked();
  s.isolate(old);
  s.until("clients ask while the cut-off leader still leads",
          [&] { return s.leads(old) && s.asked() > asked + 1; });
  s.must("another leads", [&] {
    auto next = s.leader_but(old);
    return next && s.term(*next) > term;
  });
  uint64_t before = s.writes_done();
  s.must("it serves", [&] { return s.writes_done() > before + 20; });
  s.heal();
  s.run(Duration::seconds(2));
}

// A deposed leader reaches only a follower that has moved on to the new term: what that follower
// answers must not confirm the old one's leadership.
void bridge_to_a_deposed_leader(Stage& s) {
  bool stale = false;
  for (int round = 0; round < 60 && !stale && s.going(); ++round) {
    size_t old = s.settle();
    uint64_t term = s.term(old);
    s.isolate(old);
    bool led = s.happens([&] { return s.leader_but(old).has_value(); }, Duration::seconds(20));
    size_t next = s.leader_but(old).value_or(old);
    if (led && s.leads(old) && s.term(old) == term) {
      uint64_t before = s.writes_done(), asked = s.asked();
      s.mend(old, 3 - old - next);
      stale = s.happens([&] { return s.writes_done() > before && s.asked() > asked + 5; },
                        Duration::seconds(2));
      s.run(Duration::seconds(1));
    }
    s.heal();
  }
  s.prove("a leader that did not know of its successor reached the successor's follower", stale);
  s.settle();
}

// A leader stops with reads on their way to it; others elect and write; it wakes up and finds the
// reads, and its clock where it was put.
void paused_leader_is_read(Stage& s) {
  for (int round = 0; round < 4 && s.going(); ++round) {
    size_t old = s.settle();
    uint64_t term = s.term(old);
    s.pause(old);
    uint64_t asked = s.asked();
    s.until("another leads and clients have asked meanwhile", [&] {
      auto next = s.leader_but(old);
      return next && s.term(*next) > term && s.asked() > asked + 10;
    });
    uint64_t before = s.writes_done();
    s.must("it writes", [&] { return s.writes_done() > before + 10; });
    s.prove("the paused leader knows nothing of it", s.leads(old) && s.term(old) == term);
    s.resume(old);
    s.run(Duration::millis(500));
  }
}

// A leader stops while it has a lease, with requests on their way to it; others elect and write.
// The turn in which it finds the requests is at the time when it woke up, and there is no lease any
// more.
void paused_lease(Stage& s) {
  int met = 0;
  for (int round = 0; round < 8 && s.going(); ++round) {
    const size_t old = s.settle();
    const uint64_t term = s.term(old), reads = s.probe("read_needs_no_round");
    s.until("the leader answers by its lease",
            [&] { return s.probe("read_needs_no_round") > reads + 3; });
    if (!s.leads(old)) continue;  // it gave way
    s.pause(old);
    for (size_t other : s.others(old)) s.cut(other, old);  // nobody tells it who leads now
    s.cut_clients(old, 1);                                 // and all but one write elsewhere
    const uint64_t written = s.writes_done();
    s.must("another leads and writes",
           [&] { return s.leader_but(old) && s.writes_done() > written + 10; });
    const uint64_t asked = s.asked();
    s.until("clients ask on", [&] { return s.asked() > asked + 20; });
    met += s.leads(old) && s.term(old) == term;
    s.resume(old);
    s.run(Duration::millis(300));
    s.heal();
  }
  s.prove("leaders under a lease were paused, and know nothing of the next", met >= 3);
}

// The first reads of a new leader wait for an entry of its own term, and for the state.
void first_reads(Stage& s) {
  s.repeat_until_hit("read_waits_for_the_state", 60, [&] {
    for (int i = 0; i < 4; ++i) {
      size_t old = s.settle();
      s.crash(old, CrashKind::kProcess);
      uint64_t before = s.writes_done();
      s.must("a new leader serves",
             [&] { return s.leader_but(old) && s.writes_done() > before + 5; });
      s.start(old);
    }
  });
}

// Nodes die and come back under clients that come and go as well.
void clients_meet_restarts(Stage& s) {
  uint64_t before = s.writes_done();
  s.repeat_until_hit(
      "client_connection_lost", 30,
      [&] {
        for (int i = 0; i < 4; ++i) {
          size_t node = s.random().below(s.nodes());
          s.crash(node, CrashKind::kProcess);
          s.run(Duration::millis(static_cast<int64_t>(s.random().between(1, 400))));
          s.start(node);
          s.run(Duration::millis(static_cast<int64_t>(s.random().between(1, 400))));
        }
      },
      3);
  s.must("the cluster serves on", [&] { return s.writes_done() > before + 20; });
}

// Answers do not reach the clients, who ask again under the same operation id.
void answers_lost(Stage& s) {
  s.repeat_until_hit(
      "partition_replays_operation", 100,
      [&] {
        size_t lead = s.settle();
        s.cut_clients(lead);
        s.run(Duration::millis(600));
        s.heal();
        s.run(Duration::millis(300));
      },
      3);
}

// Connections between nodes break under forwarded requests; every error is one a client can act on.
void broken_connections(Stage& s) {
  s.repeat_until_hit("peer_lost_with_requests_forwarded", 60, [&] {
    s.cut_clients(s.settle());  // who can reach followers only: their requests are forwarded
    for (int i = 0; i < 20; ++i) {
      const bool half_open = s.random().chance(1, 3);
      s.reset_connection(s.random().below(s.nodes()), half_open);
      s.run(Duration::millis(25));
    }
    s.heal();
    s.run(Duration::millis(200));
  });
  uint64_t before = s.writes_done();
  s.must("the cluster serves on", [&] { return s.writes_done() > before + 20; });
}

// Wall clocks jump by up to an hour, both ways, all the time.
void wall_clocks_jump(Stage& s) {
  for (int round = 0; round < 60 && s.going(); ++round) {
    size_t node = s.random().below(s.nodes());
    auto seconds = static_cast<int64_t>(s.random().between(1, 3600));
    s.clock(node).step_wall(Duration::seconds(s.random().chance(1, 2) ? seconds : -seconds));
    s.run(Duration::millis(200));
    if (round % 20 == 19) {
      size_t old = s.settle();
      s.crash(old, CrashKind::kProcess);
      s.must("a failover among them", [&] { return s.leader_but(old).has_value(); });
      s.start(old);
    }
  }
}

// Clients reach followers only: what they ask is forwarded, and answered as if they had asked the
// leader.
void asked_elsewhere(Stage& s) {
  for (int round = 0; round < 6 && s.going(); ++round) {
    size_t lead = s.settle();
    s.cut_clients(lead);
    s.run(Duration::millis(1500));
    uint64_t before = s.writes_done();
    s.must("writes are done that no client could bring to that leader",
           [&] { return s.writes_done() > before + 20; });
    if (s.random().chance(1, 2)) s.hand_over(1, s.others(lead)[s.random().below(2)]);
    s.heal();
    s.run(Duration::millis(300));
  }
}

// Only the network fails; whoever is promoted has journalled more than it has applied, and serves
// no revision older than one that was seen.
void promoted_behind(Stage& s) {
  int behind = 0;
  for (int round = 0; round < 20 && s.going() && (round < 6 || behind < 3); ++round) {
    size_t old = s.settle();
    s.isolate(old);
    bool led = false;
    s.must("another leads", [&] {
      auto next = s.leader_but(old);
      if (next && !led) {
        led = true;
        behind += s.status(*next).applied.value() < s.last(*next);
      }
      return led;
    });
    uint64_t before = s.writes_done();
    s.must("it serves", [&] { return s.writes_done() > before + 5; });
    s.heal();
  }
  s.prove("leaders began behind their journals", behind >= 3);
}

// All that clients are connected to is cut off from the others, which have just started. They go on
// to these.
void connected_to_no_use(Stage& s) {
  s.settle();
  const size_t first = s.random().below(s.nodes());
  const size_t cut_off[] = {first, (first + 1) % s.nodes()};
  std::vector<size_t> others;
  for (size_t node = 0; node < s.nodes(); ++node)
    if (node != cut_off[0] && node != cut_off[1]) others.push_back(node);
  for (size_t node : cut_off) s.isolate(node);
  for (size_t node : others) s.crash(node, CrashKind::kProcess);
  s.run(Duration::seconds(1));
  for (size_t node : others) s.start(node);
  s.must("one of them leads", [&] {
    return std::any_of(others.begin(), others.end(), [&](size_t node) { return s.leads(node); });
  });
  const uint64_t before = s.writes_done();
  s.must(
      "clients find them", [&] { return s.writes_done() > before + 20; }, Duration::seconds(20));
}

constexpr Scenario kScenarios[] = {
    {"C-1", "clients are connected to nodes that are cut off: they go on to the others",
     "nodes=5,rate=100", "drift", connected_to_no_use},
    {"H-R31", "clients reach followers only: what they ask is forwarded", "rate=300,clients=4",
     "delay", asked_elsewhere},
    {"H-K13", "only the network fails: leaders begin behind their journals, and nothing goes back",
     "rate=500,save-entries=1,unsaved-factor=1,fault.stall-engine.every=300ms,fault.span_max=400ms",
     "stall-engine", promoted_behind},
    {"H-R36", "a leader stops after it confirmed a read and wakes up deposed", "rate=300",
     "drift,batching", paused_leader_is_read},
    {"H-K20", "a leader cut off from its peers is asked for reads by its clients",
     "rate=300,mix.get=60", "delay,drift", cut_off_leader_is_read},
    {"H-K20-bridge", "a deposed leader reaches only a follower that has moved on",
     "rate=1000,mix.get=60,processes=40,clients=5", "delay", bridge_to_a_deposed_leader},
    {"H-K22", "connections between nodes break under forwarded requests",
     "rate=1000,clients=5,processes=40", "half-open,random-reset", broken_connections},
    {"H-K24", "clients meet restarting nodes: every error says what may be done",
     "rate=300,replace-clients=on,replace-every=500ms", "reset,half-open", clients_meet_restarts},
    {"H-K35", "answers are lost and clients ask again: nothing happens twice",
     "rate=200,mix.set=60,timeout=8s,attempt-timeout=200ms", "delay,drift", answers_lost},
    {"H-K39", "wall clocks jump by up to an hour, both ways, across failovers", "rate=100",
     "skew,drift,clock-rate", wall_clocks_jump},
    {"T-18", "a leader under a lease is paused: its turn finds requests and a clock that moved",
     "reads=lease,clock-drift-ppm-max=200000,rate=100,processes=100,mix.get=60,quiesce=off,timeout="
     "6s,"
     "attempt-timeout=3s,snapshot-part-bytes=262144",
     "drift", paused_lease},
    {"T-20", "the first reads of a new leader wait for its own term and for the state",
     "rate=300,mix.get=60,save-entries=1,unsaved-factor=1,fault.stall-engine.every=500ms,fault."
     "span_max=500ms",
     "stall-engine,batching", first_reads},
};

}  // namespace

std::span<const Scenario> read_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
