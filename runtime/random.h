// Counter-based random streams, split by name: value k of a stream depends only on (seed, domain,
// entity, k), so one more draw here never shifts the draws elsewhere. Not for secrets.
//
// No std:: distributions: their results differ between libraries.
#pragma once

#include <cstdint>
#include <string_view>

namespace kahuna {

namespace detail {
constexpr uint64_t finalize(uint64_t x) {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  x ^= x >> 32;
  return x;
}
constexpr uint64_t name_hash(std::string_view name) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return finalize(h);
}
}  // namespace detail

class RandomStream {
 public:
  constexpr RandomStream() = default;
  constexpr RandomStream(uint64_t seed, std::string_view domain, uint64_t entity = 0)
      : key_(detail::finalize(detail::finalize(seed + 0x9e3779b97f4a7c15ull) ^
                              detail::name_hash(domain) ^
                              detail::finalize(entity * 0xff51afd7ed558ccdull + 1))) {}

  constexpr uint64_t next() {
    return detail::finalize(key_ ^ detail::finalize(++counter_ * 0x9e3779b97f4a7c15ull));
  }
  // Uniform in [0, bound); bound >= 1. Multiply-shift; the bias is below 2^-32 for bounds < 2^32.
  constexpr uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
  // Uniform in [low, high]; both inclusive, low <= high.
  constexpr uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  // True with probability parts / whole.
  constexpr bool chance(uint64_t parts, uint64_t whole) { return below(whole) < parts; }
  // A child stream whose draws are independent of this one's, and do not advance it.
  constexpr RandomStream split(std::string_view domain, uint64_t entity = 0) const {
    return RandomStream(key_, domain, entity);
  }

 private:
  uint64_t key_ = 0;
  uint64_t counter_ = 0;
};

}  // namespace kahuna
