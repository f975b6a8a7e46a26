#include "runtime/ring_queue.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <deque>
#include <memory>
#include <vector>

#include "runtime/counted.h"

namespace kahuna {
namespace {

RC_GTEST_PROP(RingQueueProperty, BehavesLikeADeque, (const std::vector<uint8_t>& script)) {
  RingQueue<std::unique_ptr<int>> queue;
  std::deque<int> model;
  int next = 0;
  for (uint8_t step : script) {
    if (step < 150) {
      queue.push_back(std::make_unique<int>(next));
      model.push_back(next++);
    } else if (step == 255) {
      queue.clear();
      model.clear();
    } else if (!model.empty()) {
      RC_ASSERT(*queue.pop_front() == model.front());
      model.pop_front();
    }
    RC_ASSERT(queue.size() == model.size());
    RC_ASSERT(queue.empty() == model.empty());
  }
}

struct Node : Counted {
  int* dead;
  CountedPtr<Node> next;
  explicit Node(int* d) : dead(d) {}
  ~Node() override { ++*dead; }
};

TEST(CountedPtr, DiesWithTheLast) {
  int dead = 0;
  auto a = make_counted<Node>(&dead);
  CountedPtr<Node> b = a, c = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_EQ(b, c);
  b = nullptr;
  EXPECT_EQ(dead, 0);
  c->next = make_counted<Node>(&dead);
  c = c->next;
  EXPECT_EQ(dead, 1);
  CountedPtr<Counted> base = c;
  c = nullptr;
  EXPECT_EQ(dead, 1);
  base = nullptr;
  EXPECT_EQ(dead, 2);
}

}  // namespace
}  // namespace kahuna
