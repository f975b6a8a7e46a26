// Members of a real cluster: replaced under recorded load, of which the simulator's judges decide;
// and let in, promoted and removed by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "kahuna/cli/json.h"
#include "tests/cluster/cluster.h"
#include "tests/cluster/judge.h"
#include "tests/cluster/recorded_load.h"

namespace kahuna::testing {
namespace {

using namespace literals;

class Members : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_.start_all();
    ASSERT_TRUE(cluster_.await_ready()) << cluster_.log(0);
    load_ =
        std::make_unique<RecordedLoad>(RecordedLoad::Options{.endpoints = cluster_.addresses()});
    load_->run_for(1_s);
  }

  // Those that `members list` calls members, which vote everywhere.
  size_t members() {
    const Result<cli::Json> list = cli::parse_json(cluster_.run({"members", "list", "--json"}).out);
    if (!list) return 0;
    size_t count = 0;
    for (const cli::Json& member : list->items) count += member["state"].text == "member";
    return count;
  }
  // The dead one is removed, and a new one joins in its place.
  void replace(size_t dead) {
    const Ran removed = cluster_.run({"members", "remove", "n" + std::to_string(dead + 1)});
    ASSERT_EQ(removed.status, 0) << removed.err;
    cluster_.start_anew(dead);
    for (int i = 0; i < 150 && members() < cluster_.size(); ++i) load_->run_for(200_ms);
    ASSERT_EQ(members(), cluster_.size())
        << cluster_.run({"members", "list"}).out << cluster_.log(dead);
  }

  Cluster cluster_{3};
  std::unique_ptr<RecordedLoad> load_;
};

TEST_F(Members, ReplacingADeadOneUnderLoadLosesNothing) {
  const size_t dead = cluster_.busiest();
  cluster_.kill(dead);
  load_->run_for(1_s);
  ASSERT_NO_FATAL_FAILURE(replace(dead));
  // Now the majority needs the new one.
  const size_t other = (dead + 1) % cluster_.size();
  cluster_.kill(other);
  const Time killed = load_->now();
  load_->run_for(4_s);
  EXPECT_TRUE(load_->recovery_since(killed)) << "some key was never written again";
  cluster_.start(other);
  load_->run_for(1_s);
  expect_right(cluster_, *load_);
}

// By hand: what the verbs and the servers say and how they exit.
class MembersByHand : public ::testing::Test {
 protected:
  static constexpr const char* kRecorded =
      "recorded; 'kahuna members list' shows how far the partitions are\n";
  static constexpr const char* kAlready =
      "nothing to do: it is so already; 'kahuna members list' shows it\n";

  // A server that waits until somebody lets it in, or for what else `how` says.
  struct Waiting {
    Waiting(std::string its_name, uint16_t port, std::vector<std::string> how = {"--join", "wait"})
        : name(std::move(its_name)), address("127.0.0.1:" + std::to_string(port)) {
      words = {"server", "--name", name, "--listen", address, "--data", place.path() + "/data"};
      words.insert(words.end(), how.begin(), how.end());
      start();
    }
    void start() { process.emplace(words, place.path() + "/log"); }
    // Runs a verb that asks this server alone.
    Ran run(std::vector<std::string> words) const {
      words.insert(words.end(), {"--endpoints", address});
      return run_kahuna(words);
    }
    std::string log() const { return read_file(place.path() + "/log"); }

    std::string name, address;
    std::vector<std::string> words;
    TemporaryDirectory place;
    std::optional<Process> process;
  };

