// Nodes that live, and are slow.
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

constexpr Duration kStall = Duration::seconds(14);

// Slower by a factor, or, for kStall, no completion at all.
void make_slow(Stage& s, size_t node, bool stalls, uint32_t factor = 60) {
  if (stalls)
    s.disk(node).stall_until(s.now() + kStall);
  else
    s.disk(node).slow_until(s.now() + Duration::seconds(600), factor);
}
void make_all_quick(Stage& s) {
  for (size_t node = 0; node < s.nodes(); ++node) s.disk(node).slow_until(TrueTime(), 1);
}

constexpr uint64_t kGroups = 3;

// An ordinary spell: how long half of the writes take, and most, and which partitions are written
// to.
struct Spell {
  Duration half, most;
  std::vector<uint64_t> busy;
};
Spell watch(Stage& s, Duration length) {
  uint64_t last[kGroups + 1];
  for (uint64_t group = 1; group <= kGroups; ++group) last[group] = s.last(s.settle(group), group);
  const TrueTime since = s.now();
  s.run(length);
  Spell spell{s.write_latency(since, 50), s.write_latency(since, 98), {}};
  for (uint64_t group = 1; group <= kGroups; ++group)
    if (s.last(s.settle(group), group) > last[group] + 20) spell.busy.push_back(group);
  s.prove("some partition is written to", !spell.busy.empty());
  if (spell.busy.empty()) spell.busy.push_back(1);
  return spell;
}

bool waits_for_its_disk(Stage& s, size_t node, uint64_t group) {
  return s.leads(node, group) && s.commit(node, group) > s.status(node, group).durable.value();
}

// The leader's disk, alone, gets slow, or stalls: it beats its heart, and what the others have
// committed waits for it. Others lead soon, and writes are as quick as they were, for good.
void leader_has_slow_disk(Stage& s) {
  const Spell before = watch(s, Duration::seconds(2));
  const size_t slow = s.settle(before.busy[0]);
  const bool stalls = s.random().chance(1, 4);
  TrueTime since = s.now();
  make_slow(s, slow, stalls, s.random().chance(1, 2) ? 60 : 400);
  s.until("what the others have committed waits for the leader's disk",
          [&] { return waits_for_its_disk(s, slow, before.busy[0]); });
  s.until(
      "clients suffer", [&] { return s.write_latency(since, 98) > before.most * 4; },
      Duration::seconds(3));
  for (uint64_t group : before.busy)
    s.must(
        "others lead soon", [&] { return !s.leads(slow, group) && s.leader(group); },
        Duration::seconds(3));
  s.run(Duration::seconds(1));
  since = s.now();
  s.run(Duration::seconds(5));
  s.must("writes are quick again", s.write_latency(since, 50) < before.half * 3 &&
                                       s.write_latency(since, 98) < before.most * 4);
  for (uint64_t group : before.busy) s.must("and others lead still", !s.leads(slow, group));
  make_all_quick(s);
  if (stalls) s.run(kStall);
}

// The disk of one that leads nothing gets slow, or stalls: nobody notices.
void follower_has_slow_disk(Stage& s) {
  const size_t slow = s.random().below(s.nodes());
  for (uint64_t group = 0; group <= kGroups; ++group) {
    if (s.settle(group) == slow) s.hand_over(group, s.others(slow)[0]);
    s.until("it leads nothing", [&] { return s.leader_but(slow, group) && !s.leads(slow, group); });
  }
  const Spell before = watch(s, Duration::seconds(2));
  uint64_t terms[kGroups + 1];
  for (uint64_t group = 0; group <= kGroups; ++group) terms[group] = s.term(s.settle(group), group);
  const bool stalls = s.random().chance(1, 3);
  const TrueTime since = s.now();
  make_slow(s, slow, stalls, 400);
  s.run(Duration::seconds(10));
  const uint64_t group = before.busy[0];
  s.prove("its disk is behind",
          s.status(slow, group).durable.value() < s.last(s.leader(group).value_or(0), group));
  s.must("writes are as quick as before", s.write_latency(since, 50) < before.half * 3 &&
                                              s.write_latency(since, 98) < before.most * 4);
  for (uint64_t g = 0; g <= kGroups; ++g)
    s.must("the same lead", s.leader(g) && s.term(*s.leader(g), g) == terms[g]);
  make_all_quick(s);
  if (stalls) s.run(kStall);
}

