#include "sim/fault_atlas.h"

#include <gtest/gtest.h>

namespace kahuna::sim {
namespace {

using Mode = FaultAtlas::Mode;

std::vector<journal::RangeItem> entries(uint64_t group, uint64_t first, uint64_t last) {
  return {{.group = group, .term = 1, .first = first, .last = last}};
}

TEST(FaultAtlas, SparesAMajorityOfNodes) {
  FaultAtlas atlas(Mode::kNodes, 5);
  EXPECT_TRUE(atlas.take(4));
  EXPECT_TRUE(atlas.take_memory(0));
  EXPECT_FALSE(atlas.take(1));
  EXPECT_FALSE(atlas.take_entries(2, entries(1, 1, 1)));
  EXPECT_TRUE(atlas.take(4));
  EXPECT_TRUE(atlas.take_entries(0, entries(1, 1, 1)));
}

TEST(FaultAtlas, SparesAMajorityOfCopiesOfEveryEntry) {
  FaultAtlas atlas(Mode::kPlaces, 3);
  EXPECT_FALSE(atlas.take(0));
  EXPECT_FALSE(atlas.take_memory(0));
  EXPECT_TRUE(atlas.take_entries(0, entries(1, 5, 9)));
  EXPECT_TRUE(atlas.take_entries(0, entries(1, 7, 12)));
  EXPECT_FALSE(atlas.take_entries(1, entries(1, 12, 20)));
  EXPECT_TRUE(atlas.take_entries(1, entries(1, 13, 20)));
  EXPECT_TRUE(atlas.take_entries(1, entries(2, 5, 9)));
  EXPECT_FALSE(atlas.take_entries(2, entries(1, 1, 30)));
  EXPECT_TRUE(atlas.take_entries(2, entries(1, 1, 4)));
}

TEST(FaultAtlas, WithoutOneSomebodyRemembers) {
  FaultAtlas atlas(Mode::kOff, 3);
  for (size_t node = 0; node < 3; ++node) EXPECT_TRUE(atlas.take(node));
  EXPECT_TRUE(atlas.take_memory(2));
  EXPECT_TRUE(atlas.take_memory(1));
  EXPECT_FALSE(atlas.take_memory(0));
}

}  // namespace
}  // namespace kahuna::sim
