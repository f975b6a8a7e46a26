// What disks have lost, and may not be missed in what is answered: rotten, wiped, of an earlier
// boot.
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

// What a node says of a partition that damage has stopped.
constexpr std::string_view kOnAMajority = "serves nothing until one that has it is back";
constexpr std::string_view kNoState = "no node leads from which to fetch it";

// The third of three is cut off, and lacks what the other two commit.
size_t cut_off_the_third(Stage& s, size_t lead, size_t other) {
  const size_t behind = 3 - lead - other;
  s.isolate(behind);
  s.until("entries are committed that one replica never had",
          [&] { return s.leads(lead) && s.commit(other) > s.last(behind) + 5; });
  return behind;
}

// Who starts at `lead` asks the other for its vote in a later term, and never hears the answer.
void ask_in_a_later_term(Stage& s, size_t lead, size_t behind) {
  s.crash(lead, CrashKind::kProcess);
  s.mend(lead, behind);
  const uint64_t term = s.term(behind);
  s.on_message([&s, lead, behind](size_t node, const raft::Message& m) {
    if (node == lead && m.kind == raft::MessageKind::kVote && m.group.value() == 1)
      s.soon([&s, lead, behind] { s.cut(behind, lead); });
  });
  s.start(lead);
  s.until("it is asked for its vote in a later term", [&] { return s.term(behind) > term; });
  s.on_message({});
}

// An entry is acknowledged by two of three; one copy rots, the other's node stops. The third, which
// never had it, must not be elected by the one that may have lost it, not even if it knows a later
// term.
void lose_what_the_third_lacks(Stage& s, bool later_term) {
  bool faulty = false;
  for (int round = 0; round < 20 && !faulty && s.going(); ++round) {
    size_t lead = s.settle();
    size_t rotten = s.others(lead)[s.random().below(2)];
    size_t behind = cut_off_the_third(s, lead, rotten);
    s.crash(rotten);
    s.damage_newest(rotten);
    if (later_term) ask_in_a_later_term(s, lead, behind);
    s.pause(lead);
    s.mend(rotten, behind);
    s.start(rotten);
    s.until("the damaged one is back", [&] { return s.hosts(rotten); });
    faulty = !s.whole(rotten);
    s.run(Duration::seconds(5));
    s.resume(lead);
    s.heal();
    s.must("the damage is repaired", [&] { return s.whole(rotten); });
  }
  s.prove("a replica voted with a damaged log", faulty);
}

void faulty_tail_votes(Stage& s) {
  lose_what_the_third_lacks(s, false);
}
void faulty_tail_and_a_later_term(Stage& s) {
  lose_what_the_third_lacks(s, true);
}

// The last synced batch rots on a node that is down: it is no torn tail.
void rotten_tail(Stage& s) {
  s.repeat_until_hit("journal_faulty_body", 60, [&] {
    size_t node = s.random().below(s.nodes());
    s.crash(node);
    s.damage_newest(node);
    s.start(node);
    s.must("it is back, and whole again", [&] { return s.whole(node); });
  });
  s.settle();
  for (size_t node = 0; node < s.nodes(); ++node)
    s.must("nobody takes that for lost", !s.said(node, kOnAMajority));
}

// Two of three hold what was acknowledged; one of them is wiped, the other stops. The wiped one is
// nobody's voter under its old name.
void wiped_returns(Stage& s) {
  size_t lead = s.settle();
  size_t wiped = s.others(lead)[s.random().below(2)];
  size_t behind = cut_off_the_third(s, lead, wiped);
  s.crash(wiped);
  s.wipe(wiped);
  s.pause(lead);
  s.mend(wiped, behind);
  s.start(wiped);
  s.run(Duration::seconds(10));
  s.must("the wiped one elected nobody", !s.leader());
  s.resume(lead);
  s.heal();
  uint64_t before = s.writes_done();
  s.must("the two that forgot nothing serve", [&] { return s.writes_done() > before + 20; });
}

