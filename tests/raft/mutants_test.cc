// Proves the checker: every planted bug of raft/ must be caught by the random runs within a stated
// number of seeds. Only in builds with KAHUNA_MUTANTS.
#ifdef KAHUNA_MUTANTS

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "runtime/probe.h"
#include "tests/raft/random_run.h"
#include "tests/raft/solo.h"

namespace kahuna::raft::testing {
namespace {

struct Mutant {
  const char* name;
  uint64_t seeds_max;  // about ten times what it took when this was written
};

const Mutant kMutants[] = {
    {"vote_not_persisted", 1000},
    {"candidate_counts_unsynced_vote", 1000},
    {"vote_twice", 100},
    {"grant_stale_log", 100},
    {"stepdown_ignored", 500},
    {"commit_old_term_by_count", 100},
    {"commit_minority", 100},
    {"leader_counts_itself_unsynced", 100},
    {"ack_before_sync", 100},
    {"ack_ignores_unsynced_term", 20000},
    {"overwritten_write_counts", 1000},
    {"no_truncate_on_conflict", 100},
    {"skip_prev_term_check", 500},
    {"commit_beyond_match", 500},
    {"heartbeat_from_stale_term", 5000},
    {"stale_leader_read", 1000},
    {"read_before_own_term", 200},
    {"stateless_applies", 500},
    {"stateless_campaigns", 20000},
    {"restore_drops_the_log", 5000},
    {"faulty_counts_as_never_had", 5000},
    {"faulty_counts_as_present", 1000},
    {"faulty_campaigns", 5000},
    {"repair_ignores_term", 20000},
    {"repaired_entries_cut_the_log", 20000},
    {"lost_entries_discarded_by_one", 20000},
    {"lost_counts_as_never_had", 20000},
    {"compacted_counts_as_never_had", 20000},
    {"hands_over_to_the_stale", 500},
    {"serves_after_handing_over", 500},
    {"transfer_resumes", 5000},
    {"lease_ignores_drift", 20000},
    {"lease_kept_after_handing_over", 5000},
    {"lease_read_waits_for_nothing", 500},
    {"restarted_voter_forgets_promise", 20000},
    {"promise_binds_no_vote", 20000},
    {"joint_asks_only_the_new", 1000},
    {"learner_counts", 1000},
    {"configuration_from_commit", 1000},
    {"removed_campaigns", 20000},
    {"second_change_at_once", 1000},
    {"change_before_own_term", 1000},
    {"quiet_without_the_behind", 1000},
    {"quiet_although_behind", 1000},
};

class RaftMutants : public ::testing::TestWithParam<Mutant> {};

// A CHECK that fires counts as caught, hence the child process. It exits 0 when the mutant
// survives.
TEST_P(RaftMutants, IsCaught) {
  Mutant mutant = GetParam();
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    set_active_mutant(mutant.name);
    for (uint64_t seed = 1; seed <= mutant.seeds_max; ++seed) {
      RunResult result = run_seed(seed);
      if (result.violation.empty() && !result.stalled) continue;
      std::printf("  seed %lu: %s\n", seed, result.stalled ? "stalled" : result.violation.c_str());
      std::fflush(stdout);
      _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  bool caught = WIFSIGNALED(status) || WEXITSTATUS(status) == 1;
  EXPECT_TRUE(caught) << mutant.name << " survived " << mutant.seeds_max << " seeds";
}

INSTANTIATE_TEST_SUITE_P(All, RaftMutants, ::testing::ValuesIn(kMutants),
                         [](const auto& info) { return std::string(info.param.name); });

// Not bugs of safety: the unit tests named in raft/README.md would fail with them.
TEST(RaftMutant, WithoutPreVoteAnIsolatedReplicaRaisesItsTerm) {
  set_active_mutant("prevote_ignored");
  Solo solo;
  for (int i = 0; i < 5; ++i) {
    solo.fire();
    solo.drain();
  }
  set_active_mutant("");
  EXPECT_GT(solo->term(), Term(3));
}

TEST(RaftMutant, WithoutCheckQuorumAnIsolatedLeaderStays) {
  Solo solo;
  solo.lead();
  set_active_mutant("no_check_quorum");
  for (int i = 0; i < 100; ++i) solo.fire();
  set_active_mutant("");
  EXPECT_EQ(solo->role(), Role::kLeader);
}

}  // namespace
}  // namespace kahuna::raft::testing

#endif  // KAHUNA_MUTANTS
