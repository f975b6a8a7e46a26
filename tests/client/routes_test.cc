#include "kahuna/client/routes.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "runtime/hash.h"

namespace kahuna::client {
namespace {

RouteCache::Route route(uint64_t first, uint64_t last, uint64_t generation, size_t node) {
  return {.first = first, .last = last, .generation = generation, .node = node};
}

TEST(Routes, HashesTheTextBeforeTheLastSlash) {
  EXPECT_EQ(hash_of_key("a/b/c"), hash64(as_bytes("a/b")));
  EXPECT_EQ(hash_of_key("plain"), hash64(as_bytes("plain")));
  EXPECT_EQ(hash_of_key("/x"), hash64(as_bytes("")));
  EXPECT_EQ(hash_of_key("a/b"), hash_of_space("a"));
}

TEST(Routes, FindsTheIntervalThatContainsAHash) {
  RouteCache cache;
  EXPECT_TRUE(cache.learn(route(10, 19, 1, 1)));
  EXPECT_TRUE(cache.learn(route(30, UINT64_MAX, 1, 2)));
  EXPECT_FALSE(cache.find(9));
  EXPECT_EQ(cache.find(10), 1u);
  EXPECT_EQ(cache.find(19), 1u);
  EXPECT_FALSE(cache.find(20));
  EXPECT_EQ(cache.find(UINT64_MAX), 2u);
}

TEST(Routes, ASplitCutsTheOlderInterval) {
  RouteCache cache;
  cache.learn(route(0, 99, 1, 1));
  EXPECT_TRUE(cache.learn(route(40, 59, 2, 2)));
  EXPECT_EQ(cache.find(39), 1u);
  EXPECT_EQ(cache.find(40), 2u);
  EXPECT_EQ(cache.find(59), 2u);
  EXPECT_EQ(cache.find(60), 1u);
  EXPECT_EQ(cache.size(), 3u);
}

TEST(Routes, AnOlderGenerationChangesNothing) {
  RouteCache cache;
  cache.learn(route(40, 59, 2, 2));
  EXPECT_FALSE(cache.learn(route(0, 99, 1, 1)));
  EXPECT_EQ(cache.find(50), 2u);
  EXPECT_FALSE(cache.find(10));
}

TEST(Routes, RefusesAnEmptyInterval) {
  RouteCache cache;
  EXPECT_FALSE(cache.learn(route(5, 4, 1, 1)));
}

TEST(Routes, ForgetsByHashAndByNode) {
  RouteCache cache;
  cache.learn(route(0, 9, 1, 1));
  cache.learn(route(10, 19, 1, 2));
  cache.learn(route(20, 29, 1, 1));
  cache.forget(15);
  EXPECT_FALSE(cache.find(15));
  cache.forget_node(1);
  EXPECT_EQ(cache.size(), 0u);
}

// The same answers as an array with one cell per position.
RC_GTEST_PROP(Routes, AgreesWithAnArray, ()) {
  struct Cell {
    uint64_t generation = 0;
    size_t node = 0;
  };
  std::vector<Cell> model(32);
  RouteCache cache;
  const auto steps = *rc::gen::inRange(1, 30);
  for (int i = 0; i < steps; ++i) {
    const uint64_t first = *rc::gen::inRange<uint64_t>(0, 32);
    const uint64_t last = *rc::gen::inRange<uint64_t>(first, 32);
    const uint64_t generation = *rc::gen::inRange<uint64_t>(1, 5);
    const size_t node = *rc::gen::inRange<size_t>(1, 4);
    bool newest = true;
    for (uint64_t p = first; p <= last; ++p) newest &= model[p].generation <= generation;
    if (newest) {
      for (uint64_t p = first; p <= last; ++p) model[p] = {generation, node};
    }
    RC_ASSERT(cache.learn(route(first, last, generation, node)) == newest);
    for (uint64_t p = 0; p < model.size(); ++p) {
      RC_ASSERT(cache.find(p).value_or(0) == model[p].node);
    }
  }
}

}  // namespace
}  // namespace kahuna::client