// ... the same with a disk as it was some boots ago. What it has forgotten it does not make up for
// by booting so often that it outruns the number of the boot that the others have on record. Who
// restarts with it has the record in its log, and does not know that it is committed.
void roll_back(Stage& s, int boots_alone, bool all_restart = false) {
  size_t lead = s.settle();
  size_t old = s.others(lead)[s.random().below(2)];
  DiskImage image = s.image(old);
  if (all_restart) {
    s.lead_all(lead);
    s.run(Duration::seconds(1));  // the boots so far are on record
  }
  const uint64_t recorded = s.last(lead, kMeta);
  for (int boot = all_restart ? 1 : 0; boot < 2;
       ++boot) {  // of a second one the first would be known
    s.crash(old, CrashKind::kProcess);
    s.start(old);
    s.until("it boots anew", [&] { return s.hosts(old); });
    uint64_t before = s.writes_done();
    s.until("and serves", [&] { return s.writes_done() > before + 20; });
  }
  lead = s.settle();
  if (old == lead) return s.prove("the one to be rolled back follows", false);
  uint64_t refused = s.probe("earlier_boot_refused");
  if (all_restart) {
    s.until("all have its boot on record", [&] {
      return s.last(lead, kMeta) > recorded &&
             s.status(3 - lead - old, kMeta).durable.value() >= s.last(lead, kMeta);
    });
  }
  size_t behind = cut_off_the_third(s, lead, old);
  s.crash(old);
  s.roll_back(old, image);
  if (boots_alone > 0) s.isolate(old);
  for (int boot = 0; boot < boots_alone; ++boot) {
    s.start(old);
    s.until("it boots where nobody hears it", [&] { return s.hosts(old); });
    s.crash(old, CrashKind::kProcess);
  }
  if (all_restart) {
    s.crash(lead, CrashKind::kProcess);
    s.crash(behind, CrashKind::kProcess);
    s.start(behind);
    s.until("the one that lacks entries is back", [&] { return s.hosts(behind); });
  } else {
    s.pause(lead);
  }
  s.mend(old, behind);
  s.start(old);
  s.run(Duration::seconds(10));
  s.must("the rolled-back one elected nobody", !s.leader());
  s.prove("its earlier boot was noticed", s.probe("earlier_boot_refused") > refused);
  if (all_restart) {
    s.prove("by the log", s.probe("unapplied_boot_contradicts") > 0);
    s.start(lead);
  }
  s.resume(lead);
  s.heal();
  uint64_t before = s.writes_done();
  s.must("the two that forgot nothing serve", [&] { return s.writes_done() > before + 20; });
}

void rolled_back_returns(Stage& s) {
  roll_back(s, 0);
}
void rolled_back_boots_on(Stage& s) {
  roll_back(s, 6);
}
void rolled_back_and_all_restart(Stage& s) {
  roll_back(s, 0, true);
}

// Both copies of a batch rot on a node that is down, and with them its latest term and vote, for
// all it knows. It does not vote by what is left.
void vote_is_lost(Stage& s) {
  uint64_t refused = s.probe("sim_damaged_node_refuses_to_boot");
  size_t lead = s.settle();
  size_t node = s.others(lead)[s.random().below(2)];
  auto refuses = [&] { return s.probe("sim_damaged_node_refuses_to_boot") > refused; };
  for (int round = 0; round < 10 && !refuses() && s.going(); ++round) {
    s.run(Duration::millis(500));
    s.crash(node);
    s.lose_newest(node);
    s.start(node);
    s.happens(refuses, Duration::seconds(5));
  }
  s.prove("it refuses to start", refuses());
  s.run(Duration::seconds(5));
  s.must("and takes no part", !s.hosts(node));
  uint64_t before = s.writes_done();
  s.must("the others serve", [&] { return s.writes_done() > before + 20; });
}

// Somebody removes the log of a node that is down, to make room: it has forgotten its votes, and
// does not go on as if there had been none.
void log_is_removed(Stage& s) {
  const uint64_t refused = s.probe("sim_damaged_node_refuses_to_boot");
  const size_t lead = s.settle(), node = s.others(lead)[s.random().below(2)];
  s.run(Duration::millis(500));
  s.crash(node);
  s.lose_journals(node);
  s.start(node);
  s.must(
      "it refuses to start", [&] { return s.probe("sim_damaged_node_refuses_to_boot") > refused; },
      Duration::seconds(5));
  const uint64_t before = s.writes_done();
  s.must("the others serve", [&] { return s.writes_done() > before + 20; });
}

