// Members that learn at first, and vote when somebody asks that they do.
#include "sim/scenario.h"

namespace kahuna::sim {
namespace {

// Whoever takes the place of a follower learns. Returns which.
size_t one_learns(Stage& s) {
  const size_t node = s.others(s.settle())[s.random().below(3)];
  const NodeId before = s.member(node);
  s.remove(node, s.random().chance(1, 2), Coming::kLearns);
  s.settle_members();
  s.prove("another came, and learns",
          s.member(node) != before && s.learns(node) && !s.votes(s.member(node)));
  return node;
}

void restart(Stage& s, size_t node) {
  s.crash(node, s.random().chance(1, 2) ? CrashKind::kPower : CrashKind::kProcess);
  s.run(Duration::millis(static_cast<int64_t>(s.random().below(3000))));
  s.start(node);
  s.until("it is back", [&] { return s.hosts(node); });
}

// It is all that a leader reaches, and that commits nothing. Promoted, it makes a majority.
void counts_for_nothing(Stage& s) {
  const size_t learner = one_learns(s);
  if (s.random().chance(1, 2)) restart(s, learner);
  const size_t lead = s.settle();
  for (size_t node : s.others(lead)) {
    if (node == learner) continue;
    s.cut(lead, node);
    s.cut(node, lead);
  }
  s.run(Duration::millis(100));  // what was acknowledged before is committed
  const uint64_t committed = s.commit(lead);
  s.until("the learner has more than what is committed",
          [&] { return s.last(learner) > committed; });
  s.until("another leads", [&] { return s.leader_but(lead).has_value(); });
  s.must("a learner makes no majority", s.commit(lead) == committed);
  s.heal();
  s.settle();
  s.promote(learner);
  s.settle_members();
  s.must("it votes", s.votes(s.member(learner)));
  std::vector<size_t> others = s.others(learner);
  s.crash(others[s.random().below(others.size())]);
  const uint64_t written = s.writes_done();
  s.must("it makes a majority", [&] { return s.writes_done() > written + 20; });
}

// A learner is promoted while nobody reaches it, and who leads all partitions then dies: whoever
// leads next goes on.
void promoted_under_the_next(Stage& s) {
  const size_t learner = one_learns(s);
  const size_t lead = s.settle();
  s.lead_all(lead);
  s.isolate(learner);
  s.run(Duration::seconds(5));
  s.promote(learner);
  s.until("that is recorded", [&] { return !s.learns(learner); });
  s.run(Duration::seconds(1));
  s.must("who cannot be reached does not vote", !s.votes(s.member(learner)));
  s.crash(lead);
  s.until("others lead",
          [&] { return s.leader_but(lead).has_value() && s.leader_but(lead, kMeta).has_value(); });
  s.heal();
  s.must(
      "it comes to vote",
      [&] { return s.votes(s.member(learner)) && s.votes(s.member(learner), kMeta); },
      Duration::seconds(60));
  s.start(lead);
  s.settle_members();
}

// One learns, and is removed; the next one learns, too, and stays one.
void never_promoted(Stage& s) {
  const size_t learner = one_learns(s);
  if (s.random().chance(1, 2)) restart(s, learner);
  const NodeId before = s.member(learner);
  s.remove(learner, s.random().chance(1, 2), Coming::kLearns);
  s.settle_members();
  s.prove("another came, and learns", s.member(learner) != before && s.learns(learner));
  const size_t lead = s.settle();
  const uint64_t written = s.writes_done();
  s.crash(lead);
  s.must("another leads, and writes",
         [&] { return s.leader_but(lead) && s.writes_done() > written + 20; });
  s.start(lead);
  s.settle_members();
}

constexpr Scenario kScenarios[] = {
    {"M-10", "a learner counts for nothing until it is promoted; then it makes the majority",
     "nodes=4", "drift,delay", counts_for_nothing},
    {"M-11", "a learner is promoted that cannot be reached, and the leader dies", "nodes=4",
     "drift", promoted_under_the_next},
    {"M-12", "a learner is removed; the next one stays one, and leaders come and go", "nodes=4",
     "drift,delay", never_promoted},
};

}  // namespace

std::span<const Scenario> learners_scenarios() {
  return kScenarios;
}

}  // namespace kahuna::sim
