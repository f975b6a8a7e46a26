// The data directory of one real node is damaged in many places, again and again, while the others
// serve recorded load: no answer is wrong, and the node becomes a replica in reserve again.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "kahuna/cli/json.h"
#include "runtime/random.h"
#include "tests/cluster/cluster.h"
#include "tests/cluster/judge.h"
#include "tests/cluster/recorded_load.h"
#include "tests/cluster/stored_state.h"

namespace kahuna::testing {
namespace {

namespace fs = std::filesystem;
using namespace literals;

constexpr size_t kVictim = 2;
constexpr int kRounds = 4;
constexpr int kPlacesPerRound = 25;  // a third of them where something was written

struct File {
  fs::path path;
  uint64_t bytes = 0;
};

// A node that runs may take files away meanwhile.
std::vector<File> files_in(const std::string& directory) {
  std::vector<File> files;
  std::error_code gone;
  for (fs::recursive_directory_iterator entry(directory, gone), end; !gone && entry != end;
       entry.increment(gone)) {
    std::error_code none;
    if (!entry->is_regular_file(none)) continue;
    const uint64_t bytes = entry->file_size(none);
    if (!none && bytes > 0) files.push_back({entry->path(), bytes});
  }
  std::sort(files.begin(), files.end(),
            [](const File& a, const File& b) { return a.path < b.path; });
  return files;
}

// Flips a bit of a byte drawn over all files but those of that name; of one that is not zero when
// `written`.
void damage(const std::string& directory, RandomStream& random, bool written,
            std::string_view but = "") {
  std::vector<File> files = files_in(directory);
  std::erase_if(files, [&](const File& file) { return file.path.filename() == but; });
  uint64_t total = 0;
  for (const File& file : files) total += file.bytes;
  for (int tries = 0; tries < 100'000; ++tries) {
    uint64_t at = random.below(total);
    size_t which = 0;
    while (at >= files[which].bytes) at -= files[which++].bytes;
    std::fstream file(files[which].path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    if (byte < 0 || (written && byte == 0)) continue;
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ (1 << random.below(8))));
    return;
  }
}

// Flips a bit of that text wherever a file has it; false: none has.
bool damage_text(const std::string& directory, const std::string& text) {
  bool found = false;
  for (const File& each : files_in(directory)) {
    const std::string bytes = read_file(each.path);
    for (size_t at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1)) {
      std::fstream file(each.path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(at));
      file.put(static_cast<char>(bytes[at] ^ 1));
      found = true;
    }
  }
  return found;
}

class Repair : public ::testing::Test {
 protected:
  // Starts the victim, again as long as it stops to set up its store anew. False: it refuses.
  bool start_victim() {
    for (int starts = 0; starts < 4; ++starts) {
      cluster_.start(kVictim);
      if (!cluster_.process(kVictim).wait(2_s)) return true;
      ++restarts_;
    }
    return false;
  }

  // Its logs are whole, its states there, and it has applied what the others have.
  bool repaired() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(40);
    while (std::chrono::steady_clock::now() < end) {
      if (!cluster_.process(kVictim).running() && !start_victim()) return false;
      const cli::Json own = cluster_.status(kVictim), other = cluster_.status(0);
      bool same = own["serving"].is_true() && own["damaged"].items.empty() &&
                  own["partitions"].items.size() == other["partitions"].items.size();
      for (size_t i = 0; same && i < own["partitions"].items.size(); ++i) {
        const cli::Json &a = own["partitions"].items[i], &b = other["partitions"].items[i];
        same = !a["installing"].is_true() && a["applied"].text == b["applied"].text;
      }
      if (same) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  }

