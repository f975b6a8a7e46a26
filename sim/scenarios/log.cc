// What the log holds: orphans, inherited tails, stragglers, order.
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
  s.until("entries are committed all the same", [&] {
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
  s.until("the old leader holds the others' entries",
          [&] { return s.commit(old) >= orphan && s.term(old) > term; });
  s.prove("its tail was truncated", s.probe("raft_truncates_tail") > truncated);
}

// An entry lies on a minority and its leader dies: the one that inherits it must count on from it
// and bring it to the third, which never had it.
void inherited_tail(Stage& s) {
  size_t old = s.settle();
  size_t heir = s.others(old)[s.random().below(2)];
  size_t third = 3 - old - heir;
  s.isolate(third);
  s.cut(heir, old);
  s.until("the heir has an entry that is not committed", [&] {
    return s.status(heir).durable.value() > s.commit(old) && s.last(third) < s.last(heir);
  });
  uint64_t inherited = s.last(heir);
  s.crash(old);
  s.mend(heir, third);  // what the old leader sent the third stays where it is
  s.until("the heir leads", [&] { return s.leads(heir); });
  s.prove("it did not begin below what it inherited", s.last(heir) > inherited);
  s.until("the third has the inherited entry", [&] { return s.commit(third) >= inherited; });
}

// Both followers are gone while the leader has proposals in flight: it steps down, and the entries
// are resolved when they are back.
void proposals_without_quorum(Stage& s) {
  size_t old = s.settle();
  uint64_t stepped = s.probe("raft_steps_down_without_quorum");
  for (size_t node : s.others(old)) s.crash(node);
  s.until("the leader has entries that nobody acknowledges",
          [&] { return s.last(old) > s.commit(old); });
  s.until("it steps down", [&] { return s.probe("raft_steps_down_without_quorum") > stepped; });
  uint64_t left = s.last(old);
  for (size_t node : s.others(old)) s.start(node);
  s.until("the entries left behind are resolved", [&] {
    for (size_t node = 0; node < s.nodes(); ++node)
      if (s.commit(node) < left) return false;
    return true;
  });
}

// What is committed is applied although nothing is written any more.
void idle_apply(Stage& s) {
  s.settle();
  s.until("applying waits for an engine", [&] { return s.probe("apply_waits_for_the_engine") > 0; },
          Duration::seconds(120));
  s.stop_clients();
  s.until("all that is committed is applied, in an idle cluster", [&] {
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
    return next && s.term(*next) > term && s.commit(*next) > s.last(old) && s.commit(follower) > s.last(old);
  });
  s.on_message({});
  s.heal();
  s.until("the old leader follows", [&] { return s.term(old) > term && !s.leads(old); });
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
  s.until("it has caught up", [&] { return s.commit(behind) >= goal; });
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
  for (int i = 0; i < 20; ++i) {
    s.disk(slow).stall_until(s.now() + Duration::millis(400));
    s.run(Duration::millis(350));
  }
  auto now = s.leader();
  uint64_t goal = now ? s.commit(*now) : 0;
  s.prove("the others did not wait for it", now && goal > s.status(slow).durable.value() + 10);
  s.until("it has caught up", [&] { return s.commit(slow) >= goal; });
}

constexpr Scenario kScenarios[] = {
    {"H-R1", "appends are lost, overtaken and doubled: entries are applied in order", "rate=300,fault.frame-reordering.per_million=150000,fault.frame-loss.per_million=50000,net.frame_delay_max=20ms", "frame-reordering,frame-duplication,frame-loss", appends_out_of_order},
    {"H-R2", "entries of unknown outcome on a cut-off leader, and others acknowledged at their indexes", "rate=200", "delay,drift,batching", orphans_give_way},
    {"H-R3", "a follower's disk hangs under load: no queue without bound, no wait for it", "rate=1000,append-bytes-max=4096,inflight-bytes-max=16384", "delay", slow_follower},
    {"H-R4", "a new leader inherits a tail and begins above it, not at its indexes", "rate=200", "delay,drift", inherited_tail},
    {"H-R5", "proposals that lost their quorum are resolved, and block nobody", "rate=200", "drift,batching", proposals_without_quorum},
    {"H-R6", "applying waited for an engine; then nobody writes, and it still catches up", "rate=300,save-entries=1,unsaved-factor=1,fault.stall-engine.every=300ms", "stall-engine", idle_apply},
    {"H-R11", "late refusals and acknowledgements meet changes of leader", "rate=300,fault.frame-reordering.per_million=200000,fault.frame-loss.per_million=20000,net.frame_delay_max=500ms", "frame-reordering,frame-loss", late_refusals},
    {"H-R21", "a deposed leader's appends arrive after newer entries were committed", "rate=200", "drift,batching", late_appends},
    {"H-R22", "a follower far behind is sent appends that are lost and overtaken", "rate=300,append-bytes-max=4096,fault.frame-loss.per_million=50000,fault.frame-reordering.per_million=50000,net.frame_delay_max=50ms", "frame-loss,frame-reordering", straggler},
    {"H-R23", "a leader with an inherited tail brings it to a follower that never had it", "rate=300", "batching,skew", inherited_tail},
};

}  // namespace

std::span<const Scenario> log_scenarios() { return kScenarios; }

}  // namespace kahuna::sim
