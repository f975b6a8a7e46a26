// Leases, the clocks they rest on, and leadership that is handed over.
#include <vector>

#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

using raft::Message;
using raft::MessageKind;

constexpr int64_t kFastest = 190'000'000, kSlowest = -190'000'000;  // parts per billion

// The leader's clock runs as slowly as the bound allows, the others' as fast. Cut off from its
// peers it goes on answering by its lease, and that is over before another leads.
void lease_at_the_bound(Stage& s) {
  uint64_t before = s.probe("read_needs_no_round");
  int rounds = 0;
  for (int attempt = 0; attempt < 20 && rounds < 4 && s.going(); ++attempt) {
    size_t old = s.settle();
    for (size_t node = 0; node < s.nodes(); ++node)
      s.set_rate(node, node == old ? kSlowest : kFastest);
    s.run(Duration::millis(500));
    if (!s.leads(old)) continue;  // it gave way
    uint64_t reads = s.probe("read_needs_no_round");
    s.until("it answers by its lease", [&] { return s.probe("read_needs_no_round") > reads + 3; });
    if (!s.leads(old)) continue;
    ++rounds;
    s.isolate(old);
    s.until("another leads and writes while the old one knows of nothing", [&] {
      auto next = s.leader_but(old);
      return next && s.term(*next) > s.term(old) && s.commit(*next) > s.commit(old);
    });
    s.run(Duration::seconds(1));
    s.heal();
  }
  s.prove("reads were answered by leases", s.probe("read_needs_no_round") > before + 10);
}

// The leader's clocks stand still, beyond any bound; reads ask a quorum and rest on no clock.
void leader_without_time(Stage& s) {
  for (int round = 0; round < 4 && s.going(); ++round) {
    size_t old = s.settle();
    uint64_t term = s.term(old), asked = s.asked();
    s.set_rate(old, kFrozenPpb);
    s.isolate(old);
    s.cut_clients(old, 2);
    s.until("another leads", [&] {
      auto next = s.leader_but(old);
      return next && s.term(*next) > term;
    });
    uint64_t before = s.writes_done();
    s.until("it writes, and clients ask both",
            [&] { return s.writes_done() > before + 20 && s.asked() > asked + 50; });
    s.prove("the one without time still leads, as far as it knows",
            s.leads(old) && s.term(old) == term);
    s.heal();
    s.run(Duration::millis(500));
    s.set_rate(old, 0);
  }
}

// A voter restarts right after it renewed its leader's lease, and is asked by one that the leader
// cannot reach and that lacks nothing, since nothing was written. It has to refuse: clients still
// read from the old leader, which hears no more.
void restarted_voter(Stage& s) {
  uint64_t refused =
      s.probe("raft_promise_refuses_a_vote") + s.probe("raft_refuses_pre_vote_for_fresh_leader");
  int asked = 0;
  for (int round = 0; round < 40 && asked < 12 && s.going(); ++round) {
    const size_t lead = s.settle();
    const size_t voter = s.others(lead)[s.random().below(2)], third = 3 - lead - voter;
    const uint64_t reads = s.probe("read_needs_no_round");
    s.until("the leader answers by its lease",
            [&] { return s.probe("read_needs_no_round") > reads + 3; });
    for (size_t node = 0; node < s.nodes(); ++node) s.cut_clients(node);
    s.happens([&] { return s.last(third) == s.last(lead) && s.commit(third) == s.last(lead); },
              Duration::millis(300));
    s.set_rate(lead, kSlowest);
    s.set_rate(third, kFastest);
    s.cut(lead, third);
    s.cut(third, lead);
    bool wants = false;
    s.on_message([&](size_t node, const Message& m) {
      wants |= node == third && (m.kind == MessageKind::kPreVote || m.kind == MessageKind::kVote) &&
               m.group.value() == 1;
    });
    s.happens([&] { return wants; }, Duration::seconds(5));  // unless it was handed the lead
    s.run(Duration::millis(static_cast<int64_t>(s.random().between(500, 850))));  // so it soon will
    const bool lacks_nothing = s.leads(lead) && s.last(voter) == s.last(third);
    s.crash(voter, CrashKind::kProcess);
    s.heal();
    for (size_t node : {voter, third}) s.cut(lead, node), s.cut(node, lead);
    s.cut_clients(lead, 1);
    s.start(voter);
    wants = false;
    asked +=
        s.happens([&] { return wants && s.hosts(voter); }, Duration::millis(600)) && lacks_nothing;
    const uint64_t written = s.writes_done();
    s.happens([&] { return s.leader_but(lead) && s.writes_done() > written + 5; },
              Duration::seconds(3));
    s.run(Duration::millis(300));
    s.on_message({});
    s.heal();
    for (size_t node = 0; node < s.nodes(); ++node) s.set_rate(node, 0);
  }
  s.prove("voters that had just started were asked", asked >= 1);
  s.prove("and refused", s.probe("raft_promise_refuses_a_vote") +
                                 s.probe("raft_refuses_pre_vote_for_fresh_leader") >
                             refused);
}

