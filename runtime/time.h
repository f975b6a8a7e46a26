// Time as types: Duration (a span), Time (a monotonic instant of one node), WallTime (calendar).
//
// 1. Monotonic instants of two nodes are not comparable; they never travel in messages.
// 2. No safety property may depend on WallTime (DESIGN §7).
// 3. Only a host (net/, sim/) may construct "now"; everybody else is handed one.
#pragma once

#include <compare>
#include <cstdint>

namespace kahuna {

// A signed span in nanoseconds; +-292 years.
class Duration {
 public:
  constexpr Duration() = default;
  static constexpr Duration nanos(int64_t n) { return Duration(n); }
  static constexpr Duration micros(int64_t n) { return Duration(n * 1'000); }
  static constexpr Duration millis(int64_t n) { return Duration(n * 1'000'000); }
  static constexpr Duration seconds(int64_t n) { return Duration(n * 1'000'000'000); }

  constexpr int64_t nanos() const { return ns_; }
  constexpr int64_t micros() const { return ns_ / 1'000; }
  constexpr int64_t millis() const { return ns_ / 1'000'000; }

  friend constexpr auto operator<=>(Duration, Duration) = default;
  friend constexpr Duration operator+(Duration a, Duration b) { return Duration(a.ns_ + b.ns_); }
  friend constexpr Duration operator-(Duration a, Duration b) { return Duration(a.ns_ - b.ns_); }
  friend constexpr Duration operator*(Duration a, int64_t k) { return Duration(a.ns_ * k); }
  friend constexpr Duration operator/(Duration a, int64_t k) { return Duration(a.ns_ / k); }

 private:
  explicit constexpr Duration(int64_t ns) : ns_(ns) {}
  int64_t ns_ = 0;
};

namespace detail {
// An instant on one clock, in nanoseconds since that clock's origin. Tag keeps clocks apart.
template <class Tag>
class Instant {
 public:
  constexpr Instant() = default;
  static constexpr Instant from_nanos(int64_t n) { return Instant(n); }
  static constexpr Instant max() { return Instant(INT64_MAX); }

  constexpr int64_t nanos() const { return ns_; }

  friend constexpr auto operator<=>(Instant, Instant) = default;
  friend constexpr Instant operator+(Instant t, Duration d) { return Instant(t.ns_ + d.nanos()); }
  friend constexpr Instant operator-(Instant t, Duration d) { return Instant(t.ns_ - d.nanos()); }
  friend constexpr Duration operator-(Instant a, Instant b) {
    return Duration::nanos(a.ns_ - b.ns_);
  }

 private:
  explicit constexpr Instant(int64_t ns) : ns_(ns) {}
  int64_t ns_ = 0;
};
}  // namespace detail

// Monotonic; origin arbitrary per node; Time::max() means "never".
using Time = detail::Instant<struct MonotonicClockTag>;
// Since 1970-01-01 UTC; may step in both directions.
using WallTime = detail::Instant<struct WallClockTag>;

namespace literals {
constexpr Duration operator""_ns(unsigned long long n) {
  return Duration::nanos(int64_t(n));
}
constexpr Duration operator""_us(unsigned long long n) {
  return Duration::micros(int64_t(n));
}
constexpr Duration operator""_ms(unsigned long long n) {
  return Duration::millis(int64_t(n));
}
constexpr Duration operator""_s(unsigned long long n) {
  return Duration::seconds(int64_t(n));
}
}  // namespace literals

}  // namespace kahuna
