// The verbs against a running cluster: what they print and how they exit.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "kahuna/cli/json.h"
#include "kahuna/client/client.h"
#include "net/loop.h"
#include "tests/cluster/cluster.h"

namespace kahuna::testing {
namespace {

class Verbs : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = std::make_unique<Cluster>(3);
    cluster_->start_all();
    ASSERT_TRUE(cluster_->await_ready()) << cluster_->log(0);
  }
  static void TearDownTestSuite() { cluster_.reset(); }
  static Ran run(std::vector<std::string> words, const std::string& input = "") {
    return cluster_->run(std::move(words), input);
  }
  static std::unique_ptr<Cluster> cluster_;
};
std::unique_ptr<Cluster> Verbs::cluster_;

TEST(Shell, CompletesVerbsAndFlags) {
  TemporaryDirectory dir;
  const std::string script = dir.path() + "/script", answers = dir.path() + "/answers",
                    program = kahuna_binary();
  std::ofstream(script) << "source <(" << program << " completion bash)\n"
                        << "ask() { COMP_WORDS=(" << program
                        << " \"$@\"); COMP_CWORD=$#; _kahuna; echo \"${COMPREPLY[@]}\"; }\n"
                        << "ask m; ask sc; ask put --if-v\n";
  ASSERT_EQ(std::system(("bash " + script + " > " + answers).c_str()), 0);
  EXPECT_EQ(read_file(answers), "members move-leader\nscan scrub\n--if-value\n");
}

TEST(Shell, VersionIsAVerbAndAFlag) {
  const Ran verb = run_kahuna({"version"});
  EXPECT_EQ(verb.status, 0);
  EXPECT_EQ(verb.out.substr(0, 7), "kahuna ");
  EXPECT_EQ(run_kahuna({"--version"}).out, verb.out);
}

TEST_F(Verbs, PutThenGetPrintsTheValueAlone) {
  EXPECT_EQ(run({"put", "greeting", "aloha"}).status, 0);
  const Ran got = run({"get", "greeting"});
  EXPECT_EQ(got.status, 0);
  EXPECT_EQ(got.out, "aloha\n");
  EXPECT_EQ(got.err, "");
}

TEST_F(Verbs, EveryNodeAcceptsEveryRequest) {
  for (size_t i = 0; i < 3; ++i) {
    const std::string endpoint = to_string(cluster_->addresses()[i]);
    const std::string key = "any-" + std::to_string(i);
    EXPECT_EQ(run_kahuna({"put", key, "v", "--endpoints", endpoint}).status, 0);
    for (const Address& address : cluster_->addresses()) {
      EXPECT_EQ(run_kahuna({"get", key, "--endpoints", to_string(address)}).out, "v\n");
    }
  }
}

TEST_F(Verbs, MoveLeaderMakesThatNodeLead) {
  for (const char* node : {"n1", "n2", "n3", "n1"}) {
    const Ran moved = run({"move-leader", "2", node});
    EXPECT_EQ(moved.status, 0) << moved.err;
    EXPECT_EQ(moved.out, std::string("partition 2 is led by ") + node + "\n");
  }
  const Result<cli::Json> json = cli::parse_json(run({"move-leader", "2", "n2", "--json"}).out);
  ASSERT_TRUE(json);
  EXPECT_EQ((*json)["leader"].text, "n2");
}

TEST_F(Verbs, MoveLeaderRefusesWhatIsNotThere) {
  const Ran node = run({"move-leader", "2", "nobody"});
  EXPECT_EQ(node.status, 2);
  EXPECT_NE(node.err.find("no node of this cluster is named 'nobody'"), std::string::npos);
  EXPECT_EQ(run({"move-leader", "99", "n1"}).status, 2);
}

