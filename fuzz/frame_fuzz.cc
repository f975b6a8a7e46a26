// The frame reader against arbitrary bytes, cut into arbitrary pieces at arbitrary alignments.
//
// Input: the first byte seeds the cuts; the rest is the stream. What is checked:
// 1. The same stream gives the same frames and the same verdict however it is cut and aligned.
// 2. Payloads are 8-aligned; framing what was read gives back the bytes that were consumed, up to
//    padding bytes that are not zero.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "net/codec/frame.h"
#include "runtime/check.h"
#include "runtime/random.h"

namespace kahuna::codec {
namespace {

struct Outcome {
  std::vector<std::pair<FrameKind, std::string>> frames;
  bool sound = true;
};

Outcome read(ByteView stream, RandomStream* cuts) {
  Outcome outcome;
  FrameReader reader;
  while (!stream.empty() && outcome.sound) {
    const size_t most = std::min<size_t>(stream.size(), 64);
    const size_t size = cuts ? cuts->between(1, most) : stream.size();
    const size_t skew = cuts ? cuts->below(8) : 0;
    const auto memory = std::make_unique<std::byte[]>(size + skew);
    std::memcpy(memory.get() + skew, stream.data(), size);
    outcome.sound = reader
                        .feed(ByteView(memory.get() + skew, size),
                              [&](FrameKind kind, ByteView payload) {
                                CHECK_EQ(reinterpret_cast<uintptr_t>(payload.data()) % 8, 0u);
                                outcome.frames.emplace_back(kind, as_text(payload));
                              })
                        .has_value();
    stream = stream.subspan(size);
  }
  return outcome;
}

void check(ByteView stream, uint64_t seed) {
  const Outcome whole = read(stream, nullptr);
  RandomStream cuts(seed, "fuzz.cuts");
  const Outcome pieces = read(stream, &cuts);
  CHECK(whole.frames == pieces.frames);
  CHECK_EQ(whole.sound, pieces.sound);
  size_t at = 0;
  for (const auto& [kind, payload] : whole.frames) {
    std::string framed;
    append_frame(framed, kind, as_bytes(payload));
    const size_t covered = kFrameHeaderBytes + payload.size();
    // The checksum may differ: it covers padding, which need not be zero.
    CHECK(std::memcmp(framed.data(), stream.data() + at, 4) == 0);
    CHECK(std::memcmp(framed.data() + 8, stream.data() + at + 8, covered - 8) == 0);
    at += framed.size();
  }
}

}  // namespace
}  // namespace kahuna::codec

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const kahuna::ByteView stream(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  kahuna::codec::check(stream, data[0]);
  return 0;
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// Half of the mutations work on the payload of one frame and seal it with a right checksum;
// otherwise nothing would pass the reader's first look.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 2 == 0 || size < 2) return size;
  std::string framed(1, static_cast<char>(data[0]));
  size_t at = 1;
  kahuna::RandomStream cuts(seed, "fuzz.mutator");
  while (at < size && framed.size() + 32 < max_size) {
    const size_t length =
        std::min<size_t>({size - at, cuts.below(64), max_size - framed.size() - 32});
    kahuna::codec::append_frame(
        framed, static_cast<kahuna::codec::FrameKind>(cuts.below(8)),
        kahuna::ByteView(reinterpret_cast<const std::byte*>(data) + at, length));
    at += length + 1;
  }
  if (framed.size() > max_size) return size;
  if (cuts.chance(1, 4) && framed.size() > 1) framed[cuts.between(1, framed.size() - 1)] ^= 1;
  std::memcpy(data, framed.data(), framed.size());
  return framed.size();
}
