// Replays tests/golden/*.txt: protocol races told as prose, commands and the full expected output.
// RAFT_REGENERATE=1 rewrites the outputs; review the diff.
//
//   # prose
//   command
//   ----
//   expected output
//   (an empty line)
//
// Commands: cluster N [LEADER [SPARES]] [lease] | wait MS | timer N | propose N TEXT | read N TOKEN
//   flush N | transfer N TO | retire N
//   sync N|all [WRITES] | crash N [WRITES_KEPT] | restart N | disconnect N PEER | settle | status |
//   rot N INDEX (while it is down) | log N | empty N | wipe N
//   members N VOTERS [LEARNERS]   (lists like 1,2,4/1; an empty one is -)
//   deliver A->B|all [last] | drop A->B|all | duplicate A->B
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "tests/raft/cluster.h"

namespace kahuna::raft::testing {
namespace {

namespace fs = std::filesystem;

class Script {
 public:
  // Runs one command and returns what happened, a line each.
  std::string run(const std::string& line) {
    output_.clear();
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "cluster") {
      size_t nodes = 0, leader = 0, spares = 0;
      words >> nodes >> leader;
      Options options;
      options.quiesce_after = Duration();
      for (std::string word; words >> word;) {
        if (word == "lease")
          options.reads = Reads::kLease;
        else if (word == "quiet")
          options.quiesce_after = Duration::millis(1);
        else
          spares = std::strtoul(word.c_str(), nullptr, 10);
      }
      auto say = [this](const std::string& text) { output_ += text + "\n"; };
      cluster_ = std::make_unique<Cluster>(nodes, options, 1, say, std::vector<int64_t>(), spares);
      cluster_->settle();
      if (leader != 0) cluster_->timer(leader);
      cluster_->settle();
      output_.clear();
      return "";
    }
    if (!cluster_) return "error: no cluster\n";
    if (verb == "settle") {
      cluster_->settle();
    } else if (verb == "status") {
      status();
    } else if (verb == "wait") {
      int64_t ms = 0;
      words >> ms;
      cluster_->advance_to(cluster_->now() + Duration::millis(ms));
    } else if (verb == "deliver" || verb == "drop" || verb == "duplicate") {
      network(verb, words);
    } else {
      on_node(verb, words);
    }
    if (!cluster_->violation().empty()) output_ += "VIOLATION: " + cluster_->violation() + "\n";
    return output_;
  }

 private:
  void on_node(const std::string& verb, std::istringstream& words) {
    std::string which, rest;
    words >> which >> rest;
    if (verb == "sync" && which == "all") {
      for (size_t n = 1; n <= cluster_->size(); ++n)
        if (cluster_->alive(n)) cluster_->sync(n);
      return;
    }
    size_t n = std::strtoul(which.c_str(), nullptr, 10);
    size_t number = std::strtoul(rest.c_str(), nullptr, 10);
    if (n < 1 || n > cluster_->size()) {
      output_ += "error: no such node or command: " + verb + " " + which + "\n";
    } else if (verb == "restart") {
      cluster_->restart(n);
    } else if (verb == "rot") {
      if (!cluster_->rot(n, Index(number))) output_ += "error: no such entry\n";
    } else if (verb == "empty") {
      cluster_->add_empty(n);
    } else if (verb == "wipe") {
      cluster_->destroy(n);
    } else if (!cluster_->alive(n)) {
      output_ += "error: node is down\n";
    } else if (verb == "timer") {
      cluster_->timer(n);
    } else if (verb == "propose") {
      if (auto result = cluster_->propose(n, rest); !result) output_ += result.error().text + "\n";
    } else if (verb == "members") {
      std::string learners;
      words >> learners;
      if (auto result = cluster_->change(n, list(rest), list(learners)); !result)
        output_ += result.error().text + "\n";
    } else if (verb == "read") {
      if (auto result = cluster_->read(n, number); !result) output_ += result.error().text + "\n";
    } else if (verb == "sync") {
      cluster_->sync(n, number == 0 ? SIZE_MAX : number);
    } else if (verb == "flush") {
      cluster_->flush(n);
    } else if (verb == "crash") {
      cluster_->crash(n, number);
    } else if (verb == "transfer") {
      if (auto result = cluster_->transfer(n, number); !result)
        output_ += result.error().text + "\n";
    } else if (verb == "retire") {
      cluster_->retire(n);
    } else if (verb == "disconnect") {
      cluster_->disconnect(n, number);
    } else if (verb == "log") {
      log(n);
    } else {
      output_ += "error: unknown command " + verb + "\n";
    }
  }

