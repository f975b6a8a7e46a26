// The small values of runtime/: addresses, hashes, payloads, random streams, errors.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/hash.h"
#include "runtime/host.h"
#include "runtime/random.h"
#include "runtime/time.h"

namespace kahuna {
namespace {

TEST(Hash, Crc32cMatchesTheRfc) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\0'))), 0x8a9136aau);
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\xff'))), 0x62a8ab43u);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Hash, Crc32cOfEveryLengthIsThatOfItsBytes) {
  std::string text;
  uint32_t bytewise = 0;
  for (size_t i = 0; i < 1500; ++i) {
    text.push_back(static_cast<char>(i * 7 + i / 256));
    bytewise = crc32c(as_bytes(text).last(1), bytewise);
    ASSERT_EQ(crc32c(as_bytes(text)), bytewise) << text.size();
  }
}

RC_GTEST_PROP(HashProperty, Crc32cContinues, (const std::string& a, const std::string& b)) {
  RC_ASSERT(crc32c(as_bytes(b), crc32c(as_bytes(a))) == crc32c(as_bytes(a + b)));
}

TEST(Hash, ValuesAreStable) {
  EXPECT_EQ(hash64(as_bytes("kahuna")), 0x09c2aeeb3b0d6e98ull);
  std::string text;
  for (size_t i = 0; i < 5000; ++i) text.push_back(static_cast<char>(i * 7 + i / 256));
  EXPECT_EQ(hash64(as_bytes(text).first(240)), 0x4917a75c0ef8eed7ull);
  EXPECT_EQ(hash64(as_bytes(text).first(241)), 0x541b19226f0052e8ull);
  EXPECT_EQ(hash64(as_bytes(text)), 0xed0146266d138bd8ull);
  EXPECT_EQ(hash64(as_bytes(text), 42), 0xc5ba4aafdde96f7cull);
  Hash128 h;
  h.add(1);
  h.add(as_bytes("kahuna"));
  EXPECT_EQ(h.low(), 0x89ae37bccefee54aull);
  EXPECT_EQ(h.high(), 0x77d289731e0b1299ull);
}

TEST(Hash, OrderAndLengthMatter) {
  auto of = [](std::vector<std::string> parts) {
    Hash128 h;
    for (const auto& p : parts) h.add(as_bytes(p));
    return h;
  };
  EXPECT_EQ(of({"a", "b"}), of({"a", "b"}));
  EXPECT_NE(of({"a", "b"}), of({"b", "a"}));
  EXPECT_NE(of({"ab", ""}), of({"a", "b"}));
}

TEST(Payload, SharesOneAlignedCopy) {
  Payload a("hello");
  Payload b = a;
  EXPECT_EQ(a.data(), b.data());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data()) % 8, 0u);
  Payload c = std::move(a);
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(c.text(), "hello");
  b = c;
  c = Payload();
  EXPECT_EQ(b.text(), "hello");
  EXPECT_EQ(Payload(), Payload(std::string_view()));
}

// A stream's values are fixed forever: seeds in bug reports depend on them.
TEST(Random, StreamsAreStable) {
  RandomStream r(1, "golden", 7);
  for (uint64_t expected : {0xea9d527d8ba79a3full, 0xfcee3d174040d607ull, 0x0147e35c3724e968ull})
    EXPECT_EQ(r.next(), expected);
  RandomStream child = r.split("child", 2);
  EXPECT_EQ(child.next(), 0x17f8f43de0021a54ull);
  EXPECT_EQ(r.below(1000), 432u);
  static_assert(RandomStream(1, "a").next() != RandomStream(1, "b").next());
  static_assert(RandomStream(1, "a", 1).next() != RandomStream(1, "a", 2).next());
  static_assert(RandomStream(1, "a").next() != RandomStream(2, "a").next());
}

RC_GTEST_PROP(RandomProperty, DrawsStayInBounds, (uint64_t seed, uint64_t a, uint64_t b)) {
  RandomStream r(seed, "bounds");
  uint64_t low = std::min(a, b), high = std::max(a, b);
  if (high - low == UINT64_MAX) return;
  for (int i = 0; i < 20; ++i) {
    uint64_t v = r.between(low, high);
    RC_ASSERT(v >= low && v <= high);
  }
  RC_ASSERT(!r.chance(0, 10));
  RC_ASSERT(r.chance(10, 10));
}

RC_GTEST_PROP(RandomProperty, SplitsDoNotDisturbTheParent, (uint64_t seed, uint64_t entity)) {
  RandomStream plain(seed, "p"), splitting(seed, "p");
  RandomStream child = splitting.split("child", entity);
  child.next();
  RC_ASSERT(plain.next() == splitting.next());
  RC_ASSERT(splitting.split("child", entity).next() ==
            RandomStream(seed, "p").split("child", entity).next());
}

TEST(Random, LooksUniform) {
  RandomStream r(42, "uniform");
  std::vector<int> buckets(16);
  for (int i = 0; i < 160'000; ++i) ++buckets[r.below(16)];
  for (int count : buckets) EXPECT_NEAR(count, 10'000, 500);
}

TEST(Address, ParsesAndPrints) {
  for (std::string text : {"127.0.0.1:2073", "[::1]:2073", "name.example:0", "h:65535"})
    EXPECT_EQ(to_string(parse_address(text).value()), text);
  for (std::string text : {"", "127.0.0.1", ":1", "h:", "h:65536", "h:1x", "::1:2073", "[::1:2073"})
    EXPECT_EQ(parse_address(text).error().code, ErrorCode::kInvalid) << text;
}

TEST(Error, UnknownOutcomesAreNeverReportedAsNo) {
  EXPECT_EQ(did_it_happen(ErrorCode::kUnknown), Happened::kUnknown);
  EXPECT_EQ(did_it_happen(ErrorCode::kTooOld), Happened::kUnknown);
  EXPECT_EQ(did_it_happen(ErrorCode::kOverloaded), Happened::kNo);
  std::set<std::string_view> names;
  for (int code = 0; code <= 17; ++code)
    EXPECT_TRUE(names.insert(name_of(static_cast<ErrorCode>(code))).second);
}

Result<int> half(int n) {
  if (n % 2) return fail(ErrorCode::kInvalid, "odd");
  return n / 2;
}
Result<int> quarter(int n) {
  ASSIGN_OR_RETURN(int h, half(n));
  RETURN_IF_ERROR(half(h));
  return half(h);
}
TEST(Error, MacrosPassErrorsOn) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error().text, "odd");
  EXPECT_EQ(quarter(7).error().code, ErrorCode::kInvalid);
}

TEST(CheckDeathTest, PrintsOperands) {
  EXPECT_DEATH(CHECK_EQ(1 + 1, 3), "1 \\+ 1 == 3.*2 vs 3");
  EXPECT_DEATH(CHECK(false && "why"), "why");
}

}  // namespace
}  // namespace kahuna
