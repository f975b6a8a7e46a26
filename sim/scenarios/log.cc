// What the log holds: orphans, inherited tails, stragglers, order.
#include <algorithm>
#include <vector>

#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

using raft::Message;
using raft::MessageKind;

// Appends overtake each other, are lost and come twice; application stays in order.
void appends_out_of_order(Stage& s) {
  size_t lead = s.settle();
  uint64_t from = s.commit(lead);
  s.until("appends were lost or overtaken, and sent again", [&] {
    return s.probe("raft_refuses_anchor") + s.probe("raft_resends_lost_appends") > 3;
  });
  s.must("entries are committed all the same", [&] {
    auto now = s.leader();
    return now && s.commit(*now) > from + 100;
  });
}

// A leader is cut off with entries nobody else has; others commit at their indexes.
void orphans_give_way(Stage& s) {
  size_t old = s.settle();
  uint64_t truncated = s.probe("raft_truncates_tail");
  s.isolate(old);
  s.until("the cut-off leader appends what nobody else has", [&] {
    uint64_t others = 0;
    for (size_t node : s.others(old)) others = std::max(others, s.last(node));
    return s.leads(old) && s.last(old) > others;
  });
  uint64_t orphan = s.last(old), term = s.term(old);
  s.until("another leader commits at the orphans' indexes", [&] {
    auto next = s.leader_but(old);
    return next && s.term(*next) > term && s.commit(*next) >= orphan;
  });
  s.heal();
  s.must("the old leader holds the others' entries",
         [&] { return s.commit(old) >= orphan && s.term(old) > term; });
  s.prove("its tail was truncated", s.probe("raft_truncates_tail") > truncated);
}

// An entry lies on a minority and its leader dies: the one that inherits it must count on from it
// and bring it to the third, which never had it.
void inherited_tail(Stage& s) {
  size_t old = 0, heir = 0, third = 0;
  bool has = false;
  for (int attempt = 0; attempt < 10 && !has && s.going(); ++attempt) {
    s.heal();
    old = s.settle();
    heir = s.others(old)[s.random().below(2)];
    third = 3 - old - heir;
    s.isolate(third);
    s.cut(heir, old);
    // Not always: the old one sends nothing to somebody from whom it hears nothing for too long.
    has = s.happens(
        [&] {
          return s.status(heir).durable.value() > s.commit(old) && s.last(third) < s.last(heir);
        },
        Duration::seconds(2));
  }
  s.prove("the heir has an entry that is not committed", has);
  uint64_t inherited = s.last(heir);
  s.crash(old);
  s.mend(heir, third);  // what the old leader sent the third stays where it is
  s.until("the heir leads", [&] { return s.leads(heir); });
  s.must("it did not begin below what it inherited", s.last(heir) > inherited);
  s.must("the third has the inherited entry", [&] { return s.commit(third) >= inherited; });
}

// Both followers are gone while the leader has proposals in flight: it steps down, and the entries
// are resolved when they are back.
void proposals_without_quorum(Stage& s) {
  size_t old = s.settle();
  uint64_t stepped = s.probe("raft_steps_down_without_quorum");
  for (size_t node : s.others(old)) s.crash(node);
  s.until("the leader has entries that nobody acknowledges",
          [&] { return s.last(old) > s.commit(old); });
  s.must("it steps down", [&] { return s.probe("raft_steps_down_without_quorum") > stepped; });
  uint64_t left = s.last(old);
  for (size_t node : s.others(old)) s.start(node);
  s.must("the entries left behind are resolved", [&] {
    for (size_t node = 0; node < s.nodes(); ++node)
      if (s.commit(node) < left) return false;
    return true;
  });
}

// What is committed is applied although nothing is written any more.
void idle_apply(Stage& s) {
  s.settle();
  s.until(
      "applying waits for an engine", [&] { return s.probe("apply_waits_for_the_engine") > 0; },
      Duration::seconds(120));
  s.stop_clients();
  s.must("all that is committed is applied, in an idle cluster", [&] {
    auto lead = s.leader();
    if (!lead) return false;
    for (size_t node = 0; node < s.nodes(); ++node)
      if (s.status(node).applied.value() < s.commit(*lead)) return false;
    return true;
  });
}

