// Disks: full, torn, recycled, failing; damage.cc has what they have lost.
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

void all_lose_power(Stage& s) {
  for (size_t node = 0; node < s.nodes(); ++node) s.crash(node);
  s.run(Duration::millis(static_cast<int64_t>(s.random().between(1, 300))));
  for (size_t node = 0; node < s.nodes(); ++node) s.start(node);
}

// Segments were released and used again; then everybody loses power.
void power_loss_after_release(Stage& s) {
  s.until(
      "journal segments are used again", [&] { return s.probe("journal_recycles") > 3; },
      Duration::seconds(120));
  for (int round = 0; round < 3 && s.going(); ++round) {
    all_lose_power(s);
    uint64_t before = s.writes_done();
    s.must("the cluster serves again", [&] { return s.writes_done() > before + 50; });
  }
  s.settle();
}

// A majority runs out of room: writes are refused, and taken again when there is some.
void full_majority(Stage& s) {
  size_t lead = s.settle();
  uint64_t full = s.probe("node_disk_is_full"), room = s.probe("node_disk_has_room_again");
  std::vector<size_t> those = {lead, s.others(lead)[0]};
  for (size_t node : those) s.disk(node).set_full(true);
  s.until(
      "both find their disks full", [&] { return s.probe("node_disk_is_full") > full + 1; },
      Duration::seconds(240));
  s.run(Duration::seconds(1));
  const uint64_t done = s.writes_done();
  s.run(Duration::seconds(1));
  s.prove("no write succeeds", s.writes_done() == done);
  for (size_t node : those) s.disk(node).set_full(false);
  s.must("they find that there is room",
         [&] { return s.probe("node_disk_has_room_again") > room; });
  uint64_t before = s.writes_done();
  s.must("the cluster serves again", [&] { return s.writes_done() > before + 20; });
}

// A follower has no room for what it saves, until its engine takes no more; it stops all the same
// when it is asked to.
void full_and_stopped(Stage& s) {
  const uint64_t refused = s.probe("rocks_engine_refuses_to_stall");
  auto refuses = [&] { return s.probe("rocks_engine_refuses_to_stall") > refused; };
  size_t node = 0;
  for (int round = 0; round < 8 && !refuses() && s.going(); ++round) {
    if (round > 0) s.disk(node).set_full(false);
    s.run(Duration::seconds(2));  // its log has room yet
    node = s.others(s.settle())[s.random().below(2)];
    s.disk(node).set_full(true);
    s.happens(refuses, Duration::seconds(8));
  }
  s.prove("its engine refuses a write", refuses());
  s.stop(node);
  s.must(
      "it stops", [&] { return !s.up(node); }, Duration::seconds(20));
  s.disk(node).set_full(false);
  s.start(node);
  s.must("it is back", [&] { return s.hosts(node); });
  s.settle();
}

// Power fails while batches are written, any subset of their sectors being on disk.
void torn_tails(Stage& s) {
  s.repeat_until_hit(
      "journal_torn_body", 200,
      [&] {
        size_t node = s.random().below(s.nodes());
        s.run(Duration::millis(static_cast<int64_t>(s.random().between(1, 100))));
        s.crash_while_writing(node);
        s.run(Duration::millis(20));
        s.start(node);
        s.must("it is back", [&] { return s.hosts(node); });
      },
      3);
  s.settle();
}

// ... in segments that are used again, so that what lies behind the tear is of an earlier life.
void torn_recycled(Stage& s) {
  s.until(
      "journal segments are used again", [&] { return s.probe("journal_recycles") > 3; },
      Duration::seconds(120));
  torn_tails(s);
}

// The leader commits through its followers while its own write is in flight, and loses power.
void engine_ahead(Stage& s) {
  for (int round = 0; round < 6 && s.going(); ++round) {
    size_t lead = s.settle();
    s.disk(lead).slow_until(s.now() + Duration::seconds(10), 60);
    s.until("the leader has committed what its own disk does not hold",
            [&] { return s.commit(lead) > s.status(lead).durable.value(); });
    s.crash(lead);
    s.disk(lead).slow_until(TrueTime(), 1);
    s.run(Duration::millis(10));
    s.start(lead);
  }
  s.settle();
}

// One partition is written to, the others are idle and have their last words in the oldest segment.
void idle_groups_pin(Stage& s) {
  uint64_t copied = s.probe("journal_copies_forward");
  s.must(
      "what idle partitions hold is copied forward",
      [&] { return s.probe("journal_copies_forward") > copied; }, Duration::seconds(240));
  s.must(
      "and segments are used again", [&] { return s.probe("journal_recycles") > 2; },
      Duration::seconds(120));
  all_lose_power(s);
  for (uint64_t group = 0; group <= 8; ++group) s.settle(group);
}