  // A search of the victim's files finds nothing, at last: empty. Otherwise what the last one said.
  std::string still_damaged() {
    Ran found;
    for (int tries = 0; tries < 20; ++tries) {
      found = cluster_.run({"scrub", "--node", "n3"});
      if (found.status == 0) return "";
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    return "exit status " + std::to_string(found.status) + ": " + found.out + found.err;
  }

  size_t reports(std::string_view what) const {
    const std::string log = cluster_.log(kVictim);
    size_t found = 0;
    for (size_t at = log.find(what); at != std::string::npos; at = log.find(what, at + 1)) ++found;
    return found;
  }

  static uint64_t seed() {
    const char* given = std::getenv("KAHUNA_DAMAGE_SEED");
    return given ? std::strtoull(given, nullptr, 10) : 1;
  }

  Cluster cluster_{3};
  std::unique_ptr<RecordedLoad> load_;
  int restarts_ = 0;
};

TEST_F(Repair, OfANodeDamagedInAHundredPlaces) {
  cluster_.start_all();
  ASSERT_TRUE(cluster_.await_ready()) << cluster_.log(0);
  load_ = std::make_unique<RecordedLoad>(RecordedLoad::Options{.endpoints = cluster_.addresses()});
  RandomStream random(seed(), "damage");
  bool refuses = false;
  for (int round = 0; round < kRounds && !refuses; ++round) {
    load_->run_for(1_s);
    // Asked to stop it saves its states; killed it has its log only.
    if (round % 2 == 0) {
      cluster_.signal(kVictim, SIGTERM);
      ASSERT_TRUE(cluster_.process(kVictim).wait(20_s).has_value());
    } else {
      cluster_.kill(kVictim);
    }
    for (int i = 0; i < kPlacesPerRound; ++i)
      damage(cluster_.directory(kVictim), random, i % 3 == 0);
    load_->run_for(300_ms);
    refuses = !start_victim();
    load_->run_for(2_s);
  }
  load_->drain();
  if (refuses) {
    // Both copies of something: it must say so, and the others go on without it.
    EXPECT_NE(cluster_.log(kVictim).find("damaged"), std::string::npos) << cluster_.log(kVictim);
    const std::string all = cluster_.log(kVictim);
    std::printf("  refused to start: %s\n",
                all.substr(all.size() - std::min<size_t>(all.size(), 400)).c_str());
  } else {
    ASSERT_TRUE(repaired()) << cluster_.log(kVictim);
    // Now the majority needs it.
    cluster_.kill(0);
    load_->run_for(4_s);
    cluster_.start(0);
  }
  expect_right(cluster_, *load_);
  std::printf("  %zu reports of damage or repair, %d restarts\n", reports("disk-damage"),
              restarts_);
}

// The same beneath a node that runs, and searches what it has. The process stays: a store that is
// damaged is set up anew without anybody's help. At the end the three have the same, byte for byte.
TEST_F(Repair, OfANodeDamagedWhileItServes) {
  cluster_.set_flags({"--scrub-mib-per-second", "1000", "--scrub-interval-s", "1", "--flush-mib",
                      "1", "--log-keep-mib", "1"});
  cluster_.start_all();
  ASSERT_TRUE(cluster_.await_ready()) << cluster_.log(0);
  load_ = std::make_unique<RecordedLoad>(RecordedLoad::Options{.endpoints = cluster_.addresses()});
  RandomStream random(seed(), "damage");
  for (int round = 0; round < kRounds; ++round) {
    load_->run_for(1_s);
    for (int i = 0; i < kPlacesPerRound; ++i)
      damage(cluster_.directory(kVictim), random, i % 3 == 0, "identity");
    load_->run_for(3_s);
  }
  load_->drain();
  ASSERT_TRUE(cluster_.process(kVictim).running()) << cluster_.log(kVictim);
  ASSERT_EQ(still_damaged(), "") << cluster_.log(kVictim);
  ASSERT_TRUE(repaired()) << cluster_.log(kVictim);
  expect_right(cluster_, *load_);
  ASSERT_TRUE(repaired()) << cluster_.log(kVictim);
  for (size_t node = 0; node < cluster_.size(); ++node) cluster_.signal(node, SIGTERM);
  for (size_t node = 0; node < cluster_.size(); ++node)
    ASSERT_EQ(cluster_.process(node).wait(30_s), 0) << cluster_.log(node);
  const std::vector<std::string> own = stored_state(cluster_.directory(kVictim));
  EXPECT_GT(own.size(), 100u);
  EXPECT_EQ(own, stored_state(cluster_.directory(0)));
  EXPECT_EQ(own, stored_state(cluster_.directory(1)));
  std::printf("  %zu rows compared, %zu reports of damage or repair, %zu stores set up anew\n",
              own.size(), reports("disk-damage"), reports("starting-again"));
}

// Bytes of its log rot beneath a node that serves: it is told to look, and is rid of the damage
// before it is next started.
TEST_F(Repair, OfALogThatRotsWhileItsNodeServes) {
  cluster_.set_flags({"--scrub-mib-per-second", "1000", "--scrub-interval-s", "0"});
  cluster_.start_all();
  ASSERT_TRUE(cluster_.await_ready()) << cluster_.log(0);
  load_ = std::make_unique<RecordedLoad>(RecordedLoad::Options{.endpoints = cluster_.addresses()});
  RandomStream random(1, "rot");
  for (int round = 0; round < 5; ++round) {
    load_->run_for(500_ms);
    damage(cluster_.directory(kVictim) + "/journal", random, true);
    const Ran found = cluster_.run({"scrub", "--node", "n3"});
    EXPECT_EQ(found.status, 1) << found.out << found.err;
    EXPECT_NE(found.out.find("1 damaged, 1 of them repaired"), std::string::npos)
        << found.out << found.err;
    load_->run_for(300_ms);
    const Ran whole = cluster_.run({"scrub", "--node", "n3"});
    EXPECT_EQ(whole.status, 0) << whole.out << whole.err;
  }
  cluster_.kill(kVictim);
  ASSERT_TRUE(start_victim()) << cluster_.log(kVictim);
  ASSERT_TRUE(cluster_.await_ready());
  EXPECT_EQ(cluster_.log(kVictim).find("has lost"), std::string::npos) << cluster_.log(kVictim);
  load_->drain();
  EXPECT_TRUE(load_->read_all());
  const std::string path = ::testing::TempDir() + "kahuna-history.jsonl";
  EXPECT_EQ(judge_history(load_->history(), path).wrong, "") << "the history is in " << path;
}

// What one of them wrote for a client is damaged on two of three, and the third is down: the status
// says that it has stopped, once the log has said so; with the third it goes on.
TEST_F(Repair, OfAPartitionThatHasStopped) {
  cluster_.start_all();
  ASSERT_TRUE(cluster_.await_ready()) << cluster_.log(0);
  const std::string value = "a value that is found on a disk";
  ASSERT_EQ(cluster_.run({"put", "k", value}).status, 0);
  // All have it, and none has saved it elsewhere.
  ASSERT_EQ(cluster_.run({"put", "k", "another"}).status, 0);
  for (size_t node = 0; node < 3; ++node) cluster_.kill(node);
  for (size_t node = 1; node < 3; ++node)
    ASSERT_TRUE(damage_text(cluster_.directory(node) + "/journal", value)) << node;
  cluster_.start(1);
  cluster_.start(2);
  const auto note = [&](size_t node) {
    return run_kahuna({"status", "--endpoints", to_string(cluster_.addresses()[node])}).out;
  };
  const auto await = [&](auto so) {
    for (int i = 0; i < 300 && !so(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return so();
  };
  ASSERT_TRUE(await([&] {
    return note(1).find(
               "1 partition has stopped: nodes that are up have lost what it takes; see "
               "docs/repair.md") != std::string::npos;
  })) << note(1)
      << cluster_.log(1);
  // Either may have found out, and tells those who ask any of them.
  const auto said = [&](size_t node) {
    return cluster_.log(node).find("the partition serves nothing") != std::string::npos;
  };
  const size_t found = said(1) ? 1 : 2;
  EXPECT_TRUE(said(found)) << cluster_.log(1) << cluster_.log(2);
  const cli::Json status = cluster_.status(found);
  ASSERT_EQ(status["damaged"].items.size(), 1u);
  EXPECT_TRUE(status["damaged"].items[0]["stopped"].is_true());
  EXPECT_NE(status["damaged"].items[0]["text"].text.find("the partition has stopped"),
            std::string::npos);
  const Ran get =
      run_kahuna({"get", "k", "--timeout", "2", "--endpoints", to_string(cluster_.addresses()[1])});
  EXPECT_EQ(get.status, 3);
  EXPECT_NE(get.err.find("down or damaged; see 'kahuna status'"), std::string::npos) << get.err;
  cluster_.start(0);
  ASSERT_TRUE(await([&] {
    return note(1).find("stopped") == std::string::npos &&
           note(2).find("stopped") == std::string::npos && cluster_.status(1)["serving"].is_true();
  })) << note(1);
  ASSERT_TRUE(cluster_.await_ready());
  EXPECT_EQ(cluster_.run({"get", "k"}).out, "another\n");
}

}  // namespace
}  // namespace kahuna::testing
