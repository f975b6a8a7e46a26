// What a replica with a faulty log must not believe. The rest is in tests/golden/lost_*.txt and in
// the random runs.
#include <gtest/gtest.h>

#include <functional>

#include "runtime/probe.h"
#include "tests/raft/cluster.h"

namespace kahuna::raft::testing {
namespace {

void deliver_if(Cluster& cluster, const std::function<bool(const Message&)>& chosen) {
  std::deque<Message> taken, left;
  for (Message& message : cluster.network)
    (chosen(message) ? taken : left).push_back(std::move(message));
  cluster.network = std::move(left);
  for (Message& message : taken) cluster.receive(std::move(message));
}

// Of five, the leader 1 and 2 hold entry 3; the others will yet acknowledge it in the same term, so
// that they never had it proves nothing. True: 2, which has lost it, keeps its promise.
bool keeps_its_promise() {
  Cluster cluster(5, Options(), 1);
  cluster.settle();
  cluster.timer(1);
  cluster.settle();
  EXPECT_EQ(cluster.leader(), 1u);
  EXPECT_TRUE(cluster.propose(1, "x").has_value());
  cluster.sync(1);
  auto is_to = [](size_t n) { return [n](const Message& m) { return m.to == replica_id(n); }; };
  deliver_if(cluster, is_to(2));
  cluster.sync(2);
  deliver_if(cluster, is_to(1));
  std::deque<Message> late = std::move(cluster.network);
  cluster.network.clear();
  cluster.crash(2);
  EXPECT_TRUE(cluster.rot(2, Index(3)));
  cluster.restart(2);
  auto asked = [](const Message& m) {
    return m.kind == MessageKind::kFetch && m.to != replica_id(1);
  };
  cluster.timer(2);
  deliver_if(cluster, asked);
  deliver_if(cluster, [](const Message& m) { return m.kind == MessageKind::kFetchReply; });
  bool kept = cluster.replica(2).status().promised == LogPosition{Index(3), Term(2)};
  // What the leader had sent arrives at 3: with the acknowledgement that 2 gave it is committed.
  cluster.network = std::move(late);
  deliver_if(cluster, is_to(3));
  cluster.sync(3);
  deliver_if(cluster, is_to(1));
  EXPECT_EQ(cluster.committed(), Index(3));
  return kept;
}

TEST(RaftRepair, AnswersOfTheSameTermProveNothing) {
  EXPECT_TRUE(keeps_its_promise());
}

#ifdef KAHUNA_MUTANTS
TEST(RaftRepair, MutantThatBelievesThemIsSeen) {
  set_active_mutant("never_had_in_the_same_term");
  EXPECT_FALSE(keeps_its_promise());
  set_active_mutant("");
}
#endif

// 1 leads, and all have what it wrote.
void settle_under_one(Cluster& cluster) {
  cluster.settle();
  cluster.timer(1);
  cluster.settle();
  EXPECT_TRUE(cluster.propose(1, "x").has_value());
  for (int i = 0; i < 8; ++i) {
    cluster.settle();
    cluster.timer(1);
  }
  cluster.settle();
}

// Of what was committed the log of 3, which has lost its state, holds everything, and 1 has a state
// that it goes on from. But 1 ends with what it proposed when nobody heard it any more.
TEST(RaftRepair, TheLogOfOneWithoutAStateOverrulesAStaleEnd) {
  Cluster cluster(3, Options(), 1);
  settle_under_one(cluster);
  cluster.compact(3);
  // Nobody hears 1.
  EXPECT_TRUE(cluster.propose(1, "stale").has_value());
  EXPECT_TRUE(cluster.propose(1, "stale too").has_value());
  cluster.sync(1);
  cluster.network.clear();
  cluster.crash(1);
  cluster.advance_to(cluster.now() + Duration::seconds(2));
  for (int i = 0; i < 10 && cluster.leader() != 2u; ++i) {
    cluster.timer(2);
    cluster.settle();
  }
  ASSERT_EQ(cluster.leader(), 2u);
  EXPECT_TRUE(cluster.propose(2, "y").has_value());
  cluster.settle();
  for (int i = 0; i < 4; ++i) {
    cluster.timer(2);
    cluster.settle();
  }
  EXPECT_GE(cluster.committed(), Index(5));
  cluster.crash(2);
  cluster.crash(3);
  cluster.network.clear();
  cluster.lose_state(3);
  cluster.restart(1);
  cluster.restart(3);
  ASSERT_TRUE(cluster.replica(3).status().stateless);
  ASSERT_TRUE(cluster.replica(1).term_at(cluster.replica(3).status().base.index));
  for (int i = 0; i < 200 && !cluster.leader(); ++i) {
    cluster.settle();
    cluster.timer(i % 2 == 0 ? 1 : 3);
  }
  EXPECT_EQ(cluster.violation(), "");
  EXPECT_EQ(cluster.leader(), 1u);
}

// 2 ends with what it wrote when it led, and nobody heard it. 1 led before and after that: all that
// it has more of the earlier term does not fit into one offer, and it has no state. True: 2 has it
// all in the end, and leads.
bool takes_an_offer_in_parts() {
  Options options;
  options.append_bytes_max = 1;
  Cluster cluster(3, options, 1);
  settle_under_one(cluster);
  cluster.compact(1);
  auto leads_unheard = [&](size_t n) {
    cluster.advance_to(cluster.now() + Duration::seconds(2));
    for (int i = 0; i < 20 && cluster.leader() != n; ++i) {
      cluster.timer(n);
      while (!cluster.network.empty() && cluster.leader() != n) {
        cluster.deliver(0);
        cluster.sync(n);
        cluster.sync(3);
      }
    }
    EXPECT_EQ(cluster.leader(), n);
    cluster.sync(n);
    cluster.network.clear();
  };
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(cluster.propose(1, "more").has_value());
  cluster.sync(1);
  cluster.network.clear();
  cluster.crash(1);
  leads_unheard(2);
  cluster.crash(2);
  cluster.restart(1);
  leads_unheard(1);
  cluster.crash(1);
  cluster.crash(3);
  cluster.lose_state(1);
  cluster.restart(1);
  cluster.restart(2);
  EXPECT_TRUE(cluster.replica(1).status().stateless);
  EXPECT_TRUE(cluster.replica(2).term_at(cluster.replica(1).status().base.index));
  const Index last = cluster.replica(1).status().last.index;
  for (int i = 0; i < 200 && !cluster.leader(); ++i) {
    cluster.settle();
    cluster.timer(1 + static_cast<size_t>(i) % 2);
  }
  cluster.settle();
  EXPECT_EQ(cluster.violation(), "");
  return cluster.leader() == 2u && cluster.replica(2).status().last.index > last;
}

TEST(RaftRepair, AnOfferIsJudgedByTheLogItBegins) {
  EXPECT_TRUE(takes_an_offer_in_parts());
}

#ifdef KAHUNA_MUTANTS
TEST(RaftRepair, MutantThatJudgesItByWhatItBringsIsSeen) {
  set_active_mutant("offer_judged_by_what_it_brings");
  EXPECT_FALSE(takes_an_offer_in_parts());
  set_active_mutant("");
}
#endif

// 2 lacks much of what 1 has, which has no state, and one offer takes one entry of it. True: 2
// leads before it would have campaigned again by its timer.
bool takes_all_offers_at_once() {
  Options options;
  options.append_bytes_max = 1;
  Cluster cluster(3, options, 1);
  settle_under_one(cluster);
  cluster.compact(1);
  cluster.crash(2);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(cluster.propose(1, "more").has_value());
  cluster.settle();
  cluster.crash(1);
  cluster.crash(3);
  cluster.lose_state(1);
  cluster.restart(1);
  cluster.restart(2);
  cluster.settle();
  EXPECT_TRUE(cluster.replica(1).status().stateless);
  EXPECT_LT(cluster.replica(2).status().last.index, cluster.replica(1).status().last.index);
  cluster.timer(2);
  const auto asked = cluster.now();
  for (int i = 0; i < 20 && !cluster.leader(); ++i) {
    cluster.settle();
    if (!cluster.leader()) cluster.timer(2);
  }
  EXPECT_EQ(cluster.violation(), "");
  return cluster.leader() == 2u && cluster.now() - asked < options.election_timeout_min;
}

TEST(RaftRepair, WhoTookAnOfferAsksAgainAtOnce) {
  EXPECT_TRUE(takes_all_offers_at_once());
}

#ifdef KAHUNA_MUTANTS
TEST(RaftRepair, MutantThatTakesOneOfferATimeoutIsSeen) {
  set_active_mutant("offers_once_a_timeout");
  EXPECT_FALSE(takes_all_offers_at_once());
  set_active_mutant("");
}
#endif

// Of two voters the other one never had the entry: it cannot have been committed without it.
TEST(RaftRepair, GoesOnWithoutWhatTheOtherOfTwoNeverHad) {
  Cluster cluster(2, Options(), 1);
  cluster.settle();
  cluster.timer(1);
  cluster.settle();
  ASSERT_EQ(cluster.leader(), 1u);
  EXPECT_TRUE(cluster.propose(1, "x").has_value());
  cluster.sync(1);
  cluster.network.clear();
  cluster.crash(1);
  ASSERT_TRUE(cluster.rot(1, Index(3)));
  cluster.restart(1);
  for (int i = 0; i < 60 && !cluster.leader(); ++i) {
    cluster.timer(1 + static_cast<size_t>(i) % 2);
    cluster.settle();
  }
  EXPECT_EQ(cluster.violation(), "");
  EXPECT_TRUE(cluster.leader().has_value());
  EXPECT_EQ(cluster.replica(1).status().lost, 0u);
}

// The same by one that lost its state, too, and knows from its log who else votes.
bool goes_on_without_state_and_entry() {
  Cluster cluster(2, Options(), 1, {}, {}, 1);
  cluster.settle();
  cluster.timer(1);
  cluster.settle();
  EXPECT_EQ(cluster.leader(), 1u);
  EXPECT_TRUE(cluster.propose(1, "w").has_value());
  cluster.settle();
  cluster.compact(1);
  EXPECT_TRUE(cluster.change(1, {cluster.id(1), cluster.id(2)}, {replica_id(3, 1)}).has_value());
  cluster.settle();
  auto last = cluster.propose(1, "x");
  EXPECT_TRUE(last.has_value());
  cluster.sync(1);
  cluster.network.clear();
  cluster.crash(1);
  EXPECT_TRUE(cluster.rot(1, last->index));
  cluster.lose_state(1);
  cluster.restart(1);
  EXPECT_TRUE(cluster.replica(1).status().stateless);
  for (int i = 0; i < 60 && !cluster.leader(); ++i) {
    cluster.timer(1 + static_cast<size_t>(i) % 2);
    cluster.settle();
  }
  EXPECT_EQ(cluster.violation(), "");
  return cluster.leader() == 2u && cluster.replica(1).status().lost == 0;
}

TEST(RaftRepair, WhatLostItsStateGoesOnWithoutWhatTheOtherOfTwoNeverHad) {
  EXPECT_TRUE(goes_on_without_state_and_entry());
}

#ifdef KAHUNA_MUTANTS
TEST(RaftRepair, MutantThatAsksForNothingWithoutAStateIsSeen) {
  set_active_mutant("stateless_asks_for_nothing");
  EXPECT_FALSE(goes_on_without_state_and_entry());
  set_active_mutant("");
}
#endif

// ... but if it has lost it as well, the entry may have been committed.
TEST(RaftRepair, WaitsWhenBothOfTwoHaveLostIt) {
  Cluster cluster(2, Options(), 1);
  cluster.settle();
  cluster.timer(1);
  cluster.settle();
  EXPECT_TRUE(cluster.propose(1, "x").has_value());
  cluster.settle();
  EXPECT_EQ(cluster.committed(), Index(3));
  for (size_t n = 1; n <= 2; ++n) cluster.crash(n);
  cluster.network.clear();
  ASSERT_TRUE(cluster.rot(1, Index(3)) && cluster.rot(2, Index(3)));
  for (size_t n = 1; n <= 2; ++n) cluster.restart(n);
  for (int i = 0; i < 60; ++i) {
    cluster.settle();
    cluster.timer(1 + static_cast<size_t>(i) % 2);
  }
  EXPECT_EQ(cluster.violation(), "");
  EXPECT_FALSE(cluster.leader().has_value());
}

// With damage on a majority the group waits for ever rather than forget.
TEST(RaftRepair, WaitsWhenTwoOfThreeHaveLostIt) {
  Cluster cluster(3, Options(), 1);
  cluster.settle();
  cluster.timer(1);
  cluster.settle();
  EXPECT_TRUE(cluster.propose(1, "x").has_value());
  cluster.sync(1);
  deliver_if(cluster, [](const Message& m) { return m.to == replica_id(2); });
  cluster.sync(2);
  deliver_if(cluster, [](const Message& m) { return m.to == replica_id(1); });
  EXPECT_EQ(cluster.committed(), Index(3));
  for (size_t n = 1; n <= 3; ++n) cluster.crash(n);
  cluster.network.clear();
  EXPECT_TRUE(cluster.rot(1, Index(3)) && cluster.rot(2, Index(3)));
  for (size_t n = 1; n <= 3; ++n) cluster.restart(n);
  for (int i = 0; i < 60; ++i) {
    cluster.settle();
    cluster.timer(1 + static_cast<size_t>(i) % 3);
  }
  EXPECT_EQ(cluster.violation(), "");
  EXPECT_FALSE(cluster.leader().has_value());
  EXPECT_EQ(cluster.replica(1).status().lost, 1u);
  EXPECT_EQ(cluster.replica(1).status().lost_asked, 2u);
}

}  // namespace
}  // namespace kahuna::raft::testing
