#include "model.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>

#include "runtime/probe.h"

namespace kahuna::journal_test {

namespace {
// KAHUNA_JOURNAL_SEEDS=N for a longer run than the default.
uint64_t seeds_to_run(uint64_t normally) {
  const char* text = std::getenv("KAHUNA_JOURNAL_SEEDS");
  return text ? std::strtoull(text, nullptr, 10) : normally;
}
}  // namespace

TEST(JournalModel, ManySeedsOfAppendsAndCrashes) {
  uint64_t crashes = 0;
  for (uint64_t seed = 1; seed <= seeds_to_run(600); ++seed) {
    Harness harness(seed);
    harness.disk.short_transfers = seed % 3 == 0;
    std::string error = harness.run(random_commands(RandomStream(seed, "commands"), 150));
    ASSERT_EQ(error, "") << "seed " << seed;
    crashes += harness.crashes;
  }
  RecordProperty("crashes", static_cast<int>(crashes));
}

RC_GTEST_PROP(JournalModel, RecoversAPrefixOfWhatWasAppended, ()) {
  auto seed = *rc::gen::arbitrary<uint64_t>();
  auto raw = *rc::gen::container<std::vector<std::tuple<uint8_t, uint32_t, uint32_t>>>(
      rc::gen::tuple(rc::gen::inRange<uint8_t>(0, 16), rc::gen::inRange<uint32_t>(0, 1000),
                     rc::gen::inRange<uint32_t>(0, 100000)));
  std::vector<Command> commands;
  for (auto [kind, a, b] : raw) commands.push_back({kind, a, b});
  Harness harness(seed);
  RC_ASSERT(harness.run(commands) == "");
}

}  // namespace kahuna::journal_test