  static std::vector<ReplicaId> list(const std::string& text) {
    std::vector<ReplicaId> replicas;
    std::istringstream items(text);
    for (std::string item; std::getline(items, item, ',');) {
      char* rest = nullptr;
      size_t node = std::strtoul(item.c_str(), &rest, 10);
      if (node > 0)
        replicas.push_back(
            replica_id(node, *rest == '/' ? std::strtoul(rest + 1, nullptr, 10) : 0));
    }
    return replicas;
  }

  // Acts on the messages in flight now, not on those that follow from them.
  void network(const std::string& verb, std::istringstream& words) {
    std::string link, option;
    words >> link >> option;
    std::deque<Message> taken, left;
    for (Message& message : cluster_->network) {
      bool matches = link == "all" || std::to_string(message.from.node.value()) + "->" +
                                              std::to_string(message.to.node.value()) ==
                                          link;
      (matches ? taken : left).push_back(std::move(message));
    }
    if (taken.empty()) output_ += "error: nothing in flight\n";
    if (option == "last") {  // overtakes the others, which stay
      while (taken.size() > 1) {
        left.push_back(std::move(taken.front()));
        taken.pop_front();
      }
    }
    cluster_->network = std::move(left);
    if (verb == "duplicate") {
      for (const Message& message : taken) {
        cluster_->network.push_back(message);
        cluster_->network.push_back(message);
      }
      return;
    }
    for (Message& message : taken) {
      if (verb == "deliver") {
        cluster_->receive(std::move(message));
      } else {
        output_ += "dropped " + to_text(message) + "\n";
      }
    }
  }

  void status() {
    static const char* kRoles[] = {"follower", "pre-candidate", "candidate", "leader"};
    for (size_t n = 1; n <= cluster_->size(); ++n) {
      output_ += std::to_string(n);
      if (!cluster_->alive(n)) {
        output_ += cluster_->node(n).present ? " down\n" : " empty\n";
        continue;
      }
      Status s = cluster_->replica(n).status();
      std::ostringstream text;
      text << " " << kRoles[static_cast<int>(s.role)] << " term " << s.hard_state.term.value()
           << " last " << to_text(s.last) << " durable " << s.durable.value() << " commit "
           << s.commit.value() << " applied " << s.applied.value() << " base "
           << s.base.index.value();
      if (s.quiet) text << " quiet";
      if (s.lost > 0) text << " promised " << to_text(s.promised) << " lost " << s.lost;
      text << "\n";
      output_ += text.str();
    }
    for (const Message& message : cluster_->network)
      output_ += "in flight " + to_text(message) + "\n";
  }

  void log(size_t n) {
    Status s = cluster_->replica(n).status();
    for (Index i = s.base.index.next(); i <= s.last.index; i = i.next()) {
      const Entry* entry = cluster_->replica(n).entry(i);
      output_ +=
          to_text(LogPosition{entry->index, entry->term}) + " " + content_text(*entry) + "\n";
    }
  }

  std::unique_ptr<Cluster> cluster_;
  std::string output_;
};

// The whole file as it should be, with outputs from a fresh run.
std::string replay(const std::string& text) {
  std::istringstream lines(text);
  Script script;
  std::string result, line, output;
  while (std::getline(lines, line)) {
    if (line == "----") {
      result += line + "\n" + (output.empty() ? "ok\n" : output) + "\n";
      output.clear();
      while (std::getline(lines, line) && !line.empty()) {
      }
      continue;
    }
    result += line + "\n";
    if (!line.empty() && line[0] != '#') output += script.run(line);
  }
  return result;
}

class RaftGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(RaftGolden, Replays) {
  fs::path path = fs::path(KAHUNA_SOURCE_DIR) / "tests/golden" / (GetParam() + ".txt");
  std::stringstream expected;
  expected << std::ifstream(path).rdbuf();
  std::string actual = replay(expected.str());
  EXPECT_EQ(actual.find("VIOLATION"), std::string::npos);
  EXPECT_EQ(actual.find("error:"), std::string::npos);
  if (std::getenv("RAFT_REGENERATE")) {
    std::ofstream(path) << actual;
  } else {
    EXPECT_EQ(actual, expected.str());
  }
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(fs::path(KAHUNA_SOURCE_DIR) / "tests/golden"))
    if (file.path().extension() == ".txt") names.push_back(file.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Transcripts, RaftGolden, ::testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kahuna::raft::testing