  // Until it is so, at most half a minute.
  template <class So>
  static bool await(So so) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < end) {
      if (so()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  // `status` of the server itself has that word.
  static bool await_word(const Waiting& server, const std::string& word) {
    return await([&] {
      return server.run({"status", "--timeout", "1"}).out.find(word) != std::string::npos;
    });
  }
  // `members list`, asked of `one`, says that the member is in this state, and votes or learns in
  // all partitions or in none.
  template <class One>
  static bool await_member(const One& one, const std::string& name, const std::string& state,
                           bool votes, bool learns) {
    return await([&] {
      const Result<cli::Json> list = cli::parse_json(one.run({"members", "list", "--json"}).out);
      return list && std::any_of(list->items.begin(), list->items.end(), [&](const cli::Json& m) {
               const std::string all = m["partitions"].text;
               return all != "0" && m["name"].text == name && m["state"].text == state &&
                      m["votes"].text == (votes ? all : "0") &&
                      m["learns"].text == (learns ? all : "0");
             });
    });
  }
  static void expect_said(const Ran& ran, int status, const std::string& words) {
    EXPECT_EQ(ran.status, status) << ran.out << ran.err;
    EXPECT_NE((status == 0 ? ran.out : ran.err).find(words), std::string::npos)
        << ran.out << ran.err;
  }
  // The server stops by itself; its last word says why, and what to do.
  static void expect_dismissed(Process& server, const std::string& name, const std::string& log) {
    EXPECT_EQ(server.wait(30_s), 1);
    const std::string said = read_file(log);
    const std::string last = "\nkahuna: removed: node '" + name +
                             "' was removed from the cluster; its data directory is of no use any "
                             "more: to come back, start it on an empty one with --join\n";
    EXPECT_TRUE(said.ends_with(last)) << said;
  }
};

TEST_F(MembersByHand, ThoseWhoWaitAreLetInALearnerIsPromotedAndTheFounderGoes) {
  Cluster founder(1);
  founder.start_all();
  const std::vector<uint16_t> ports = free_ports(3);
  Waiting n2("n2", ports[0]), n3("n3", ports[1]);
  ASSERT_TRUE(founder.await_ready()) << founder.log(0);
  ASSERT_TRUE(await_word(n2, "starting")) << n2.log();
  ASSERT_TRUE(await_word(n3, "starting")) << n3.log();

  expect_said(n2.run({"members", "list"}), 3,
              "the node at " + n2.address +
                  " waits to be let into a cluster: 'kahuna members add " + n2.address +
                  "', asked of a node of that, lets it in");
  expect_said(n2.run({"status"}), 0,
              "waits to be let into a cluster: kahuna members add " + n2.address);
  const std::string nobody = "127.0.0.1:" + std::to_string(ports[2]);
  expect_said(founder.run({"members", "add", nobody, "--timeout", "0.3"}), 3,
              "no node answers at " + nobody + ": start it there with --join wait");
  expect_said(founder.run({"put", "k", "kept"}), 0, "revision");
  expect_said(founder.run({"members", "add", n2.address}), 0, kRecorded);
  ASSERT_TRUE(await_member(founder, "n2", "member", true, false))
      << founder.run({"members", "list"}).out << n2.log();
  expect_said(founder.run({"members", "add", n2.address}), 2,
              "the node at " + n2.address + " belongs to a cluster already");

  expect_said(founder.run({"members", "add", n3.address, "--learner"}), 0, kRecorded);
  ASSERT_TRUE(await_member(founder, "n3", "learner", false, true))
      << founder.run({"members", "list"}).out << n3.log();
  expect_said(founder.run({"members", "promote", "n4"}), 2,
              "this cluster has no such member 'n4'; see 'kahuna members list'");
  expect_said(founder.run({"members", "promote", "n3"}), 0, kRecorded);
  ASSERT_TRUE(await_member(founder, "n3", "member", true, false))
      << founder.run({"members", "list"}).out << n3.log();

  expect_said(founder.run({"members", "promote", "n3"}), 0, kAlready);

  // The words that a member waited with do for all its later starts.
  n2.process->signal(SIGKILL);
  ASSERT_TRUE(n2.process->wait(30_s).has_value());
  n2.start();
  ASSERT_TRUE(await_word(n2, "serving")) << n2.log();

  // It serves until it is not needed any more; what it held is with those who were let in.
  expect_said(founder.run({"members", "remove", "n1"}), 0, kRecorded);
  expect_dismissed(founder.process(0), "n1", founder.place() + "/n1.log");
  EXPECT_EQ(n3.run({"get", "k"}).out, "kept\n");
  expect_said(n3.run({"members", "remove", "n1"}), 0, kAlready);
  ASSERT_TRUE(await_member(n3, "n1", "removed", false, false)) << n3.run({"members", "list"}).out;
}

TEST_F(MembersByHand, OneThatIsNotLetInSaysWhy) {
  const std::vector<uint16_t> ports = free_ports(3);
  const std::string own = "127.0.0.1:" + std::to_string(ports[0]),
                    nobody = "127.0.0.1:" + std::to_string(ports[1]);
  Waiting other("n2", ports[2]);
  TemporaryDirectory place;
  const std::string log = place.path() + "/log";
  Process server({"server", "--name", "n1", "--listen", own, "--data", place.path() + "/data",
                  "--join", nobody + "," + other.address},
                 log);
  EXPECT_TRUE(await([&] { return read_file(log).find("event=waiting") != std::string::npos; }));
  const std::string said = read_file(log);
  EXPECT_NE(said.find("for=\"being let into the cluster\" asked=\"" + nobody + ": "),
            std::string::npos)
      << said;
  EXPECT_NE(said.find("refused"), std::string::npos) << said;
  EXPECT_NE(said.find("; " + other.address + ": the node there is in no cluster itself"),
            std::string::npos)
      << said;
  EXPECT_TRUE(await([&] { return other.log().find("event=waiting") != std::string::npos; }));
  EXPECT_NE(other.log().find("'kahuna members add " + other.address + "'"), std::string::npos)
      << other.log();
}

TEST_F(MembersByHand, AFounderSaysWhomItWaitsFor) {
  const std::vector<uint16_t> ports = free_ports(4);
  auto at = [&](size_t i) { return "127.0.0.1:" + std::to_string(ports[i]); };
  // n2 was not told of n1, and n4 is not there.
  const Waiting n1(
      "n1", ports[0],
      {"--founders", "n1=" + at(0) + ",n2=" + at(1) + ",n3=" + at(2) + ",n4=" + at(3)});
  const Waiting n2("n2", ports[1], {"--founders", "n2=" + at(1) + ",n4=" + at(3)});
  const Waiting n3("n3", ports[2], {"--founders", "n1=" + at(0) + ",n3=" + at(2)});
  ASSERT_TRUE(await([&] { return n1.log().find("event=waiting") != std::string::npos; }));
  const std::string said = n1.log();
  for (const std::string& words :
       {std::string("for=\"all founders to found the cluster\""),
        "n2 at " + at(1) + ": it refuses: node 'n1' is not among this node's --founders",
        "n3 at " + at(2) + ": it waits, too",
        "n4 at " + at(3) + ": connect to " + at(3) + ": Connection refused"})
    EXPECT_NE(said.find(words), std::string::npos) << words << "\n" << said;
}

TEST_F(MembersByHand, ARemovedOneIsRefusedWithItsOldDirectory) {
  Cluster cluster(3);
  cluster.start_all();
  ASSERT_TRUE(cluster.await_ready()) << cluster.log(0);
  const std::string log = cluster.place() + "/n3.log";
  cluster.kill(2);
  expect_said(cluster.run({"members", "remove", "n3"}), 0, kRecorded);
  ASSERT_TRUE(await_member(cluster, "n3", "removed", false, false))
      << cluster.run({"members", "list"}).out;
  // It was away, and hears of it from the others.
  cluster.start(2);
  expect_dismissed(cluster.process(2), "n3", log);
  // It knows now, whatever it is started with.
  for (const bool joins : {false, true}) {
    std::vector<std::string> words = cluster.server_words(2);
    const auto founders = std::find(words.begin(), words.end(), "--founders");
    ASSERT_NE(founders, words.end());
    if (joins) {
      founders[0] = "--join";
      founders[1] = to_string(cluster.addresses()[0]);
    }
    const std::string its_log = cluster.place() + (joins ? "/join.log" : "/founders.log");
    Process server(words, its_log);
    expect_dismissed(server, "n3", its_log);
    EXPECT_EQ(read_file(its_log).find("event=serving"), std::string::npos) << read_file(its_log);
  }
  expect_said(cluster.run({"put", "k", "v"}), 0, "revision");
}

}  // namespace
}  // namespace kahuna::testing