// Leadership moves on, again and again, under reads and writes.
void hand_over_under_load(Stage& s) {
  s.repeat_until_hit(
      "raft_takes_over_when_told", 60,
      [&] {
        size_t lead = s.settle();
        size_t to = s.others(lead)[s.random().below(2)];
        s.hand_over(1, to);
        s.happens([&] { return s.leads(to); }, Duration::millis(500));
        s.run(Duration::millis(100));
      },
      15);
}

// The one that is told to take over never hears it: the leader waits in vain, and serves again only
// in a new term.
void hand_over_is_lost(Stage& s) {
  s.repeat_until_hit("raft_transfer_was_not_taken", 40, [&] {
    size_t lead = s.settle();
    size_t to = s.others(lead)[s.random().below(2)];
    uint64_t term = s.term(lead);
    bool told = false;
    s.on_message([&](size_t node, const Message& m) {
      if (node != lead || m.kind != MessageKind::kTimeoutNow || told) return;
      told = true;
      s.soon([&s, to] { s.crash(to, CrashKind::kProcess); });
    });
    s.hand_over(1, to);
    if (s.happens([&] { return told; }, Duration::seconds(1)))
      s.must("somebody leads in a new term", [&] {
        auto now = s.leader();
        return now && s.term(*now) > term;
      });
    s.on_message({});
    if (told) s.start(to);
  });
  uint64_t before = s.writes_done();
  s.must("the cluster serves on", [&] { return s.writes_done() > before + 20; });
}

// The one that is to lead is far behind: it catches up first, or the leader goes on.
void hand_over_to_a_straggler(Stage& s) {
  bool waited = false, led = false;
  for (int round = 0; round < 20 && !(waited && led) && s.going(); ++round) {
    size_t lead = s.settle();
    size_t behind = s.others(lead)[s.random().below(2)];
    s.isolate(behind);
    uint64_t from = s.commit(lead);
    s.until("it is behind", [&] {
      auto now = s.leader_but(behind);
      return now && s.commit(*now) > from + 50;
    });
    auto now = s.leader_but(behind);
    if (!now) continue;
    s.heal();
    s.hand_over(1, behind);
    uint64_t had = s.last(behind);
    waited |= had + 20 < s.commit(*now);
    led |= s.happens([&] { return s.leads(behind); }, Duration::seconds(3));
    if (s.leads(behind)) s.must("it has all that was committed", s.last(behind) >= s.commit(*now));
  }
  s.prove("one that was behind came to lead", waited && led);
}

// From the moment the other is told the old leader serves nothing, though its lease goes on and the
// other's election is slow.
void hand_over_ends_a_lease(Stage& s) {
  int met = 0;
  for (int round = 0; round < 40 && met < 8 && s.going(); ++round) {
    size_t lead = s.settle();
    size_t to = s.others(lead)[s.random().below(2)];
    uint64_t reads = s.probe("read_needs_no_round");
    s.until("the leader answers by its lease",
            [&] { return s.probe("read_needs_no_round") > reads + 3; });
    bool told = false;
    s.on_message([&](size_t node, const Message& m) {
      if (node != lead || m.kind != MessageKind::kTimeoutNow || told) return;
      told = true;
      // What the others say does not reach it, and it does not learn that it is deposed.
      s.soon([&s, lead] {
        for (size_t other : s.others(lead)) s.cut(other, lead);
      });
    });
    s.hand_over(1, to);
    uint64_t before = s.writes_done();
    if (s.happens([&] { return told; }, Duration::seconds(1)) &&
        s.happens([&] { return s.leads(to) && s.writes_done() > before + 5; },
                  Duration::seconds(5)))
      met += s.term(lead) < s.term(to);
    s.on_message({});
    s.heal();
    s.run(Duration::millis(200));
  }
  s.prove("old leaders did not know that the new one wrote", met >= 3);
}

