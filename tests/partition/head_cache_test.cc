#include "kahuna/partition/head_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>

namespace kahuna::partition {
namespace {

Head head_at(uint64_t stamp) {
  return {.alive = true, .stamp = Watermark(stamp)};
}

TEST(HeadCache, EvictsTheLeastRecentlyUsed) {
  HeadCache cache({.entries = 2});
  cache.add("a", head_at(1));
  cache.add("b", head_at(2));
  EXPECT_NE(cache.find("a"), nullptr);
  cache.add("c", head_at(3));
  EXPECT_EQ(cache.find("b"), nullptr);
  EXPECT_NE(cache.find("a"), nullptr);
  EXPECT_NE(cache.find("c"), nullptr);
}

TEST(HeadCache, NeverEvictsWhatIsPinned) {
  HeadCache cache({.entries = 2});
  for (char c = 'a'; c < 'g'; ++c) cache.write(std::string(1, c), head_at(uint64_t(c)));
  EXPECT_EQ(cache.entries(), 6u);
  for (char c = 'a'; c < 'g'; ++c) EXPECT_NE(cache.find(std::string(1, c)), nullptr);
  cache.unpin_all();
  EXPECT_EQ(cache.entries(), 2u);
  EXPECT_NE(cache.find("f"), nullptr);
  EXPECT_EQ(cache.find("a"), nullptr);
}

TEST(HeadCache, CountsBytes) {
  HeadCache cache({.bytes = 4000});
  Head large = head_at(1);
  large.holder = Payload(std::string_view(std::string(3000, 'x')));
  cache.add("a", large);
  cache.add("b", large);
  EXPECT_EQ(cache.entries(), 1u);
  EXPECT_EQ(cache.find("a"), nullptr);
  EXPECT_NE(cache.find("b"), nullptr);
}

// Whatever is evicted, what is found is the latest.
TEST(HeadCache, FindsOnlyTheLatest) {
  ASSERT_TRUE(rc::check([] {
    HeadCache cache({.entries = *rc::gen::inRange<size_t>(1, 20)});
    std::map<std::string, uint64_t> latest, pinned;
    for (uint64_t step = 1; step < 300; ++step) {
      std::string position = std::to_string(*rc::gen::inRange(0, 40));
      switch (*rc::gen::inRange(0, 4)) {
        case 0:
          cache.write(position, head_at(step));
          latest[position] = pinned[position] = step;
          break;
        case 1:
          if (*rc::gen::inRange(0, 5) == 0) {
            cache.unpin_all();
            pinned.clear();
          }
          break;
        default: {
          const Head* found = cache.find(position);
          if (found) {
            RC_ASSERT(found->stamp == Watermark(latest[position]));
          } else {
            RC_ASSERT(!pinned.contains(position));
            cache.add(position, head_at(latest[position]));
          }
        }
      }
      size_t visited = 0;
      cache.for_each_pinned([&](std::string_view p, const Head& head) {
        ++visited;
        RC_ASSERT(head.stamp == Watermark(pinned.at(std::string(p))));
      });
      RC_ASSERT(visited == pinned.size());
    }
  }));
}

}  // namespace
}  // namespace kahuna::partition
