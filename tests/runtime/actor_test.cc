#include "runtime/actor.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "runtime/router.h"
#include "tests/runtime/manual_loop.h"

namespace kahuna {
namespace {

using namespace literals;

struct World {
  ManualLoop loop;
  Fibers fibers{loop, loop};
  std::vector<std::string> failures;
  ActorSystem system{fibers, [this](const std::string& path, const Error& error) {
                       failures.push_back(path + ": " + error.text);
                     }};
};

// An actor made of one function.
template <class M>
struct Lambda : Actor<M> {
  using Body = Callback<Result<>(Suspend, M)>;
  explicit Lambda(Body b) : body(std::move(b)) {}
  Result<> receive(Suspend s, M message) override { return body(s, std::move(message)); }
  Body body;
};
template <class M, class F>
ActorFactory<M> each(F f) {
  return [f]() -> std::unique_ptr<Actor<M>> { return std::make_unique<Lambda<M>>(f); };
}

TEST(Actor, HandlesMessagesInOrderOneAtATime) {
  World w;
  std::vector<int> seen;
  bool busy = false;
  auto ref = w.system.spawn<int>("a", {}, each<int>([&](Suspend s, int n) -> Result<> {
                                   EXPECT_FALSE(busy);
                                   busy = true;
                                   s.yield();
                                   seen.push_back(n);
                                   busy = false;
                                   return {};
                                 }));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(ref.tell(i));
  w.loop.settle();
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(Actor, IdleActorsHaveNoFiber) {
  World w;
  std::vector<ActorRef<int>> refs;
  for (int i = 0; i < 1000; ++i)
    refs.push_back(
        w.system.spawn<int>("a", {}, each<int>([](Suspend, int) { return Result<>(); })));
  w.loop.settle();
  EXPECT_EQ(w.system.live(), 1000u);
  EXPECT_EQ(w.fibers.live(), 0u);
  ASSERT_TRUE(refs[7].tell(1));
  EXPECT_EQ(w.fibers.live(), 1u);
}

TEST(Actor, FullMailboxIsOverloadedAndKeepsTheMessage) {
  World w;
  ActorOptions options;
  options.mailbox_capacity = 2;
  auto ref = w.system.spawn<std::string>(
      "a", options, each<std::string>([](Suspend, std::string) { return Result<>(); }));
  std::string message = "a message too long to be stored inline";
  ASSERT_TRUE(ref.tell(message));
  ASSERT_TRUE(ref.tell(message));
  EXPECT_EQ(ref.tell(std::move(message)).error().code, ErrorCode::kOverloaded);
  EXPECT_FALSE(message.empty());
  ASSERT_TRUE(ref.tell_control(message)) << "control messages have their own bound";
  w.loop.settle();
  EXPECT_TRUE(ref.tell(std::move(message)));
}

TEST(Actor, ControlMessagesGoFirst) {
  World w;
  std::string seen;
  auto ref = w.system.spawn<char>("a", {}, each<char>([&](Suspend, char c) -> Result<> {
                                    seen += c;
                                    return {};
                                  }));
  for (char c : {'a', 'b', 'c'}) ASSERT_TRUE(ref.tell(c));
  for (char c : {'1', '2'}) ASSERT_TRUE(ref.tell_control(c));
  w.loop.settle();
  EXPECT_EQ(seen, "12abc");
}

TEST(Actor, QuantumLetsOthersIn) {
  World w;
  ActorOptions options;
  options.quantum = 2;
  std::string seen;
  for (char c : {'a', 'b'}) {
    auto ref = w.system.spawn<int>("x", options, each<int>([&seen, c](Suspend, int) -> Result<> {
                                     seen += c;
                                     return {};
                                   }));
    for (int i = 0; i < 6; ++i) ASSERT_TRUE(ref.tell(i));
  }
  w.loop.settle();
  EXPECT_EQ(seen, "aabbaabbaabb");
}

struct Question {
  int n;
  Reply<int> reply;
};

TEST(Ask, ReturnsTheAnswer) {
  World w;
  auto ref =
      w.system.spawn<Question>("a", {}, each<Question>([](Suspend s, Question q) -> Result<> {
                                 s.yield();
                                 if (q.n < 0)
                                   q.reply.send(fail(ErrorCode::kInvalid, "negative"));
                                 else
                                   q.reply.send(q.n * 2);
                                 return {};
                               }));
  int done = 0;
  w.fibers.spawn("asker", [&](Suspend s) {
    auto question = [](int n) { return [n](Reply<int> r) { return Question{n, std::move(r)}; }; };
    EXPECT_EQ(ask<int>(s, ref, Time::max(), question(21)).value(), 42);
    EXPECT_EQ(ask<int>(s, ref, w.loop.now() + 1_s, question(-1)).error().code, ErrorCode::kInvalid);
    ++done;
  });
  w.loop.settle();
  EXPECT_EQ(done, 1);
  EXPECT_EQ(w.loop.armed(), 0u);
}

TEST(Ask, TimeoutSaysWhetherItWasHandled) {
  World w;
  std::vector<int> handled;
  auto ref =
      w.system.spawn<Question>("a", {}, each<Question>([&](Suspend s, Question q) -> Result<> {
                                 handled.push_back(q.n);
                                 s.sleep_until(w.loop.now() + 10_ms);
                                 EXPECT_FALSE(q.reply.wanted());
                                 q.reply.send(q.n);
                                 return {};
                               }));
  std::vector<ErrorCode> codes;
  for (int i = 0; i < 2; ++i) {
    w.fibers.spawn("asker", [&, i](Suspend s) {
      auto r = ask<int>(s, ref, w.loop.now() + 5_ms, [i](Reply<int> reply) {
        return Question{i, std::move(reply)};
      });
      codes.push_back(r.error().code);
    });
  }
  w.loop.drain();
  EXPECT_EQ(codes, (std::vector<ErrorCode>{ErrorCode::kUnknown, ErrorCode::kTimeout}));
  EXPECT_EQ(handled, std::vector<int>{0}) << "what was reported as not done must never be done";
}

TEST(Ask, DroppedQuestions) {
  World w;
  ActorOptions once;
  once.max_restarts = 0;
  auto failing = w.system.spawn<Question>("failing", once, each<Question>([](Suspend, Question) {
                                            return Result<>(fail(ErrorCode::kIo, "broken"));
                                          }));
  std::vector<ErrorCode> codes;
  for (int i = 0; i < 2; ++i) {
    w.fibers.spawn("asker", [&](Suspend s) {
      codes.push_back(ask<int>(s, failing, Time::max(),
                               [](Reply<int> r) {
                                 return Question{0, std::move(r)};
                               })
                          .error()
                          .code);
    });
  }
  w.loop.settle();
  EXPECT_EQ(codes, (std::vector<ErrorCode>{ErrorCode::kUnknown, ErrorCode::kClosed}));
  EXPECT_EQ(failing.tell(Question{}).error().code, ErrorCode::kClosed);
  EXPECT_EQ(w.failures, std::vector<std::string>{"failing: broken"});
  EXPECT_EQ(w.system.live(), 0u);
}

TEST(Ask, CancelledAskerIsForgotten) {
  ManualLoop loop;
  Fibers askers(loop, loop), fibers(loop, loop);
  ActorSystem system(fibers, [](const std::string&, const Error&) { FAIL(); });
  int handled = 0;
  auto ref = system.spawn<Question>("a", {}, each<Question>([&](Suspend s, Question q) -> Result<> {
                                      ++handled;
                                      s.sleep_until(loop.now() + 1_ms);
                                      q.reply.send(1);
                                      return {};
                                    }));
  for (int i = 0; i < 2; ++i)
    askers.spawn("asker", [&](Suspend s) {
      (void)ask<int>(s, ref, Time::max(), [](Reply<int> r) { return Question{0, std::move(r)}; });
      FAIL();
    });
  loop.settle();
  askers.cancel_all();
  loop.drain();
  EXPECT_EQ(handled, 1);
}

TEST(Supervision, RestartsWithDoublingBackOffAndKeepsTheMailbox) {
  World w;
  std::vector<int64_t> starts;
  std::vector<int> seen;
  struct Fragile : Actor<int> {
    World& w;
    std::vector<int64_t>& starts;
    std::vector<int>& seen;
    Fragile(World& world, std::vector<int64_t>& st, std::vector<int>& se)
        : w(world), starts(st), seen(se) {}
    Result<> started(Suspend) override {
      starts.push_back(now().nanos() / 1'000'000);
      return {};
    }
    Result<> receive(Suspend, int n) override {
      if (n < 0) return fail(ErrorCode::kIo, "broken");
      seen.push_back(n);
      return {};
    }
  };
  auto ref = w.system.spawn<int>("f", {}, [&]() -> std::unique_ptr<Actor<int>> {
    return std::make_unique<Fragile>(w, starts, seen);
  });
  int64_t zero = w.loop.now().nanos() / 1'000'000;
  for (int n : {1, -1, 2, -1, -1, 3}) ASSERT_TRUE(ref.tell(n));
  w.loop.drain();
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(starts, (std::vector<int64_t>{zero, zero + 10, zero + 30, zero + 70}));
  w.loop.advance(61_s);
  ASSERT_TRUE(ref.tell(-1));
  w.loop.drain();
  EXPECT_EQ(starts[4], starts[3] + 61'000 + 10) << "earlier failures are forgiven";
  EXPECT_TRUE(w.failures.empty());
}

// A parent with one child; the message goes on to the child.
struct Parent : Actor<int> {
  std::string& log;
  ActorOptions child_options;
  ActorRef<int> child;
  Parent(std::string& l, ActorOptions o) : log(l), child_options(o) {}
  ~Parent() override { log += "~P "; }
  Result<> started(Suspend) override {
    log += "P ";
    child = spawn_child<int>("child", child_options, each<int>([this](Suspend, int n) -> Result<> {
                               log += "c" + std::to_string(n) + " ";
                               if (n < 0) return fail(ErrorCode::kIo, "child broke");
                               return {};
                             }));
    return {};
  }
  Result<> receive(Suspend, int n) override { return child.tell(n); }
  void stopped() override { log += "stopped "; }
};

TEST(Supervision, EscalatesToTheParentWhichRestarts) {
  World w;
  std::string log;
  ActorOptions fatal, options;
  fatal.max_restarts = 0;
  options.max_restarts = 1;
  auto ref = w.system.spawn<int>("p", options, [&]() -> std::unique_ptr<Actor<int>> {
    return std::make_unique<Parent>(log, fatal);
  });
  ASSERT_TRUE(ref.tell(1));
  ASSERT_TRUE(ref.tell(-1));
  w.loop.drain();
  EXPECT_EQ(log, "P c1 c-1 ~P P ");
  ASSERT_TRUE(ref.tell(2));
  ASSERT_TRUE(ref.tell(-2));
  w.loop.drain();
  EXPECT_EQ(log, "P c1 c-1 ~P P c2 c-2 ~P ");
  EXPECT_EQ(w.failures, std::vector<std::string>{"p: p/child: child broke"});
  EXPECT_EQ(w.system.live(), 0u);
  EXPECT_TRUE(ref.stopped());
}

TEST(Supervision, StoppingAParentStopsItsChildren) {
  World w;
  std::string log;
  auto ref = w.system.spawn<int>("p", {}, [&]() -> std::unique_ptr<Actor<int>> {
    return std::make_unique<Parent>(log, ActorOptions());
  });
  w.loop.settle();
  EXPECT_EQ(w.system.dump(),
            "#1 p idle mailbox=0 restarts=0\n#2 p/child idle mailbox=0 restarts=0\n");
  ref.stop();
  w.loop.settle();
  EXPECT_EQ(w.system.live(), 0u);
  EXPECT_EQ(log, "P stopped ~P ");
}

TEST(Supervision, FailedStartIsRetried) {
  World w;
  int starts = 0;
  struct Slow : Actor<int> {
    int& starts;
    explicit Slow(int& s) : starts(s) {}
    Result<> started(Suspend s) override {
      s.yield();
      if (++starts < 3) return fail(ErrorCode::kUnavailable, "not yet");
      return {};
    }
    Result<> receive(Suspend, int) override { return {}; }
  };
  auto ref = w.system.spawn<int>(
      "s", {}, [&]() -> std::unique_ptr<Actor<int>> { return std::make_unique<Slow>(starts); });
  w.loop.drain();
  EXPECT_EQ(starts, 3);
}

TEST(ActorLife, StopLetsTheCurrentMessageEndAndDropsTheRest) {
  World w;
  std::vector<int> seen;
  auto ref = w.system.spawn<int>("a", {}, each<int>([&](Suspend s, int n) -> Result<> {
                                   s.sleep_until(w.loop.now() + 5_ms);
                                   seen.push_back(n);
                                   return {};
                                 }));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(ref.tell(i));
  w.loop.advance(1_ms);
  bool gone = false, early = true;
  w.fibers.spawn("waiter", [&](Suspend s) {
    early = ref.wait_stopped(s, w.loop.now() + 1_ms);
    ref.stop();
    gone = ref.wait_stopped(s);
  });
  w.loop.advance(2_ms);
  EXPECT_FALSE(early);
  EXPECT_FALSE(gone);
  EXPECT_EQ(ref.tell(9).error().code, ErrorCode::kClosed);
  w.loop.drain();
  EXPECT_TRUE(gone);
  EXPECT_EQ(seen, std::vector<int>{0});
  EXPECT_EQ(w.system.live(), 0u);
}

TEST(ActorLife, StopWhileWaitingToRestart) {
  World w;
  auto ref = w.system.spawn<int>(
      "a", {}, each<int>([](Suspend, int) { return Result<>(fail(ErrorCode::kIo, "x")); }));
  ASSERT_TRUE(ref.tell(1));
  w.loop.settle();
  EXPECT_EQ(w.system.dump(), "#1 a waiting to restart mailbox=0 restarts=1\n");
  ref.stop();
  w.loop.settle();
  EXPECT_EQ(w.system.live(), 0u);
  EXPECT_EQ(w.loop.armed(), 0u);
}

TEST(ActorLife, StopsItself) {
  World w;
  struct Suicidal : Actor<int> {
    Result<> receive(Suspend, int) override {
      self().stop();
      return {};
    }
  };
  auto ref = w.system.spawn<int>(
      "a", {}, []() -> std::unique_ptr<Actor<int>> { return std::make_unique<Suicidal>(); });
  ASSERT_TRUE(ref.tell(1));
  w.loop.settle();
  EXPECT_EQ(w.system.live(), 0u);
}

TEST(ActorLife, CancellingTheFibersKillsRunningActors) {
  auto held = std::make_shared<int>(0);
  ManualLoop loop;
  for (bool system_first : {false, true}) {
    auto fibers = std::make_unique<Fibers>(loop, loop);
    auto system = std::make_unique<ActorSystem>(*fibers, [](const std::string&, const Error&) {});
    auto body = [held](Suspend s, int) -> Result<> {
      s.park();
      return {};
    };
    ActorRef<int> running = system->spawn<int>("running", {}, each<int>(body));
    ActorRef<int> idle = system->spawn<int>("idle", {}, each<int>(body));
    ASSERT_TRUE(running.tell(1));
    loop.settle();
    ActorRef<int> fresh = system->spawn<int>("fresh", {}, each<int>(body));
    ASSERT_TRUE(running.tell(2));
    if (system_first) system.reset();
    fibers->cancel_all();
    loop.settle();
    EXPECT_EQ(running.tell(3).error().code, ErrorCode::kClosed);
    EXPECT_EQ(fresh.tell(3).error().code, ErrorCode::kClosed);
    system.reset();
    EXPECT_EQ(idle.tell(3).error().code, ErrorCode::kClosed);
  }
  loop.settle();
  EXPECT_EQ(held.use_count(), 1);
}

TEST(ActorTimers, TellTheActorLaterUnlessCancelledOrRestarted) {
  World w;
  std::string seen;
  struct Alarmed : Actor<char> {
    std::string& seen;
    explicit Alarmed(std::string& s) : seen(s) {}
    Result<> started(Suspend) override {
      tell_at(now() + 3_ms, 'c');
      tell_at(now() + 1_ms, 'a');
      TimerId dropped = tell_at(now() + 2_ms, 'b');
      cancel(dropped);
      return {};
    }
    Result<> receive(Suspend, char c) override {
      seen += c;
      if (c == '!') return fail(ErrorCode::kIo, "x");
      return {};
    }
  };
  auto ref = w.system.spawn<char>(
      "t", {}, [&]() -> std::unique_ptr<Actor<char>> { return std::make_unique<Alarmed>(seen); });
  w.loop.advance(2_ms);
  EXPECT_EQ(seen, "a");
  ASSERT_TRUE(ref.tell('!'));
  w.loop.drain();
  EXPECT_EQ(seen, "a!ac") << "the timers of the failed one are forgotten";
  ref.stop();
  w.loop.settle();
  EXPECT_EQ(w.loop.armed(), 0u);
}

TEST(Router, RoundRobinSkipsTheFull) {
  World w;
  std::map<char, int> seen;
  std::vector<ActorRef<int>> members;
  ActorOptions options;
  options.mailbox_capacity = 2;
  for (char c : {'a', 'b', 'c'})
    members.push_back(w.system.spawn<int>("m", options, each<int>([&, c](Suspend, int) -> Result<> {
                                            ++seen[c];
                                            return {};
                                          })));
  members[1].stop();
  RoundRobin<int> router(members);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(router.tell(i));
  EXPECT_EQ(router.tell(4).error().code, ErrorCode::kOverloaded);
  w.loop.settle();
  EXPECT_EQ(seen, (std::map<char, int>{{'a', 2}, {'c', 2}}));
  for (auto& m : members) m.stop();
  EXPECT_EQ(router.tell(5).error().code, ErrorCode::kClosed);
}

TEST(Router, ConsistentHashMovesOnlyItsShare) {
  World w;
  ConsistentHash<int> router;
  auto member = [&](const std::string& name) {
    return w.system.spawn<int>(name, {}, each<int>([](Suspend, int) { return Result<>(); }));
  };
  for (int i = 0; i < 8; ++i) router.add("m" + std::to_string(i), member("m" + std::to_string(i)));
  std::vector<std::string> before;
  std::map<std::string, int> load;
  for (int k = 0; k < 8000; ++k) {
    before.push_back(router.at("key" + std::to_string(k)).path());
    ++load[before.back()];
  }
  EXPECT_EQ(load.size(), 8u);
  for (auto& [name, n] : load) {
    EXPECT_GT(n, 500) << name;
    EXPECT_LT(n, 1700) << name;
  }
  router.add("new", member("new"));
  int moved = 0;
  for (int k = 0; k < 8000; ++k) {
    std::string now = router.at("key" + std::to_string(k)).path();
    if (now != before[size_t(k)]) {
      EXPECT_EQ(now, "new");
      ++moved;
    }
  }
  EXPECT_GT(moved, 400);
  EXPECT_LT(moved, 1700);
  router.remove("new");
  for (int k = 0; k < 8000; ++k)
    EXPECT_EQ(router.at("key" + std::to_string(k)).path(), before[size_t(k)]);
}

// Askers, failures, stops and deadlines under a drawn schedule: an ask that reports "not done" was
// never handled, one that was answered was handled exactly once, and nothing is left behind.
RC_GTEST_PROP(AskProperty, OutcomesAreHonest, (uint64_t seed)) {
  RandomStream random(seed, "actors");
  World w;
  w.loop.shuffle(random.split("schedule"));
  ActorOptions options;
  options.mailbox_capacity = random.between(1, 8);
  options.quantum = static_cast<uint32_t>(random.between(1, 4));
  options.max_restarts = static_cast<uint32_t>(random.below(6));
  uint64_t failing = random.below(20);
  std::map<int, int> handled;
  auto draws = std::make_shared<RandomStream>(random.split("actor"));
  auto ref = w.system.spawn<Question>(
      "a", options, each<Question>([&](Suspend s, Question q) -> Result<> {
        ++handled[q.n];
        if (draws->chance(1, 2))
          s.sleep_until(w.loop.now() + Duration::micros(static_cast<int64_t>(draws->below(50))));
        if (draws->chance(failing, 100)) return fail(ErrorCode::kIo, "drawn");
        if (draws->chance(9, 10)) q.reply.send(q.n);
        return {};
      }));
  bool honest = true;
  int finished = 0;
  for (int i = 0; i < 8; ++i) {
    w.fibers.spawn("asker", [&, i, r = random.split("asker", uint64_t(i))](Suspend s) mutable {
      for (int k = 0; k < 10; ++k) {
        int n = i * 100 + k;
        Time deadline = w.loop.now() + Duration::micros(static_cast<int64_t>(r.below(200)));
        auto got = ask<int>(s, ref, deadline, [n](Reply<int> q) {
          return Question{n, std::move(q)};
        });
        if (got) {
          honest = honest && *got == n && handled[n] == 1;
        } else if (got.error().code != ErrorCode::kUnknown) {
          // Not now, and (checked again at the end) not later.
          honest = honest && did_it_happen(got.error().code) == Happened::kNo;
          handled[n] -= 1000;
        }
        s.sleep_until(w.loop.now() + Duration::micros(static_cast<int64_t>(r.below(50))));
      }
      ++finished;
    });
  }
  w.loop.drain();
  RC_ASSERT(finished == 8);
  RC_ASSERT(honest);
  for (auto& [n, times] : handled) RC_ASSERT(times == -1000 || times == 0 || times == 1);
  ref.stop();
  w.loop.drain();
  RC_ASSERT(w.system.live() == 0u);
  RC_ASSERT(w.fibers.live() == 0u);
  RC_ASSERT(w.loop.armed() == 0u);
}

}  // namespace
}  // namespace kahuna
