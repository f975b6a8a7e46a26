// Who leads: votes, terms, founding.
#include <algorithm>
#include <map>

#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

using raft::Message;
using raft::MessageKind;

bool grants(const Message& m) {
  return m.kind == MessageKind::kVoteReply && !m.rejected;
}

// The voter loses power in the instant its vote leaves, and is soon asked again.
void power_loss_after_vote(Stage& s) {
  size_t old = s.settle();
  size_t voter = s.nodes();
  s.on_message([&](size_t node, const Message& m) {
    if (voter < s.nodes() || !grants(m) || m.group.value() != 1) return;
    voter = node;
    s.soon([&s, node] { s.crash(node); });
  });
  s.crash(old);
  s.until("a voter lost power just after it voted", [&] { return voter < s.nodes(); });
  s.run(Duration::millis(1));
  if (voter < s.nodes()) s.start(voter);
  s.start(old);
  uint64_t before = s.writes_done();
  s.must("the cluster serves again", [&] { return s.leader() && s.writes_done() > before + 5; });
}

// Everybody starts at the same instant, again and again, until two ask for votes in one term.
void split_votes(Stage& s) {
  std::map<std::pair<uint64_t, uint64_t>, std::set<size_t>> candidates;  // by group, term
  bool split = false;
  s.on_message([&](size_t node, const Message& m) {
    if (m.kind != MessageKind::kVote) return;
    auto& those = candidates[{m.group.value(), m.term.value()}];
    those.insert(node);
    split |= those.size() > 1;
  });
  for (int round = 0; round < 150 && !split && s.going(); ++round) {
    for (size_t node = 0; node < s.nodes(); ++node) s.crash(node, CrashKind::kProcess);
    for (size_t node = 0; node < s.nodes(); ++node) s.start(node);
    for (uint64_t group = 1; group <= 8; ++group)
      s.must("a leader is elected in bounded time", [&] { return s.leader(group).has_value(); });
  }
  s.prove("two candidates met in one term", split);
}

// A leader that was cut off comes back to a term it has not heard of, and takes it from a refusal.
void stale_leader_learns(Stage& s) {
  s.repeat_until_hit("raft_answers_stale_sender", 20, [&] {
    size_t old = s.settle();
    s.isolate(old);
    s.until("another leads", [&] { return s.leader_but(old).has_value(); });
    size_t next = s.leader_but(old).value_or(0);
    s.heal();
    s.must("the old leader takes the new term",
           [&] { return s.term(old) >= s.term(next) && !s.leads(old); });
  });
}

// Founders that cannot see each other found nothing by themselves.
void founding_apart(Stage& s) {
  for (size_t node = 0; node < s.nodes(); ++node) s.isolate(node);
  s.run(Duration::seconds(5));
  bool founded = false;
  for (size_t node = 0; node < s.nodes(); ++node) founded |= s.leader(0) || s.leader(1);
  s.must("no node founded a cluster alone", !founded);
  s.heal();
  s.must("together they do", [&] { return s.leader(0) && s.leader(1); });
  s.settle(0);
  s.settle(1);
}

void founding_under_churn(Stage& s) {
  int early = 0;
  for (int round = 0; round < 200 && (round < 12 || early < 3) && s.going(); ++round) {
    size_t node = s.random().below(s.nodes());
    early += !s.hosts(node);
    s.crash(node, CrashKind::kProcess);
    s.run(Duration::millis(static_cast<int64_t>(s.random().between(1, 30))));
    s.start(node);
    s.run(Duration::micros(int64_t{100} << s.random().below(10)));
  }
  s.prove("nodes ended before they had booted", early >= 2);
  s.must("the cluster is founded", [&] { return s.leader(0) && s.leader(1); });
  s.settle(0);
  s.settle(1);
}

void one_node(Stage& s) {
  size_t only = s.settle();
  for (int round = 0; round < 3; ++round) {
    uint64_t before = s.writes_done();
    s.crash(only);
    s.run(Duration::millis(200));
    s.start(only);
    s.must("it serves again, alone", [&] { return s.writes_done() > before + 5; });
  }
}

