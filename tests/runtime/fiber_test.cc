#include "runtime/fiber.h"

#include <gtest/gtest.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/hash.h"
#include "tests/runtime/manual_loop.h"

namespace kahuna {
namespace {

using namespace literals;

struct World {
  ManualLoop loop;
  Fibers fibers{loop, loop};
};

struct AtExit {
  Callback<void()> run;
  ~AtExit() { run(); }
};

TEST(Fiber, RunsWhenPostedAndEnds) {
  World w;
  std::string seen;
  w.fibers.spawn("worker", [&](Suspend s) { seen = std::string(s.fiber_name()); });
  EXPECT_EQ(w.fibers.live(), 1u);
  EXPECT_EQ(seen, "");
  w.loop.settle();
  EXPECT_EQ(seen, "worker");
  EXPECT_EQ(w.fibers.live(), 0u);
}

TEST(Fiber, YieldLetsOthersRunFirst) {
  World w;
  std::string order;
  for (char name : {'a', 'b', 'c'}) {
    w.fibers.spawn(std::string(1, name), [&order, name](Suspend s) {
      for (int i = 0; i < 3; ++i) {
        order += name;
        s.yield();
      }
    });
  }
  w.loop.settle();
  EXPECT_EQ(order, "abcabcabc");
}

TEST(Fiber, ParksUntilWoken) {
  World w;
  Callback<void()> wake;
  bool done = false;
  w.fibers.spawn("p", [&](Suspend s) {
    wake = s.waker();
    s.park();
    done = true;
  });
  w.loop.settle();
  EXPECT_FALSE(done);
  wake();
  EXPECT_FALSE(done) << "a wake posts, it does not resume";
  w.loop.settle();
  EXPECT_TRUE(done);
}

TEST(Fiber, WakeBeforeParkIsKept) {
  World w;
  bool done = false;
  w.fibers.spawn("p", [&](Suspend s) {
    s.waker()();
    s.park();
    done = true;
  });
  w.loop.settle();
  EXPECT_TRUE(done);
}

TEST(Fiber, WakeDuringYieldIsKept) {
  World w;
  bool done = false;
  w.fibers.spawn("p", [&](Suspend s) {
    w.loop.post(s.waker());
    s.yield();
    s.park();
    done = true;
  });
  w.loop.settle();
  EXPECT_TRUE(done);
}

TEST(Fiber, WakerDoesNothingAfterDeath) {
  ManualLoop loop;
  Callback<void()> after_fiber, after_fibers, never_called;
  {
    Fibers fibers(loop, loop);
    fibers.spawn("short", [&](Suspend s) { after_fiber = s.waker(); });
    fibers.spawn("long", [&](Suspend s) {
      after_fibers = s.waker();
      never_called = s.waker();
      s.park();
    });
    loop.settle();
    after_fiber();
    loop.settle();
  }
  after_fibers();
  loop.settle();
  EXPECT_EQ(loop.ready(), 0u);
}

TEST(Fiber, PostedResumptionOutlivesFibers) {
  ManualLoop loop;
  {
    Fibers fibers(loop, loop);
    fibers.spawn("never started", [](Suspend) { FAIL(); });
  }
  EXPECT_EQ(loop.ready(), 1u);
  loop.settle();
}

TEST(Fiber, SleepsUntilDeadline) {
  World w;
  Time start = w.loop.now(), woke;
  w.fibers.spawn("sleeper", [&](Suspend s) {
    s.sleep_until(start - 5_ms);
    EXPECT_EQ(w.loop.now(), start);
    s.sleep_until(start + 10_ms);
    woke = w.loop.now();
  });
  w.loop.advance(9_ms);
  EXPECT_EQ(w.fibers.live(), 1u);
  w.loop.advance(10_ms);
  EXPECT_EQ(woke, start + 10_ms);
}

TEST(Fiber, SleepIgnoresOtherWakes) {
  World w;
  Time deadline = w.loop.now() + 10_ms;
  w.fibers.spawn("sleeper", [&](Suspend s) {
    Callback<void()> wake = s.waker();
    w.loop.call_at(w.loop.now() + 1_ms, std::move(wake));
    s.sleep_until(deadline);
    EXPECT_GE(w.loop.now(), deadline);
  });
  w.loop.advance(20_ms);
  EXPECT_EQ(w.fibers.live(), 0u);
}

TEST(Fiber, CancelUnwindsInSpawnOrder) {
  ManualLoop loop;
  std::string order;
  {
    Fibers fibers(loop, loop);
    for (char name : {'a', 'b', 'c'}) {
      fibers.spawn("x", [&, name](Suspend s) {
        AtExit exit{[&, name] { order += name; }};
        s.sleep_until(Time::max());
        order += '!';
      });
    }
    loop.settle();
    EXPECT_EQ(order, "");
  }
  EXPECT_EQ(order, "abc");
  EXPECT_EQ(loop.armed(), 0u);
}

TEST(Fiber, CancelDisarmsSleep) {
  World w;
  w.fibers.spawn("s", [&](Suspend s) { s.sleep_until(w.loop.now() + 1_s); });
  w.loop.settle();
  EXPECT_EQ(w.loop.armed(), 1u);
  w.fibers.cancel_all();
  EXPECT_EQ(w.loop.armed(), 0u);
}

TEST(Fiber, CancelDestroysCapturesOfUnstartedBodies) {
  ManualLoop loop;
  auto held = std::make_shared<int>(1);
  Fibers fibers(loop, loop);
  fibers.spawn("x", [held](Suspend) { FAIL(); });
  EXPECT_EQ(held.use_count(), 2);
  fibers.cancel_all();
  EXPECT_EQ(held.use_count(), 1);
  loop.settle();
}

TEST(Fiber, CancelTakesFibersSpawnedByDestructors) {
  World w;
  bool ran = false;
  w.fibers.spawn("x", [&](Suspend s) {
    AtExit exit{[&] { w.fibers.spawn("late", [&](Suspend) { ran = true; }); }};
    s.park();
  });
  w.loop.settle();
  w.fibers.cancel_all();
  w.loop.settle();
  EXPECT_FALSE(ran);
  EXPECT_EQ(w.fibers.live(), 0u);
}

TEST(Fiber, SpawnsAgainAfterCancel) {
  World w;
  w.fibers.spawn("x", [](Suspend s) { s.park(); });
  w.loop.settle();
  w.fibers.cancel_all();
  bool ran = false;
  w.fibers.spawn("y", [&](Suspend) { ran = true; });
  w.loop.settle();
  EXPECT_TRUE(ran);
}

TEST(Fiber, BodyMayOwnItsHome) {
  ManualLoop loop;
  auto fibers = std::make_unique<Fibers>(loop, loop);
  Fibers& home = *fibers;
  home.spawn("owner", [fibers = std::move(fibers)](Suspend) {});
  home.spawn("other", [](Suspend s) { s.park(); });
  loop.settle();
}

TEST(Fiber, CancelWakesOthersHarmlessly) {
  World w;
  Callback<void()> wake_second, wake_first;
  w.fibers.spawn("first", [&](Suspend s) {
    AtExit exit{[&] { wake_second(); }};
    wake_first = s.waker();
    s.park();
  });
  w.fibers.spawn("second", [&](Suspend s) {
    AtExit exit{[&] { wake_first(); }};
    wake_second = s.waker();
    s.park();
    FAIL();
  });
  w.loop.settle();
  w.fibers.cancel_all();
  w.loop.settle();
}

TEST(Fiber, ExceptionsStayWithTheirFiber) {
  World w;
  std::vector<std::string> caught;
  for (std::string name : {"A", "B", "C"}) {
    w.fibers.spawn(name, [&caught, name](Suspend s) {
      try {
        throw std::runtime_error(name);
      } catch (...) {
        s.yield();
        try {
          throw std::logic_error(name + "2");
        } catch (const std::logic_error& inner) {
          s.yield();
          caught.push_back(inner.what());
        }
        s.yield();
        try {
          throw;
        } catch (const std::exception& e) {
          caught.push_back(e.what());
        }
      }
      EXPECT_EQ(std::current_exception(), nullptr);
      EXPECT_EQ(std::uncaught_exceptions(), 0);
    });
  }
  w.loop.settle();
  EXPECT_EQ(caught, (std::vector<std::string>{"A2", "B2", "C2", "A", "B", "C"}));
  EXPECT_EQ(std::current_exception(), nullptr);
}

TEST(Fiber, CancelInsideCatchBlock) {
  World w;
  int unwound = 0;
  w.fibers.spawn("x", [&](Suspend s) {
    AtExit exit{[&] { ++unwound; }};
    try {
      throw 7;
    } catch (int) {
      s.park();
    }
  });
  w.loop.settle();
  w.fibers.cancel_all();
  EXPECT_EQ(unwound, 1);
  EXPECT_EQ(std::uncaught_exceptions(), 0);
  EXPECT_EQ(std::current_exception(), nullptr);
}

TEST(Fiber, ResumedWhileTheLoopHandlesAnException) {
  World w;
  w.fibers.spawn("x", [&](Suspend s) {
    EXPECT_EQ(std::current_exception(), nullptr);
    s.yield();
    try {
      throw 1;
    } catch (int) {
    }
  });
  try {
    throw std::runtime_error("loop");
  } catch (...) {
    w.loop.settle();
    try {
      throw;
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "loop");
    }
  }
}

TEST(Fiber, DumpNamesStateAndResumptions) {
  World w;
  w.fibers.spawn("parked one", [](Suspend s) {
    s.yield();
    s.park();
  });
  w.fibers.spawn("gone", [](Suspend) {});
  std::string during;
  w.fibers.spawn("self", [&](Suspend s) {
    s.yield();
    s.yield();
    w.fibers.spawn("new one", [](Suspend) {});
    during = w.fibers.dump();
  });
  w.loop.settle();
  EXPECT_EQ(
      during,
      "#1 parked one parked resumed=2\n#3 self running resumed=3\n#4 new one new resumed=0\n");
}

__attribute__((noinline)) size_t stack_user(size_t levels) {
  volatile char frame[512];
  frame[0] = static_cast<char>(levels);
  size_t below = levels == 0 ? 0 : stack_user(levels - 1);
  return below + static_cast<size_t>(frame[0] != 0 || levels % 256 == 0);
}

TEST(Fiber, HasRoomForRocksDb) {
  World w;
  size_t used = 0;
  w.fibers.spawn("deep", [&](Suspend) { used = stack_user(200); });  // over 128 KiB
  w.loop.settle();
  EXPECT_EQ(used, 201u);
}

TEST(Fiber, ThrowsThroughDeepStacks) {
  World w;
  struct Thrower {
    static int go(Suspend s, int levels) {
      std::string alive(40, 'x');
      if (levels == 0) {
        s.yield();
        throw std::runtime_error("deep");
      }
      return go(s, levels - 1) + static_cast<int>(alive.size());
    }
  };
  int caught = 0;
  for (int i = 0; i < 20; ++i) {
    w.fibers.spawn("t", [&](Suspend s) {
      try {
        Thrower::go(s, 200);
      } catch (const std::runtime_error&) {
        ++caught;
      }
    });
  }
  w.loop.settle();
  EXPECT_EQ(caught, 20);
}

TEST(Fiber, TenThousandAtOnceAndAgain) {
  World w;
  uint64_t sum = 0;
  for (int round = 0; round < 2; ++round) {
    for (uint64_t i = 0; i < 10'000; ++i) {
      w.fibers.spawn("f", [&sum, i](Suspend s) {
        std::vector<uint64_t> held(4, i);
        s.yield();
        s.yield();
        sum += held[3];
      });
    }
    EXPECT_EQ(w.fibers.live(), 10'000u);
    w.loop.settle();
    EXPECT_EQ(w.fibers.live(), 0u);
  }
  EXPECT_EQ(sum, 2 * 49'995'000u);
}

uint64_t run_mixed(uint64_t seed) {
  ManualLoop loop;
  loop.shuffle(RandomStream(seed, "order"));
  Fibers fibers(loop, loop);
  Hash128 hash;
  for (uint64_t i = 0; i < 50; ++i) {
    fibers.spawn("f" + std::to_string(i), [&, i](Suspend s) {
      RandomStream random(seed, "fiber", i);
      for (int step = 0; step < 20; ++step) {
        hash.add(i);
        hash.add(static_cast<uint64_t>(loop.now().nanos()));
        if (random.chance(1, 2))
          s.yield();
        else
          s.sleep_until(loop.now() + Duration::micros(static_cast<int64_t>(random.below(100))));
      }
    });
  }
  loop.advance(1_ms);
  hash.add(as_bytes(fibers.dump()));
  loop.drain();
  return hash.low() ^ hash.high();
}

TEST(Fiber, SameSeedSameOrder) {
  EXPECT_EQ(run_mixed(1), run_mixed(1));
  EXPECT_NE(run_mixed(1), run_mixed(2));
}

TEST(FiberDeathTest, SuspendOnAnotherFiberIsFatal) {
  World w;
  std::optional<Suspend> stolen;
  w.fibers.spawn("owner", [&](Suspend s) {
    stolen = s;
    s.park();
  });
  w.fibers.spawn("thief", [&](Suspend) { stolen->park(); });
  EXPECT_DEATH(w.loop.settle(), "fiber_ == running_fiber_");
}

TEST(FiberDeathTest, SuspendOffFiberIsFatal) {
  World w;
  std::optional<Suspend> stolen;
  w.fibers.spawn("owner", [&](Suspend s) {
    stolen = s;
    s.park();
  });
  w.loop.settle();
  EXPECT_DEATH(stolen->yield(), "fiber_ == running_fiber_");
}

TEST(FiberDeathTest, SuspendWhileBeingUnwoundIsFatal) {
  auto unwind = [] {
    World w;
    w.fibers.spawn("x", [](Suspend s) {
      AtExit exit{[s]() mutable { s.yield(); }};
      s.park();
    });
    w.loop.settle();
    w.fibers.cancel_all();
  };
  EXPECT_DEATH(unwind(), "!cancelled_");
}

TEST(FiberDeathTest, SuspendWithExceptionInFlightIsFatal) {
  World w;
  w.fibers.spawn("x", [](Suspend s) {
    try {
      AtExit exit{[s]() mutable { s.yield(); }};
      throw 1;
    } catch (int) {
    }
  });
  EXPECT_DEATH(w.loop.settle(), "in_flight");
}

TEST(FiberDeathTest, NestedResumeIsFatal) {
  World w;
  w.fibers.spawn("other", [](Suspend s) { s.park(); });
  w.fibers.spawn("x", [&](Suspend) {
    w.fibers.spawn("y", [](Suspend) {});
    w.loop.settle();
  });
  EXPECT_DEATH(w.loop.settle(), "running_fiber_ == nullptr");
}

TEST(FiberDeathTest, CancelFromAFiberIsFatal) {
  World w;
  w.fibers.spawn("x", [&](Suspend) { w.fibers.cancel_all(); });
  EXPECT_DEATH(w.loop.settle(), "running_fiber_ == nullptr");
}

TEST(FiberDeathTest, EscapingExceptionTerminates) {
  World w;
  w.fibers.spawn("x", [](Suspend) { throw std::runtime_error("escapes"); });
  EXPECT_DEATH(w.loop.settle(), "escapes");
}

__attribute__((noinline)) int overflow(int n) {
  volatile char frame[1024];
  frame[0] = static_cast<char>(n);
  return n == 1 << 30 ? 0 : overflow(n + 1) + frame[0];
}

TEST(FiberDeathTest, OverflowHitsTheGuard) {
  World w;
  w.fibers.spawn("neighbour", [](Suspend s) { s.park(); });
  w.fibers.spawn("x", [](Suspend) { overflow(0); });
  EXPECT_DEATH(w.loop.settle(), "");
}

TEST(Await, ReturnsTheCompletion) {
  World w;
  Callback<void(Result<size_t>)> pending;
  Result<size_t> got = fail(ErrorCode::kIo, "");
  w.fibers.spawn("a", [&](Suspend s) {
    got = await<Result<size_t>>(
        s, [&](Callback<void(Result<size_t>)> done) { pending = std::move(done); });
  });
  w.loop.settle();
  EXPECT_EQ(w.fibers.live(), 1u);
  pending(42);
  w.loop.settle();
  EXPECT_EQ(got.value(), 42u);
}

TEST(Await, LateCompletionOfACancelledFiberIsDropped) {
  World w;
  Callback<void(std::unique_ptr<int>)> pending;
  w.fibers.spawn("a", [&](Suspend s) {
    await<std::unique_ptr<int>>(
        s, [&](Callback<void(std::unique_ptr<int>)> done) { pending = std::move(done); });
    FAIL();
  });
  w.loop.settle();
  w.fibers.cancel_all();
  pending(std::make_unique<int>(1));
  w.loop.settle();
}

TEST(Await, StrayWakesDoNotEndIt) {
  World w;
  Callback<void(int)> pending;
  Callback<void()> stray;
  int got = 0;
  w.fibers.spawn("a", [&](Suspend s) {
    stray = s.waker();
    got = await<int>(s, [&](Callback<void(int)> done) { pending = std::move(done); });
  });
  w.loop.settle();
  stray();
  w.loop.settle();
  EXPECT_EQ(got, 0);
  pending(5);
  w.loop.settle();
  EXPECT_EQ(got, 5);
}

}  // namespace
}  // namespace kahuna
