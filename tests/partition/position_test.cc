#include "kahuna/partition/position.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace kahuna::partition {
namespace {

TEST(Position, SpaceIsTheTextBeforeTheLastSlash) {
  EXPECT_EQ(space_of("svc/a"), "svc");
  EXPECT_EQ(space_of("svc/sub/a"), "svc/sub");
  EXPECT_EQ(space_of("svc"), "svc");
  EXPECT_EQ(space_of("/a"), "");
  EXPECT_EQ(space_of("svc/"), "svc");
}

TEST(Position, HasTheDocumentedLayout) {
  std::string position = position_of("k");
  ASSERT_EQ(position.size(), 1 + 1 + 8 + 1 + 2u);
  EXPECT_EQ(position.substr(0, 2), std::string("\x00\x01", 2));
  EXPECT_EQ(position.substr(10), std::string("k\x00\x01", 3));
}

RC_GTEST_PROP(Position, GivesItsKeyBack, (std::string key)) {
  RC_ASSERT(key_of(position_of(key)) == key);
}

// Small alphabet, so that prefixes, slashes and escapes meet.
rc::Gen<std::string> awkward_key() {
  return rc::gen::container<std::string>(rc::gen::elementOf(std::string("a/\x00\x01\xff", 5)));
}

RC_GTEST_PROP(Position, OrdersAsKeysDoInsideOneSpace, ()) {
  auto leaf = rc::gen::container<std::string>(rc::gen::elementOf(std::string("a\x00\x01\xff", 4)));
  auto a = "b/" + *leaf, b = "b/" + *leaf;
  RC_ASSERT((position_of(a) < position_of(b)) == (a < b));
}

RC_GTEST_PROP(Position, IsNeverAPrefixOfAnother, ()) {
  auto a = *awkward_key(), b = *awkward_key();
  RC_PRE(a != b);
  RC_ASSERT(!position_of(a).starts_with(position_of(b)));
  RC_ASSERT(position_of(a) != position_of(b));
}

RC_GTEST_PROP(Position, LiesInTheRangeOfItsSpace, ()) {
  auto key = *awkward_key();
  auto range = positions_of_space(space_of(key));
  RC_ASSERT(range.start <= position_of(key));
  RC_ASSERT(position_of(key) < range.end);
}

RC_GTEST_PROP(Position, KeyOfSurvivesAnyBytes, (std::string bytes)) {
  std::string key = key_of(bytes);
  RC_ASSERT(key.size() <= bytes.size());
  std::string prefixed = std::string("\x00\x01", 2) + bytes + std::string("\x00\x01", 2);
  RC_ASSERT(key_of(prefixed).size() <= prefixed.size());
}

RC_GTEST_PROP(FoundingDescriptors, TileTheSpaceInOrder, ()) {
  size_t count = *rc::gen::inRange<size_t>(1, 300);
  auto all = founding_descriptors(count);
  RC_ASSERT(all.size() == count + 1);
  RC_ASSERT(all.front().start.empty());
  RC_ASSERT(all.back().end.empty());
  for (size_t i = 0; i < all.size(); ++i) {
    RC_ASSERT(all[i].id == PartitionId(i));
    if (i > 0) RC_ASSERT(all[i].start == all[i - 1].end);
    if (i + 1 < all.size()) RC_ASSERT(all[i].start < all[i].end);
  }
  auto key = *rc::gen::arbitrary<std::string>();
  const Descriptor& owner = find_descriptor(all, position_of(key));
  RC_ASSERT(owner.id != PartitionId(0));
  RC_ASSERT(owner.contains(position_of(key)));
  RC_ASSERT(owner.contains(positions_of_space(space_of(key)).start));
}

TEST(FoundingDescriptors, MetaOwnsWhatIsBeforeAllKeys) {
  auto all = founding_descriptors(3);
  EXPECT_EQ(find_descriptor(all, "").id, PartitionId(0));
  EXPECT_EQ(find_descriptor(all, std::string("\x00\x00name", 6)).id, PartitionId(0));
  EXPECT_EQ(find_descriptor(all, "\xff").id, PartitionId(3));
}

}  // namespace
}  // namespace kahuna::partition
