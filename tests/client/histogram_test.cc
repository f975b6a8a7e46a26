#include "kahuna/client/histogram.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

namespace kahuna::client {
namespace {

TEST(Histogram, SmallValuesAreExact) {
  Histogram h;
  for (int64_t n = 1; n <= 100; ++n) h.add(Duration::nanos(n));
  EXPECT_EQ(h.percentile(50, 100), Duration::nanos(50));
  EXPECT_EQ(h.percentile(99, 100), Duration::nanos(99));
  EXPECT_EQ(h.percentile(0, 100), Duration::nanos(1));
  EXPECT_EQ(h.max(), Duration::nanos(100));
  EXPECT_EQ(h.mean(), Duration::nanos(50));
}

TEST(Histogram, EmptyIsZero) {
  EXPECT_EQ(Histogram().percentile(99, 100), Duration());
  EXPECT_EQ(Histogram().mean(), Duration());
}

TEST(Histogram, TakesTheExtremes) {
  Histogram h;
  h.add(Duration::nanos(-5));
  h.add(Duration::nanos(INT64_MAX));
  EXPECT_EQ(h.count(), 2u);
  EXPECT_EQ(h.percentile(1, 2), Duration());
  EXPECT_EQ(h.percentile(1, 1), Duration::nanos(INT64_MAX));
}

RC_GTEST_PROP(Histogram, PercentilesAreWithinOnePart, (std::vector<uint32_t> values)) {
  RC_PRE(!values.empty());
  Histogram whole, left, right;
  for (size_t i = 0; i < values.size(); ++i) {
    (i % 2 ? left : right).add(Duration::nanos(values[i]));
  }
  whole.merge(left);
  whole.merge(right);
  std::sort(values.begin(), values.end());
  for (const uint64_t parts : {1u, 500u, 990u, 999u, 1000u}) {
    const size_t rank = (values.size() * parts + 999) / 1000;
    const int64_t exact = values[std::max<size_t>(rank, 1) - 1];
    const int64_t got = whole.percentile(parts, 1000).nanos();
    RC_ASSERT(got >= exact);
    RC_ASSERT(got <= exact + exact / 128 + 1);
  }
}

}  // namespace
}  // namespace kahuna::client
