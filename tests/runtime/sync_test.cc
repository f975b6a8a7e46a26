#include "runtime/sync.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/runtime/manual_loop.h"

namespace kahuna {
namespace {

using namespace literals;

struct World {
  ManualLoop loop;
  Fibers fibers{loop, loop};
  void spawn(Callback<void(Suspend)> body) { fibers.spawn("f", std::move(body)); }
};

TEST(Event, ReleasesAllWhoWait) {
  World w;
  Event event;
  int through = 0;
  for (int i = 0; i < 3; ++i) w.spawn([&](Suspend s) { through += event.wait(s); });
  w.loop.settle();
  EXPECT_EQ(through, 0);
  event.set();
  event.reset();
  w.loop.settle();
  EXPECT_EQ(through, 3);
  w.spawn([&](Suspend s) { EXPECT_FALSE(event.wait(s, w.loop.now() + 1_ms)); });
  w.loop.drain();
  event.set();
  w.spawn([&](Suspend s) { EXPECT_TRUE(event.wait(s, Time())); });
  w.loop.settle();
}

TEST(Notify, OneWakesTheFirst) {
  World w;
  Notify notify;
  std::string order;
  for (char c : {'a', 'b', 'c'}) {
    w.spawn([&, c](Suspend s) {
      EXPECT_TRUE(notify.wait(s));
      order += c;
    });
  }
  notify.one();  // nobody waits yet: not stored
  w.loop.settle();
  EXPECT_EQ(order, "");
  notify.one();
  w.loop.settle();
  EXPECT_EQ(order, "a");
  notify.all();
  w.loop.settle();
  EXPECT_EQ(order, "abc");
}

TEST(Notify, WaitForTestsAgain) {
  World w;
  Notify notify;
  int value = 0;
  bool reached = false, missed = true;
  w.spawn([&](Suspend s) { reached = notify.wait_for(s, [&] { return value == 2; }); });
  w.spawn([&](Suspend s) {
    missed = notify.wait_for(
        s, [&] { return value == 9; }, w.loop.now() + 5_ms);
  });
  w.loop.settle();
  for (value = 1; value < 3; ++value) {
    notify.all();
    w.loop.settle();
  }
  w.loop.drain();
  EXPECT_TRUE(reached);
  EXPECT_FALSE(missed);
}

TEST(Notify, PassesOnWhatACancelledFiberWasGiven) {
  ManualLoop loop;
  Fibers doomed(loop, loop), living(loop, loop);
  Notify notify;
  bool woken = false;
  doomed.spawn("d", [&](Suspend s) { notify.wait(s); });
  loop.settle();
  living.spawn("l", [&](Suspend s) { woken = notify.wait(s); });
  loop.settle();
  notify.one();
  doomed.cancel_all();
  loop.settle();
  EXPECT_TRUE(woken);
}

TEST(Mutex, IsFifoAndNotOvertaken) {
  World w;
  Mutex mutex;
  std::string order;
  for (char c : {'a', 'b', 'c'}) {
    w.spawn([&, c](Suspend s) {
      for (int i = 0; i < 2; ++i) {
        Mutex::Guard guard(s, mutex);
        EXPECT_FALSE(mutex.try_lock());
        order += c;
        s.yield();
        s.yield();
      }
    });
  }
  w.loop.settle();
  EXPECT_EQ(order, "abcabc");
  EXPECT_FALSE(mutex.locked());
}

TEST(Mutex, LockUntilGivesUp) {
  World w;
  Mutex mutex;
  bool second = true, third = false;
  w.spawn([&](Suspend s) {
    Mutex::Guard guard(s, mutex);
    s.sleep_until(w.loop.now() + 10_ms);
  });
  w.spawn([&](Suspend s) { second = mutex.lock_until(s, w.loop.now() + 5_ms); });
  w.spawn([&](Suspend s) {
    third = mutex.lock_until(s, w.loop.now() + 15_ms);
    if (third) mutex.unlock();
  });
  w.loop.drain();
  EXPECT_FALSE(second);
  EXPECT_TRUE(third);
  EXPECT_FALSE(mutex.locked());
}

TEST(Mutex, CancelledOwnerAndHeirReleaseIt) {
  ManualLoop loop;
  Fibers doomed(loop, loop), living(loop, loop);
  Mutex mutex;
  bool got = false;
  doomed.spawn("owner", [&](Suspend s) {
    Mutex::Guard guard(s, mutex);
    s.park();
  });
  doomed.spawn("heir", [&](Suspend s) { Mutex::Guard guard(s, mutex); });
  loop.settle();
  living.spawn("l", [&](Suspend s) {
    Mutex::Guard guard(s, mutex);
    got = true;
  });
  loop.settle();
  doomed.cancel_all();
  EXPECT_TRUE(mutex.locked()) << "given to the living, who has not run yet";
  loop.settle();
  EXPECT_TRUE(got);
  EXPECT_FALSE(mutex.locked());
}

TEST(Semaphore, LargeRequestIsNotStarved) {
  World w;
  Semaphore permits(2);
  std::string order;
  w.spawn([&](Suspend s) {
    ASSERT_TRUE(permits.acquire(s, 1));
    order += '1';
    s.sleep_until(w.loop.now() + 5_ms);
    permits.release(1);
  });
  w.spawn([&](Suspend s) {
    ASSERT_TRUE(permits.acquire(s, 2));
    order += '2';
    permits.release(2);
  });
  w.spawn([&](Suspend s) {
    ASSERT_TRUE(permits.acquire(s, 1));
    order += '3';
    permits.release(1);
  });
  w.loop.settle();
  EXPECT_EQ(order, "1");
  EXPECT_FALSE(permits.try_acquire(1));
  w.loop.drain();
  EXPECT_EQ(order, "123");
  EXPECT_EQ(permits.available(), 2u);
}

TEST(Semaphore, GivingUpFreesThoseBehind) {
  World w;
  Semaphore permits(1);
  bool small = false;
  w.spawn([&](Suspend s) {
    EXPECT_EQ(permits.acquire(s, 5, w.loop.now() + 1_ms).error().code, ErrorCode::kTimeout);
  });
  w.spawn([&](Suspend s) { small = bool(permits.acquire(s, 1)); });
  w.loop.settle();
  EXPECT_FALSE(small);
  w.loop.drain();
  EXPECT_TRUE(small);
}

TEST(Semaphore, CloseFailsWaiters) {
  World w;
  Semaphore permits(0);
  ErrorCode code = ErrorCode::kOk;
  w.spawn([&](Suspend s) { code = permits.acquire(s).error().code; });
  w.loop.settle();
  permits.close();
  w.loop.settle();
  EXPECT_EQ(code, ErrorCode::kClosed);
  permits.release();
  EXPECT_TRUE(permits.try_acquire());
}

TEST(WaitGroup, WaitsForAll) {
  World w;
  WaitGroup group;
  bool done = false, timed_out = false;
  group.add(3);
  for (int i = 1; i <= 3; ++i) {
    w.spawn([&, i](Suspend s) {
      s.sleep_until(w.loop.now() + Duration::millis(i));
      group.done();
    });
  }
  w.spawn([&](Suspend s) { done = group.wait(s); });
  w.spawn([&](Suspend s) { timed_out = !group.wait(s, w.loop.now() + 2_ms); });
  w.loop.advance(2_ms);
  EXPECT_FALSE(done);
  w.loop.drain();
  EXPECT_TRUE(done);
  EXPECT_TRUE(timed_out);
}

TEST(WaitQueueDeathTest, DestroyedWithWaitersIsFatal) {
  World w;
  auto event = std::make_unique<Event>();
  w.spawn([&](Suspend s) { event->wait(s); });
  w.loop.settle();
  EXPECT_DEATH(event.reset(), "first_ == nullptr");
  w.fibers.cancel_all();
}

TEST(Channel, BlocksWhenFullAndWhenEmpty) {
  World w;
  Channel<std::unique_ptr<int>> channel(2);
  std::vector<int> got;
  w.spawn([&](Suspend s) {
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(channel.send(s, std::make_unique<int>(i)));
    channel.close();
  });
  w.loop.settle();
  EXPECT_EQ(channel.size(), 2u);
  w.spawn([&](Suspend s) {
    for (;;) {
      auto value = channel.receive(s);
      if (!value) {
        EXPECT_EQ(value.error().code, ErrorCode::kClosed);
        return;
      }
      got.push_back(**value);
    }
  });
  w.loop.settle();
  EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(Channel, FailuresLeaveTheValue) {
  World w;
  Channel<std::string> channel(1);
  ASSERT_TRUE(channel.try_send("first"));
  std::string value = "a value too long to be stored inline";
  EXPECT_EQ(channel.try_send(std::move(value)).error().code, ErrorCode::kOverloaded);
  w.spawn([&](Suspend s) {
    EXPECT_EQ(channel.send(s, std::move(value), w.loop.now() + 1_ms).error().code,
              ErrorCode::kTimeout);
    EXPECT_FALSE(value.empty());
    EXPECT_EQ(channel.send(s, std::move(value)).error().code, ErrorCode::kClosed);
    EXPECT_FALSE(value.empty());
  });
  w.loop.drain();
  channel.close();
  w.loop.settle();
  EXPECT_EQ(w.fibers.live(), 0u);
  EXPECT_EQ(channel.try_receive().value(), "first");
  EXPECT_EQ(channel.try_receive().error().code, ErrorCode::kClosed);
}

TEST(Channel, ReceiveTimesOut) {
  World w;
  Channel<int> channel(1);
  EXPECT_EQ(channel.try_receive().error().code, ErrorCode::kUnavailable);
  w.spawn([&](Suspend s) {
    EXPECT_EQ(channel.receive(s, w.loop.now() + 1_ms).error().code, ErrorCode::kTimeout);
    EXPECT_EQ(channel.receive(s, w.loop.now() + 2_ms).value(), 7);
  });
  w.loop.call_at(w.loop.now() + 2_ms, [&] { ASSERT_TRUE(channel.try_send(7)); });
  w.loop.drain();
  EXPECT_EQ(w.fibers.live(), 0u);
  EXPECT_EQ(w.loop.armed(), 0u);
}

TEST(Channel, CancelledReceiverLosesNothing) {
  ManualLoop loop;
  Fibers doomed(loop, loop);
  Channel<int> channel(4);
  for (int i = 0; i < 2; ++i) doomed.spawn("d", [&](Suspend s) { (void)channel.receive(s); });
  loop.settle();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(channel.try_send(i));
  doomed.cancel_all();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(channel.try_receive().value(), i);
}

// Many senders and receivers with deadlines under a drawn schedule: every value that was accepted
// is received exactly once, each sender's values in order, and the bound holds.
RC_GTEST_PROP(ChannelProperty, ExactlyOnceInOrder, (uint64_t seed)) {
  RandomStream random(seed, "channel");
  ManualLoop loop;
  loop.shuffle(random.split("schedule"));
  size_t capacity = random.between(1, 5);
  Channel<std::pair<int, int>> channel(capacity);
  std::vector<std::pair<int, int>> accepted, received;
  bool bounded = true;
  {
    Fibers fibers(loop, loop);
    int senders = static_cast<int>(random.between(1, 4));
    for (int i = 0; i < senders; ++i) {
      fibers.spawn("s", [&, i, r = random.split("sender", uint64_t(i))](Suspend s) mutable {
        for (int n = 0; n < 20; ++n) {
          Time deadline = r.chance(1, 3)
                              ? loop.now() + Duration::micros(static_cast<int64_t>(r.below(20)))
                              : Time::max();
          if (channel.send(s, {i, n}, deadline)) accepted.push_back({i, n});
          bounded = bounded && channel.size() <= capacity;
          if (r.chance(1, 4))
            s.sleep_until(loop.now() + Duration::micros(static_cast<int64_t>(r.below(10))));
        }
      });
    }
    uint64_t receivers = random.between(1, 3);
    for (uint64_t i = 0; i < receivers; ++i) {
      fibers.spawn("r", [&, r = random.split("receiver", i)](Suspend s) mutable {
        for (;;) {
          Time deadline = r.chance(1, 2)
                              ? loop.now() + Duration::micros(static_cast<int64_t>(r.below(10)))
                              : Time::max();
          auto value = channel.receive(s, deadline);
          if (value)
            received.push_back(*value);
          else if (value.error().code == ErrorCode::kClosed)
            return;
          else if (r.chance(1, 2))
            s.yield();
          else
            s.sleep_until(loop.now() + 1_us);
        }
      });
    }
    loop.advance(Duration::micros(static_cast<int64_t>(random.below(2'000))));
    if (random.chance(1, 2)) {
      channel.close();
      loop.drain();
      RC_ASSERT(fibers.live() == 0u);
    }
  }
  while (auto value = channel.try_receive()) received.push_back(*value);
  RC_ASSERT(bounded);
  for (int sender = 0; sender < 4; ++sender) {
    int last = -1;
    for (auto& [who, n] : received) {
      if (who != sender) continue;
      RC_ASSERT(n > last);
      last = n;
    }
  }
  std::sort(accepted.begin(), accepted.end());
  std::sort(received.begin(), received.end());
  RC_ASSERT(accepted == received);
}

}  // namespace
}  // namespace kahuna
