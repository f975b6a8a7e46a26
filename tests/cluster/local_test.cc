// `kahuna local`: starts, says so, survives a dead child, stops, starts again on the same
// directory.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "tests/cluster/process.h"

namespace kahuna::testing {
namespace {

using namespace literals;

class Local : public ::testing::Test {
 protected:
  std::vector<std::string> words() const {
    return {"local", "--data", place_.path() + "/data", "--base-port", std::to_string(port_)};
  }
  // True when the log says `text` `times` times within half a minute.
  bool await(const std::string& text, size_t times = 1) const {
    for (int i = 0; i < 600; ++i) {
      const std::string log = read_file(log_);
      size_t found = 0;
      for (size_t at = log.find(text); at != std::string::npos; at = log.find(text, at + 1))
        ++found;
      if (found >= times) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  Ran run(std::vector<std::string> verb) const {
    verb.insert(verb.end(), {"--endpoints", "127.0.0.1:" + std::to_string(port_)});
    return run_kahuna(verb);
  }

  TemporaryDirectory place_;
  std::string log_ = place_.path() + "/log";
  // Three ports ten apart, below the range that the kernel hands out.
  int port_ = 21'000 + static_cast<int>(::getpid() % 900) * 10;
};

TEST_F(Local, RunsStopsAndRunsAgain) {
  {
    Process local(words(), log_);
    ASSERT_TRUE(await("Kahuna is ready")) << read_file(log_);
    EXPECT_EQ(run({"put", "k", "kept"}).status, 0);
    local.signal(SIGINT);
    EXPECT_EQ(local.wait(20_s), 0) << read_file(log_);
  }
  EXPECT_EQ(run({"get", "k", "--timeout", "0.3"}).status, 3) << "something still serves";
  Process again({"local", "--data", place_.path() + "/data"}, log_);
  ASSERT_TRUE(await("Kahuna is ready", 2)) << read_file(log_);
  EXPECT_EQ(run({"get", "k"}).out, "kept\n");
}

TEST_F(Local, ADeadNodeIsReportedAndTheOthersGoOn) {
  Process local(words(), log_);
  ASSERT_TRUE(await("Kahuna is ready")) << read_file(log_);
  const std::string children = read_file("/proc/" + std::to_string(local.pid()) + "/task/" +
                                         std::to_string(local.pid()) + "/children");
  ASSERT_NE(children, "");
  ::kill(std::atoi(children.c_str()), SIGKILL);
  EXPECT_TRUE(await("was killed by signal 9")) << read_file(log_);
  // The first child listens on the first port: ask the second node.
  const Ran ran = run_kahuna({"put", "k", "v", "--timeout", "10", "--endpoints",
                              "127.0.0.1:" + std::to_string(port_ + 10)});
  EXPECT_EQ(ran.status, 0) << ran.err;
}

TEST_F(Local, ItsDeathStopsItsNodes) {
  auto local = std::make_unique<Process>(words(), log_);
  ASSERT_TRUE(await("Kahuna is ready")) << read_file(log_);
  local.reset();  // SIGKILL
  for (int i = 0; i < 100 && run({"get", "k", "--timeout", "0.2"}).status != 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_EQ(run({"get", "k", "--timeout", "0.3"}).status, 3);
}

TEST_F(Local, OtherFlagsThanTheDirectorysAreRefused) {
  {
    Process local(words(), log_);
    ASSERT_TRUE(await("Kahuna is ready")) << read_file(log_);
    local.signal(SIGTERM);
    EXPECT_EQ(local.wait(20_s), 0);
  }
  const Ran ran = run_kahuna({"local", "--nodes", "5", "--data", place_.path() + "/data"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_NE(ran.err.find("holds a cluster of 3 nodes"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace kahuna::testing
