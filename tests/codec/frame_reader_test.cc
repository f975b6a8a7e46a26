#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstring>

#include "net/codec/frame.h"
#include "runtime/hash.h"

namespace kahuna::codec {
namespace {

struct Seen {
  FrameKind kind;
  std::string payload;
  friend bool operator==(const Seen&, const Seen&) = default;
};

// Feeds `bytes` at an address whose alignment is `skew` modulo 8.
Result<> feed_at(FrameReader& reader, std::string_view bytes, size_t skew,
                 std::vector<Seen>& seen) {
  auto memory = std::make_unique<std::byte[]>(bytes.size() + 8);
  std::memcpy(memory.get() + skew, bytes.data(), bytes.size());
  return reader.feed(ByteView(memory.get() + skew, bytes.size()),
                     [&](FrameKind kind, ByteView payload) {
                       EXPECT_EQ(reinterpret_cast<uintptr_t>(payload.data()) % 8, 0u);
                       seen.push_back({kind, std::string(as_text(payload))});
                     });
}

std::string frame(FrameKind kind, std::string_view payload) {
  std::string out;
  append_frame(out, kind, as_bytes(payload));
  return out;
}

// The same frame after `change`, with its checksum made right again.
template <class Change>
std::string resealed(std::string bytes, Change change) {
  change(bytes);
  const uint32_t sum = crc32c(as_bytes(bytes).subspan(8), crc32c(as_bytes(bytes).first(4)));
  std::memcpy(bytes.data() + 4, &sum, 4);
  return bytes;
}

TEST(Frame, LayoutIsThePublishedOne) {
  const std::string bytes = frame(FrameKind::kPeer, "abc");
  ASSERT_EQ(bytes.size(), 24u);
  EXPECT_EQ(bytes.substr(0, 4), std::string("\x03\0\0\0", 4));
  EXPECT_EQ(bytes.substr(8, 4), std::string("\x04\0\0\0", 4));
  EXPECT_EQ(bytes.substr(12, 4), "KHN1");
  EXPECT_EQ(bytes.substr(16), std::string("abc\0\0\0\0\0", 8));
  EXPECT_EQ(resealed(bytes, [](std::string&) {}), bytes);
}

TEST(FrameReader, ReportsAlignedFramesInPlace) {
  const std::string bytes =
      frame(FrameKind::kHello, "first") + frame(FrameKind::kRequest, "second");
  alignas(8) std::byte memory[128];
  std::memcpy(memory, bytes.data(), bytes.size());
  FrameReader reader;
  std::vector<const std::byte*> places;
  ASSERT_TRUE(reader.feed(ByteView(memory, bytes.size()),
                          [&](FrameKind, ByteView payload) { places.push_back(payload.data()); }));
  EXPECT_EQ(places, (std::vector<const std::byte*>{memory + 16, memory + 40}));
  EXPECT_EQ(reader.buffered(), 0u);
}

TEST(FrameReader, StopsForGoodWhenTheSinkSaysSo) {
  for (size_t skew : {0, 3}) {
    const std::string bytes = frame(FrameKind::kHello, "one") + frame(FrameKind::kHello, "two");
    auto memory = std::make_unique<std::byte[]>(bytes.size() + 8);
    std::memcpy(memory.get() + skew, bytes.data(), bytes.size());
    auto reader = std::make_unique<FrameReader>();
    int calls = 0;
    FrameReader& gone = *reader;
    ASSERT_TRUE(
        gone.feed(ByteView(memory.get() + skew, bytes.size()), [&](FrameKind, ByteView payload) {
          ++calls;
          reader.reset();
          EXPECT_EQ(as_text(payload), "one");  // valid during the call regardless
          return false;
        }));
    EXPECT_EQ(calls, 1);
  }
}

TEST(FrameReader, RefusesLengthsOverTheLimitAtTheHeader) {
  const std::string bytes = resealed(frame(FrameKind::kHello, ""), [](std::string& b) {
    const uint32_t length = kFrameBytesMax + 1;
    std::memcpy(b.data(), &length, 4);
  });
  FrameReader reader;
  std::vector<Seen> seen;
  const Result<> result = feed_at(reader, bytes, 0, seen);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kTooLarge);
}

TEST(FrameReader, RefusesForeignProtocolsAtTheHeader) {
  FrameReader reader;
  std::vector<Seen> seen;
  const Result<> result = feed_at(reader, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, seen);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kDamaged);
}

TEST(FrameReader, StaysFailedAfterAnError) {
  FrameReader reader;
  std::vector<Seen> seen;
  std::string bad = frame(FrameKind::kHello, "payload");
  bad[17] ^= 1;
  EXPECT_FALSE(feed_at(reader, bad, 0, seen));
  EXPECT_FALSE(feed_at(reader, frame(FrameKind::kHello, "good"), 0, seen));
  EXPECT_TRUE(seen.empty());
}

TEST(FrameReader, CarriesTheLargestFrame) {
  const std::string payload(kFrameBytesMax, 'x');
  const std::string bytes = frame(FrameKind::kPeer, payload);
  FrameReader reader;
  std::vector<Seen> seen;
  for (size_t at = 0; at < bytes.size(); at += 65'521) {
    ASSERT_TRUE(feed_at(reader, std::string_view(bytes).substr(at, 65'521), 1, seen));
  }
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].payload, payload);
}

RC_GTEST_PROP(FrameReader, RoundTripsInPiecesOfAnySizeAndAlignment,
              (const std::vector<std::string>& payloads)) {
  std::string bytes;
  std::vector<Seen> expected;
  for (const std::string& payload : payloads) {
    const auto kind = static_cast<FrameKind>(*rc::gen::inRange(0, 65536));
    append_frame(bytes, kind, as_bytes(payload));
    expected.push_back({kind, payload});
  }
  FrameReader reader;
  std::vector<Seen> seen;
  for (size_t at = 0; at < bytes.size();) {
    const size_t piece = *rc::gen::inRange<size_t>(1, 80);
    const size_t skew = *rc::gen::inRange<size_t>(0, 8);
    RC_ASSERT(bool(feed_at(reader, std::string_view(bytes).substr(at, piece), skew, seen)));
    at += piece;
  }
  RC_ASSERT(seen == expected);
  RC_ASSERT(reader.buffered() == 0u);
}

RC_GTEST_PROP(FrameReader, DetectsEveryFlippedBit, (const std::string& payload)) {
  std::string bytes = frame(FrameKind::kRequest, payload);
  const size_t bit = *rc::gen::inRange<size_t>(0, bytes.size() * 8);
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  FrameReader reader;
  std::vector<Seen> seen;
  // A longer length may ask for more bytes first; those that follow then fail the checksum.
  Result<> result = feed_at(reader, bytes, 0, seen);
  if (result) result = feed_at(reader, std::string(kFrameBytesMax + 16, '\0'), 0, seen);
  RC_ASSERT(!result);
  RC_ASSERT(seen.empty());
}

}  // namespace
}  // namespace kahuna::codec