// Appends of a deposed leader are held up in the network, and arrive after newer entries were
// committed: nothing committed is truncated for them.
void late_append(Stage& s) {
  size_t old = s.settle();
  size_t follower = s.others(old)[s.random().below(2)];
  uint64_t term = s.term(old);
  uint64_t held = 0;
  s.on_message([&](size_t node, const Message& m) {
    held += node == old && m.kind == MessageKind::kAppend && m.term.value() == term &&
            !m.entries.empty();
  });
  s.isolate(old);
  held = 0;
  s.until("the old leader sends entries that are held up", [&] { return held > 0; });
  s.until("newer entries are committed", [&] {
    auto next = s.leader_but(old);
    return next && s.term(*next) > term && s.commit(*next) > s.last(old) &&
           s.commit(follower) > s.last(old);
  });
  s.on_message({});
  s.heal();
  s.must("the old leader follows", [&] { return s.term(old) > term && !s.leads(old); });
}
void late_appends(Stage& s) {
  s.repeat_until_hit("raft_answers_stale_sender", 20, [&] { late_append(s); });
}

// A follower is far behind, and what it is sent is lost and overtaken on the way.
void straggler(Stage& s) {
  size_t lead = s.settle();
  size_t behind = s.others(lead)[s.random().below(2)];
  s.isolate(behind);
  uint64_t from = s.last(behind);
  s.until("a follower is 200 entries behind", [&] {
    auto now = s.leader_but(behind);
    return now && s.commit(*now) > from + 200;
  });
  uint64_t goal = s.commit(s.leader_but(behind).value_or(0));
  s.heal();
  s.must("it has caught up", [&] { return s.commit(behind) >= goal; });
  s.prove("appends were refused or sent again",
          s.probe("raft_refuses_anchor") + s.probe("raft_resends_lost_appends") > 0);
}

// Old refusals and acknowledgements arrive late, across changes of leader.
void late_refusals(Stage& s) {
  for (int round = 0; round < 3 && s.going(); ++round) {
    size_t old = s.settle();
    s.isolate(old);
    s.until("another leads", [&] { return s.leader_but(old).has_value(); });
    s.run(Duration::millis(500));
    s.heal();
  }
  s.settle();
  s.until("anchors were refused", [&] { return s.probe("raft_refuses_anchor") > 0; });
}

// A follower's disk hangs under load: what it is sent stays bounded, the others go on, and it
// catches up afterwards.
void slow_follower(Stage& s) {
  size_t lead = s.settle();
  size_t slow = s.others(lead)[s.random().below(2)];
  const uint64_t from = s.commit(lead);
  for (int i = 0; i < 20; ++i) {
    s.disk(slow).stall_until(s.now() + Duration::millis(400));
    s.run(Duration::millis(350));
  }
  auto now = s.leader();
  uint64_t goal = now ? s.commit(*now) : 0;
  s.prove("it is behind", now && goal > s.status(slow).durable.value() + 10);
  s.must("the others did not wait for it", goal > from + 500);
  s.must("it has caught up", [&] { return s.commit(slow) >= goal; });
}

// A new leader knows nothing of where the others' logs end, and its own begins far from entry 1.
void unknown_progress(Stage& s) {
  size_t lead = s.settle();
  size_t behind = s.others(lead)[s.random().below(2)];
  s.until("logs are compacted", [&] { return s.status(lead).base.index.value() > 50; });
  uint64_t installed = s.probe("snapshot_installed");
  s.isolate(behind);
  uint64_t had = s.last(behind);
  s.until("it is a little behind", [&] {
    auto now = s.leader_but(behind);
    return now && s.commit(*now) > had + 10;
  });
  auto old = s.leader_but(behind);
  if (!old) return;
  s.crash(*old, CrashKind::kProcess);
  s.heal();
  s.until("another leads that has never heard of the straggler's log",
          [&] { return s.leader_but(*old).has_value(); });
  size_t next = s.leader_but(*old).value_or(0);
  uint64_t goal = s.commit(next);
  s.must("it finds where that ends",
         [&] { return s.commit(behind) >= goal && s.last(behind) > had; });
  s.prove("not by sending the state", s.probe("snapshot_installed") == installed);
  s.start(*old);
}

