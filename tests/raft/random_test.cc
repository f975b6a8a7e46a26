#include <gtest/gtest.h>

#include <cstdlib>

#include "runtime/probe.h"
#include "tests/raft/random_run.h"

namespace kahuna::raft::testing {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// RAFT_SEED=N runs one seed, RAFT_SEEDS=N more of them.
TEST(RaftRandom, KeepsItsInvariantsAndRecovers) {
#ifdef KAHUNA_MUTANTS
  if (const char* mutant = std::getenv("RAFT_MUTANT")) set_active_mutant(mutant);
#endif
  uint64_t first = from_environment("RAFT_SEED", 1);
  uint64_t count = from_environment("RAFT_SEEDS", std::getenv("RAFT_SEED") ? 1 : 2000);
  uint64_t committed = 0, elections = 0, reads = 0, steps = 0, empty = 0, installs = 0;
  uint64_t rotten = 0, repairs = 0, changes = 0, quiet = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    RunResult result = run_seed(seed);
    ASSERT_EQ(result.violation, "") << "seed " << seed;
    ASSERT_FALSE(result.stalled) << "seed " << seed;
    committed += result.committed;
    elections += result.elections;
    reads += result.reads;
    steps += result.steps;
    installs += result.installs;
    rotten += result.rotten;
    repairs += result.repairs;
    changes += result.changes;
    quiet += result.quiet;
    empty += result.elections == 0;
  }
  RecordProperty("committed", std::to_string(committed));
  std::printf(
      "seeds %lu steps %lu committed %lu elections %lu reads %lu installs %lu rotten %lu repairs "
      "%lu "
      "changes %lu quiet %lu without-leader %lu\n",
      count, steps, committed, elections, reads, installs, rotten, repairs, changes, quiet, empty);
  if (count >= 100) {  // a run in which nothing happened proves nothing
    EXPECT_GT(committed, count * 20);
    EXPECT_GT(elections, count / 2);
    EXPECT_GT(reads, count);
    EXPECT_LT(empty, count / 4);
    EXPECT_GT(installs, count / 10);
    EXPECT_GT(repairs, count / 5);
    EXPECT_GT(changes, count);
    EXPECT_GT(quiet, count);
  }
}

}  // namespace
}  // namespace kahuna::raft::testing
