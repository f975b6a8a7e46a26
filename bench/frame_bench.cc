// The frame codec alone: cost per frame of writing, and of reading in place and misaligned.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <string>

#include "net/codec/frame.h"
#include "runtime/check.h"

namespace kahuna::codec {
namespace {

constexpr size_t kFrames = 64;

void BM_FrameAppend(benchmark::State& state) {
  const std::string payload(static_cast<size_t>(state.range(0)), 'p');
  std::string out;
  for (auto _ : state) {
    out.clear();
    for (size_t i = 0; i < kFrames; ++i) append_frame(out, FrameKind::kRequest, as_bytes(payload));
    benchmark::DoNotOptimize(out.data());
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kFrames));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * out.size()));
}
BENCHMARK(BM_FrameAppend)->Arg(32)->Arg(256)->Arg(4096)->Arg(65536);

// Second argument: offset of the input from an 8-byte boundary; 0 = read in place.
void BM_FrameRead(benchmark::State& state) {
  const std::string payload(static_cast<size_t>(state.range(0)), 'p');
  const size_t skew = static_cast<size_t>(state.range(1));
  std::string out;
  for (size_t i = 0; i < kFrames; ++i) append_frame(out, FrameKind::kRequest, as_bytes(payload));
  const auto memory = std::make_unique<std::byte[]>(out.size() + 8);
  std::memcpy(memory.get() + skew, out.data(), out.size());
  FrameReader reader;
  size_t bytes = 0;
  for (auto _ : state) {
    const Result<> sound = reader.feed(ByteView(memory.get() + skew, out.size()),
                                       [&](FrameKind, ByteView body) { bytes += body.size(); });
    CHECK(sound.has_value());
  }
  benchmark::DoNotOptimize(bytes);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kFrames));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * out.size()));
}
BENCHMARK(BM_FrameRead)->ArgsProduct({{32, 256, 4096, 65536}, {0, 4}});

}  // namespace
}  // namespace kahuna::codec
