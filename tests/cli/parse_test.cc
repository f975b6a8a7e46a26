#include "kahuna/cli/parse.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "kahuna/cli/config.h"

namespace kahuna::cli {
namespace {

std::expected<Invocation, int> parse_words(std::vector<std::string> words) {
  words.insert(words.begin(), "kahuna");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return parse(static_cast<int>(words.size()), argv.data());
}

int exit_status_of(const std::expected<Invocation, int>& parsed) {
  return parsed ? 0 : parsed.error();
}

// A file that goes away with its test.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) {
    char name[] = "/tmp/kahuna-config-XXXXXX";
    const int file = ::mkstemp(name);
    ::close(file);
    path = name;
    std::ofstream(path) << text;
  }
  ~ConfigFile() { ::unlink(path.c_str()); }
  std::string path;
};

TEST(Parse, ReadsWhatIsToBeScrubbed) {
  const auto scrub = parse_words({"scrub", "--node", "n2", "--json"});
  ASSERT_TRUE(scrub.has_value());
  EXPECT_EQ(std::get<ScrubOptions>(scrub->verb).node, "n2");
  EXPECT_TRUE(std::get<ScrubOptions>(parse_words({"scrub"})->verb).node.empty());
  EXPECT_EQ(exit_status_of(parse_words({"scrub", "n2"})), 2);
  const auto server = parse_words(
      {"server", "--data", "d", "--scrub-mib-per-second", "3", "--scrub-interval-s", "0"});
  ASSERT_TRUE(server.has_value());
  EXPECT_EQ(std::get<ServerOptions>(server->verb).scrub_bytes_per_second, 3u << 20);
  EXPECT_EQ(std::get<ServerOptions>(server->verb).scrub_interval, Duration());
  EXPECT_EQ(exit_status_of(parse_words({"server", "--data", "d", "--scrub-mib-per-second", "0"})),
            2);
}

TEST(Parse, ReadsWishesAboutMembers) {
  const auto add = parse_words({"members", "add", "127.0.0.1:9", "--learner"});
  ASSERT_TRUE(add.has_value());
  EXPECT_EQ(std::get<MembersOptions>(add->verb).name, "127.0.0.1:9");
  EXPECT_TRUE(std::get<MembersOptions>(add->verb).learner);
  EXPECT_TRUE(parse_words({"members", "list"}).has_value());
  EXPECT_EQ(exit_status_of(parse_words({"members", "list", "n1"})), 2);
  EXPECT_EQ(exit_status_of(parse_words({"members", "remove"})), 2);
  EXPECT_EQ(exit_status_of(parse_words({"members", "remove", "n1", "--learner"})), 2);
  EXPECT_EQ(exit_status_of(parse_words({"members", "expel", "n1"})), 2);
}

TEST(Parse, ANodeFoundsOrJoins) {
  const auto joins =
      parse_words({"server", "--data", "d", "--name", "n4", "--join", "127.0.0.1:1,127.0.0.1:2"});
  ASSERT_TRUE(joins.has_value());
  EXPECT_TRUE(std::get<ServerOptions>(joins->verb).founders.empty());
  EXPECT_EQ(std::get<ServerOptions>(joins->verb).join.size(), 2u);
  const auto waits = parse_words({"server", "--data", "d", "--join", "wait"});
  ASSERT_TRUE(waits.has_value());
  EXPECT_TRUE(std::get<ServerOptions>(waits->verb).joins);
  EXPECT_TRUE(std::get<ServerOptions>(waits->verb).join.empty());
  EXPECT_EQ(exit_status_of(parse_words(
                {"server", "--data", "d", "--join", "wait", "--founders", "n1=127.0.0.1:1"})),
            2);
  EXPECT_EQ(exit_status_of(parse_words(
                {"server", "--data", "d", "--join", "wait", "--listen", "0.0.0.0:2073"})),
            2);
}

TEST(Parse, ReadsAPut) {
  const auto parsed = parse_words({"put", "k", "v", "--nx", "--if-revision", "-1", "--if-value", "",
                                   "--endpoints", "127.0.0.1:1,127.0.0.1:2", "--timeout", "0.5"});
  ASSERT_TRUE(parsed.has_value());
  const auto& put = std::get<PutOptions>(parsed->verb);
  EXPECT_EQ(put.key, "k");
  EXPECT_EQ(put.value, "v");
  EXPECT_TRUE(put.if_absent);
  EXPECT_EQ(put.if_revision, -1);
  EXPECT_EQ(put.if_value, "");
  EXPECT_EQ(parsed->connect.endpoints.size(), 2u);
  EXPECT_EQ(parsed->connect.timeout, Duration::millis(500));
}