// Deposed leaders hold tails of different terms; each is brought back to the common log in few
// steps.
void tails_of_many_terms(Stage& s) {
  uint64_t truncated = s.probe("raft_truncates_tail");
  int tails = 0;
  auto enough = [&] { return tails >= 3 && s.probe("raft_truncates_tail") >= truncated + 3; };
  for (int round = 0; round < 60 && !(round >= 6 && enough()) && s.going(); ++round) {
    size_t old = s.settle();
    uint64_t from = s.commit(old);
    s.until("it commits", [&] { return s.commit(s.leader().value_or(old)) > from; });
    old = s.leader().value_or(old);
    s.isolate(old);
    from = s.commit(old);
    tails +=
        s.happens([&] { return s.leads(old) && s.last(old) > from + 3; }, Duration::millis(400));
    s.until("another leads", [&] { return s.leader_but(old).has_value(); });
    size_t next = s.leader_but(old).value_or(0);
    // That one is deposed as well, with a tail of its own.
    if (s.random().chance(1, 2)) {
      s.isolate(next);
      s.run(Duration::millis(30));
      s.mend(old, s.others(old)[0] == next ? s.others(old)[1] : s.others(old)[0]);
      s.happens([&] { return s.leader_but(next).has_value(); }, Duration::seconds(10));
    }
    s.heal();
    s.must(
        "all hold the common log again, soon",
        [&] {
          auto now = s.leader();
          for (size_t node = 0; now && node < s.nodes(); ++node)
            if (s.term(node) != s.term(*now) || s.commit(node) + 10 < s.commit(*now)) return false;
          return now.has_value();
        },
        Duration::seconds(10));
  }
  s.prove("tails were cut off", enough());
}

// A follower acknowledged entries that its disk then loses: the leader takes it as it is.
void frontier_goes_back(Stage& s) {
  int back = 0;
  for (int round = 0; round < 30 && back < 4 && s.going(); ++round) {
    size_t lead = s.settle();
    size_t node = s.others(lead)[s.random().below(2)];
    uint64_t told = 0;
    s.on_message([&](size_t from, const Message& m) {
      if (from == node && m.group.value() == 1 && m.kind == MessageKind::kAppendReply &&
          !m.rejected)
        told = std::max(told, m.match.index.value());
    });
    s.run(Duration::millis(100));
    s.on_message({});
    s.crash(node);
    s.damage_newest(node);
    s.start(node);
    s.until("it is back", [&] { return s.hosts(node); });
    if (s.last(node) < told) ++back;
    uint64_t goal = s.leader() ? s.commit(*s.leader()) : told;
    s.must("it is brought up", [&] { return s.whole(node) && s.commit(node) >= goal; });
  }
  s.prove("a follower came back with less than it had acknowledged", back > 0);
}

// One node loses and wins leadership over and over, with proposals in flight: nothing is left of
// them that would hold up the next ones.
void leadership_returns(Stage& s) {
  size_t node = s.settle();
  uint64_t pending = s.probe("leadership_lost_with_writes_pending");
  int returned = 0;
  for (int round = 0; round < 40 && returned < 6 && s.going(); ++round) {
    size_t lead = s.settle();
    if (lead != node) {
      s.hand_over(1, node);
      returned += s.happens([&] { return s.leads(node); }, Duration::seconds(2));
      continue;
    }
    s.isolate(node);
    s.until("another leads", [&] { return s.leader_but(node).has_value(); });
    s.heal();
  }
  s.prove("it led again and again", returned >= 6);
  s.prove("with proposals pending when it was deposed",
          s.probe("leadership_lost_with_writes_pending") > pending);
  uint64_t before = s.writes_done();
  s.must("all is served", [&] { return s.writes_done() > before + 50; });
}

// Eight partitions, and one follower's disk is slow: the other follower is not made to refuse, nor
// is any partition left behind.
void uneven_load(Stage& s) {
  for (uint64_t group = 1; group <= 8; ++group) s.settle(group);
  size_t slow = s.others(s.leader(1).value_or(0))[0];
  s.disk(slow).slow_until(s.now() + Duration::seconds(8), 50);
  std::vector<uint64_t> from;
  for (uint64_t group = 1; group <= 8; ++group)
    from.push_back(s.commit(s.leader(group).value_or(0), group));
  std::vector<uint64_t> refused(s.nodes());
  s.on_message([&](size_t node, const Message& m) {
    refused[node] += m.kind == MessageKind::kAppendReply && m.rejected;
  });
  s.run(Duration::seconds(8));
  s.on_message({});
  s.must("every partition went on", [&] {
    for (uint64_t group = 1; group <= 8; ++group) {
      auto lead = s.leader(group);
      if (!lead || s.commit(*lead, group) <= from[group - 1]) return false;
    }
    return true;
  });
  for (size_t node : s.others(slow))
    s.must("those with good disks refused little", refused[node] < 100);
  uint64_t goal = s.commit(s.leader(1).value_or(0));
  s.must("the slow one catches up", [&] { return s.commit(slow) >= goal; });
}