// Files of a node's engine rot while it runs: it stops, begins with a new engine, and is brought up
// by the others, who serve all the while.
void engine_rots(Stage& s) {
  s.repeat_until_hit(
      "engine_set_up_anew", 40,
      [&] {
        size_t lead = s.settle();
        size_t node = s.random().chance(1, 3) ? lead : s.others(lead)[s.random().below(2)];
        s.crash(node, CrashKind::kProcess);
        s.damage_engine(node, 3);
        s.start(node);
        s.must("it is back, with a state",
               [&] { return s.hosts(node) && !s.status(node).stateless; });
        s.run(Duration::seconds(2));
      },
      2);
  s.until("states were fetched", [&] { return s.probe("snapshot_installed") > 0; });
  s.settle();
}

// Two places of an engine rot: partitions that they are not of keep their states.
void engine_rots_in_part(Stage& s) {
  s.repeat_until_hit("engine_salvage_keeps_some_partitions", 120, [&] {
    s.settle();
    s.run(Duration::seconds(1));
    const size_t node = s.random().below(s.nodes());
    const uint64_t anew = s.probe("engine_set_up_anew"),
                   full = s.probe("engine_salvage_has_no_room");
    s.crash(node, CrashKind::kProcess);
    s.damage_engine(node, 2);
    s.start(node);
    // On the way, now and then, again.
    for (size_t times = s.random().below(4); times > 0 && s.crash_while_writing(node); --times)
      s.start(node);
    s.must("it is back, with its states", [&] {
      for (uint64_t group = 1; group <= 4; ++group)
        if (!s.hosts(node, group) || s.status(node, group).stateless) return false;
      return true;
    });
    const uint64_t refused = s.probe("engine_salvage_has_no_room") - full;
    s.must("without room it gave nothing up, and began again",
           refused == 0 || s.probe("engine_set_up_anew") > anew + refused);
    s.run(Duration::seconds(2));
  });
  s.prove("states were kept", s.probe("engine_salvage_keeps_a_partition") > 0);
  s.settle();
}

// Logs rot beneath nodes that run: they notice, and write anew what they need of it, so that a node
// that loses power later has lost nothing of its log.
void rot_is_scrubbed(Stage& s) {
  uint64_t found = s.probe("node_scrub_finds_damage_in_a_journal"),
           faulty = s.probe("replica_starts_with_a_faulty_log");
  for (int round = 0; round < 25 && s.going(); ++round) {
    s.settle();
    const size_t node = s.random().below(s.nodes());
    if (!s.rot(node)) continue;
    s.run(Duration::seconds(2));
    s.crash(node);
    s.start(node);
    s.must("it is back", [&] { return s.hosts(node); });
    s.must("nothing is left that a start could find",
           s.probe("replica_starts_with_a_faulty_log") == faulty);
  }
  s.prove("damage was found", s.probe("node_scrub_finds_damage_in_a_journal") > found + 3);
  for (size_t node = 0; node < s.nodes(); ++node) s.must("all logs are whole", s.whole(node));
}

// An engine rots beneath a node that runs and does not read what has rotted: it begins anew all the
// same.
void engine_rot_is_scrubbed(Stage& s) {
  s.repeat_until_hit(
      "engine_set_up_anew", 40,
      [&] {
        s.settle();
        const size_t node = s.random().below(s.nodes());
        s.damage_engine(node, 3);
        s.run(Duration::seconds(5));
        s.must("it is here, with a state",
               [&] { return s.hosts(node) && !s.status(node).stateless; });
      },
      2);
  s.prove("scrubs found it", s.probe("node_scrub_finds_damage_in_the_engine") > 0);
  s.settle();
}

// A node that was the only member rots when another has been let in that has nothing yet, and is
// down. What it has nobody else has: it goes on with what reads well, or stops and keeps all of it.
void only_copy_rots(Stage& s) {
  const size_t only = s.settle(), other = 1 - only;
  const uint64_t let_in = s.probe("node_was_let_in"), anew = s.probe("engine_set_up_anew");
  s.remove(other, false);
  s.until("another is let in", [&] { return s.probe("node_was_let_in") > let_in; });
  s.crash(other);
  s.run(Duration::seconds(2));
  const uint64_t found = s.probe("node_scrub_finds_damage_in_the_engine");
  auto is_found = [&] {
    return s.probe("node_scrub_finds_damage_in_the_engine") > found ||
           s.probe("sim_damaged_node_refuses_to_boot") > 0;
  };
  for (int round = 0; round < 30 && !is_found() && s.going(); ++round) {
    s.damage_engine(only, 2);  // perhaps of what is replaced before it is read
    s.happens(is_found, Duration::seconds(2));
  }
  s.prove("its engine was found damaged", is_found());
  s.run(Duration::seconds(5));
  const uint64_t before = s.writes_done();
  s.must(
      "it goes on, or stops for good",
      [&] {
        return s.writes_done() > before + 20 || s.probe("sim_damaged_node_refuses_to_boot") > 0;
      },
      Duration::seconds(60));
  s.must("it threw nothing away", s.probe("engine_set_up_anew") == anew);
}