TEST(Parse, ConditionsThatAreNotNamedAreNotSet) {
  const auto parsed = parse_words({"put", "k", "v"});
  ASSERT_TRUE(parsed.has_value());
  EXPECT_FALSE(std::get<PutOptions>(parsed->verb).if_revision);
  EXPECT_FALSE(std::get<PutOptions>(parsed->verb).if_value);
  EXPECT_EQ(parsed->connect.endpoints.size(), 3u) << "the local cluster's";
}

TEST(Parse, UsageErrorsExitWithTwo) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {},
           {"pu", "k", "v"},
           {"put", "k"},
           {"get", "k", "--endpoints", "nowhere"},
           {"get", "k", "--timeout", "0"},
           {"bench", "--workload", "pet"},
           {"bench", "--connections", "0"},
           {"local", "--nodes", "0"},
           {"completion", "fish"},
           {"server"},
           {"server", "--data", "d", "--engine", "rock"},
           {"server", "--data", "d", "--founders", "n2=127.0.0.1:2"},
           {"server", "--data", "d", "--founders", "127.0.0.1:2"},
           {"server", "--data", "d", "--founders", "n1=127.0.0.1:2,n1=127.0.0.1:3"},
           {"server", "--data", "d", "--partitions", "0"},
           {"server", "--data", "d", "--heartbeat-ms", "400"},
           {"server", "--data", "d", "--config", "/nonexistent"}}) {
    const auto parsed = parse_words(words);
    ASSERT_FALSE(parsed.has_value());
    EXPECT_EQ(parsed.error(), kUsage);
  }
}

TEST(Parse, HelpExitsWithZero) {
  const auto parsed = parse_words({"server", "--help"});
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error(), kSuccess);
}

// A variable that goes away with its test.
struct Environment {
  Environment(const char* its_name, const std::string& value) : name(its_name) {
    ::setenv(name, value.c_str(), 1);
  }
  ~Environment() { ::unsetenv(name); }
  const char* name;
};

TEST(Parse, TheFlagBeatsTheEnvironmentOfEveryVerbThatAsksACluster) {
  const std::vector<std::vector<std::string>> verbs = {{"put", "k", "v"},
                                                       {"get", "k"},
                                                       {"delete", "k"},
                                                       {"exists", "k"},
                                                       {"scan", "b"},
                                                       {"status"},
                                                       {"members", "list"},
                                                       {"members", "remove", "n1"},
                                                       {"members", "add", "127.0.0.1:9"},
                                                       {"members", "promote", "n1"},
                                                       {"scrub"},
                                                       {"move-leader", "3", "n1"},
                                                       {"bench"}};
  const auto asked = [](std::vector<std::string> words, std::vector<std::string> more = {}) {
    words.insert(words.end(), more.begin(), more.end());
    const auto parsed = parse_words(words);
    EXPECT_TRUE(parsed.has_value()) << words[0];
    std::string all;
    if (!parsed) return all;
    for (const Address& address : parsed->connect.endpoints) all += to_string(address) + " ";
    return all;
  };
  for (const auto& verb : verbs)
    EXPECT_EQ(asked(verb), "127.0.0.1:2073 127.0.0.1:2083 127.0.0.1:2093 ") << verb[0];
  const Environment variable("KAHUNA_ENDPOINTS", "127.0.0.1:1,127.0.0.1:2");
  for (const auto& verb : verbs) {
    EXPECT_EQ(asked(verb), "127.0.0.1:1 127.0.0.1:2 ") << verb[0];
    EXPECT_EQ(asked(verb, {"--endpoints", "127.0.0.1:3"}), "127.0.0.1:3 ") << verb[0];
    EXPECT_EQ(asked(verb, {"--endpoints=127.0.0.1:3"}), "127.0.0.1:3 ") << verb[0];
  }
}

TEST(Parse, HelpNamesTheVariables) {
  ::testing::internal::CaptureStdout();
  EXPECT_FALSE(parse_words({"get", "--help"}).has_value());
  EXPECT_FALSE(parse_words({"server", "--help"}).has_value());
  const std::string help = ::testing::internal::GetCapturedStdout();
  for (const char* words :
       {"--endpoints TEXT=127.0.0.1:2073,127.0.0.1:2083,127.0.0.1:2093 (Env:KAHUNA_ENDPOINTS)",
        "--config TEXT (Env:KAHUNA_CONFIG)", "--heartbeat-ms UINT=100 (Env:KAHUNA_HEARTBEAT_MS)"})
    EXPECT_NE(help.find(words), std::string::npos) << words;
}

