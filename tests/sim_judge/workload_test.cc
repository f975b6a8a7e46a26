#include "sim/workload.h"

#include <gtest/gtest.h>

namespace kahuna::sim {
namespace {

TEST(WorkloadValues, ComeBackAsTheirNumber) {
  for (ValueId value : {1, 2, 99, 123'456'789}) {
    for (size_t bytes : {size_t{0}, kValueBytesMin, size_t{1000}, size_t{70'001}}) {
      std::string text = value_bytes(value, bytes);
      EXPECT_GE(text.size(), kValueBytesMin);
      EXPECT_EQ(value_of(text), value);
    }
  }
  EXPECT_EQ(value_of(value_bytes(kBlank, 100)), kBlank);
}

TEST(WorkloadValues, ShowAnyDamage) {
  std::string text = value_bytes(7, 300);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_NE(value_of(damaged), 7) << i;
  }
  EXPECT_EQ(value_of(text.substr(0, 299)), kGarbage);
  EXPECT_EQ(value_of(text + "x"), kGarbage);
  EXPECT_EQ(value_of("something else that is long enough to be one of ours"), kGarbage);
}

TEST(WorkloadDraw, LeavesKindsOut) {
  int without_delete = 0, without_scan = 0, conditional = 0;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Spec spec(seed);
    Workload w = draw_workload(spec);
    EXPECT_GT(w.mix.set, 0u);
    without_delete += w.mix.remove == 0;
    without_scan += w.mix.scan == 0;
    conditional += w.mix.compare_value > 0;
  }
  EXPECT_GT(without_delete, 100);
  EXPECT_GT(without_scan, 150);
  EXPECT_GT(conditional, 150);
}

TEST(WorkloadDraw, CanBeRestricted) {
  Spec spec(3);
  Workload w = draw_workload(spec);
  ASSERT_TRUE(restrict_mix(w.mix, "set,scan"));
  EXPECT_GT(w.mix.set, 0u);
  EXPECT_GT(w.mix.scan, 0u);
  EXPECT_EQ(w.mix.get + w.mix.remove + w.mix.exists + w.mix.compare_value, 0u);
  EXPECT_FALSE(restrict_mix(w.mix, "dance"));
  EXPECT_FALSE(restrict_mix(w.mix, ""));
}

}  // namespace
}  // namespace kahuna::sim
