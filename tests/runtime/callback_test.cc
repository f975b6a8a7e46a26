#include "runtime/callback.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <memory>
#include <vector>

namespace kahuna {
namespace {

TEST(Callback, EmptyIsFalse) {
  Callback<void()> none;
  EXPECT_FALSE(none);
  Callback<void()> null = nullptr;
  EXPECT_FALSE(null);
}

TEST(Callback, CallsInlineAndHeapCaptures) {
  std::array<int, 4> small{1, 2, 3, 4};
  std::array<int, 64> large{};
  large[63] = 9;
  Callback<int(int)> a = [small](int i) { return small[3] + i; };
  Callback<int(int)> b = [large](int i) { return large[63] + i; };
  EXPECT_EQ(a(1), 5);
  EXPECT_EQ(b(1), 10);
}

TEST(Callback, MovesMoveOnlyCapturesAndArguments) {
  Callback<int(std::unique_ptr<int>)> f = [p = std::make_unique<int>(2)](std::unique_ptr<int> q) {
    return *p * *q;
  };
  Callback<int(std::unique_ptr<int>)> g = std::move(f);
  EXPECT_FALSE(f);
  EXPECT_EQ(g(std::make_unique<int>(21)), 42);
}

struct Counter {
  int* live;
  explicit Counter(int* l) : live(l) { ++*live; }
  Counter(const Counter& o) : live(o.live) { ++*live; }
  Counter(Counter&& o) noexcept : live(o.live) { ++*live; }
  ~Counter() { --*live; }
};

// Captures live exactly as long as some callback holds them, whatever moves happen.
RC_GTEST_PROP(CallbackProperty, CapturesDieOnce, (const std::vector<uint8_t>& script)) {
  int live = 0;
  size_t holding = 0;
  {
    std::array<Callback<int()>, 4> slots;
    for (size_t i = 0; i < script.size(); ++i) {
      size_t from = script[i] & 3, to = (script[i] >> 2) & 3;
      switch ((script[i] >> 4) & 3) {
        case 0: slots[to] = [c = Counter(&live)] { return *c.live; }; break;
        case 1: {
          std::array<char, 100> big{};
          slots[to] = [c = Counter(&live), big] { return *c.live + big[0]; };
          break;
        }
        case 2: slots[to] = std::move(slots[from]); break;
        case 3: slots[to].reset(); break;
      }
      holding = 0;
      for (auto& slot : slots) holding += slot ? 1 : 0;
      RC_ASSERT(static_cast<size_t>(live) == holding);
      for (auto& slot : slots)
        if (slot) RC_ASSERT(slot() == live);
    }
  }
  RC_ASSERT(live == 0);
}

}  // namespace
}  // namespace kahuna
