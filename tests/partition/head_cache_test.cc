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
  cache.collect([](std::string_view, const Head&) {});
  EXPECT_EQ(cache.entries(), 6u);
  cache.write("c", head_at('c'));
  cache.saved();
  EXPECT_EQ(cache.entries(), 2u);
  EXPECT_NE(cache.find("c"), nullptr);
}

TEST(HeadCache, EvictsPastWhatIsPinned) {
  HeadCache cache({.entries = 2});
  cache.write("pinned", head_at(1));
  for (char c = 'a'; c < 'g'; ++c) cache.add(std::string(1, c), head_at(uint64_t(c)));
  EXPECT_EQ(cache.entries(), 2u);
  EXPECT_NE(cache.find("pinned"), nullptr);
  EXPECT_NE(cache.find("f"), nullptr);
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
    HeadCache cache({.entries = *rc::gen::inRange<size_t>(1, 20)}, *rc::gen::arbitrary<uint64_t>());
    std::map<std::string, uint64_t> latest, unsaved, saving;
    for (uint64_t step = 1; step < 300; ++step) {
      std::string position = std::to_string(*rc::gen::inRange(0, 40));
      switch (*rc::gen::inRange(0, 4)) {
        case 0:
          cache.write(position, head_at(step));
          latest[position] = unsaved[position] = step;
          break;
        case 1:
          if (*rc::gen::inRange(0, 3) == 0 && saving.empty()) {
            cache.collect([&](std::string_view p, const Head& head) {
              saving[std::string(p)] = head.stamp.value();
            });
            RC_ASSERT(saving == unsaved);
            unsaved.clear();
          } else if (*rc::gen::inRange(0, 3) == 0 && !saving.empty()) {
            cache.saved();
            saving.clear();
          }
          break;
        default: {
          const Head* found = cache.find(position);
          if (found) {
            RC_ASSERT(found->stamp == Watermark(latest[position]));
          } else {
            RC_ASSERT(!unsaved.contains(position) && !saving.contains(position));
            cache.add(position, head_at(latest[position]));
          }
        }
      }
      size_t visited = 0;
      cache.for_each_pinned([&](std::string_view p, const Head& head) {
        ++visited;
        RC_ASSERT(head.stamp == Watermark(latest.at(std::string(p))));
        RC_ASSERT(unsaved.contains(std::string(p)) || saving.contains(std::string(p)));
      });
      for (const auto& [p, stamp] : saving) visited -= unsaved.contains(p) ? 0 : 1;
      RC_ASSERT(visited == unsaved.size());
    }
  }));
}

}  // namespace
}  // namespace kahuna::partition