// An entry's only intact copy is on a node that is down, the other is damaged: the partition waits,
// rather than go on without it, and is served when the holder returns.
void intact_copy_is_down(Stage& s) {
  bool waited = false;
  for (int round = 0; round < 20 && !waited && s.going(); ++round) {
    size_t lead = s.settle();
    size_t rotten = s.others(lead)[s.random().below(2)], behind = 3 - lead - rotten;
    s.isolate(behind);
    s.until("entries are committed that one replica never had",
            [&] { return s.leads(lead) && s.commit(rotten) > s.last(behind) + 5; });
    s.crash(rotten);
    s.damage_newest(rotten);
    s.crash(lead);
    s.mend(rotten, behind);  // what the leader sent the third stays where it is
    s.start(rotten);
    s.until("the damaged one is back", [&] { return s.hosts(rotten); });
    bool faulty = !s.whole(rotten);
    s.run(Duration::seconds(10));
    if (faulty) {
      s.must("nobody leads without the entry", !s.leader());
      s.must("it says why", s.said(rotten, kOnAMajority));
      waited = true;
    }
    uint64_t before = s.writes_done();
    s.heal();
    s.start(lead);
    s.must("with the holder all is served",
           [&] { return s.whole(rotten) && s.writes_done() > before + 20; });
  }
  s.prove("it waited for the holder", waited);
}

// All who had an entry have lost it: it was acknowledged, so nothing is served without it, ever.
void all_copies_are_lost(Stage& s) {
  for (int round = 0; round < 20 && s.going(); ++round) {
    const size_t lead = s.settle(), other = s.others(lead)[s.random().below(2)],
                 behind = 3 - lead - other;
    const uint64_t had = s.last(behind);
    s.crash(behind);
    s.until("entries are committed that one replica never had",
            [&] { return s.leads(lead) && s.commit(other) > had + 5; });
    s.until("both have written the same", [&] {
      const raft::Status one = s.status(lead), two = s.status(other);
      return one.last == two.last && one.durable == one.last.index &&
             two.durable == two.last.index && two.commit < two.last.index;
    });
    for (size_t node : {other, lead}) s.crash(node);
    for (size_t node : {other, lead})
      for (int i = 0; i < 8; ++i) s.damage_newest(node);
    for (size_t node : {other, lead, behind}) s.start(node);
    s.until("they are back", [&] { return s.hosts(other) && s.hosts(lead) && s.hosts(behind); });
    if (s.whole(other) || s.whole(lead)) {
      s.must("who has it helps", [&] { return s.whole(other) && s.whole(lead); });
      continue;
    }
    const uint64_t before = s.writes_done();
    s.run(Duration::seconds(10));
    if (s.whole(other)) continue;  // they had lost different ones
    s.must("nobody leads", !s.leader());
    s.must("nothing is served", s.writes_done() == before);
    s.must("it is said why", s.said(other, kOnAMajority) || s.said(lead, kOnAMajority));
    return;
  }
  s.prove("both had lost the same", false);
}

// All engines are damaged at once, when the logs do not hold any more what is in them: nothing is
// served that was made up from the rest.
void all_states_are_lost(Stage& s) {
  for (int round = 0; round < 20 && s.going(); ++round) {
    const size_t lead = s.settle();
    s.until("the logs begin behind the founding", [&] {
      for (size_t node = 0; node < s.nodes(); ++node)
        if (s.status(node).base.index.value() < 50) return false;
      return true;
    });
    std::vector<size_t> all = s.others(lead);
    all.push_back(lead);
    for (size_t node : all) s.crash(node);
    for (size_t node : all) s.damage_engine(node, 60);
    for (size_t node : all) s.start(node);
    auto lost = [&] {
      return std::all_of(all.begin(), all.end(),
                         [&](size_t node) { return s.hosts(node) && s.status(node).stateless; });
    };
    const uint64_t had = s.writes_done();
    s.until("they serve again, or all have lost it",
            [&] { return lost() || s.writes_done() > had + 300; });
    if (!lost()) continue;
    s.run(Duration::millis(100));  // answers that were on their way
    const uint64_t before = s.writes_done();
    s.run(Duration::seconds(10));
    s.prove("all lack the state still", lost() && !s.leader());
    s.must("nothing is served", s.writes_done() == before);
    s.must(
        "it is said why",
        [&] {
          return std::all_of(all.begin(), all.end(),
                             [&](size_t node) { return s.said(node, kNoState); });
        },
        Duration::nanos(1));
    return;
  }
  s.prove("all had lost the state", false);
}