// Nodes start with other numbers of event loops than they had, and lose power on the way.
void loops_change(Stage& s) {
  uint64_t anew = s.probe("journals_laid_out_anew");
  for (int round = 0; round < 40 && s.going(); ++round) {
    size_t node = s.random().below(s.nodes());
    s.crash(node);
    s.start(node);
    s.run(Duration::micros(static_cast<int64_t>(s.random().between(100, 30'000))));
    if (s.random().chance(1, 2)) {
      s.crash(node);
      s.start(node);
    }
    s.must("it is back", [&] { return s.hosts(node); });
    if (round >= 10 && s.probe("journals_laid_out_anew") > anew + 2) break;
  }
  s.prove("journals were laid out anew", s.probe("journals_laid_out_anew") > anew);
  s.settle();
}

// A partition that is never idle: its log is released, and its journal does not grow.
void never_idle(Stage& s) {
  s.must(
      "segments are freed and used again, under writes that never pause",
      [&] { return s.probe("journal_recycles") > 10; }, Duration::seconds(240));
  uint64_t before = s.writes_done();
  s.must("writes go on", [&] { return s.writes_done() > before + 100; });
}

// A sync fails on the leader: it stops, it does not try again, and nothing it had promised is lost.
void sync_fails(Stage& s) {
  int failed = 0;
  for (int round = 0; round < 12 && failed < 4 && s.going(); ++round) {
    size_t lead = s.settle();
    s.disk(lead).fail_next_sync();
    s.until("it fails, or another leads before",
            [&] { return !s.up(lead) || s.leader_but(lead).has_value(); });
    if (s.disk(lead).forgive_next_sync()) continue;
    ++failed;
    s.must(
        "it stops when it hears of that", [&] { return !s.up(lead); }, Duration::seconds(10));
    s.must("another leads", [&] { return s.leader().has_value(); });
  }
  s.prove("leaders' syncs failed", failed >= 3);
  s.settle();
}

constexpr Scenario kScenarios[] = {
    {"H-R27", "power is lost everywhere after log was released: what was flushed is there",
     "rate=1000,segment-bytes=131072,save-entries=16,flush-bytes=4096,flush-interval=200ms",
     "batching", power_loss_after_release},
    {"H-R28", "a majority's disks are full: writes are refused, and taken again when there is room",
     "rate=1000,segment-bytes=131072,value-bytes-max=4000,save-entries=16,flush-bytes=100000",
     "drift", full_majority},
    {"H-R28-stop", "a node whose engine has no room for more is asked to stop, and does",
     "engine=rocks,rate=500,value-bytes-max=1000,save-entries=1,flush-bytes=100000,flush-interval="
     "200ms,segment-bytes=4194304",
     "drift", full_and_stopped},
    {"H-K12", "a partition that is written to without a pause is still released",
     "rate=1000,bursts=off,segment-bytes=131072,save-entries=256,flush-bytes=100000,flush-interval="
     "1s",
     "delay", never_idle},
    {"H-K14",
     "power losses, while state is applied, saved and flushed: nothing released is missing",
     "rate=1000,segment-bytes=131072,save-entries=1,unsaved-factor=1,flush-bytes=4096,flush-"
     "interval=200ms",
     "slow-disk", power_loss_after_release},
    {"T-22", "torn tails, any subset of sectors, are told from damage and cut off",
     "rate=300,disk.crash_loses_all=0", "batching,slow-disk", torn_tails},
    {"T-23", "torn tails in segments used again: no record of an earlier life is believed",
     "rate=1000,segment-bytes=131072,save-entries=16,flush-bytes=4096,flush-interval=200ms,disk."
     "crash_loses_all=0",
     "batching", torn_recycled},
    {"T-26", "a leader loses power after it committed what its own journal does not hold",
     "rate=300,save-entries=1,flush-bytes=4096,flush-interval=200ms", "batching", engine_ahead},
    {"T-31", "idle partitions pin the oldest segment: what they hold is copied forward",
     "groups=8,rate=1000,keys=1,segment-bytes=131072,save-entries=16,flush-bytes=4096,flush-"
     "interval=200ms",
     "batching", idle_groups_pin},
    {"T-32", "nodes restart with other numbers of event loops, and lose power on the way",
     "groups=8,loops=3,loops-vary=on", "batching", loops_change},
    {"H-R28-sync", "a sync fails on the leader: it stops and never tries again", "rate=300",
     "delay", sync_fails},
};

}  // namespace

std::span<const Scenario> disk_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