TEST_F(Verbs, ScrubReadsWhatNodesHaveOnTheirDisks) {
  const Ran all = run({"scrub"});
  EXPECT_EQ(all.status, 0) << all.out << all.err;
  for (const char* node : {"n1", "n2", "n3"})
    EXPECT_NE(all.out.find(std::string(node) + ": "), std::string::npos) << all.out;
  EXPECT_NE(all.out.find("MiB read, no damage"), std::string::npos);
  const Result<cli::Json> json = cli::parse_json(run({"scrub", "--node", "n2", "--json"}).out);
  ASSERT_TRUE(json);
  ASSERT_EQ(json->items.size(), 1u);
  const cli::Json& n2 = json->items[0];
  EXPECT_EQ(n2["name"].text, "n2");
  EXPECT_EQ(n2["scrub"].text, "2");
  EXPECT_FALSE(n2["running"].is_true());
  EXPECT_GT(std::stoull(n2["bytes"].text), 4u << 20);
  EXPECT_TRUE(n2["damaged"].items.empty());
  const Ran nobody = run({"scrub", "--node", "nobody"});
  EXPECT_EQ(nobody.status, 2);
  EXPECT_NE(nobody.err.find("no node that answers is named 'nobody'"), std::string::npos)
      << nobody.err;
}

TEST_F(Verbs, GetOfNothingExitsWithOne) {
  const Ran got = run({"get", "nothing"});
  EXPECT_EQ(got.status, 1);
  EXPECT_EQ(got.out, "");
}

TEST_F(Verbs, AValueMayComeFromStdinAndBeAnyBytes) {
  const std::string value("a\0b\xff\n", 5);
  EXPECT_EQ(run({"put", "bytes", "-"}, value).status, 0);
  EXPECT_EQ(run({"get", "bytes"}).out, value + "\n");
  const Result<cli::Json> json = cli::parse_json(run({"get", "bytes", "--json"}).out);
  ASSERT_TRUE(json.has_value());
  EXPECT_EQ((*json)["value_base64"].text, "YQBi/wo=");
}

