// Groups of which nothing is asked, and what happens to them in their silence.
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

bool silent(const Stage& s, uint64_t group = 1) {
  for (size_t node = 0; node < s.nodes(); ++node)
    if (!s.status(node, group).quiet) return false;
  return true;
}

// Nobody asks for anything any more. Returns the leader.
size_t fall_silent(Stage& s) {
  s.settle();
  s.stop_clients();
  s.must("nothing is said in the group any more", [&] { return silent(s); });
  return s.leader().value_or(0);
}

// While a replica lags the others do not leave it behind in silence.
void laggard(Stage& s) {
  size_t lead = s.settle();
  size_t away = s.others(lead)[s.random().below(2)];
  s.isolate(away);
  uint64_t before = s.writes_done();
  s.until("the others write on", [&] { return s.writes_done() > before + 10; });
  s.stop_clients();
  s.run(Duration::seconds(6));
  s.prove("it lags", s.last(away) < s.commit(lead));
  s.prove("the same leads", s.leads(lead));
  s.must("its leader is not quiet", !s.status(lead).quiet);
  s.heal();
  s.must(
      "it catches up, and all are silent",
      [&] { return silent(s) && s.last(away) == s.last(lead) && s.commit(away) == s.commit(lead); },
      Duration::seconds(60));
}

// Everybody restarts in the silence, again and again, together or one by one.
void restarts(Stage& s) {
  for (int round = 0; round < 5 && s.going(); ++round) {
    size_t lead = fall_silent(s);
    uint64_t term = s.term(lead);
    const bool all = s.random().chance(1, 2);
    for (size_t node = 0; node < s.nodes(); ++node)
      if (all || node == lead) s.crash(node, CrashKind::kProcess);
    if (s.random().chance(1, 2))
      s.run(Duration::millis(static_cast<int64_t>(s.random().below(2000))));
    for (size_t node = 0; node < s.nodes(); ++node)
      if (all || node == lead) s.start(node);
    s.must(
        "a leader is elected, and all fall silent again", [&] { return s.leader() && silent(s); },
        Duration::seconds(60));
    s.must("in few terms", s.term(s.leader().value_or(0)) <= term + 10);
  }
}

// A follower of a silent group comes back without its state, and does not know any more who the
// others are.
void forgotten(Stage& s) {
  s.until("clients write", [&] { return s.writes_done() > 300; });
  for (int round = 0; round < 20 && s.probe("replica_starts_without_its_state") < 2 && s.going();
       ++round) {
    size_t lead = fall_silent(s);
    size_t node = s.others(lead)[s.random().below(2)];
    s.crash(node, CrashKind::kProcess);
    s.damage_engine(node, 3);
    s.start(node);
    s.until("it is back", [&] { return s.hosts(node); });
    s.must(
        "it is given a state, and all fall silent again",
        [&] { return s.hosts(node) && silent(s); }, Duration::seconds(60));
  }
  s.prove("it came back without one", s.probe("replica_starts_without_its_state") > 0);
}

// ... and those whom it knew at the founding are all gone.
void forgotten_founder(Stage& s) {
  const size_t founder = s.others(s.settle())[s.random().below(2)];
  for (size_t node : s.others(founder)) {
    const NodeId before = s.member(node);
    s.remove(node);
    s.must(
        "another member came", [&] { return s.member(node) != before && s.members_settled(); },
        Duration::seconds(120));
  }
  s.until("clients write", [&] { return s.writes_done() > 300; });
  for (int round = 0; round < 20 && s.probe("replica_starts_without_its_state") == 0 && s.going();
       ++round) {
    if (s.settle() == founder) {
      s.hand_over(1, s.others(founder)[s.random().below(2)]);
      s.run(Duration::seconds(2));
    }
    if (fall_silent(s) == founder) continue;
    s.crash(founder, CrashKind::kProcess);
    s.damage_engine(founder, 3);
    s.start(founder);
    s.until("it is back", [&] { return s.hosts(founder); });
    s.must(
        "it is given a state, and all fall silent again",
        [&] { return s.hosts(founder) && silent(s); }, Duration::seconds(60));
  }
  s.prove("it came back without one", s.probe("replica_starts_without_its_state") > 0);
}

