// Members that come and go while clients write, and what may go wrong on the way.
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

constexpr Duration kPatience = Duration::seconds(120);

// A member is lost for good, perhaps the leader. Another comes in its place, and counts: it makes
// the majority when a second one fails.
void dead_member(Stage& s) {
  const size_t lead = s.settle();
  const size_t dead = s.random().chance(1, 2) ? lead : s.others(lead)[s.random().below(2)];
  const NodeId before = s.member(dead);
  s.remove(dead, true);
  s.settle_members();
  s.prove("another member came", s.member(dead) != before && s.votes(s.member(dead)));
  const uint64_t written = s.writes_done();
  s.crash(s.others(dead)[s.random().below(2)]);
  s.must("it makes a majority", [&] { return s.writes_done() > written + 20; });
}

// All members are replaced, the one last that leads everything and that the idle client knows.
// Nobody is left whom that client knew when it came.
void all_members(Stage& s) {
  const size_t last = s.random().below(3);
  s.lead_all(last);
  s.prove("the client is connected", s.idle_client_is_answered(kPatience));
  std::vector<size_t> order = s.others(last);
  order.push_back(last);
  for (size_t node : order) {
    const NodeId before = s.member(node);
    const uint64_t written = s.writes_done();
    s.remove(node, false);
    s.settle_members();
    s.prove("another member came", s.member(node) != before);
    s.must("clients write meanwhile", [&] { return s.writes_done() > written; });
  }
  const bool answered = s.idle_client_is_answered(Duration::seconds(10));
  s.must("a client that knew the founders is answered", answered);
}

