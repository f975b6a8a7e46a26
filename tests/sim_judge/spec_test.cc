#include "sim/spec.h"

#include <gtest/gtest.h>

namespace kahuna::sim {
namespace {

TEST(Spec, DrawsDependOnTheNameOnly) {
  Spec a(7), b(7);
  uint64_t first = a.number("x", 0, 1'000'000);
  b.number("y", 0, 1'000'000);
  EXPECT_EQ(b.number("x", 0, 1'000'000), first);
  Spec other(8);
  EXPECT_NE(other.number("x", 0, 1'000'000), first);
}

TEST(Spec, PinsWinAndShiftNothing) {
  Spec free(7), pinned(7);
  ASSERT_TRUE(pinned.pin_all("x=5,on=off,when=250ms,which=b"));
  uint64_t y = free.number("y", 0, 1'000'000);
  EXPECT_EQ(pinned.number("x", 0, 1), 5u);
  EXPECT_EQ(pinned.number("y", 0, 1'000'000), y);
  EXPECT_FALSE(pinned.flag("on", 1, 1));
  EXPECT_EQ(pinned.duration("when", Duration(), Duration::seconds(1)), Duration::millis(250));
  EXPECT_EQ(pinned.choice("which", {{"a", 1}, {"b", 0}}), "b");
  EXPECT_TRUE(pinned.verify());
  EXPECT_NE(pinned.describe().find("x=5"), std::string::npos);
}

TEST(Spec, SaysWhichPinIsWrong) {
  Spec unknown(1);
  ASSERT_TRUE(unknown.pin_all("colour=red"));
  unknown.number("x", 0, 9);
  auto verified = unknown.verify();
  ASSERT_FALSE(verified);
  EXPECT_NE(verified.error().text.find("colour"), std::string::npos);
  EXPECT_NE(verified.error().text.find("x"), std::string::npos);

  Spec bad(1);
  ASSERT_TRUE(bad.pin_all("x=many"));
  bad.number("x", 0, 9);
  EXPECT_FALSE(bad.verify());
  EXPECT_FALSE(bad.pin_all("novalue"));
}

TEST(Spec, RangesAndLogarithmsStayInside) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    Spec spec(seed);
    uint64_t n = spec.number_log("n", 3, 1000);
    EXPECT_GE(n, 3u);
    EXPECT_LE(n, 1000u);
    Duration d = spec.duration_log("d", Duration::millis(1), Duration::seconds(1));
    EXPECT_GE(d, Duration::millis(1));
    EXPECT_LE(d, Duration::seconds(1));
    EXPECT_NE(spec.pick("p", {{1, 1}, {2, 0}, {3, 1}}), 2u);
  }
}

TEST(Spec, ParsesTimesNumbersAndRanges) {
  EXPECT_EQ(parse_duration("60s"), Duration::seconds(60));
  EXPECT_EQ(parse_duration("60"), Duration::seconds(60));
  EXPECT_EQ(parse_duration("2m"), Duration::seconds(120));
  EXPECT_EQ(parse_duration("5us"), Duration::micros(5));
  EXPECT_FALSE(parse_duration("soon"));
  EXPECT_FALSE(parse_duration("99999999999999999h"));
  EXPECT_FALSE(parse_number("-1"));
  EXPECT_FALSE(parse_number(""));
  EXPECT_EQ(parse_range("3..9")->last, 9u);
  EXPECT_EQ(parse_range("3")->last, 3u);
  EXPECT_FALSE(parse_range("9..3"));
  for (Duration d : {Duration::nanos(7), Duration::micros(40), Duration::seconds(3)})
    EXPECT_EQ(parse_duration(to_string(d)), d);
}

}  // namespace
}  // namespace kahuna::sim