// The leader's node vanishes without a word, and nobody wants anything: its silence is noticed.
void vanished(Stage& s) {
  size_t old = fall_silent(s);
  s.isolate(old);
  s.must(
      "another leads", [&] { return s.leader_but(old).has_value(); }, Duration::seconds(20));
  s.prove("the old leader knows nothing", s.status(old).quiet);
  s.heal();
  s.must("all are silent under the new one", [&] { return silent(s) && !s.leads(old); });
}

// The leader's node lives, and answers for its life; its replica hears nothing, though.
void wedged(Stage& s) {
  size_t old = fall_silent(s);
  s.deafen(old);
  s.must(
      "another leads", [&] { return s.leader_but(old).has_value(); }, Duration::seconds(60));
  s.prove("the old leader knows nothing", s.leads(old));
  s.deafen(old, false);
  s.must("all are silent under the new one", [&] { return silent(s) && !s.leads(old); });
}

// A leader that was quiet when it was cut off answers clients still.
void quiet_and_deposed(Stage& s) {
  int reached = 0;
  for (int round = 0; round < 12 && reached < 2 && s.going(); ++round) {
    s.settle();
    s.until("nothing is said in the group any more", [&] { return silent(s); });
    size_t old = s.leader().value_or(0);
    s.isolate(old);
    uint64_t before = s.writes_done();
    reached += s.happens([&] { return s.leader_but(old) && s.leads(old); }, Duration::seconds(15));
    s.until("clients write", [&] { return s.writes_done() > before + 3; });  // after a lull
    s.run(Duration::millis(500));
    s.heal();
  }
  s.prove("a quiet leader was deposed and did not know, and clients came", reached >= 2);
}

// The first write after a long silence.
void cold_write(Stage& s) {
  for (int round = 0; round < 4 && s.going(); ++round) {
    s.settle();
    uint64_t written = 0, asked = 0;
    s.until("nothing is said in the group any more", [&] {
      written = s.writes_done(), asked = s.asked();
      return silent(s);
    });
    s.until("a client asks for something", [&] { return s.asked() > asked; });
    TrueTime began = s.now();
    s.must("it is written", [&] { return s.writes_done() > written; });
    s.must("within 100 ms", s.now() <= began + Duration::millis(100));
  }
}

constexpr std::string_view kSoon =
    "quiesce=soon,sign-of-life-timeouts=2,quiet-probe-timeouts=100000";
constexpr std::string_view kForgotten =
    "quiesce=soon,sign-of-life-timeouts=2,quiet-probe-timeouts=100000,rate=500,log-keep-bytes=0,"
    "log-keep-entries=20,"
    "flush-interval=200ms,save-entries=1,keys=40,value-bytes-max=1000";
constexpr std::string_view kProbed = "quiesce=soon,sign-of-life-timeouts=2,quiet-probe-timeouts=5";
constexpr std::string_view kLulls =
    "quiesce=soon,sign-of-life-timeouts=1,quiet-probe-timeouts=100000,lulls=on,lull-every=20s,lull-"
    "percent=90,"
    "disk.kind=fast,rate=300,mix.get=60";

constexpr Scenario kScenarios[] = {
    {"H-R13", "a group does not fall silent while a replica lags", kSoon, "delay,drift,batching",
     laggard},
    {"H-R14", "leaders, or all nodes, restart while a group is silent: no livelock of elections",
     kSoon, "delay,drift,batching", restarts},
    {"H-R14-forgotten",
     "a follower of a silent group comes back without its state: it is given one", kForgotten,
     "delay,drift", forgotten},
    {"H-R14-founder", "... and whom it knew when the cluster was founded, they are all gone",
     kForgotten, "delay,drift", forgotten_founder},
    {"H-R29", "the leader of a silent group is wedged, and its node lives", kProbed, "delay,drift",
     wedged},
    {"H-R29-vanished", "the node of a silent group's leader vanishes, and nobody asks for anything",
     kSoon, "delay,drift", vanished},
    {"T-17-quiet",
     "a leader that was quiet when it was cut off is asked for reads after it was deposed", kLulls,
     "drift", quiet_and_deposed},
    {"T-17-cold", "the first write after a long silence", kLulls, "", cold_write},
};

}  // namespace

std::span<const Scenario> quiescence_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