TEST_F(Verbs, ConditionsDecide) {
  EXPECT_EQ(run({"put", "c", "1", "--xx"}).status, 1);
  EXPECT_EQ(run({"put", "c", "1", "--nx"}).status, 0);
  const Ran refused = run({"put", "c", "2", "--nx"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("condition did not hold"), std::string::npos);
  EXPECT_EQ(run({"put", "c", "2", "--if-value", "1"}).status, 0);
  EXPECT_EQ(run({"put", "c", "3", "--if-value", "1"}).status, 1);
  EXPECT_EQ(run({"put", "c", "3", "--if-revision", "1"}).status, 0);
  EXPECT_EQ(run({"get", "c"}).out, "3\n");
}

TEST_F(Verbs, DeleteAndExists) {
  run({"put", "d", "1"});
  EXPECT_EQ(run({"exists", "d"}).out, "yes\n");
  EXPECT_EQ(run({"delete", "d"}).status, 0);
  EXPECT_EQ(run({"delete", "d"}).status, 1);
  const Ran gone = run({"exists", "d"});
  EXPECT_EQ(gone.status, 1);
  EXPECT_EQ(gone.out, "no\n");
}

TEST_F(Verbs, ScanListsOneBucketInOrder) {
  for (const char* key : {"s/b", "s/a", "s/c", "s/deeper/x", "sx"}) run({"put", key, "v"});
  EXPECT_EQ(run({"scan", "s"}).out, "s/a\tv\ns/b\tv\ns/c\tv\n");
  const Ran first = run({"scan", "s", "--limit", "2", "--json"});
  const Result<cli::Json> page = cli::parse_json(first.out);
  ASSERT_TRUE(page.has_value()) << first.out;
  ASSERT_EQ((*page)["items"].items.size(), 2u);
  const Ran rest = run({"scan", "s", "--cursor", (*page)["cursor"].text});
  EXPECT_EQ(rest.out, "s/c\tv\n");
  EXPECT_EQ(run({"scan", "empty"}).out, "");
}

TEST_F(Verbs, StatusNamesEveryNode) {
  // One endpoint is enough: its greeting names the others.
  const Ran ran = run_kahuna({"status", "--endpoints", to_string(cluster_->addresses()[0])});
  EXPECT_EQ(ran.status, 0);
  for (const char* name : {"n1", "n2", "n3"})
    EXPECT_NE(ran.out.find(name), std::string::npos) << ran.out;
}

TEST_F(Verbs, StatusTellsLogTime) {
  // A leader's first writes may come in the millisecond of its election, and those who follow apply
  // them later.
  double longest = 0;
  for (int tries = 0; tries < 100 && longest == 0; ++tries) {
    EXPECT_EQ(run({"put", "lt/a", "v"}).status, 0);
    const Ran ran = run({"status", "--json"});
    const Result<cli::Json> nodes = cli::parse_json(ran.out);
    ASSERT_TRUE(nodes.has_value()) << ran.out;
    for (const cli::Json& node : nodes->items)
      for (const cli::Json& partition : node["status"]["partitions"].items)
        longest = std::max(longest, std::stod(partition["log_time_ms"].text));
  }
  EXPECT_GT(longest, 0);
}

TEST_F(Verbs, BenchReportsPercentiles) {
  const Ran ran = run({"bench", "--workload", "mixed", "--connections", "4", "--duration", "0.5",
                       "--warmup", "0.1", "--keys", "100", "--json"});
  EXPECT_EQ(ran.status, 0) << ran.err;
  const Result<cli::Json> report = cli::parse_json(ran.out);
  ASSERT_TRUE(report.has_value()) << ran.out;
  EXPECT_GT(std::stod((*report)["ops_per_second"].text), 0);
  EXPECT_GE(std::stod((*report)["latency_us"]["p99.99"].text),
            std::stod((*report)["latency_us"]["p50"].text));
}

TEST_F(Verbs, OpenLoopKeepsItsSchedule) {
  for (const char* workload : {"put", "get"}) {
    const Ran ran = run({"bench", "--workload", workload, "--connections", "8", "--duration", "1",
                         "--warmup", "0.2", "--keys", "10", "--rate", "200", "--json"});
    EXPECT_EQ(ran.status, 0) << ran.err;
    const Result<cli::Json> report = cli::parse_json(ran.out);
    ASSERT_TRUE(report.has_value()) << ran.out;
    EXPECT_NEAR(std::stod((*report)["operations"].text), 200, 40) << workload;
  }
}

TEST(VerbsAlone, NobodyThereExitsWithThreeAndSaysWhatToDo) {
  const uint16_t port = free_ports(1)[0];
  const Ran ran = run_kahuna(
      {"put", "k", "v", "--timeout", "0.5", "--endpoints", "127.0.0.1:" + std::to_string(port)});
  EXPECT_EQ(ran.status, 3);
  EXPECT_NE(ran.err.find("kahuna local"), std::string::npos) << ran.err;
}

TEST(VerbsAlone, VersionPrintsOneLine) {
  const Ran ran = run_kahuna({"version"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.out.rfind("kahuna ", 0), 0u);
}

// Connections that this network namespace ever asked for.
uint64_t connections_opened() {
  std::ifstream file("/proc/thread-self/net/snmp");
  std::string kind, number;
  std::vector<std::string> names;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("Tcp:")) continue;
    std::istringstream words(line);
    words >> kind;
    if (names.empty()) {
      while (words >> number) names.push_back(number);
      continue;
    }
    for (const std::string& name : names) {
      words >> number;
      if (name == "ActiveOpens") return std::stoull(number);
    }
  }
  ADD_FAILURE() << "no ActiveOpens";
  return 0;
}