// All disks are as slow: there is nobody to give way to.
void all_have_slow_disks(Stage& s) {
  s.settle();
  const uint64_t before = s.probe("node_gives_way_for_its_disk"), done = s.writes_done();
  for (size_t node = 0; node < s.nodes(); ++node) make_slow(s, node, false);
  s.run(Duration::seconds(30));
  s.must("writes went on", s.writes_done() > done + 100);
  s.must("leadership stays", s.probe("node_gives_way_for_its_disk") <= before);
  make_all_quick(s);
}

// Whoever leads has the slow disk, wherever leadership goes: it goes a few times, and then less and
// less often.
void slow_in_turns(Stage& s) {
  const uint64_t before = s.probe("node_gives_way_for_its_disk");
  std::optional<size_t> slow;
  for (int i = 0; i < 600 && s.going(); ++i) {
    if (auto lead = s.leader(); lead && lead != slow) {
      make_all_quick(s);
      slow = lead;
      make_slow(s, *slow, false);
    }
    s.run(Duration::millis(100));
  }
  const uint64_t times = s.probe("node_gives_way_for_its_disk") - before;
  s.prove("leadership moved", times > 2);
  s.must("and rests", times <= 4 * s.nodes());
  make_all_quick(s);
}

// Clients ask for more than the links between the nodes carry: leadership stays, and what waits
// does not get more and more, for clients who gave up long ago.
void links_are_full(Stage& s) {
  s.until("somebody leads", [&] { return s.leader().has_value(); });
  s.run(Duration::seconds(10));
  const std::optional<size_t> lead = s.leader();
  const uint64_t term = lead ? s.term(*lead) : 0;
  const TrueTime since = s.now();
  s.run(Duration::seconds(20));
  s.prove("more was asked than the links carry",
          lead && s.write_latency(since, 50) > Duration::millis(300));
  s.must("the same leads", lead && s.leads(*lead) && s.term(*lead) == term);
  s.stop_clients();
  const uint64_t last = lead ? s.last(*lead) : 0;
  s.must(
      "what waited is soon done", [&] { return s.status(*lead).applied.value() >= last; },
      Duration::seconds(40));
}

// Clients of those that follow ask for more than the links carry, and give up soon. What consensus
// has to say does not wait behind that, and the leader is not handed what nobody waits for any
// more.
void requests_fill_the_links(Stage& s) {
  links_are_full(s);
  const std::optional<size_t> lead = s.leader();
  s.run(Duration::seconds(5));
  const uint64_t last = lead ? s.last(*lead) : 0;
  s.run(Duration::seconds(5));
  s.must("nothing more arrives", lead && s.last(*lead) == last);
}

// A follower has a lot to catch up with, and a slow link: it hears that there is a leader all the
// time.
void catches_up_slowly(Stage& s) {
  const size_t lead = s.settle(), behind = s.others(lead)[s.random().below(2)];
  s.crash(behind, CrashKind::kProcess);
  const uint64_t had = s.last(lead);
  s.until("the others go on", [&] { return s.last(lead) > had + 3000; });
  s.stop_clients();
  s.until("they are done", [&] { return s.commit(lead) == s.last(lead); });
  s.start(behind);
  s.until("it has begun", [&] { return s.hosts(behind) && s.last(behind) > had; });
  bool campaigns = false;
  s.on_message([&](size_t node, const raft::Message& message) {
    campaigns = campaigns || (node == behind && message.group == PartitionId(1) &&
                              message.kind == raft::MessageKind::kPreVote);
  });
  s.prove("much is still to come", s.last(behind) + 200 < s.last(lead));
  s.must(
      "it has caught up", [&] { return s.last(behind) == s.last(lead); }, Duration::seconds(120));
  s.must("it never looked for another leader", !campaigns);
  s.on_message({});
}

