// What net/ promises beyond the host's contract: threads, signals, shutdown.
#include "net/loop.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "net/process.h"
#include "net/sockets.h"
#include "net/turn.h"
#include "runtime/check.h"

namespace kahuna::net {
namespace {

class LoopTest : public testing::TestWithParam<IoBackend> {
 protected:
  LoopTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "kahuna-loop-XXXXXX";
    CHECK(mkdtemp(pattern.data()) != nullptr);
    dir = pattern;
  }
  ~LoopTest() override { std::filesystem::remove_all(dir); }
  std::unique_ptr<Loop> make(LoopOptions options = {}) {
    options.io = GetParam();
    if (options.data_dir.empty()) options.data_dir = dir;
    auto loop = Loop::create(options);
    CHECK(loop.has_value());
    return std::move(*loop);
  }
  std::string dir;
};
INSTANTIATE_TEST_SUITE_P(BackEnds, LoopTest, testing::Values(IoBackend::kEpoll, IoBackend::kUring),
                         [](const auto& info) { return std::string(name_of(info.param)); });

// Swallows what a stream reports.
struct Ignore : StreamHandler {
  void on_data(ByteView) override {}
  void on_writable() override {}
  void on_closed(Error) override {}
};

TEST_P(LoopTest, SaysWhyWhenItFellBack) {
  auto loop = make();
  EXPECT_EQ(loop->backend() == GetParam(), loop->fallback_reason().empty());
}

TEST_P(LoopTest, CreatesItsDirectoryWithParents) {
  auto loop = make({.data_dir = dir + "/a/b/c"});
  EXPECT_TRUE(std::filesystem::is_directory(dir + "/a/b/c"));
  EXPECT_EQ(loop->host().disk->native_path("x/y"), dir + "/a/b/c/x/y");
  EXPECT_EQ(loop->host().disk->native_path(""), dir + "/a/b/c");
}

TEST_P(LoopTest, RefusesADirectoryThatCannotBe) {
  auto loop = Loop::create({.io = GetParam(), .data_dir = "/proc/none/such"});
  ASSERT_FALSE(loop);
  EXPECT_NE(loop.error().text.find("/proc/none"), std::string::npos) << loop.error().text;
}

TEST_P(LoopTest, StopsFromAnotherThreadWhileItSleeps) {
  auto loop = make();
  std::thread runner([&] { loop->run(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  loop->stop();
  runner.join();
}

TEST_P(LoopTest, RunsTasksOfOtherThreadsInOrder) {
  auto loop = make();
  std::vector<int> order;
  std::thread producer([&] {
    for (int i = 0; i < 10'000; ++i) {
      while (!loop->post_remote([&order, i] { order.push_back(i); })) std::this_thread::yield();
    }
    while (!loop->post_remote([&] { loop->stop(); })) std::this_thread::yield();
  });
  loop->run();
  producer.join();
  ASSERT_EQ(order.size(), 10'000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

// A turn's time is taken after its inputs were: what came while it slept did not come later.
TEST_P(LoopTest, NothingInATurnCameAfterItsTime) {
  auto loop = make();
  std::atomic<int> ran{0}, early{0};
  std::thread runner([&] { loop->run(); });
  for (int i = 0; i < 200; ++i) {
    const Time sent = Turn::read_clock();
    while (!loop->post_remote([&, sent] {
      early += loop->host().clock->now() < sent;
      ran.fetch_add(1);
    })) {
    }
    while (ran.load() <= i) std::this_thread::yield();
  }
  loop->stop();
  runner.join();
  EXPECT_EQ(early.load(), 0);
}

TEST_P(LoopTest, RefusesRemoteTasksOverItsBound) {
  auto loop = make({.remote_tasks_max = 3});
  int ran = 0;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(loop->post_remote([&] { ++ran; }));
  EXPECT_FALSE(loop->post_remote([&] { ++ran; }));
  loop->turn(Duration());
  EXPECT_EQ(ran, 3);
  EXPECT_TRUE(loop->post_remote([] {}));
}

TEST_P(LoopTest, WakesForEveryTaskThatArrivesWhileItSleeps) {
  auto loop = make();
  std::atomic<int> ran{0};
  std::thread runner([&] { loop->run(); });
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(loop->post_remote([&] { ran.fetch_add(1); }));
    while (ran.load() <= i) std::this_thread::yield();  // hangs when a wake-up is lost
  }
  loop->stop();
  runner.join();
}

TEST_P(LoopTest, LoopsOfOneNodeHandEachOtherTasksInOrder) {
  constexpr int kTasks = 5'000;
  std::vector<std::unique_ptr<Loop>> loops;
  for (int i = 0; i < 3; ++i) loops.push_back(make({.remote_tasks_max = 64}));
  Loop::join(loops);
  std::vector<int> arrived[3];  // at loop 0, of each other
  std::vector<std::thread> threads;
  for (size_t i = 1; i < loops.size(); ++i) {
    Host& host = loops[i]->host();
    ASSERT_EQ(host.loops->count(), 3u);
    ASSERT_EQ(host.loops->self(), i);
    host.scheduler->post([&host, &arrived, i] {
      for (int n = 0; n < kTasks; ++n) {
        Callback<void()> task([&arrived, i, n] { arrived[i].push_back(n); });
        // A refused task is left as it was.
        while (!host.loops->post(0, std::move(task))) std::this_thread::yield();
      }
    });
    threads.emplace_back([loop = loops[i].get()] { loop->run(); });
  }
  while (arrived[1].size() + arrived[2].size() < 2 * kTasks) loops[0]->turn(Duration::seconds(5));
  for (size_t i = 1; i < loops.size(); ++i) loops[i]->stop();
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 1; i < loops.size(); ++i) {
    ASSERT_EQ(arrived[i].size(), size_t{kTasks});
    EXPECT_TRUE(std::is_sorted(arrived[i].begin(), arrived[i].end()));
  }
}

TEST_P(LoopTest, SleepsWhenIdle) {
  auto loop = make();
  int turns = 0;
  bool done = false;
  loop->turn(Duration());
  loop->host().clock->call_at(loop->host().clock->now() + Duration::millis(100),
                              [&] { done = true; });
  while (!done) {
    loop->turn(Duration::seconds(10));
    ++turns;
  }
  EXPECT_LT(turns, 10);  // it may wake up early by the grain of the kernel's timers, but does not
                         // look about meanwhile
}

TEST_P(LoopTest, IsDestroyedWithOperationsInFlight) {
  const std::string text(1'000'000, 'x');  // outlives the loop: writes of it may be in flight
  for (int round = 0; round < 20; ++round) {
    auto loop = make();
    std::unique_ptr<File> file;
    loop->host().disk->open(
        "data", {.create = true, .write = true},
        [&](Result<std::unique_ptr<File>> opened) { file = std::move(*opened); });
    while (!file) loop->turn(Duration::millis(10));
    Ignore ignore;
    std::vector<std::unique_ptr<Stream>> streams;
    const auto take = [&](std::unique_ptr<Stream> stream) {
      stream->set_handler(&ignore);
      stream->write(as_bytes(text));
      streams.push_back(std::move(stream));
    };
    auto listener = loop->host().network->listen({"127.0.0.1", 0}, take);
    ASSERT_TRUE(listener);
    for (int i = 0; i < 10; ++i) {
      loop->host().network->connect((*listener)->address(), Duration::seconds(1),
                                    [&](Result<std::unique_ptr<Stream>> stream) {
                                      if (stream) take(std::move(*stream));
                                    });
      loop->host().network->connect({"localhost", 1}, Duration::seconds(1), [](auto) {});
    }
    for (int turns = 0; turns < round; ++turns) loop->turn(Duration::micros(100));
    file->write_at(0, as_bytes(text), [](Result<size_t>) {});
    file->sync([](Result<>) {});
    loop->host().offload->run([] { usleep(1000); }, [] {});
    if (round % 2 == 0) loop->turn(Duration());
    file.reset();
    streams.clear();
    listener->reset();
  }
}

TEST_P(LoopTest, IsDestroyedAfterTheThreadThatRanItEnded) {
  const std::string text(1'000'000, 'x');
  auto loop = make();
  std::unique_ptr<File> file;
  loop->host().disk->open("data", {.create = true, .write = true},
                          [&](Result<std::unique_ptr<File>> opened) {
                            file = std::move(*opened);
                            file->write_at(0, as_bytes(text), [](Result<size_t>) {});
                            file->sync([](Result<>) {});
                            loop->stop();
                          });
  auto listener = loop->host().network->listen({"127.0.0.1", 0}, [](std::unique_ptr<Stream>) {});
  std::thread runner([&] { loop->run(); });
  runner.join();
  file.reset();
  listener->reset();
  loop.reset();
}

TEST_P(LoopTest, ConnectsByName) {
  auto loop = make();
  std::unique_ptr<Stream> accepted, connected;
  Ignore ignore;
  auto listener = loop->host().network->listen({"localhost", 0}, [&](std::unique_ptr<Stream> s) {
    s->set_handler(&ignore);
    accepted = std::move(s);
  });
  ASSERT_TRUE(listener) << listener.error().text;
  loop->host().network->connect({"localhost", (*listener)->address().port}, Duration::seconds(5),
                                [&](Result<std::unique_ptr<Stream>> s) {
                                  ASSERT_TRUE(s) << s.error().text;
                                  (*s)->set_handler(&ignore);
                                  connected = std::move(*s);
                                });
  for (int i = 0; i < 1000 && !(accepted && connected); ++i) loop->turn(Duration::millis(10));
  EXPECT_TRUE(accepted && connected);
}

// A resolver that does not answer is asked once, and neither disk nor engine waits for it. Its
// answer serves the next.
TEST_P(LoopTest, ASlowResolverHoldsUpNobodyElse) {
  std::atomic<int> asked{0};
  std::atomic<bool> answers{false};
  LoopOptions options;
  options.resolve = [&](const Address& address) {
    ++asked;
    while (!answers) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return resolve_literal({"127.0.0.1", address.port});
  };
  auto loop = make(std::move(options));
  auto listener = loop->host().network->listen({"127.0.0.1", 0}, [](std::unique_ptr<Stream>) {});
  ASSERT_TRUE(listener);
  const Address name{"slow.example", (*listener)->address().port};
  int worked = 0, refused = 0;
  Ignore ignore;
  std::unique_ptr<Stream> stream;
  std::function<void()> connect = [&] {
    loop->host().network->connect(name, answers ? Duration::seconds(60) : Duration::millis(5),
                                  [&](Result<std::unique_ptr<Stream>> result) {
                                    if (result) {
                                      stream = std::move(*result);
                                      stream->set_handler(&ignore);
                                      return loop->stop();
                                    }
                                    EXPECT_EQ(result.error().code, ErrorCode::kTimeout);
                                    loop->host().offload->run([] {},
                                                              [&] {
                                                                ++worked;
                                                                if (++refused == 5) answers = true;
                                                                connect();
                                                              });
                                  });
  };
  connect();
  loop->run();
  EXPECT_NE(stream, nullptr);
  EXPECT_GE(worked, 5);
  EXPECT_EQ(asked, 1);
}

TEST_P(LoopTest, UnknownNamesAreUnavailable) {
  auto loop = make();
  std::optional<ErrorCode> code;
  loop->host().network->connect({"no-such-name.invalid", 1}, Duration::seconds(20),
                                [&](Result<std::unique_ptr<Stream>> s) { code = s.error().code; });
  for (int i = 0; i < 3000 && !code; ++i) loop->turn(Duration::millis(10));
  EXPECT_TRUE(code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout);
}

TEST_P(LoopTest, CarriesIpv6) {
  auto loop = make();
  std::unique_ptr<Stream> accepted, connected;
  Ignore ignore;
  auto listener = loop->host().network->listen({"::1", 0}, [&](std::unique_ptr<Stream> s) {
    s->set_handler(&ignore);
    accepted = std::move(s);
  });
  if (!listener) GTEST_SKIP() << listener.error().text;
  EXPECT_EQ((*listener)->address().host, "::1");
  loop->host().network->connect((*listener)->address(), Duration::seconds(5),
                                [&](Result<std::unique_ptr<Stream>> s) {
                                  ASSERT_TRUE(s);
                                  (*s)->set_handler(&ignore);
                                  connected = std::move(*s);
                                });
  for (int i = 0; i < 1000 && !(accepted && connected); ++i) loop->turn(Duration::millis(10));
  EXPECT_TRUE(accepted && connected);
}

TEST_P(LoopTest, DeliversTerminationSignals) {
  auto loop = make();
  std::vector<int> numbers;
  auto signals = TerminationSignals::create(*loop, [&](int number) {
    numbers.push_back(number);
    if (numbers.size() == 2) loop->stop();
    if (numbers.size() == 1) kill(getpid(), SIGINT);
  });
  ASSERT_TRUE(signals);
  kill(getpid(), SIGTERM);
  loop->run();
  EXPECT_EQ(numbers, (std::vector{SIGTERM, SIGINT}));
}

TEST(Process, RaisesTheDescriptorLimit) {
  EXPECT_GE(raise_descriptor_limit(), 1024u);
}

}  // namespace
}  // namespace kahuna::net