// Five voters are to become three. Who leads and one other have the joint configuration, and are
// cut off: a majority of the new voters. The other three never hear of it, and are a majority of
// the old ones: they elect another, when no lease may be left.
void lease_of_a_joint_configuration(Stage& s) {
  int met = 0;
  for (int round = 0; round < 20 && met < 2 && s.going(); ++round) {
    s.settle_members();
    const size_t old = s.settle();
    std::vector<size_t> others = s.others(old);
    for (size_t i = others.size(); i-- > 1;) std::swap(others[i], others[s.random().below(i + 1)]);
    const size_t go[] = {others[0], others[1]}, stay[] = {old, others[2], others[3]};
    s.lead(others[2], kMeta);  // wishes are recorded while the partition has no leader
    if (!s.going() || !s.leads(old)) continue;
    std::optional<size_t> lead, with;
    s.on_message([&](size_t node, const Message&) {
      if (lead || !s.leads(node) || node == go[0] || node == go[1]) return;
      const auto& configuration = *s.status(node).configuration;
      if (configuration.voters.size() != 3 || configuration.outgoing.size() != 5) return;
      lead = node;
      for (size_t other : stay)
        if (other != node && s.up(other)) with = other;
      s.soon([&s, lead, with] {
        for (size_t other : s.others(*lead))
          if (with && other != *with)
            for (size_t node : {*lead, *with}) s.cut(node, other), s.cut(other, node);
      });
    });
    s.crash(old, CrashKind::kProcess);
    for (size_t node : go) s.remove(node);
    s.run(Duration::millis(50));
    s.start(old);
    s.happens([&] { return lead.has_value(); }, Duration::seconds(4));
    s.on_message({});
    if (!lead || !with) continue;
    // So it notices late that it hears too few.
    for (size_t node = 0; node < s.nodes(); ++node)
      s.set_rate(node, node == *lead || node == *with ? kSlowest : kFastest);
    const uint64_t written = s.writes_done();
    if (s.happens([&] { return s.leader_but(*lead) && s.writes_done() > written + 3; },
                  Duration::seconds(8)))
      met += s.leads(*lead) && s.term(*lead) < s.term(*s.leader_but(*lead)) &&
             s.status(*lead).configuration->joint();
    s.run(Duration::millis(300));
    s.heal();
    for (size_t node = 0; node < s.nodes(); ++node) s.set_rate(node, 0);
  }
  s.prove("the old voters elected another while one led with most of the new", met >= 1);
}

constexpr std::string_view kLease =
    "reads=lease,clock-drift-ppm-max=200000,rate=1000,processes=40,mix.get=60,snapshot-part-bytes="
    "262144";
constexpr std::string_view kLeaseSlowly =
    "reads=lease,clock-drift-ppm-max=200000,rate=1000,processes=40,mix.get=60,quiesce=off,"
    "snapshot-part-bytes=262144,raft-pace-percent=200";
constexpr std::string_view kLeaseVaries =
    "reads=lease,clock-drift-ppm-max=200000,rate=1000,processes=40,mix.get=60,quiesce=off,"
    "snapshot-part-bytes=262144,raft-pace-percent=200,timeouts-vary=on";
constexpr std::string_view kLeaseJoint =
    "nodes=5,reads=lease,clock-drift-ppm-max=200000,rate=1000,processes=40,mix.get=60,timeout=2s";
constexpr std::string_view kQuorum = "reads=quorum,rate=300,mix.get=60,clients=4";

constexpr Scenario kScenarios[] = {
    {"T-17", "leases between clocks that are as far apart as allowed", kLease, "",
     lease_at_the_bound},
    {"T-17-frozen", "a leader whose clock stands still is cut off; reads rest on no clock", kQuorum,
     "delay", leader_without_time},
    {"T-19", "a voter under a lease restarts and is asked for its vote", kLeaseSlowly, "batching",
     restarted_voter},
    {"T-19-shorter", "... with a shorter election timeout than it promised by", kLeaseVaries,
     "batching", restarted_voter},
    {"T-20-lease", "a leader that handed over does not answer by what is left of its lease", kLease,
     "", hand_over_ends_a_lease},
    {"T-20-joint", "a lease in a joint configuration is promised by most of the old voters too",
     kLeaseJoint, "", lease_of_a_joint_configuration},
    {"T-20-hand-over", "leadership is handed on, again and again, under load", "rate=500",
     "delay,batching,drift", hand_over_under_load},
    {"T-20-lost", "the one that is to lead dies as it is told", "rate=300", "delay",
     hand_over_is_lost},
    {"T-20-straggler", "one that is far behind is to lead", "rate=500,append-bytes-max=4096",
     "delay", hand_over_to_a_straggler},
};

}  // namespace

std::span<const Scenario> lease_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
