// A log that is compacted beyond what a replica has, and the state that it is sent instead.
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

// Clients write all the while.
void catches_up_by_a_snapshot(Stage& s) {
  size_t away = s.leave_one_behind();
  uint64_t installed = s.probe("snapshot_installed");
  uint64_t written = s.writes_done();
  s.start(away);
  s.must("it is sent the state", [&] { return s.probe("snapshot_installed") > installed; });
  s.must("it applies what was written since", [&] {
    auto lead = s.leader();
    return lead && s.status(away).applied.value() + 20 > s.commit(*lead) &&
           s.writes_done() > written + 50;
  });
}

// The state is sent so slowly that before it is there the log would take no more, and be compacted
// beyond what the receiver has then: for good, while clients write.
void sent_before_the_log_is_full(Stage& s) {
  s.until("there is a state to send", [&] { return s.writes_done() > 600; });
  const size_t away = s.leave_one_behind();
  const uint64_t hurried = s.probe("snapshot_hurries");
  s.start(away);
  s.until("a snapshot replaces its state", [&] { return s.status(away).stateless; });
  s.must(
      "it has the state, and the log behind it",
      [&] {
        auto lead = s.leader();
        return lead && s.hosts(away) && !s.status(away).stateless &&
               s.status(away).applied.value() + 20 > s.commit(*lead);
      },
      Duration::seconds(60));
  s.prove("it was sent faster for the sake of the log", s.probe("snapshot_hurries") > hurried);
}

// The crash comes when some of the new rows, or none of them, have reached the disk.
void crashes_while_it_installs(Stage& s) {
  s.repeat_until_hit("snapshot_install_was_cut_short", 80, [&] {
    size_t away = s.leave_one_behind();
    s.hold("snapshot_part_is_flushed", away);
    s.start(away);
    s.until("a snapshot replaces its state", [&] { return s.status(away).stateless; });
    // Log-uniform, to 32 ms.
    uint64_t low = uint64_t{1000} << s.random().below(6);
    s.run(Duration::micros(int64_t(s.random().between(low / 2, low))));
    s.crash(away, s.random().chance(1, 2) ? CrashKind::kPower : CrashKind::kProcess);
    s.hold("snapshot_part_is_flushed", away, false);
    s.start(away);
    s.must("it has a whole one", [&] { return s.hosts(away) && !s.status(away).stateless; });
  });
}

