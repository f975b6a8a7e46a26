// Latencies in logarithmic buckets of linear parts: a fixed 58 KiB, at most 1/128 off, any value.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "runtime/time.h"

namespace kahuna::client {

class Histogram {
 public:
  // Negative durations count as zero.
  void add(Duration value);
  void merge(const Histogram& other);
  void clear() { *this = Histogram(); }

  uint64_t count() const { return count_; }
  Duration max() const { return Duration::nanos(static_cast<int64_t>(max_)); }
  Duration mean() const;
  // The smallest recorded value (rounded up to its bucket's end, never past max()) that at least
  // `parts` out of `whole` values do not exceed; whole >= 1, parts <= whole. Zero when empty.
  Duration percentile(uint64_t parts, uint64_t whole) const;

 private:
  static constexpr uint32_t kLinearBits = 7;  // 128 parts per power of two
  static constexpr size_t kLinear = size_t{1} << kLinearBits;
  static constexpr size_t kBuckets = (64 - kLinearBits + 1) * kLinear;

  static size_t bucket_of(uint64_t nanos);
  static uint64_t last_of(size_t bucket);

  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0, sum_ = 0, max_ = 0;
};

}  // namespace kahuna::client