// The node that joins loses power on its way, several times.
void crashing_joiner(Stage& s) {
  const size_t lead = s.settle();
  const size_t joiner = s.others(lead)[s.random().below(2)];
  constexpr std::string_view kSteps[] = {"node_was_let_in", "node_joins", "members_come_to_learn",
                                         "members_come_to_vote"};
  uint64_t before[std::size(kSteps)];
  for (size_t i = 0; i < std::size(kSteps); ++i) before[i] = s.probe(kSteps[i]);
  s.remove(joiner, true);
  size_t crashes = 0;
  for (size_t i = 0; i < std::size(kSteps); ++i) {
    s.until(std::string(kSteps[i]), [&] { return s.probe(kSteps[i]) > before[i]; });
    if (i + 1 < std::size(kSteps) && s.random().chance(1, 3)) continue;
    s.run(Duration::micros(static_cast<int64_t>(s.random().below(5'000))));
    s.crash(joiner);
    ++crashes;
    s.run(Duration::millis(static_cast<int64_t>(s.random().below(500))));
    s.start(joiner);
  }
  s.prove("it crashed on its way", crashes > 0);
  s.settle_members();
}

// While a member goes and another comes, whoever does something about it is killed or loses power:
// who goes, who comes, who leads.
void killed_while_members_change(Stage& s) {
  const uint64_t let_in = s.probe("node_was_let_in");
  for (int round = 0; round < 2 && s.going(); ++round) {
    const size_t goes = s.random().below(s.nodes());
    const NodeId before = s.member(goes);
    s.remove(goes, s.random().chance(1, 3));
    for (int kills = 0; kills < 4 && s.going(); ++kills) {
      s.run(Duration::millis(int64_t(s.random().below(1500))));
      const size_t victim = s.random().chance(1, 2) ? goes : s.leader().value_or(goes);
      s.crash(victim, s.random().chance(1, 2) ? CrashKind::kPower : CrashKind::kProcess);
      s.run(Duration::millis(int64_t(s.random().below(500))));
      s.start(victim);
    }
    s.settle_members();
    s.prove("another member came", s.member(goes) != before);
  }
  s.prove("two came", s.probe("node_was_let_in") > let_in + 1);
}

// Two come where nobody was, at the same time, and count: those who founded the cluster make no
// majority any more. Then two are to go for good, perhaps the leader and a founder, and those who
// stay make one.
void grows_and_shrinks(Stage& s) {
  const size_t all = s.nodes(), few = all - 2;
  auto count = [&] {
    auto lead = s.leader();
    return lead ? s.status(*lead).configuration->voters.size() : 0;
  };
  auto writes_go_on = [&] {
    const uint64_t written = s.writes_done();
    s.must("clients write", [&] { return s.writes_done() > written + 20; });
  };
  // As many as a majority can do without are down; one more is one too many.
  auto fails_by_majorities = [&](std::vector<size_t> members) {
    const size_t spared = (members.size() - 1) / 2;
    for (size_t i = 0; i < spared; ++i)
      std::swap(members[i], members[i + s.random().below(members.size() - i)]);
    for (size_t i = 0; i < spared; ++i) s.crash(members[i]);
    writes_go_on();
    for (size_t i = 0; i < spared; ++i) s.start(members[i]);
    s.settle_members();
  };
  std::vector<size_t> members;
  for (size_t node = 0; node < few; ++node) members.push_back(node);
  s.settle();
  s.prove("few have founded it", count() == few);
  for (size_t node = few; node < all; ++node) {
    s.add(node);
    members.push_back(node);
  }
  writes_go_on();
  s.settle_members();
  s.prove("it has grown", count() == all);
  fails_by_majorities(members);

  for (size_t i = 0; i < 2; ++i) {
    const size_t at = s.random().below(members.size());
    s.remove(members[at], false, Coming::kNobody);
    members.erase(members.begin() + static_cast<ptrdiff_t>(at));
  }
  writes_go_on();
  s.settle_members();
  s.prove("it has shrunk", count() == few);
  fails_by_majorities(members);
}

// Members go and come until meta's log is long: it is released like any other, and who comes last
// has its state.
void meta_is_compacted(Stage& s) {
  const uint64_t first = s.status(s.settle(kMeta), kMeta).base.index.value();
  for (size_t node = 0; node < s.nodes() && s.going(); ++node) {
    s.remove(node, false);
    s.settle_members();
  }
  s.must("meta's log is released", [&] {
    const auto lead = s.leader(kMeta);
    return lead && s.status(*lead, kMeta).base.index.value() + 8 >= s.last(*lead, kMeta);
  });
  s.prove("there was more of it",
          s.status(s.leader(kMeta).value_or(0), kMeta).base.index.value() > first + 10);
}

// Who leads meta is removed: it records its own removal, hands over, and goes.
void leader_of_meta(Stage& s) {
  s.settle();
  s.settle(kMeta);
  const size_t lead = s.leader(kMeta).value_or(0);
  const NodeId before = s.member(lead);
  const uint64_t handed = s.probe("members_leader_hands_over");
  s.remove(lead, false);
  s.must("another leads meta", [&] { return s.leader_but(lead, kMeta).has_value(); });
  s.prove("it handed over", s.probe("members_leader_hands_over") > handed);
  s.settle_members();
  s.prove("another member came", s.member(lead) != before);
}

// A member is removed while it is cut off, for less or more than the others dial it. When it comes
// back it is told, whoever calls whom, and its directory is of no use any more.
void cut_off_member(Stage& s) {
  const size_t lead = s.settle();
  const size_t gone = s.random().chance(1, 3) ? lead : s.others(lead)[s.random().below(2)];
  const NodeId before = s.member(gone);
  const uint64_t left = s.probe("sim_member_has_left");
  s.isolate(gone, true);
  s.until("another leads",
          [&] { return s.leader_but(gone).has_value() && s.leader_but(gone, kMeta).has_value(); });
  s.remove(gone, false);
  s.must(
      "the others go on without it",
      [&] {
        auto leader = s.leader_but(gone);
        return leader && !s.status(*leader).configuration->contains({before, 1});
      },
      kPatience);
  s.run(Duration::millis(static_cast<int64_t>(s.random().below(90'000))));
  s.prove("it does not know yet", s.hosts(gone) && s.probe("sim_member_has_left") == left);
  s.heal();
  s.must(
      "it is told, and leaves", [&] { return s.probe("sim_member_has_left") > left; }, kPatience);
  s.settle_members();
  s.prove("another member came", s.member(gone) != before);
}

// A node learns already, and is cut off before it votes; or the leader that is to promote it is.
void cut_off_learner(Stage& s) {
  const size_t lead = s.settle();
  const size_t joiner = s.others(lead)[s.random().below(2)];
  const uint64_t before = s.probe("members_come_to_learn");
  s.remove(joiner, true);
  s.until(
      "it comes to learn", [&] { return s.probe("members_come_to_learn") > before; }, kPatience);
  const bool leader_goes = s.random().chance(1, 3);
  const size_t old = s.leader().value_or(0);
  s.isolate(leader_goes ? old : joiner);
  if (leader_goes) {
    s.run(Duration::seconds(5));
    s.prove("who learns makes no majority", !s.leader_but(old));
  } else {
    const uint64_t written = s.writes_done();
    s.must("the others write without it", [&] { return s.writes_done() > written + 20; });
    s.prove("who cannot be reached does not vote",
            !s.member(joiner) || !s.votes(s.member(joiner)) || s.members_settled());
  }
  s.heal();
  s.settle_members();
}

// Two wishes at the same time: one finds that the other was first, and is asked again. A third node
// may know of the first only, and not hear that the others know of both: it goes on telling them
// what it knows.
void two_wishes(Stage& s) {
  s.settle();
  size_t one = s.random().below(5);
  size_t other = s.others(one)[s.random().below(4)];
  const NodeId before[] = {s.member(one), s.member(other)};
  const uint64_t written = s.writes_done();
  s.remove(one, s.random().chance(1, 3));
  s.remove(other, false);
  size_t third = s.random().below(5);
  while (third == one || third == other) third = (third + 1) % 5;
  s.run(Duration::micros(static_cast<int64_t>(s.random().below(10'000))));
  for (size_t node : s.others(third)) s.cut(node, third);
  s.run(Duration::seconds(3));
  s.heal();
  s.settle_members();
  s.prove("both were replaced", s.member(one) != before[0] && s.member(other) != before[1]);
  s.prove("clients wrote meanwhile", s.writes_done() > written);
}

// One is cut off while all the others are replaced, elsewhere: nobody whom it knows is left. Those
// who come know where it is, and bring it up to date.
void all_others(Stage& s) {
  const size_t lead = s.settle();
  const size_t away = s.others(lead)[s.random().below(4)];
  const NodeId before = s.member(away);
  const uint64_t news = s.probe("stranger_brings_news_of_members");
  s.isolate(away, true);
  for (size_t node : s.others(away)) {
    const NodeId left = s.member(node);
    s.remove(node, false);
    s.must(
        "another member came", [&] { return s.member(node) != left && s.votes(s.member(node)); },
        kPatience);
  }
  s.run(Duration::seconds(20));        // and nobody lingers
  s.crash(away, CrashKind::kProcess);  // nor does what was told, on some connection
  s.start(away);
  s.heal();
  s.settle_members();
  s.prove("it is the member that it was", s.member(away) == before);
  s.prove("and was told by one that it did not know",
          s.probe("stranger_brings_news_of_members") > news);
}

// Who is to stay is down when another is to go: that one is needed, and stays until the first is
// back.
void needed_until_then(Stage& s) {
  const size_t lead = s.settle();
  const size_t down = s.others(lead)[s.random().below(2)], goes = 3 - lead - down;
  const NodeId before = s.member(goes);
  const uint64_t waited = s.probe("members_wait_for_a_majority");
  s.crash(down);
  s.run(Duration::seconds(10));  // it is noticed
  s.remove(goes, false);
  s.run(Duration::seconds(3));
  for (int i = 0; i < 5; ++i) {
    const uint64_t written = s.writes_done();
    s.must(
        "clients write meanwhile", [&] { return s.writes_done() > written + 20; },
        Duration::seconds(10));
    s.run(Duration::seconds(1));
  }
  s.prove("a leader waits", s.probe("members_wait_for_a_majority") > waited);
  s.must("it votes still", s.votes(before));
  s.start(down);
  s.settle_members();
  s.prove("another member came", s.member(goes) != before);
}

// Who comes has its state when much was written since, and is cut off at that moment: it is far
// behind, and does not vote. One of the others fails: were it one of four, nobody could write.
void far_behind(Stage& s) {
  const size_t lead = s.settle();
  const size_t joiner = s.others(lead)[s.random().below(3)];
  s.until("the log begins with a state", [&] { return s.status(lead).base.index.value() > 100; });
  const uint64_t begun = s.probe("snapshot_stream_begins");
  for (size_t node : s.others(joiner)) s.hold("snapshot_part_is_lost", node);
  s.remove(joiner, true);
  s.until(
      "it is to be sent the state", [&] { return s.probe("snapshot_stream_begins") > begun + 1; },
      kPatience);
  const uint64_t from = s.commit(lead);
  s.until("much is written", [&] { return s.commit(lead) > from + 2500; });
  for (size_t node : s.others(joiner)) s.hold("snapshot_part_is_lost", node, false);
  s.until("it has the state", [&] { return s.has_state(joiner); });
  s.isolate(joiner);
  s.prove("it is far behind", s.last(joiner) + 1000 < s.commit(lead));
  s.run(Duration::seconds(3));
  s.crash(s.others(joiner)[s.random().below(3)]);
  for (int i = 0; i < 3; ++i) {
    const uint64_t written = s.writes_done();
    s.must(
        "clients write without it", [&] { return s.writes_done() > written + 20; },
        Duration::seconds(15));
  }
  s.must("it does not vote", !s.votes(s.member(joiner)));
}

// One partition can do without the member that is removed, and says so; another cannot yet, since
// who leads it hears too few of those who stay, and two of these fail then. It is needed, and
// stays.
void needed_by_another(Stage& s) {
  constexpr uint64_t kOther = 2;
  const size_t lead = s.settle();
  s.lead_all(lead);
  std::vector<size_t> others = s.others(lead);
  for (size_t i = others.size(); i-- > 1;) std::swap(others[i], others[s.random().below(i + 1)]);
  const size_t leads_other = others[0], goes = others[1], down[] = {others[2], others[3]};
  s.lead(leads_other, kOther);
  s.prove("two lead", s.leads(lead) && s.leads(lead, kMeta));
  const NodeId before = s.member(goes);
  for (size_t node : down) {
    s.cut(leads_other, node);
    s.cut(node, leads_other);
  }
  s.run(Duration::seconds(2));  // it is noticed
  s.remove(goes, false);
  s.until("some go on without it", [&] {
    return !s.status(lead).configuration->contains({before, 1}) &&
           !s.status(lead, kMeta).configuration->contains({before, 1});
  });
  s.happens([&] { return !s.hosts(goes); }, Duration::seconds(3));  // it would be too early
  s.prove("one leads still that cannot",
          s.leads(leads_other, kOther) &&
              s.status(leads_other, kOther).configuration->votes({before, 1}));
  for (size_t node : down) s.crash(node);
  const uint64_t committed = s.commit(leads_other, kOther);
  s.must(
      "those who are left write", [&] { return s.commit(leads_other, kOther) > committed + 20; },
      Duration::seconds(30));
  s.heal();
  for (size_t node : down) s.start(node);
  s.settle_members();
  s.prove("another member came", s.member(goes) != before);
}

// What a member is told of its removal is lost, and it hears nothing of meta's log any more: it is
// told again.
void told_in_vain(Stage& s) {
  s.settle(kMeta);
  const size_t lead = s.settle();
  s.lead_all(lead);
  const size_t gone = s.others(lead)[s.random().below(2)];
  const NodeId before = s.member(gone);
  const uint64_t told = s.probe("node_was_removed");
  s.deafen(gone);
  for (size_t node : s.others(gone)) s.hold("members_are_not_told", node);
  s.remove(gone, false);
  s.until("the others go on without it", [&] {
    return !s.status(lead).configuration->contains({before, 1}) &&
           !s.status(lead, kMeta).configuration->contains({before, 1});
  });
  s.run(Duration::millis(static_cast<int64_t>(s.random().below(3000))));
  s.deafen(gone, false);
  s.run(Duration::millis(static_cast<int64_t>(s.random().below(3000))));
  s.prove("it does not know", s.probe("node_was_removed") == told && s.member(gone) == before);
  for (size_t node : s.others(gone)) s.hold("members_are_not_told", node, false);
  s.must(
      "it is told", [&] { return s.probe("node_was_removed") > told; }, Duration::seconds(30));
  s.settle_members();
  s.prove("another member came", s.member(gone) != before);
}

// A leader whose clock stands still, and that hears nothing, knows neither that others lead nor
// that they have removed a member. The node that comes in its place asks that leader first: it is
// not for it to say that the place is taken.
void asked_in_the_past(Stage& s) {
  constexpr size_t kOld = 0;  // the first whom a node that joins asks
  s.lead_all(kOld);
  const size_t gone = 1 + s.random().below(3);
  const NodeId before = s.member(gone);
  s.cut_clients(kOld);
  s.deafen(kOld);
  for (size_t node : s.others(kOld)) s.hold("members_are_not_told", node);
  s.set_rate(kOld, kFrozenPpb);
  s.until("others lead",
          [&] { return s.leader_but(kOld).has_value() && s.leader_but(kOld, kMeta).has_value(); });
  s.remove(gone);
  s.until(
      "the member has left", [&] { return s.member(gone) != before; }, kPatience);
  s.must(
      "another member came",
      [&] {
        auto lead = s.leader_but(kOld, kMeta);
        return lead && s.member(gone) &&
               s.status(*lead, kMeta).configuration->votes({s.member(gone), 1});
      },
      kPatience);
  s.prove("one leads still that does not know",
          s.leads(kOld, kMeta) && s.status(kOld, kMeta).configuration->votes({before, 1}));
  s.heal();
  s.deafen(kOld, false);
  s.set_rate(kOld, 0);
  for (size_t node : s.others(kOld)) s.hold("members_are_not_told", node, false);
  s.settle_members();
}

// Who comes is lost while it is sent as many states as are sent at a time, and removed. The next
// one does not wait for an answer of the one that has left.
void lost_on_the_way(Stage& s) {
  const size_t lead = s.settle();
  s.lead_all(lead);
  for (uint64_t group = 2; group <= 4; ++group) s.lead(lead, group);
  const size_t joiner = s.others(lead)[s.random().below(2)];
  const uint64_t begun = s.probe("snapshot_stream_begins"),
                 ended = s.probe("snapshot_stream_to_one_who_left");
  for (size_t node : s.others(joiner)) s.hold("snapshot_part_is_lost", node);
  s.remove(joiner, true);
  s.until("it is to be sent its states",
          [&] { return s.probe("snapshot_stream_begins") >= begun + 4 && s.hosts(joiner); });
  const NodeId lost = s.member(joiner);
  s.remove(joiner, true);
  for (size_t node : s.others(joiner)) s.hold("snapshot_part_is_lost", node, false);
  s.until("the next one joins", [&] { return s.member(joiner) && s.member(joiner) != lost; });
  s.must(
      "it has its states",
      [&] {
        for (uint64_t group = 0; group <= 4; ++group)
          if (!s.hosts(joiner, group) || s.status(joiner, group).stateless) return false;
        return true;
      },
      Duration::seconds(4));
  s.prove("nobody waited for the one that has left",
          s.probe("snapshot_stream_to_one_who_left") > ended);
  s.settle_members();
}

// The only one that is to stay has lost its state, not its log, when the others are to go: nobody
// could lead without them.
void stays_without_a_state(Stage& s) {
  const size_t stays = s.others(s.settle())[s.random().below(2)];
  std::vector<size_t> others = s.others(stays);
  const uint64_t waited = s.probe("members_wait_for_a_state");
  for (size_t node : others) s.hold("snapshot_part_is_lost", node);
  for (int tries = 0; tries < 40 && s.going() && !s.status(stays).stateless; ++tries) {
    s.crash(stays, CrashKind::kProcess);
    s.damage_engine(stays, 3);
    s.start(stays);
    s.until("it is back", [&] { return s.hosts(stays); });
    s.happens([&] { return s.status(stays).stateless; }, Duration::seconds(2));
  }
  s.prove("it has lost its state", s.status(stays).stateless);
  if (s.random().chance(1, 2)) std::swap(others[0], others[1]);
  for (size_t node : others) {
    s.remove(node, false, Coming::kLearns);
    s.run(Duration::millis(static_cast<int64_t>(s.random().below(4000))));
  }
  s.happens([&] { return s.probe("members_wait_for_a_state") > waited; }, Duration::seconds(30));
  s.run(Duration::seconds(3));
  s.prove("it has none yet", s.status(stays).stateless);
  for (size_t node : others) s.hold("snapshot_part_is_lost", node, false);
  s.must(
      "it leads, and votes alone",
      [&] { return s.leads(stays) && s.status(stays).configuration->voters.size() == 1; },
      kPatience);
  s.prove("a leader waited", s.probe("members_wait_for_a_state") > waited);
  s.settle_members();
}

// A leader whose clock stands still is cut off from all before a member comes; that one is removed
// again, and a partition needs it still, since who leads it hears too few of those who stay. The
// old leader hears of the removal from the member itself: by the members that it knows of it can do
// without that one, but it is not for it to say.
void asks_a_leader_of_the_past(Stage& s) {
  constexpr size_t kOld = 0, kSlot = 4;
  s.lead_all(kOld);
  const NodeId first = s.member(kSlot);
  s.remove(kSlot);
  s.until("the leader goes on without the member", [&] {
    for (uint64_t group : {kMeta, uint64_t{1}}) {
      if (!s.leads(kOld, group)) return false;
      const raft::Status is = s.status(kOld, group);
      if (is.configuration->contains({first, 1}) || is.configuration->joint() ||
          is.configuration_index > is.commit)
        return false;
    }
    return true;
  });
  s.set_rate(kOld, kFrozenPpb);
  s.isolate(kOld, true);
  s.until("others lead",
          [&] { return s.leader_but(kOld).has_value() && s.leader_but(kOld, kMeta).has_value(); });
  s.until(
      "another member came",
      [&] {
        const NodeId now = s.member(kSlot);
        return now && now != first && s.votes(now) && s.votes(now, kMeta);
      },
      kPatience);
  const NodeId goes = s.member(kSlot);
  // One leads the partition, and does not hear another; one leads meta.
  size_t order[] = {1, 2, 3};
  std::swap(order[0], order[s.random().below(3)]);
  const auto [leads, leads_meta, silent] = order;
  auto so = [&] { return s.leader_but(kOld) == leads && s.leader_but(kOld, kMeta) == leads_meta; };
  for (int tries = 0; tries < 10 && s.going() && !so(); ++tries) {
    if (s.leader_but(kOld) != leads) s.hand_over(1, leads);
    if (s.leader_but(kOld, kMeta) != leads_meta) s.hand_over(kMeta, leads_meta);
    s.happens(so, Duration::seconds(2));
  }
  s.cut(leads, silent);
  s.cut(silent, leads);
  for (int tries = 0; tries < 20 && s.going(); ++tries) {
    if (s.leader_but(kOld) != leads) s.hand_over(1, leads);
    if (s.leader_but(kOld, kMeta) != leads_meta) s.hand_over(kMeta, leads_meta);
    if (!s.happens(so, Duration::seconds(2))) continue;
    s.run(Duration::seconds(2));  // it is noticed
    if (so()) break;
  }
  auto needed = [&] { return s.leads(leads) && s.status(leads).configuration->votes({goes, 1}); };
  const uint64_t told = s.probe("node_was_removed");
  s.remove(kSlot);
  s.until("it knows", [&] { return s.probe("node_was_removed") > told; });
  s.prove("it is needed", needed() && s.leads(kOld) && s.leads(kOld, kMeta));
  s.mend(kOld, kSlot);
  const bool left = s.happens([&] { return !s.hosts(kSlot); }, Duration::seconds(8));
  s.must("it stays", !left || !needed());
  s.prove("it was needed all the while", needed());
  s.heal();
  s.set_rate(kOld, 0);
  s.settle_members();
}

constexpr Scenario kScenarios[] = {
    {"M-1", "a dead member is replaced under load; then the new one makes the majority", "",
     "drift", dead_member},
    {"M-2",
     "all members are replaced one after the other; a client that knew the founders is answered",
     "joins-elsewhere=on,judge-hurries=on", "drift", all_members},
    {"M-3", "a node that joins crashes at every step of its way", "", "drift", crashing_joiner},
    {"H-K30", "members go and come, and whoever has to do with it is killed", "", "drift",
     killed_while_members_change},
    {"M-20", "three grow to five, and shrink to three: each time the others make the majority",
     "nodes=5,vacancies=2", "drift", grows_and_shrinks},
    {"M-20-one", "... one to three, and to one", "nodes=3,vacancies=2", "drift", grows_and_shrinks},
    {"H-K12-meta", "meta is never idle for long: its log is released, too",
     "log-keep-bytes=0,log-keep-entries=5,flush-interval=200ms,save-entries=1", "drift",
     meta_is_compacted},
    {"M-4", "the leader of meta is removed", "", "drift", leader_of_meta},
    {"M-5", "a member that is cut off is removed, and comes back", "", "drift", cut_off_member},
    {"M-6", "a learner is cut off before it votes", "", "drift", cut_off_learner},
    {"M-7", "two members are removed at the same time", "nodes=5", "drift", two_wishes},
    {"M-8", "all the others are replaced while a member is cut off", "nodes=5,joins-elsewhere=on",
     "drift", all_others},
    {"M-9", "a member is removed while one that stays is down: it is needed until then", "",
     "drift", needed_until_then},
    {"M-13", "who comes has a state, and is cut off far behind: it does not vote",
     "nodes=4,rate=1000,processes=40,value-bytes-max=40,inflight-bytes-max=16384,disk.kind=fast,"
     "slow-disk-after-ms=0,"
     "log-keep-bytes=20000,log-keep-entries=200,flush-interval=200ms,save-entries=16,snapshot-part-"
     "bytes=262144",
     "drift", far_behind},
    {"M-14", "one partition needs a member no more that another cannot do without",
     "nodes=5,groups=2,keys=12,buckets=6,timeout=2s", "drift", needed_by_another},
    {"M-15", "what a member is told of its removal is lost", "", "drift", told_in_vain},
    {"M-16",
     "who comes asks a leader whose clock stands still, and that knows nothing of the removal",
     "nodes=4,reads=quorum,quiesce=off,inflight-bytes-max=16384", "", asked_in_the_past},
    {"M-17", "who comes is lost while it is sent its states: the next one does not wait for it",
     "groups=4,slow-disk-after-ms=0", "drift", lost_on_the_way},
    {"M-18", "all but one are to go, and that one has lost its state: they wait",
     "flush-interval=200ms,save-entries=1,log-keep-bytes=10000000,log-keep-entries=100000", "drift",
     stays_without_a_state},
    {"M-19",
     "a removed member asks a leader whose clock stands still, and that knows older members",
     "nodes=5,reads=quorum,quiesce=off,inflight-bytes-max=16384,timeout=2s", "",
     asks_a_leader_of_the_past},
};

}  // namespace

std::span<const Scenario> members_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