// The engine of a follower takes nothing while clients write: it takes no more of the log than it
// has a bound for, and when its engine goes on it catches up, from wherever the others are by then.
void follower_cannot_apply(Stage& s) {
  const size_t lead = s.settle(), behind = s.others(lead)[s.random().below(2)];
  s.hold("engine_refuses_a_write", behind);
  auto bounded = [&] {
    const auto now = s.leader();
    return now && now != behind && s.commit(*now) > s.last(behind) + 300;
  };
  // It does not give leadership away because of its engine.
  for (int tries = 0; tries < 30 && s.going() && !s.happens(bounded, Duration::seconds(2)); ++tries)
    if (s.leads(behind)) s.hand_over(1, lead);
  s.must("it takes no more of what it cannot apply", bounded, Duration::seconds(5));
  const uint64_t before = s.writes_done();
  s.must("the others go on", [&] { return s.writes_done() > before + 50; });
  s.hold("engine_refuses_a_write", behind, false);
  s.must("it has caught up", [&] {
    const auto now = s.leader();
    return now && s.hosts(behind) && s.status(behind).applied.value() + 50 > s.commit(*now);
  });
}

constexpr Scenario kScenarios[] = {
    {"F-1", "the engine of a follower takes nothing: it takes no more of the log than its bound",
     "rate=1000,value-bytes-max=4000,log-bytes-max=100000,log-keep-bytes=0,log-keep-entries=20,"
     "flush-bytes=10000,flush-interval=200ms,"
     "save-entries=16,unsaved-factor=1,operation-records-max=20,timeout=5s",
     "drift", follower_cannot_apply},
    {"H-R7", "a new leader that never heard of a straggler's log finds where it ends",
     "rate=300,log-keep-bytes=1000000,log-keep-entries=100,flush-interval=200ms,save-entries=1",
     "drift", unknown_progress},
    {"H-R10", "deposed leaders hold tails of many terms: each is cut off soon",
     "rate=300,append-bytes-max=262144", "drift,batching", tails_of_many_terms},
    {"H-R12", "a follower's disk loses what it had acknowledged: the leader takes it as it is",
     "rate=300", "batching", frontier_goes_back},
    {"H-R16", "a node loses and wins leadership over and over with proposals in flight", "rate=500",
     "delay", leadership_returns},
    {"H-R40",
     "eight partitions, one slow follower: no other refuses, and no partition stays behind",
     "groups=8,rate=800,keys=200,buckets=60,clients=4,processes=30", "", uneven_load},
    {"H-R1", "appends are lost, overtaken and doubled: entries are applied in order",
     "rate=300,fault.frame-reordering.per_million=150000,fault.frame-loss.per_million=50000,net."
     "frame_delay_max=20ms",
     "frame-reordering,frame-duplication,frame-loss", appends_out_of_order},
    {"H-R2",
     "entries of unknown outcome on a cut-off leader, and others acknowledged at their indexes",
     "rate=200,log-keep-bytes=67108864,log-keep-entries=1000000,log-keep-total-bytes=1073741824",
     "delay,drift,batching", orphans_give_way},
    {"H-R3", "a follower's disk hangs under load: no queue without bound, no wait for it",
     "rate=1000,append-bytes-max=4096,inflight-bytes-max=16384", "delay", slow_follower},
    {"H-R4", "a new leader inherits a tail and begins above it, not at its indexes", "rate=200",
     "delay,drift", inherited_tail},
    {"H-R5", "proposals that lost their quorum are resolved, and block nobody", "rate=200",
     "drift,batching", proposals_without_quorum},
    {"H-R6", "applying waited for an engine; then nobody writes, and it still catches up",
     "rate=300,save-entries=1,unsaved-factor=1,fault.stall-engine.every=300ms", "stall-engine",
     idle_apply},
    {"H-R11", "late refusals and acknowledgements meet changes of leader",
     "rate=300,fault.frame-reordering.per_million=200000,fault.frame-loss.per_million=20000,net."
     "frame_delay_max=500ms",
     "frame-reordering,frame-loss", late_refusals},
    {"H-R21", "a deposed leader's appends arrive after newer entries were committed", "rate=200",
     "drift,batching", late_appends},
    {"H-R22", "a follower far behind is sent appends that are lost and overtaken",
     "rate=300,append-bytes-max=4096,fault.frame-loss.per_million=50000,fault.frame-reordering.per_"
     "million=50000,net.frame_delay_max=50ms",
     "frame-loss,frame-reordering", straggler},
    {"H-R23", "a leader with an inherited tail brings it to a follower that never had it",
     "rate=300", "batching,skew", inherited_tail},
};

}  // namespace

std::span<const Scenario> log_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
