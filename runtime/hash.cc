#include "runtime/hash.h"

#include <isa-l/crc.h>
#include <nmmintrin.h>

#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

// libxxhash's own, which picks the widest vectors of the machine; its header and the inlined one
// exclude each other.
extern "C" uint64_t XXH3_64bits_withSeed_dispatch(const void* bytes, size_t length, uint64_t seed);

namespace kahuna {
namespace {

// isa-l folds whole blocks of this much fast; below, and for the rest, one instruction a word wins.
constexpr size_t kFoldBytes = 256;
// Up to here the inlined hash takes its short paths; beyond, plain SSE2 is several times slower.
constexpr size_t kInlineHashBytes = 240;

uint32_t crc_words(const std::byte* data, size_t length, uint32_t state) {
  uint64_t wide = state;
  for (; length >= 8; data += 8, length -= 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  auto narrow = static_cast<uint32_t>(wide);
  for (; length > 0; ++data, --length)
    narrow = _mm_crc32_u8(narrow, static_cast<unsigned char>(*data));
  return narrow;
}

}  // namespace

uint32_t crc32c(ByteView bytes, uint32_t seed) {
  // Both work on the un-inverted register; the standard inverts before and after.
  uint32_t state = ~seed;
  const std::byte* data = bytes.data();
  size_t left = bytes.size();
  while (left >= kFoldBytes) {
    // Its length is an int: large inputs in pieces.
    int step = left > (1u << 30) ? (1 << 30) : static_cast<int>(left / kFoldBytes * kFoldBytes);
    state =
        crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<std::byte*>(data)), step, state);
    data += step;
    left -= static_cast<size_t>(step);
  }
  return ~crc_words(data, left, state);
}

uint64_t hash64(ByteView bytes, uint64_t seed) {
  if (bytes.size() <= kInlineHashBytes)
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
  return XXH3_64bits_withSeed_dispatch(bytes.data(), bytes.size(), seed);
}

}  // namespace kahuna