// One of three is down.
TEST(VerbsOfTwo, TellOfTheNodeThatIsSilent) {
  Cluster cluster(3);
  cluster.start_all();
  ASSERT_TRUE(cluster.await_ready()) << cluster.log(0);
  cluster.kill(2);
  const std::string silent = to_string(cluster.addresses()[2]);

  const Ran scrub = cluster.run({"scrub", "--timeout", "1"});
  EXPECT_EQ(scrub.status, 3) << scrub.out << scrub.err;
  EXPECT_NE(scrub.out.find("n1: "), std::string::npos) << scrub.out;
  EXPECT_NE(scrub.out.find("n2: "), std::string::npos) << scrub.out;
  EXPECT_NE(scrub.out.find("\n" + silent + ": "), std::string::npos) << scrub.out;
  // Whoever is asked: they know of it.
  const Ran asked = run_kahuna(
      {"scrub", "--json", "--timeout", "1", "--endpoints", to_string(cluster.addresses()[0])});
  EXPECT_EQ(asked.status, 3);
  const Result<cli::Json> json = cli::parse_json(asked.out);
  ASSERT_TRUE(json) << asked.out;
  ASSERT_EQ(json->items.size(), 3u) << asked.out;
  EXPECT_EQ(json->items[2]["address"].text, silent);
  EXPECT_EQ(json->items[2]["error"].text, "unavailable") << asked.out;
  // One that is asked for by its name may be it, or not.
  EXPECT_EQ(cluster.run({"scrub", "--node", "n2", "--timeout", "1"}).status, 0);
  EXPECT_EQ(cluster.run({"scrub", "--node", "n3", "--timeout", "1"}).status, 3);
  // An endpoint that names no member does not matter.
  const std::string nobody = "127.0.0.1:" + std::to_string(free_ports(1)[0]);
  cluster.start(2);
  ASSERT_TRUE(cluster.await_ready());
  const Ran all = run_kahuna(
      {"scrub", "--timeout", "1", "--endpoints", nobody + "," + to_string(cluster.addresses()[0])});
  EXPECT_EQ(all.status, 0) << all.out << all.err;

  const std::string status = run_kahuna({"status", "--timeout", "1", "--endpoints",
                                         nobody + "," + to_string(cluster.addresses()[0])})
                                 .out;
  std::istringstream lines(status);
  size_t note = std::string::npos;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("NAME")) note = line.find("NOTE");
    if (line.find(nobody) == std::string::npos) continue;
    ASSERT_LT(note, line.size()) << status;
    EXPECT_NE(line[note], ' ') << status;
    EXPECT_EQ(line.substr(note - 2, 2), "  ") << status;
    EXPECT_EQ(line.substr(line.find("unreachable") + 11).find_first_not_of(' '),
              note - line.find("unreachable") - 11)
        << status;
  }
}

TEST(VerbsOfNobody, SayWhatToTryNext) {
  const std::string nobody = "127.0.0.1:" + std::to_string(free_ports(1)[0]);
  for (const std::vector<std::string>& verb : std::vector<std::vector<std::string>>{
           {"get", "k"}, {"scrub"}, {"members", "list"}, {"members", "remove", "n1"}}) {
    std::vector<std::string> words = verb;
    words.insert(words.end(), {"--timeout", "0.3", "--endpoints", nobody});
    const Ran ran = run_kahuna(words);
    EXPECT_EQ(ran.status, 3) << verb[0];
    EXPECT_NE(ran.err.find("asked: " + nobody + "\n  is the cluster up?"), std::string::npos)
        << verb[0] << ": " << ran.err;
  }
}

TEST(VerbsOnTheWire, AScanOfManyPagesUsesOneConnection) {
  auto network = TestNetwork::namespaces(1);
  if (!network) GTEST_SKIP() << network.error().text;
  Cluster cluster(1, **network, {});
  cluster.start_all();
  ASSERT_TRUE(cluster.await_ready()) << cluster.log(0);
  constexpr int kKeys = 1'200;
  {
    auto loop = *net::Loop::create({.io = net::IoBackend::kEpoll});
    client::Options options;
    options.endpoints = cluster.addresses();
    auto client = client::Client::create(loop->host(), options);
    int done = 0;
    for (int i = 0; i < kKeys; ++i) {
      client->set("many/" + std::to_string(i), "v", {}, [&](auto result) {
        EXPECT_TRUE(result.has_value());
        ++done;
      });
    }
    while (done < kKeys) loop->turn(Duration::millis(10));
  }
  const uint64_t before = connections_opened();
  const std::string out = cluster.run({"scan", "many"}).out;
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), kKeys);
  EXPECT_EQ(connections_opened() - before, 1u);
}

}  // namespace
}  // namespace kahuna::testing
