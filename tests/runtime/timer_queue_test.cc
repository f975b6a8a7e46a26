#include "runtime/timer_queue.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "runtime/random.h"

namespace kahuna {
namespace {

Time at(int64_t n) {
  return Time::from_nanos(n);
}

TEST(TimerQueue, FiresByDeadlineThenArming) {
  TimerQueue queue;
  std::string order;
  queue.add(at(20), [&] { order += 'c'; });
  queue.add(at(10), [&] { order += 'a'; });
  queue.add(at(10), [&] { order += 'b'; });
  queue.add(at(30), [&] { order += 'd'; });
  EXPECT_EQ(queue.next_deadline(), at(10));
  EXPECT_EQ(queue.run_due(at(20)), 3u);
  EXPECT_EQ(order, "abc");
  EXPECT_EQ(queue.next_deadline(), at(30));
  EXPECT_EQ(queue.size(), 1u);
}

TEST(TimerQueue, EmptyHasNoDeadline) {
  TimerQueue queue;
  EXPECT_EQ(queue.next_deadline(), Time::max());
  EXPECT_EQ(queue.run_due(at(100)), 0u);
  queue.cancel(0);
  queue.cancel(12345);
  queue.cancel(~0ull);
}

TEST(TimerQueue, CancelledNeverRunsAndDropsItsCaptures) {
  TimerQueue queue;
  auto held = std::make_shared<int>(0);
  TimerId id = queue.add(at(5), [held] { ++*held; });
  queue.cancel(id);
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.next_deadline(), Time::max());
  queue.cancel(id);
  EXPECT_EQ(queue.run_due(at(10)), 0u);
}

TEST(TimerQueue, IdsAreNotReused) {
  TimerQueue queue;
  std::set<TimerId> seen;
  for (int i = 0; i < 1000; ++i) {
    TimerId id = queue.add(at(i), [] {});
    EXPECT_NE(id, 0u);
    EXPECT_TRUE(seen.insert(id).second);
    if (i % 3 == 0) queue.cancel(id);
    if (i % 7 == 0) queue.run_due(at(i));
  }
}

TEST(TimerQueue, AStaleIdDoesNotCancelTheSlotsNextTimer) {
  TimerQueue queue;
  bool ran = false;
  TimerId old = queue.add(at(1), [] {});
  queue.run_due(at(1));
  queue.add(at(2), [&] { ran = true; });
  queue.cancel(old);
  queue.run_due(at(2));
  EXPECT_TRUE(ran);
}

TEST(TimerQueue, TasksArmedByTasksWaitForTheNextRun) {
  TimerQueue queue;
  int ran = 0;
  queue.add(at(10), [&] {
    ++ran;
    queue.add(at(5), [&] { ++ran; });
  });
  queue.add(at(10), [&] { ++ran; });
  EXPECT_EQ(queue.run_due(at(10)), 2u);
  EXPECT_EQ(ran, 2);
  EXPECT_EQ(queue.run_due(at(10)), 1u);
  EXPECT_EQ(ran, 3);
}

TEST(TimerQueue, TasksMayCancelOthersThatAreDue) {
  TimerQueue queue;
  TimerId victim = 0;
  bool ran = false;
  queue.add(at(10), [&] { queue.cancel(victim); });
  victim = queue.add(at(10), [&] { ran = true; });
  EXPECT_EQ(queue.run_due(at(10)), 1u);
  EXPECT_FALSE(ran);
  EXPECT_TRUE(queue.empty());
}

TEST(TimerQueue, ATaskMayCancelItself) {
  TimerQueue queue;
  TimerId self = 0;
  auto held = std::make_shared<int>(0);
  self = queue.add(at(1), [&queue, &self, held] {
    queue.cancel(self);
    EXPECT_EQ(*held, 0);
  });
  EXPECT_EQ(queue.run_due(at(1)), 1u);
}

TEST(TimerQueue, RunOneRunsOne) {
  TimerQueue queue;
  std::string order;
  queue.add(at(1), [&] {
    order += 'a';
    queue.add(at(0), [&] { order += 'x'; });
  });
  queue.add(at(1), [&] { order += 'b'; });
  while (queue.run_one(at(1))) {
  }
  EXPECT_EQ(order, "axb");
  EXPECT_FALSE(queue.run_one(at(1)));
}

TEST(TimerQueue, ManyCancelledTimersDoNotAccumulate) {
  TimerQueue queue;
  queue.add(at(INT64_MAX - 1), [] {});
  for (int i = 0; i < 100'000; ++i) queue.cancel(queue.add(at(1'000'000 + i), [] {}));
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(queue.next_deadline(), at(INT64_MAX - 1));
}

// Most of many are cancelled, the earliest often among them: the heap is rebuilt on the way.
TEST(TimerQueue, StaysOrderedThroughMassCancellation) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    RandomStream random(seed, "cancel");
    TimerQueue queue;
    std::map<std::pair<Time, size_t>, TimerId> armed;
    for (size_t i = 0; i < 300; ++i) {
      Time deadline = at(static_cast<int64_t>(random.below(1'000)));
      armed[{deadline, i}] = queue.add(deadline, [] {});
    }
    while (!armed.empty()) {
      auto victim = armed.begin();
      if (random.chance(2, 3)) std::advance(victim, random.below(armed.size()));
      queue.cancel(victim->second);
      armed.erase(victim);
      ASSERT_EQ(queue.next_deadline(), armed.empty() ? Time::max() : armed.begin()->first.first);
      ASSERT_EQ(queue.size(), armed.size());
    }
  }
}

// Against a plain ordered map, with tasks that themselves add and cancel.
RC_GTEST_PROP(TimerQueueProperty, BehavesLikeAnOrderedMap, (uint64_t seed)) {
  RandomStream random(seed, "timers");
  TimerQueue queue;
  using Key = std::pair<Time, uint64_t>;
  std::map<Key, int> model;
  struct Armed {
    TimerId id;
    Key key;
  };
  std::vector<Armed> armed;  // ever
  std::vector<int> fired, expected;
  uint64_t order = 0;
  int64_t now = 0;
  int next_tag = 0;

  auto add = [&](int64_t deadline) {
    int tag = next_tag++;
    Key key{at(deadline), order++};
    TimerId id = queue.add(at(deadline), [&fired, tag] { fired.push_back(tag); });
    model[key] = tag;
    armed.push_back({id, key});
  };
  uint64_t steps = random.between(1, 400);
  uint64_t bias = random.below(4);
  for (uint64_t step = 0; step < steps; ++step) {
    uint64_t what = random.below(4 + bias);
    if (what == 0) {
      now += static_cast<int64_t>(random.below(50));
      while (!model.empty() && model.begin()->first.first <= at(now)) {
        expected.push_back(model.begin()->second);
        model.erase(model.begin());
      }
      size_t before = fired.size();
      size_t ran = queue.run_due(at(now));
      RC_ASSERT(ran == fired.size() - before);
      RC_ASSERT(fired == expected);
    } else if (what == 1 && !armed.empty()) {
      const Armed& pick = armed[random.below(armed.size())];
      queue.cancel(pick.id);
      model.erase(pick.key);
    } else {
      add(now + static_cast<int64_t>(random.below(200)) - 20);
    }
    RC_ASSERT(queue.size() == model.size());
    RC_ASSERT(queue.next_deadline() == (model.empty() ? Time::max() : model.begin()->first.first));
  }
}

}  // namespace
}  // namespace kahuna
