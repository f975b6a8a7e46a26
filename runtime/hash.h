// Checksums and hashes. All are stable across processes, builds and machines: they are persisted.
#pragma once

#include <cstdint>

#include "runtime/bytes.h"

namespace kahuna {

// CRC-32C (Castagnoli), RFC 3720 appendix B.4: crc32c("123456789") == 0xe3069283.
// `seed` is the checksum of the bytes before these, so that crc32c(b, crc32c(a)) == crc32c(a+b).
uint32_t crc32c(ByteView bytes, uint32_t seed = 0);

// XXH3, 64 bits. For placing keys; in tables that clients fill, with a seed that they do not know.
uint64_t hash64(ByteView bytes, uint64_t seed = 0);

// A running 128-bit hash, for traces. Order matters.
class Hash128 {
 public:
  void add(uint64_t word) {
    low_ = mix(low_ ^ word, 0x9e3779b97f4a7c15ull);
    high_ = mix(high_ + word, 0xbf58476d1ce4e5b9ull) + low_;
  }
  void add(ByteView bytes) {
    add(bytes.size());
    add(hash64(bytes));
  }
  uint64_t low() const { return low_; }
  uint64_t high() const { return high_; }
  friend bool operator==(const Hash128&, const Hash128&) = default;

 private:
  static uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = static_cast<unsigned __int128>(a ^ 0x2d358dccaa6c78a5ull) * (b | 1);
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }
  uint64_t low_ = 0x243f6a8885a308d3ull;
  uint64_t high_ = 0x13198a2e03707344ull;
};

}  // namespace kahuna