// A cluster of one node, down and up again as it pleases, lets another in: it needs that one's word
// from then on, and gets it. Either may fail.
void one_node_and_another(Stage& s) {
  const size_t only = s.settle(), other = 1 - only;
  const NodeId before = s.member(other);
  s.remove(other, false, Coming::kWaits);
  s.must(
      "one node is all there is",
      [&] {
        return s.leads(only) && s.leads(only, kMeta) &&
               s.status(only).configuration->voters.size() == 1 &&
               s.status(only, kMeta).configuration->voters.size() == 1;
      },
      Duration::seconds(60));
  const uint64_t written = s.writes_done();
  s.crash(only);
  s.run(Duration::millis(static_cast<int64_t>(s.random().below(500))));
  s.start(only);
  s.must(
      "it serves alone", [&] { return s.writes_done() > written + 5; }, Duration::seconds(30));
  s.settle_members();
  s.prove("another came", s.member(other) != before && s.votes(s.member(other)));
  const size_t fails = s.random().below(2);
  s.crash(fails);
  s.run(Duration::seconds(2));
  s.start(fails);
  const uint64_t again = s.writes_done();
  s.must(
      "both serve", [&] { return s.writes_done() > again + 5; }, Duration::seconds(30));
}

// Four replicas: a majority is three.
void even_cluster(Stage& s) {
  size_t lead = s.settle();
  std::vector<size_t> rest = s.others(lead);
  s.crash(rest[0]);
  uint64_t before = s.writes_done();
  s.must("three of four serve", [&] { return s.writes_done() > before + 5; });
  s.crash(rest[1]);
  s.run(Duration::seconds(8));
  uint64_t stuck = s.writes_done();
  s.run(Duration::seconds(3));
  s.must("two of four do not", s.writes_done() == stuck);
  s.start(rest[0]);
  s.must("three of four serve again", [&] { return s.writes_done() > stuck + 5; });
}

// Every node reaches a majority, no two the same one; the leader is held up until another is
// elected, over nodes that still hear the old one.
void majority_ring(Stage& s) {
  size_t old = 0;
  uint64_t term = 0;
  bool led = false;
  // Those whose logs are longest may not be those who reach three: then it is tried again.
  for (int round = 0; round < 20 && !led && s.going(); ++round) {
    old = s.settle();
    term = s.term(old);
    for (size_t node = 0; node < s.nodes(); ++node) {
      s.cut(node, (node + 2) % s.nodes());
      s.cut((node + 2) % s.nodes(), node);
    }
    s.pause(old);
    led = s.happens([&] { return s.leader_but(old).has_value(); }, Duration::seconds(20));
    if (led) break;
    s.resume(old);
    s.heal();
    s.run(Duration::millis(500));
  }
  s.prove("another led within the ring", led);
  s.prove("the old leader does not know", s.leads(old) && s.term(old) == term);
  s.resume(old);
  s.run(Duration::seconds(5));
  uint64_t before = s.writes_done();
  s.heal();
  s.must("the cluster serves", [&] { return s.writes_done() > before + 5; });
}

// Timers run on monotonic clocks: wall clocks an hour off stop no failover.
void stepped_clocks(Stage& s) {
  for (int round = 0; round < 4 && s.going(); ++round) {
    size_t old = s.settle();
    for (size_t node = 0; node < s.nodes(); ++node) {
      int64_t hours = static_cast<int64_t>(s.random().below(5)) - 2;
      s.clock(node).step_wall(Duration::seconds(3600 * hours));
    }
    s.crash(old, CrashKind::kProcess);
    s.must(
        "a failover among wall clocks that are hours apart",
        [&] { return s.leader_but(old).has_value(); }, Duration::seconds(20));
    s.start(old);
  }
  s.settle();
}

// A new leader whose wall clock is behind: stamps must not repeat.
void stamps_over_failover(Stage& s) {
  for (int round = 0; round < 4 && s.going(); ++round) {
    size_t old = s.settle();
    for (size_t node : s.others(old)) s.clock(node).step_wall(Duration::seconds(-3600));
    uint64_t before = s.writes_done();
    s.crash(old, CrashKind::kProcess);
    s.must("a leader an hour behind writes",
           [&] { return s.leader_but(old) && s.writes_done() > before + 20; });
    s.start(old);
  }
}