constexpr Scenario kScenarios[] = {
    {"T-24", "both copies of a batch rot: the node does not vote by what is left of it", "rate=300",
     "drift", vote_is_lost},
    {"T-24-gone", "the log of a node is removed: the node does not vote without it", "rate=300",
     "drift", log_is_removed, false, "journal_is_gone"},
    {"T-30", "files of a node's engine rot: it begins anew, the others serve",
     "rate=500,log-keep-bytes=0,log-keep-entries=20,flush-interval=200ms,save-entries=1,keys=40,"
     "value-bytes-max=1000",
     "", engine_rots},
    {"T-30-part",
     "two places of a node's engine rot: the partitions they are not of keep their states",
     "engine=rocks,groups=4,buckets=6,hot-percent=0,rate=200,salvage-batch-bytes=1,log-keep-bytes="
     "0,log-keep-entries=20,flush-interval=500ms,save-entries=16,keys=40,value-bytes-max=1000,"
     "scrub-interval-ms=500,scrub-bytes-per-second=67108864",
     "drift", engine_rots_in_part},
    {"T-22-scrub", "logs rot beneath nodes that run: it is found and left before a loss of power",
     "rate=100,disk.kind=fast,segment-bytes=131072,scrub-interval-ms=100,scrub-bytes-per-second="
     "67108864",
     "drift", rot_is_scrubbed},
    {"T-30-scrub", "engines rot beneath nodes that run: it is found, and they begin anew",
     "rate=300,log-keep-bytes=0,log-keep-entries=20,flush-interval=200ms,save-entries=1,keys=40,"
     "value-bytes-max=1000,scrub-interval-ms=100,scrub-bytes-per-second=67108864",
     "drift", engine_rot_is_scrubbed},
    {"T-30-only",
     "the engine of a node rots when the other members have nothing yet: it throws nothing away",
     "nodes=2,rate=100,log-keep-bytes=0,log-keep-entries=20,flush-interval=200ms,save-entries=1,"
     "keys=40,value-bytes-max=1000,scrub-interval-ms=300,scrub-bytes-per-second=67108864",
     "drift", only_copy_rots, false, "all_partitions_have_other_voters"},
    {"T-30-all", "all have lost a partition's state: it stops, and says why",
     "rate=300,loops=1,log-keep-bytes=0,log-keep-entries=5,flush-interval=200ms,save-entries=1,"
     "keys=40",
     "drift", all_states_are_lost, false, "lost_state_is_nowhere"},
    {"T-44-all", "all who had an entry have lost it: the partition stops, and says why",
     "rate=300,loops=1", "drift", all_copies_are_lost},
    {"T-44", "the only intact copy of an entry is down: the partition waits for it", "rate=300",
     "drift", intact_copy_is_down},
    {"T-21", "a replica whose log is damaged elects nobody who never had what it may have lost",
     "rate=300", "drift", faulty_tail_votes},
    {"T-21-later", "... and one of those has heard of a later term", "rate=300", "drift",
     faulty_tail_and_a_later_term},
    {"T-22-rot", "the last synced batch rots on a node that is down: not taken for a torn tail",
     "rate=300", "batching", rotten_tail},
    {"T-25", "a node returns with an empty disk: it is nobody's voter", "rate=300", "drift",
     wiped_returns},
    {"T-25-back", "a node returns with the disk of an earlier boot: it is refused", "rate=300",
     "drift", rolled_back_returns},
    {"T-25-boots-on", "... after many boots of its own, cut off", "rate=300", "drift",
     rolled_back_boots_on},
    {"T-25-restart", "... and all restart, knowing its later boot from what is not applied yet",
     "rate=300,save-entries=1000000,flush-interval=1000s,flush-bytes=100000000,log-keep-bytes="
     "100000000,log-keep-entries=1000000,log-keep-total-bytes=1000000000,log-bytes-max=1073741824",
     "drift", rolled_back_and_all_restart},
};

}  // namespace

std::span<const Scenario> damage_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