TEST(Parse, AVariableMattersToThoseWhoUseItOnly) {
  const Environment endpoints("KAHUNA_ENDPOINTS", "nowhere");
  EXPECT_TRUE(parse_words({"version"}).has_value());
  EXPECT_TRUE(parse_words({"server", "--data", "d"}).has_value());
  EXPECT_EQ(exit_status_of(parse_words({"status"})), 2);
  EXPECT_TRUE(parse_words({"status", "--endpoints", "127.0.0.1:1"}).has_value());
  const Environment partitions("KAHUNA_PARTITIONS", "many");
  EXPECT_TRUE(parse_words({"get", "k", "--endpoints", "127.0.0.1:1"}).has_value());
  EXPECT_EQ(exit_status_of(parse_words({"server", "--data", "d"})), 2);
}

TEST(Parse, SaysWhatIsWrongWithTheWordsOfAVerb) {
  const auto expect_said = [](const std::string& text, std::vector<std::string> words) {
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(exit_status_of(parse_words(std::move(words))), 2);
    const std::string said = ::testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find(text), std::string::npos) << said;
  };
  expect_said("list | add HOST:PORT | remove NAME | promote NAME", {"members"});
  expect_said("'x' is not a partition", {"move-leader", "x", "n1"});
  expect_said("'bad name'", {"server", "--data", "d", "--name", "bad name"});
  expect_said("'b/d'",
              {"server", "--data", "d", "--founders", "n1=127.0.0.1:2073,b/d=127.0.0.1:1"});
  expect_said("names this node's own --listen",
              {"server", "--data", "d", "--join", "127.0.0.1:2073"});
}

TEST(Parse, FlagBeatsEnvironmentBeatsFile) {
  const ConfigFile file(
      "name = \"file\"\ndata = \"file\"\npartitions = 3\nio = \"epoll\"\n"
      "founders = [\"flag=127.0.0.1:1\", \"x=127.0.0.1:2\"]\n");
  ::setenv("KAHUNA_NAME", "environment", 1);
  ::setenv("KAHUNA_DATA", "environment", 1);
  const auto parsed = parse_words({"server", "--config", file.path, "--name", "flag"});
  ::unsetenv("KAHUNA_NAME");
  ::unsetenv("KAHUNA_DATA");
  ASSERT_TRUE(parsed.has_value());
  const auto& server = std::get<ServerOptions>(parsed->verb);
  EXPECT_EQ(server.name, "flag");
  EXPECT_EQ(server.data, "environment");
  EXPECT_EQ(server.partitions, 3u);
  EXPECT_EQ(server.io, "epoll");
  EXPECT_EQ(server.founders.size(), 2u);
}

TEST(Parse, FoundersMayBeATable) {
  const ConfigFile file("data = \"d\"\n[founders]\nn1 = \"127.0.0.1:1\"\nn2 = \"127.0.0.1:2\"\n");
  const auto parsed = parse_words({"server", "--config", file.path});
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(std::get<ServerOptions>(parsed->verb).founders.size(), 2u);
}

TEST(Parse, WithoutFoundersANodeIsAlone) {
  const auto parsed = parse_words({"server", "--data", "d"});
  ASSERT_TRUE(parsed.has_value());
  const auto& server = std::get<ServerOptions>(parsed->verb);
  ASSERT_EQ(server.founders.size(), 1u);
  EXPECT_EQ(server.founders[0].first, server.name);
  EXPECT_EQ(server.founders[0].second, server.listen);
}

TEST(Config, AnUnknownKeyNamesTheNearest) {
  const ConfigFile file("name = \"n1\"\n\nlisten_on = 1\n");
  const Result<Config> config = load_config(file.path);
  ASSERT_TRUE(config.has_value());
  const Result<> known = refuse_unknown_keys(file.path, *config, {"name", "listen", "data"});
  ASSERT_FALSE(known.has_value());
  EXPECT_NE(known.error().text.find(":3: there is no setting 'listen_on'; did you mean 'listen'?"),
            std::string::npos)
      << known.error().text;
}

TEST(Config, SaysWhereItIsWrong) {
  const ConfigFile broken("name = \"n1\"\nlisten = \n");
  const Result<Config> config = load_config(broken.path);
  ASSERT_FALSE(config.has_value());
  EXPECT_NE(config.error().text.find(broken.path + ":2"), std::string::npos) << config.error().text;
  EXPECT_EQ(load_config("/nonexistent").error().code, ErrorCode::kNotFound);
}

TEST(Config, ANumberMustBeOne) {
  const ConfigFile file("data = \"d\"\npartitions = \"many\"\n");
  const auto parsed = parse_words({"server", "--config", file.path});
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error(), kUsage);
}

}  // namespace
}  // namespace kahuna::cli
