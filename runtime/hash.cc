#include "runtime/hash.h"

#include <isa-l/crc.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace kahuna {

uint32_t crc32c(ByteView bytes, uint32_t seed) {
  // isa-l works on the un-inverted register; the standard inverts before and after.
  auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
  // Its length is an int: feed large inputs in pieces.
  uint32_t state = ~seed;
  size_t left = bytes.size();
  while (left > 0) {
    int step = left > (1u << 30) ? (1 << 30) : static_cast<int>(left);
    state = crc32_iscsi(data, step, state);
    data += step;
    left -= static_cast<size_t>(step);
  }
  return ~state;
}

uint64_t hash64(ByteView bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace kahuna
