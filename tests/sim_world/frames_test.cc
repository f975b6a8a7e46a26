#include <gtest/gtest.h>

#include "net/codec/frame.h"
#include "sim/sim_network_frames.h"

namespace kahuna::sim {
namespace {

struct Tap {
  // Passes `bytes` and remembers what was held.
  std::string pass(const std::string& bytes) {
    return tap.pass(bytes, faults, random, counters,
                    [&](uint64_t id, Duration) { held.push_back(id); });
  }
  FrameTap tap;
  FrameFaults faults;
  FrameCounters counters;
  RandomStream random{1, "test"};
  std::vector<uint64_t> held;
};

std::string frame(std::string_view text, codec::FrameKind kind = codec::FrameKind::kPeer) {
  std::string out;
  codec::append_frame(out, kind, as_bytes(text));
  return out;
}

// The payloads of a stream that must be whole frames.
std::vector<std::string> payloads(const std::string& bytes) {
  codec::FrameReader reader;
  std::vector<std::string> found;
  auto result = reader.feed(as_bytes(bytes), [&](codec::FrameKind, ByteView payload) {
    found.emplace_back(as_text(payload));
    return true;
  });
  EXPECT_TRUE(result);
  EXPECT_EQ(reader.buffered(), 0u);
  return found;
}

TEST(FrameTap, PassesEverythingWithoutFaults) {
  Tap t;
  std::string bytes = frame("one") + frame("two") + frame(std::string(5000, 'x')), out;
  for (size_t at = 0; at < bytes.size(); at += 7) out += t.pass(bytes.substr(at, 7));
  EXPECT_EQ(out, bytes);
  EXPECT_EQ(t.counters.seen, 3u);
}

TEST(FrameTap, DropsDuplicatesAndDelaysWholeFrames) {
  Tap t;
  t.faults.drop = t.faults.duplicate = t.faults.delay = 250'000;
  std::string out;
  for (int i = 0; i < 400; ++i) out += t.pass(frame("frame " + std::to_string(i)));
  size_t alive = payloads(out).size();
  EXPECT_GT(t.counters.dropped, 60u);
  EXPECT_GT(t.counters.duplicated, 30u);
  EXPECT_EQ(t.held.size(), FrameTap::kHeldMax);
  EXPECT_EQ(alive, 400 - t.counters.dropped - t.counters.delayed + t.counters.duplicated);
  std::string late;
  for (uint64_t id : t.held) late += t.tap.release(id);
  EXPECT_EQ(payloads(late).size(), t.held.size());
  EXPECT_EQ(t.tap.release(t.held[0]), "");
}

TEST(FrameTap, TouchesNothingButPeerFrames) {
  Tap t;
  t.faults.drop = 1'000'000;
  std::string hello = frame("hello", codec::FrameKind::kHello);
  EXPECT_EQ(t.pass(hello + frame("lost") + hello), hello + hello);
}

TEST(FrameTap, LetsForeignBytesPassForGood) {
  Tap t;
  t.faults.drop = 1'000'000;
  std::string http = "GET / HTTP/1.1\r\nHost: n1\r\n\r\n";
  EXPECT_EQ(t.pass(http), http);
  EXPECT_EQ(t.pass(frame("kept")), frame("kept"));
}

TEST(FrameTap, GivesBackTheRestAtTheEnd) {
  Tap t;
  t.faults.delay = 1'000'000;
  std::string half = frame("half").substr(0, 20);
  EXPECT_EQ(t.pass(frame("held") + half), "");
  EXPECT_EQ(t.tap.rest(), frame("held") + half);
}

}  // namespace
}  // namespace kahuna::sim
