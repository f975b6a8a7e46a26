// Log time (kahuna/partition/log_time.h): whoever leads, and whatever clocks do, it goes on where
// it was.
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

constexpr std::string_view kGoesOn = "sim_log_time_goes_on_under_another_leader";

void step_wall_clocks(Stage& s) {
  for (size_t node = 0; node < s.nodes(); ++node) {
    const int64_t hours = static_cast<int64_t>(s.random().below(9)) - 4;
    s.clock(node).step_wall(Duration::seconds(3600 * hours));
  }
}

void run_a_while(Stage& s) {
  s.run(Duration::millis(static_cast<int64_t>(s.random().between(50, 1500))));
}

void another_leads_and_writes(Stage& s, size_t old) {
  const uint64_t term = s.term(old);
  s.must("another leads", [&] {
    auto next = s.leader_but(old);
    return next && s.term(*next) > term;
  });
  const uint64_t before = s.writes_done();
  s.must("and writes", [&] { return s.writes_done() > before + 20; });
}

// Leaders die, stop, or are cut off, and wall clocks jump by hours.
void leaders_come_and_go(Stage& s) {
  const uint64_t before = s.probe(kGoesOn), unapplied = s.probe("log_time_goes_on_from_the_log");
  for (int round = 0; round < 12 && s.probe(kGoesOn) < before + 6 && s.going(); ++round) {
    s.settle();
    step_wall_clocks(s);
    run_a_while(s);
    const auto lead = s.leader();
    if (!lead) continue;
    const size_t old = *lead;
    const uint64_t how = s.random().below(4);
    if (how == 0) s.pause(old);
    if (how == 1) s.isolate(old);
    if (how >= 2) s.crash(old, how == 2 ? CrashKind::kPower : CrashKind::kProcess);
    step_wall_clocks(s);
    another_leads_and_writes(s, old);
    s.resume(old);
    s.heal();
    if (how >= 2) s.start(old);
  }
  s.prove("log time went on under other leaders", s.probe(kGoesOn) >= before + 6);
  s.prove("stamps that were not applied yet counted",
          s.probe("log_time_goes_on_from_the_log") > unapplied);
}

// Monotonic clocks run at different rates, leap, and that of a leader stands still, beyond any
// bound.
void clocks_go_their_ways(Stage& s) {
  const uint64_t before = s.probe(kGoesOn);
  for (int round = 0; round < 6 && s.going(); ++round) {
    s.settle();
    for (size_t node = 0; node < s.nodes(); ++node)
      s.set_rate(node, static_cast<int64_t>(s.random().below(380'000'001)) - 190'000'000);
    run_a_while(s);
    const Duration length = Duration::seconds(static_cast<int64_t>(s.random().below(3600)));
    s.leap(s.random().below(s.nodes()), length);
    run_a_while(s);
    const auto lead = s.leader();
    if (!lead) continue;
    s.set_rate(*lead, kFrozenPpb);
    run_a_while(s);
    if (s.random().chance(1, 2)) s.set_rate(*lead, 0);
    run_a_while(s);
    s.crash(*lead, CrashKind::kProcess);
    another_leads_and_writes(s, *lead);
    s.set_rate(*lead, 0);
    s.start(*lead);
  }
  s.prove("log time went on under other leaders", s.probe(kGoesOn) >= before + 5);
}

// Those who were sent the state, and those who restarted, have the log time that it had.
void kept_with_the_state(Stage& s) {
  for (int round = 0; round < 3 && s.going(); ++round) {
    const size_t away = s.leave_one_behind();
    const uint64_t installed = s.probe("snapshot_installed");
    s.start(away);
    s.until("it is sent the state", [&] { return s.probe("snapshot_installed") > installed; });
  }
  s.stop_clients();
  s.settle();
  s.run(Duration::seconds(2));
  const uint64_t time = s.log_time(s.settle());
  s.prove("time was stamped", time > 0);
  auto all_have_it = [&] {
    for (size_t node = 0; node < s.nodes(); ++node)
      if (s.log_time(node) != time) return false;
    return true;
  };
  s.must("all have one log time", all_have_it, Duration::seconds(20));
  for (size_t node = 0; node < s.nodes(); ++node)
    s.crash(node, s.random().chance(1, 2) ? CrashKind::kPower : CrashKind::kProcess);
  s.run(Duration::seconds(30));
  for (size_t node = 0; node < s.nodes(); ++node) s.start(node);
  s.settle();
  s.must("all have it again after a time without anybody", all_have_it, Duration::seconds(60));
}

constexpr Scenario kScenarios[] = {
    {"L-1",
     "leaders come and go, and wall clocks jump by hours: log time goes on from the last stamp",
     "rate=500,net.place=rack", "delay,batching,skew", leaders_come_and_go},
    {"L-2", "monotonic clocks run apart, leap and stand still: log time is never ahead of them all",
     "rate=300,reads=quorum", "delay", clocks_go_their_ways},
    {"L-3", "log time is sent with the state, and is there again after a restart",
     "log-keep-bytes=0,log-keep-entries=5,flush-interval=200ms,save-entries=1", "delay",
     kept_with_the_state},
};

}  // namespace

std::span<const Scenario> time_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