// Two are left of three, and one needs the other's state, over a slow link. When it did not hear
// its leader meanwhile, or was not heard, the state would be begun anew for ever.
void state_fills_the_link(Stage& s) {
  const size_t lead = s.settle(), behind = s.others(lead)[0], third = s.others(lead)[1];
  const uint64_t had = s.last(behind);
  s.crash(behind);
  s.until(
      "there is much of it", [&] { return s.last(lead) > had + 4000; }, Duration::seconds(150));
  s.stop_clients();
  s.until("they are done", [&] {
    return s.commit(lead) == s.last(lead) && s.status(lead).base.index.value() > had;
  });
  const uint64_t term = s.term(lead);
  s.crash(third);
  s.start(behind);
  s.until("one leads", [&] { return s.leads(lead) || (s.hosts(behind) && s.term(lead) > term); });
  s.must(
      "the state arrives", [&] { return s.hosts(behind) && s.commit(behind) >= s.last(lead); },
      Duration::seconds(60));
}

// Loops hand each other all: what they leave out comes late by itself.
#define SLOW                                                                                      \
  "disk.kind=fast,disk.tail_per_million=0,slow-disk-after-ms=500,slow-disk-wait-ms=20,slow-disk-" \
  "pause-ms=10000,loop-frame-bytes=33554432"
// Some 200 KB/s.
#define THIN_LINKS                                                                              \
  "net.place=city,net.window_bytes=16384,net.ns_per_kib=5000000,net.jitter_percent=5,timeouts-" \
  "vary=off"
constexpr Scenario kScenarios[] = {
    {"G-1",
     "the leader's disk, alone, gets slow or stalls: another leads soon, and writes are quick "
     "again",
     SLOW ",groups=3,keys=20,rate=300,hot-percent=0", "drift", leader_has_slow_disk},
    {"G-2", "the disk of one that follows gets slow or stalls: writes are as quick as before",
     SLOW ",groups=3,keys=20,rate=300,hot-percent=0", "drift", follower_has_slow_disk},
    {"G-3", "all disks get slow: leadership stays where it is", SLOW, "drift", all_have_slow_disks},
    {"G-4", "whoever leads has a slow disk: leadership moves a few times, and then rests", SLOW,
     "drift", slow_in_turns},
    {"G-5",
     "clients ask for more than the links carry: leadership stays, and nothing waits for long",
     SLOW ",rate=1000,clients=8,processes=40,mix.set=90,mix.get=10,value-bytes-max=20000,timeout="
          "5s," THIN_LINKS,
     "", links_are_full},
    {"G-6",
     "a follower with a slow link has a lot to catch up with: it hears of its leader all the time",
     SLOW ",rate=500,mix.set=90,mix.get=10,value-bytes-max=20000," THIN_LINKS ","
          "log-bytes-max=1073741824,log-keep-bytes=67108864,log-keep-entries=1000000,log-keep-"
          "total-bytes=1073741824",
     "", catches_up_slowly},
    {"G-7", "two are left of three, and one sends the other its state over a slow link: it arrives",
     SLOW
     ",rate=500,keys=5000,hot-percent=0,mix.set=90,mix.get=10,value-bytes-max=20000," THIN_LINKS ","
     "log-keep-bytes=0,log-keep-entries=5,flush-bytes=10000,flush-interval=200ms,save-entries=16,"
     "snapshot-part-bytes=262144,snapshot-bytes-per-second=67108864",
     "", state_fills_the_link},
    {"G-8",
     "followers are asked for more than the links carry: leadership stays, what nobody awaits is "
     "not sent",
     SLOW ",rate=1000,keys=5000,hot-percent=0,clients=8,processes=200,mix.set=90,mix.get=10,value-"
          "bytes-max=20000,timeout=1s," THIN_LINKS,
     "", requests_fill_the_links},
};
#undef SLOW
#undef THIN_LINKS

}  // namespace

std::span<const Scenario> slow_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
