#include "model.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <set>
#include <string>

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
  for (uint64_t seed = 1; seed <= seeds_to_run(300); ++seed) {
    journal::Options options = Harness::small_options();
    options.direct = seed % 4 == 1;
    if (seed % 5 == 2) options.copy_forward_segments = 8;
    if (seed % 7 == 3) options.batch_bytes_max = 16 * 1024;
    if (seed % 6 == 4) options.spare_segments = 2;
    options.distrust_tears = seed % 9 == 5;
    Harness harness(seed, options);
    harness.expect_faulty = options.distrust_tears;
    harness.disk.short_transfers = seed % 3 == 0;
    harness.remembers = seed % 8 >= 4;
    std::string error = harness.run(
        random_commands(RandomStream(seed, "commands"), 150 + seed % 2 * 150, seed % 2 == 1));
    ASSERT_EQ(error, "") << "seed " << seed;
    crashes += harness.crashes;
  }
  RecordProperty("crashes", static_cast<int>(crashes));
  std::set<std::string> reached;
  for (ProbeSite* site = first_probe_site(); site; site = site->next)
    if (site->hits > 0) reached.insert(site->name);
  for (const char* name :
       {"journal_copies_forward", "journal_copies_from_disk", "journal_faulty_body",
        "journal_header_lost", "journal_recycles", "journal_seals", "journal_short_write",
        "journal_splits_queue", "journal_torn_batch", "journal_torn_body", "journal_torn_seal",
        "journal_truncates_tail", "journal_waits_for_segment"})
    EXPECT_TRUE(reached.contains(name)) << name;
}

RC_GTEST_PROP(JournalModel, RecoversAPrefixOfWhatWasAppended, ()) {
  auto seed = *rc::gen::arbitrary<uint64_t>();
  auto raw = *rc::gen::container<std::vector<std::tuple<uint8_t, uint32_t, uint32_t>>>(
      rc::gen::tuple(rc::gen::inRange<uint8_t>(0, 17), rc::gen::inRange<uint32_t>(0, 1000),
                     rc::gen::inRange<uint32_t>(0, 100000)));
  std::vector<Command> commands;
  for (auto [kind, a, b] : raw) commands.push_back({kind, a, b});
  Harness harness(seed);
  RC_ASSERT(harness.run(commands) == "");
}

}  // namespace kahuna::journal_test
