// The journal's planted bugs must each be caught by the model (only in a KAHUNA_MUTANTS build).
#include <gtest/gtest.h>

#include "model.h"
#include "runtime/probe.h"

namespace kahuna::journal_test {
#ifdef KAHUNA_MUTANTS
namespace {

// Rots one byte of what was synced last, after everything settled.
std::string run_with_rot(uint64_t seed) {
  Harness harness(seed);
  harness.expect_faulty = harness.lost_acknowledged = true;
  RandomStream random(seed, "rot");
  std::string error = harness.open();
  auto commands = random_commands(RandomStream(seed, "commands"), 40);
  for (size_t i = 0; i < commands.size() && error.empty(); ++i)
    error = harness.execute(commands[i]);
  if (!error.empty()) return error;
  harness.disk.syncs_until_error = -1;
  harness.machine->settle();
  harness.append(
      1,
      std::max<uint64_t>(harness.live[1].log.empty() ? harness.live[1].released + 1
                                                     : harness.live[1].log.rbegin()->first + 1,
                         2),
      1, 300, false);
  FakeDisk before = harness.disk.clone();
  harness.machine->settle();
  harness.kill();
  // The sectors that the last batch changed.
  std::vector<std::pair<std::string, size_t>> changed;
  for (const std::string& name : harness.disk.names()) {
    auto* now = harness.disk.bytes(name);
    auto* then = before.bytes(name);
    for (size_t at = 8192; at < now->size() && then && at < then->size(); ++at)
      if ((*now)[at] != (*then)[at]) changed.emplace_back(name, at);
  }
  if (changed.empty()) return "";
  auto [name, at] = changed[random.below(changed.size())];
  (*harness.disk.bytes(name))[at] ^= std::byte{0x10};
  error = harness.open();
  return harness.open_error && harness.open_error->code == ErrorCode::kDamaged ? "" : error;
}

int seeds_to_kill(const char* mutant) {
  set_active_mutant(mutant);
  int killed = 0;
  for (int seed = 1; seed <= 300 && killed == 0; ++seed) {
    auto s = static_cast<uint64_t>(seed);
    if (!Harness(s).run(random_commands(RandomStream(s, "commands"), 150)).empty() ||
        !Harness(s).run(random_commands(RandomStream(s, "commands"), 400, true)).empty() ||
        !run_with_rot(s).empty())
      killed = seed;
  }
  set_active_mutant("");
  return killed;
}

class JournalMutant : public testing::TestWithParam<const char*> {};
TEST_P(JournalMutant, IsCaught) {
  int seed = seeds_to_kill(GetParam());
  EXPECT_GT(seed, 0) << GetParam() << " survives";
  std::printf("%s: killed by seed %d\n", GetParam(), seed);
}
INSTANTIATE_TEST_SUITE_P(All, JournalMutant,
                         testing::Values("torn_tail_accepted", "faulty_tail_truncated",
                                         "crc_not_checked", "ack_before_sync_journal",
                                         "old_segment_reused", "replay_skips_last",
                                         "hard_state_not_written"));

TEST(JournalMutants, NoneActiveMeansNoFailure) {
  for (uint64_t seed = 1; seed <= 100; ++seed) EXPECT_EQ(run_with_rot(seed), "") << seed;
}

}  // namespace
#endif
}  // namespace kahuna::journal_test