// Failover after failover among five: votes are split now and then, and each is over in few terms.
void split_votes_end(Stage& s) {
  std::map<std::pair<uint64_t, uint64_t>, std::set<size_t>> candidates;  // by group, term
  bool split = false;
  s.on_message([&](size_t node, const Message& m) {
    if (m.kind != MessageKind::kVote) return;
    auto& those = candidates[{m.group.value(), m.term.value()}];
    those.insert(node);
    split |= those.size() > 1;
  });
  for (int round = 0; round < 400 && (!split || round < 20) && s.going(); ++round) {
    size_t old = s.settle();
    uint64_t term = s.term(old);
    s.crash(old, CrashKind::kProcess);
    s.must(
        "another leads", [&] { return s.leader_but(old).has_value(); }, Duration::seconds(10));
    auto next = s.leader_but(old);
    s.must("in few terms", next && s.term(*next) <= term + 8);
    s.start(old);
  }
  s.prove("votes were split", split);
}

// A node that leads many partitions dies, and the others hear of it at once: in each partition one
// of them leads soon, for they do not take each other's votes away.
void many_failovers(Stage& s) {
  constexpr uint64_t kGroups = 16;
  for (int round = 0; round < 20 && s.going(); ++round) {
    for (uint64_t group = 1; group <= kGroups; ++group) s.settle(group);
    s.run(Duration::seconds(2));  // who has just started promises its vote to nobody for a while
    const size_t old = s.settle(s.random().between(1, kGroups));
    std::vector<uint64_t> led;
    for (uint64_t group = 1; group <= kGroups; ++group)
      if (s.leads(old, group)) led.push_back(group);
    s.crash(old, CrashKind::kProcess);
    s.must(
        "another leads each of its partitions soon",
        [&] {
          return std::all_of(led.begin(), led.end(),
                             [&](uint64_t group) { return s.leader_but(old, group).has_value(); });
        },
        Duration::millis(s.nodes() == 3 ? 250 : 500));
    s.start(old);
  }
}

constexpr Scenario kScenarios[] = {
    {"H-R15", "a deposed leader takes the later term from the answer to a stale message", "",
     "delay,drift,batching", stale_leader_learns},
    {"H-R17", "all nodes start at one instant: split votes resolve in bounded time",
     "nodes=5,groups=8,sched.fifo=on", "", split_votes},
    {"H-R18", "votes are split among five, failover after failover, and each ends in few terms",
     "nodes=5,groups=24,sched.fifo=on,net.place=city,net.silent_crash=1000000", "",
     split_votes_end},
    {"H-R18-soon",
     "the leader of many partitions dies: each has another within a quarter of a second",
     "groups=16,reads=quorum,campaign-pace-us=150,disk.kind=fast,disk.tail_per_million=0,net."
     "silent_crash=0",
     "drift", many_failovers},
    {"H-R18-five", "... of five: in each another leads within half a second",
     "nodes=5,groups=16,reads=quorum,campaign-pace-us=150,disk.kind=fast,disk.tail_per_million=0,"
     "net.silent_crash=0",
     "drift", many_failovers},
    {"H-R19", "founders that cannot see each other found no cluster", "groups=1", "skew,drift",
     founding_apart, true},
    {"H-R20", "a cluster of one node serves, and again after power losses", "nodes=1", "skew",
     one_node},
    {"H-R20-join", "... and lets another node in, without which it does not serve any more",
     "nodes=2", "skew", one_node_and_another},
    {"H-R24",
     "leaders whose wall clocks are an hour behind their predecessors' stamp no version twice", "",
     "delay,drift", stamps_over_failover},
    {"H-R25", "wall clocks hours apart do not stop failovers", "", "delay,drift,skew",
     stepped_clocks},
    {"H-R34", "a voter loses power just after its vote left, and is asked again", "",
     "drift,batching", power_loss_after_vote},
    {"H-R37", "an even number of replicas: half of them do not serve", "nodes=4", "skew,drift",
     even_cluster},
    {"H-K21", "majority ring: a deposed leader and its voters hear each other", "nodes=5",
     "delay,drift", majority_ring},
    {"H-K23", "nodes restart while the cluster is being founded; it is founded in bounded time", "",
     "drift", founding_under_churn, true},
};

}  // namespace

std::span<const Scenario> election_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