// Soon after a state was installed, flushed or not, power fails everywhere: whoever applied or
// installed something still has the log behind what its engine kept, or asks for the state anew.
void power_fails_after_installing(Stage& s) {
  for (int round = 0; round < 3 && s.going(); ++round) {
    const size_t away = s.leave_one_behind();
    const uint64_t installed = s.probe("snapshot_installed");
    s.start(away);
    s.must("it has the state", [&] { return s.probe("snapshot_installed") > installed; });
    s.run(Duration::micros(int64_t(s.random().below(400'000))));
    for (size_t node = 0; node < s.nodes(); ++node) s.crash(node);
    for (size_t node = 0; node < s.nodes(); ++node) s.start(node);
    s.settle();
  }
}

// A replica is half-way through a state newer than what the next leader knows to be committed, and
// the one that knew is gone: the two that are left go on by themselves.
void half_installed_is_newer(Stage& s) {
  s.repeat_until_hit("raft_commits_what_a_state_shows", 60, [&] {
    size_t away = s.leave_one_behind();
    auto lead = s.leader();
    if (!lead) return;
    size_t third = 3 - *lead - away;
    s.isolate(away);
    s.start(away);
    s.until("it is back", [&] { return s.hosts(away); });
    s.cut(*lead, third);  // what the third acknowledges is committed, and it does not hear of that
    s.mend(*lead, away);
    bool begun = s.happens([&] { return s.status(away).stateless; }, Duration::millis(300));
    if (begun) s.run(Duration::micros(int64_t(s.random().between(1, 2000))));
    s.crash(*lead);
    s.mend(away, third);
    if (begun)
      s.must("the two go on by themselves",
             [&] { return s.leader_but(*lead) && s.hosts(away) && !s.status(away).stateless; });
    s.heal();
    s.start(*lead);
    s.must("all have a state", [&] {
      for (size_t node = 0; node < s.nodes(); ++node)
        if (!s.hosts(node) || s.status(node).stateless) return false;
      return true;
    });
  });
}

// A replica is half-way through a state newer than what the next leader has applied, whose engine
// takes no writes, and is offered that leader's.
void older_is_offered(Stage& s) {
  s.repeat_until_hit("snapshot_refused_as_older", 40, [&] {
    const size_t away = s.leave_one_behind();
    const auto lead = s.leader();
    if (!lead) return;
    const size_t third = 3 - *lead - away;
    s.hold("engine_refuses_a_write", third);
    const uint64_t written = s.writes_done();
    s.until("the others write on", [&] { return s.writes_done() > written + 40; });
    s.hold("snapshot_part_is_flushed", away);
    s.start(away);
    s.until("a snapshot replaces its state", [&] { return s.status(away).stateless; });
    s.run(Duration::micros(int64_t(s.random().between(1000, 30'000))));
    s.crash(*lead);
    s.until("another leads", [&] { return s.leader_but(*lead).has_value(); });
    s.run(Duration::millis(int64_t(s.random().between(500, 3000))));
    s.hold("engine_refuses_a_write", third, false);
    s.hold("snapshot_part_is_flushed", away, false);
    s.must("it has a whole one", [&] { return s.hosts(away) && !s.status(away).stateless; });
    s.start(*lead);
  });
}

// While it has no state the leader dies: it votes, for who can lead.
void votes_without_a_state(Stage& s) {
  s.repeat_until_hit("raft_votes_without_a_state", 20, [&] {
    size_t away = s.leave_one_behind();
    s.start(away);
    s.until("a snapshot replaces its state", [&] { return s.status(away).stateless; });
    auto old = s.leader();
    if (!old) return;
    s.crash(*old);
    s.must("another leads", [&] { return s.leader_but(*old).has_value(); });
    s.must("it is not the one without a state", !s.leads(away) || !s.status(away).stateless);
    s.start(*old);
    s.must("it has a whole one", [&] { return s.hosts(away) && !s.status(away).stateless; });
  });
}

// Who comes has nothing, and all of the log is still there since nothing of it was ever flushed: it
// is sent the state all the same.
void comes_with_nothing(Stage& s) {
  const size_t lead = s.settle();
  const size_t comes = s.others(lead)[s.random().below(2)];
  const NodeId before = s.member(comes);
  const uint64_t installed = s.probe("snapshot_installed");
  s.until("clients have written", [&] { return s.commit(lead) > 20; });
  s.remove(comes, true);
  bool whole = true;
  std::optional<bool> has_none;  // when it comes
  s.until("it is let in", [&] {
    if (s.hosts(comes) && !has_none) has_none = s.status(comes).stateless;
    return s.member(comes) && s.member(comes) != before && has_none;
  });
  for (size_t node : s.others(comes)) whole &= s.status(node).base == raft::kFoundingBase;
  s.prove("the log was never compacted", whole);
  s.must("it begins without a state", has_none == true);
  s.settle_members();
  s.must("it was sent one", s.probe("snapshot_installed") > installed);
}

// The connection dies in the middle, and what was on its way with it.
void resumes(Stage& s) {
  s.repeat_until_hit("snapshot_stream_resumes", 40, [&] {
    size_t away = s.leave_one_behind();
    s.start(away);
    s.until("a snapshot replaces its state", [&] { return s.status(away).stateless; });
    s.run(Duration::micros(int64_t(s.random().between(1, 5'000))));
    s.isolate(away);
    s.run(Duration::seconds(4));  // of silence: connections are found dead
    s.heal();
    s.must("it has a whole one", [&] { return s.hosts(away) && !s.status(away).stateless; });
  });
}

// What the receiver says is lost for a while, so parts that it has are made again: of other rows,
// for the engine has dropped superseded ones meanwhile.
void made_again(Stage& s) {
  auto forget = [&](bool on) {
    for (size_t node = 0; node < s.nodes(); ++node)
      s.hold("view_leaves_out_superseded_rows", node, on);
  };
  s.repeat_until_hit("snapshot_part_follows_another_row", 40, [&] {
    const size_t away = s.leave_one_behind();
    const auto lead = s.leader();
    if (!lead) return;
    s.start(away);
    s.until("a snapshot replaces its state", [&] { return s.status(away).stateless; });
    const uint64_t low = uint64_t{500} << s.random().below(8);  // log-uniform, to 128 ms
    s.run(Duration::micros(int64_t(s.random().between(low / 2, low))));
    s.cut(away, *lead);
    forget(true);
    s.run(Duration::millis(int64_t(s.random().between(1'200, 3'000))));
    s.mend(away, *lead);
    s.must("it has a whole one", [&] { return s.hosts(away) && !s.status(away).stateless; });
    forget(false);
  });
}

// A leader of five is deposed, and hears nothing of it. Of the state that the next one sends a
// replica a part is flushed, and then power fails, before the later term is durable there. Its word
// that there is such a state does not make the deposed one commit its own entries at those indexes.
void shown_to_the_deposed(Stage& s) {
  const size_t away = s.leave_one_behind();
  const auto lead = s.leader();
  if (!lead) return s.prove("there is a leader", false);
  const size_t old = *lead;
  s.isolate(away);
  s.start(away);
  s.until("it is back", [&] { return s.hosts(away); });
  s.hold("journal_refuses_an_append", away);
  s.hold("snapshot_part_is_flushed", away);
  s.isolate(old);
  s.set_rate(old, kFrozenPpb);
  s.until("another leads and commits", [&] {
    auto next = s.leader_but(old);
    return next && s.commit(*next) > s.commit(old);
  });
  const auto next = s.leader_but(old);
  if (!next) return;
  s.until(
      "the deposed one has entries of its own there", [&] { return s.last(old) > s.commit(*next); },
      Duration::seconds(10));
  const uint64_t parts = s.probe("snapshot_install_begins");
  s.mend(away, *next);
  s.until("a part of its state comes", [&] { return s.probe("snapshot_install_begins") > parts; });
  s.hold("snapshot_part_is_lost", *next);
  s.run(Duration::millis(300));
  s.isolate(away);
  s.crash(away);
  s.hold("journal_refuses_an_append", away, false);
  s.hold("snapshot_part_is_flushed", away, false);
  s.hold("snapshot_part_is_lost", *next, false);
  const uint64_t cut_short = s.probe("snapshot_install_was_cut_short");
  s.prove("the old one still leads, as far as it knows", s.leads(old));
  s.set_rate(old, -900'000'000);
  s.mend(away, old);
  s.start(away);
  s.until("it is back", [&] { return s.hosts(away); });
  s.prove("it has a part of a state", s.probe("snapshot_install_was_cut_short") > cut_short);
  s.run(Duration::seconds(3));
  s.set_rate(old, 0);
  s.heal();
  s.must("it has a whole one", [&] { return !s.status(away).stateless; });
}

// The stream hangs half-way; the others are not held up, and it is completed afterwards.
void stream_hangs(Stage& s) {
  size_t away = s.leave_one_behind();
  s.start(away);
  s.until("a snapshot replaces its state", [&] { return s.status(away).stateless; });
  s.isolate(away);
  uint64_t before = s.writes_done(), given_up = s.probe("snapshot_stream_given_up");
  s.must("the others go on", [&] { return s.writes_done() > before + 50; });
  s.must(
      "the stream is given up, and holds no log",
      [&] { return s.probe("snapshot_stream_given_up") > given_up; }, Duration::seconds(60));
  s.prove("it still waits", s.status(away).stateless);
  s.heal();
  s.must("it has a whole one", [&] { return s.hosts(away) && !s.status(away).stateless; });
}

// The one that was sent a snapshot comes to lead, and answers from what it was sent.
void installed_leads(Stage& s) {
  catches_up_by_a_snapshot(s);
  size_t sent = s.nodes();
  for (size_t node = 0; node < s.nodes(); ++node)
    if (sent == s.nodes() || s.status(node).base > s.status(sent).base) sent = node;
  for (int round = 0; round < 40 && s.going() && !s.leads(sent); ++round) {
    size_t old = s.settle();
    if (old == sent) break;
    s.crash(old, CrashKind::kProcess);
    s.until("another leads", [&] { return s.leader_but(old).has_value(); });
    s.start(old);
  }
  s.prove("it leads", s.leads(sent));
  uint64_t before = s.writes_done();
  s.must("it serves", [&] { return s.writes_done() > before + 30; });
}

constexpr std::string_view kCompacts =
    "log-keep-bytes=0,log-keep-entries=5,flush-interval=200ms,save-entries=1";
constexpr std::string_view kSmallParts =
    "log-keep-bytes=0,log-keep-entries=5,flush-interval=200ms,save-entries=1,snapshot-part-bytes=1,"
    "keys=40";

constexpr std::string_view kNeverFlushed =
    "log-keep-bytes=67108864,log-keep-entries=1000000,log-keep-total-bytes=1073741824,"
    "log-bytes-max=1073741824,flush-bytes=4194304,flush-interval=60s";

constexpr std::string_view kSmallPartsFlushed =
    "log-keep-bytes=0,log-keep-entries=5,flush-interval=200ms,save-entries=1,snapshot-part-bytes=1,"
    "keys=40,flush-bytes=1";

constexpr std::string_view kSuperseded =
    "engine=rocks,rate=1000,operation-records-max=20,loop-frame-bytes=33554432,lulls=off,"
    "snapshot-bytes-per-second=67108864,log-keep-bytes=0,log-keep-entries=5,flush-interval=200ms,"
    "save-entries=1,"
    "snapshot-part-bytes=1,keys=40,mix.delete=0";

constexpr std::string_view kFive =
    "nodes=5,groups=1,rate=300,reads=quorum,loop-frame-bytes=33554432,log-keep-bytes=0,log-keep-"
    "entries=5,flush-interval=200ms,save-entries=1,"
    "snapshot-part-bytes=1,keys=40,clients=4,processes=40,slow-disk-after-ms=0";

constexpr std::string_view kSlow =
    "groups=1,rate=500,processes=40,clients=4,keys=300,hot-percent=0,value-bytes-max=4000,lulls="
    "off,bursts=off,"
    "mix.delete=0,mix.if-absent=0,mix.if-exists=0,mix.if-value=0,mix.if-revision=0,mix.if-both=0,"
    "log-keep-bytes=0,log-keep-entries=5,flush-interval=200ms,save-entries=1,snapshot-part-bytes="
    "5000,"
    "snapshot-bytes-per-second=100000,log-bytes-max=300000,flush-bytes=20000,slow-disk-after-ms=0";

constexpr std::string_view kOlder =
    "log-keep-bytes=0,log-keep-entries=5,flush-interval=200ms,save-entries=1,unsaved-factor=1,"
    "snapshot-part-bytes=1,keys=40,flush-bytes=1,slow-disk-after-ms=0";

constexpr Scenario kScenarios[] = {
    {"H-R8", "after a snapshot a follower is sent the log from there, and keeps up", kSmallParts,
     "delay,batching,reset", catches_up_by_a_snapshot},
    {"H-R9", "a snapshot's stream hangs half-way: nobody is held up, and it is completed",
     kSmallParts, "drift", stream_hangs},
    {"H-K15", "a replica that was sent a snapshot comes to lead: no old copy shadows it",
     kSmallParts, "delay", installed_leads},
    {"H-R33", "a replica that was away catches up by a snapshot while clients write", kCompacts, "",
     catches_up_by_a_snapshot},
    {"H-R33-slow", "... and the state is sent slowly: the log behind it is kept until it is there",
     kSlow, "", sent_before_the_log_is_full},
    {"T-27", "a crash cuts the installation of a snapshot short", kSmallPartsFlushed, "",
     crashes_while_it_installs},
    {"T-27-newer", "a state half installed is newer than the next leader knows: it takes its word",
     kSmallPartsFlushed, "", half_installed_is_newer},
    {"T-27-older",
     "... and is offered an older one by a leader that has not applied as much: it waits", kOlder,
     "", older_is_offered},
    {"T-28", "power fails everywhere soon after a state was installed", kCompacts, "",
     power_fails_after_installing},
    {"H-R9-broken", "a connection breaks in the middle of a snapshot", kSmallParts, "", resumes},
    {"H-R9-again", "... and the rows are no more the same when parts of it are made again",
     kSuperseded, "", made_again},
    {"T-27-deposed",
     "a part of a later state is shown to a leader that does not know that it is deposed", kFive,
     "", shown_to_the_deposed},
    {"T-35", "a replica whose state is being replaced votes", kSmallParts, "",
     votes_without_a_state},
    {"T-35-new", "who comes gets the state, though all of the log is there still", kNeverFlushed,
     "delay,drift", comes_with_nothing},
};

}  // namespace

std::span<const Scenario> snapshot_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
