#include "tests/host/harness.h"

namespace kahuna::host_test {
namespace {

class ClockContract : public HostTest {};
INSTANTIATE_FOR_HOSTS(ClockContract);

TEST_P(ClockContract, TimersRunInOrderOfDeadlineAndNeverEarly) {
  Clock& clock = *host().clock;
  const Time start = clock.now();
  std::vector<int> order;
  for (int i : {30, 10, 20}) {
    const Time deadline = start + Duration::millis(i);
    clock.call_at(deadline, [&, i, deadline] {
      EXPECT_GE(clock.now(), deadline);
      order.push_back(i);
    });
  }
  ASSERT_TRUE(run_until([&] { return order.size() == 3; }));
  EXPECT_EQ(order, (std::vector{10, 20, 30}));
}

TEST_P(ClockContract, CancelledTimersNeverRun) {
  Clock& clock = *host().clock;
  bool ran = false;
  TimerId other = 0;
  const TimerId first =
      clock.call_at(clock.now() + Duration::millis(1), [&] { clock.cancel(other); });
  other = clock.call_at(clock.now() + Duration::millis(2), [&] { ran = true; });
  EXPECT_NE(first, other);
  EXPECT_NE(first, 0u);
  run_for(Duration::millis(20));
  clock.cancel(first);  // it ran: nothing happens
  clock.cancel(0);
  EXPECT_FALSE(ran);
}

TEST_P(ClockContract, APastDeadlineMeansTheNextTurn) {
  Clock& clock = *host().clock;
  bool in_same_turn = false;
  bool ran = false;
  bool turn_over = false;
  host().scheduler->post([&] {
    clock.call_at(clock.now() - Duration::seconds(1), [&] {
      in_same_turn = !turn_over;
      ran = true;
    });
    host().scheduler->defer([&] { turn_over = true; });
  });
  ASSERT_TRUE(run_until([&] { return ran; }));
  EXPECT_FALSE(in_same_turn);
}

TEST_P(ClockContract, ATimerMayRearmItselfWithoutStarvingTheLoop) {
  Clock& clock = *host().clock;
  int runs = 0;
  std::function<void()> again = [&] {
    if (++runs < 100) clock.call_at(clock.now(), [&] { again(); });
  };
  clock.call_at(clock.now(), [&] { again(); });
  ASSERT_TRUE(run_until([&] { return runs == 100; }));
}

TEST_P(ClockContract, NowIsConstantInATurnAndNeverGoesBack) {
  Clock& clock = *host().clock;
  Time last = clock.now();
  int turns = 0;
  std::function<void()> one_turn = [&] {
    const Time now = clock.now();
    EXPECT_GE(now, last);
    last = now;
    volatile unsigned work = 0;
    for (int i = 0; i < 100'000; ++i) work = work + 1;
    EXPECT_EQ(clock.now(), now);
    host().scheduler->defer([&, now] {
      EXPECT_EQ(clock.now(), now);
      if (++turns < 10) host().scheduler->post([&] { one_turn(); });
    });
  };
  host().scheduler->post([&] { one_turn(); });
  ASSERT_TRUE(run_until([&] { return turns == 10; }));
}

TEST_P(ClockContract, NowIsNotOlderThanATimerThatFiresInTheTurn) {
  Clock& clock = *host().clock;
  const Time before = clock.now();
  run_for(Duration::millis(15));
  EXPECT_GE(clock.now() - before, Duration::millis(15));
}

class SchedulerContract : public HostTest {};
INSTANTIATE_FOR_HOSTS(SchedulerContract);

TEST_P(SchedulerContract, PostedTasksRunLaterAndOnce) {
  int runs = 0;
  for (int i = 0; i < 100; ++i) host().scheduler->post([&] { ++runs; });
  EXPECT_EQ(runs, 0);
  ASSERT_TRUE(run_until([&] { return runs >= 100; }));
  run_for(Duration::millis(1));
  EXPECT_EQ(runs, 100);
}

TEST_P(SchedulerContract, DeferredTasksRunInOrderAfterPostedOnesOfTheTurn) {
  std::vector<std::string> order;
  host().scheduler->post([&] {
    host().scheduler->defer([&] {
      order.push_back("first");
      host().scheduler->defer([&] { order.push_back("third"); });
    });
    host().scheduler->defer([&] { order.push_back("second"); });
    order.push_back("posted");
  });
  ASSERT_TRUE(run_until([&] { return order.size() == 4; }));
  EXPECT_EQ(order, (std::vector<std::string>{"posted", "first", "second", "third"}));
}

TEST_P(SchedulerContract, TasksMayPostForEver) {
  int runs = 0;
  std::function<void()> again = [&] {
    if (++runs < 10'000) host().scheduler->post([&] { again(); });
  };
  bool timer = false;
  host().clock->call_at(host().clock->now(), [&] { timer = true; });
  host().scheduler->post([&] { again(); });
  ASSERT_TRUE(run_until([&] { return runs == 10'000 && timer; }));
}

class OffloadContract : public HostTest {};
INSTANTIATE_FOR_HOSTS(OffloadContract);

TEST_P(OffloadContract, RunsTheWorkAndThenTheCompletion) {
  auto value = std::make_unique<int>(0);
  bool done = false;
  host().offload->run([place = value.get()] { *place = 42; },
                      [&] {
                        EXPECT_EQ(*value, 42);
                        done = true;
                      });
  EXPECT_FALSE(done);
  ASSERT_TRUE(run_until([&] { return done; }));
}

TEST_P(OffloadContract, CompletesManyJobs) {
  constexpr size_t kJobs = 500;
  std::vector<uint64_t> results(kJobs, 0);
  size_t done = 0;
  for (size_t i = 0; i < kJobs; ++i) {
    host().offload->run([&results, i] { results[i] = i * i; },
                        [&, i] {
                          EXPECT_EQ(results[i], i * i);
                          ++done;
                        });
  }
  ASSERT_TRUE(run_until([&] { return done == kJobs; }));
}

TEST_P(OffloadContract, CompletionsMayStartMore) {
  int depth = 0;
  std::function<void()> next = [&] {
    if (++depth < 20) host().offload->run([] {}, [&] { next(); });
  };
  host().offload->run([] {}, [&] { next(); });
  ASSERT_TRUE(run_until([&] { return depth == 20; }));
}

}  // namespace
}  // namespace kahuna::host_test
