// Planted bugs of the simulated host. Only in builds with KAHUNA_MUTANTS.
#ifdef KAHUNA_MUTANTS

#include <gtest/gtest.h>

#include "runtime/probe.h"
#include "tests/sim_world/fixture.h"

namespace kahuna::sim {
namespace {

// A write completes after its file was closed.
int completions_after_close() {
  World world(1, calm());
  NodeHandle node = world.add_node("n");
  world.start(node);
  auto file = open_file(world, node, "f", kCreate);
  int completed = 0;
  file->write_at(0, as_bytes("kept"), [&](auto) { ++completed; });
  file.reset();
  world.run_until(world.now() + Duration::seconds(1));
  return completed;
}

TEST(SimMutant, ACompletionForAClosedFileIsDelivered) {
  EXPECT_EQ(completions_after_close(), 0);
  set_active_mutant("completion_after_close");
  int completed = completions_after_close();
  set_active_mutant("");
  EXPECT_EQ(completed, 1);
}

}  // namespace
}  // namespace kahuna::sim

#endif  // KAHUNA_MUTANTS
