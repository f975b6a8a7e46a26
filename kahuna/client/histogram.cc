#include "kahuna/client/histogram.h"

#include <algorithm>
#include <bit>

#include "runtime/check.h"

namespace kahuna::client {

size_t Histogram::bucket_of(uint64_t nanos) {
  if (nanos < kLinear) return nanos;
  // The leading one names the power of two, the next kLinearBits bits the part.
  const uint32_t power = static_cast<uint32_t>(std::bit_width(nanos)) - 1;
  const uint64_t part = nanos >> (power - kLinearBits) & (kLinear - 1);
  return (power - kLinearBits + 1) * kLinear + part;
}

uint64_t Histogram::last_of(size_t bucket) {
  if (bucket < kLinear) return bucket;
  const uint32_t shift = static_cast<uint32_t>(bucket / kLinear) - 1;
  const uint64_t first = (kLinear + bucket % kLinear) << shift;
  return first + ((uint64_t{1} << shift) - 1);
}

void Histogram::add(Duration value) {
  const auto nanos = static_cast<uint64_t>(std::max<int64_t>(value.nanos(), 0));
  ++buckets_[bucket_of(nanos)];
  ++count_;
  sum_ += nanos;
  max_ = std::max(max_, nanos);
}

void Histogram::merge(const Histogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

Duration Histogram::mean() const {
  return Duration::nanos(count_ == 0 ? 0 : static_cast<int64_t>(sum_ / count_));
}

Duration Histogram::percentile(uint64_t parts, uint64_t whole) const {
  CHECK_LE(parts, whole);
  CHECK_GE(whole, uint64_t{1});
  if (count_ == 0) return Duration();
  const auto wanted =
      static_cast<uint64_t>((static_cast<unsigned __int128>(count_) * parts + whole - 1) / whole);
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= std::max<uint64_t>(wanted, 1)) {
      return Duration::nanos(static_cast<int64_t>(std::min(last_of(i), max_)));
    }
  }
  return max();
}

}  // namespace kahuna::client
