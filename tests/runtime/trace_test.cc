#include "runtime/trace.h"

#include <gtest/gtest.h>

#include <string>

namespace kahuna {
namespace {

constexpr TraceKind kGranted{"raft.vote-granted", "group", "term", "candidate"};
constexpr TraceKind kBare{"node.stopped"};

struct Recorder : TraceSink {
  TraceRing ring{3};
  Hash128 hash;
  void on_trace(const TraceKind& kind, uint64_t a, uint64_t b, uint64_t c) override {
    TraceRecord record{Time::from_nanos(12'000'000'001), NodeId(3), &kind, a, b, c};
    ring.add(record);
    fold(hash, record);
  }
};

TEST(Trace, GoesToTheSinkOfTheThread) {
  trace(kGranted, 1, 2, 3);
  EXPECT_FALSE(tracing());
  Recorder recorder;
  EXPECT_EQ(set_trace_sink(&recorder), nullptr);
  EXPECT_TRUE(tracing());
  trace(kGranted, 1, 4, 2);
  trace(kBare);
  EXPECT_EQ(set_trace_sink(nullptr), &recorder);
  trace(kBare);
  EXPECT_EQ(recorder.ring.format(10),
            "12.000000001 node=3 raft.vote-granted group=1 term=4 candidate=2\n"
            "12.000000001 node=3 node.stopped\n");
}

TEST(Trace, RingKeepsTheNewest) {
  TraceRing ring(3);
  for (uint64_t i = 0; i < 8; ++i) ring.add({Time(), NodeId(), &kGranted, i, 0, 0});
  EXPECT_EQ(ring.added(), 8u);
  ASSERT_EQ(ring.size(), 3u);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(ring.at(i).a, 5 + i);
  EXPECT_EQ(ring.format(1), "0.000000000 node=0 raft.vote-granted group=7 term=0 candidate=0\n");
  ring.clear();
  EXPECT_EQ(ring.format(5), "");
}

TEST(Trace, HashTellsEveryFieldApart) {
  TraceRecord base{Time(), NodeId(1), &kGranted, 1, 2, 3};
  auto of = [](TraceRecord r) {
    Hash128 h;
    fold(h, r);
    return h;
  };
  TraceRecord kind = base, node = base, swapped = base;
  kind.kind = &kBare;
  node.node = NodeId(2);
  std::swap(swapped.a, swapped.b);
  EXPECT_EQ(of(base), of(base));
  EXPECT_NE(of(base), of(kind));
  EXPECT_NE(of(base), of(node));
  EXPECT_NE(of(base), of(swapped));
}

}  // namespace
}  // namespace kahuna
