// The direct-style wrappers of the seam, over a file that is short, slow or failing on demand.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "runtime/fiber.h"
#include "runtime/random.h"
#include "tests/runtime/manual_loop.h"

namespace kahuna {
namespace {

using namespace literals;

struct MemoryFile : File {
  explicit MemoryFile(ManualLoop& l, uint64_t seed = 0) : loop(l), random(seed, "file") {}
  void read_at(uint64_t offset, MutableByteView bytes, IoDone done) override {
    later([this, offset, bytes, done = std::move(done)]() mutable {
      if (fail_next) return done(fail(ErrorCode::kIo, "drawn"));
      size_t left = offset < content.size() ? content.size() - offset : 0;
      size_t n = piece(std::min(left, bytes.size()));
      std::memcpy(bytes.data(), content.data() + offset, n);
      done(n);
    });
  }
  void write_at(uint64_t offset, ByteView bytes, IoDone done) override {
    later([this, offset, bytes, done = std::move(done)]() mutable {
      if (fail_next) return done(fail(ErrorCode::kNoSpace, "drawn"));
      size_t n = piece(bytes.size());
      if (content.size() < offset + n) content.resize(offset + n);
      std::memcpy(content.data() + offset, bytes.data(), n);
      done(n);
    });
  }
  void sync(Done done) override {
    later([done = std::move(done)]() mutable { done({}); });
  }
  uint64_t size() const override { return content.size(); }

  void later(Callback<void()> task) { loop.call_at(loop.now() + 10_us, std::move(task)); }
  size_t piece(size_t most) {
    return most == 0            ? 0
           : most_per_call == 0 ? most
                                : std::min<size_t>(most, random.between(1, most_per_call));
  }

  ManualLoop& loop;
  RandomStream random;
  std::string content;
  size_t most_per_call = 0;  // 0 = all
  bool fail_next = false;
};

std::string bytes_of(size_t n, uint64_t seed) {
  RandomStream random(seed, "bytes");
  std::string s(n, 0);
  for (char& c : s) c = static_cast<char>(random.next());
  return s;
}

RC_GTEST_PROP(FiberIoProperty, WholeTransfersSurviveShortOnes, (uint64_t seed)) {
  RandomStream random(seed, "io");
  ManualLoop loop;
  Fibers fibers(loop, loop);
  MemoryFile file(loop, seed);
  file.most_per_call = random.between(1, 500);
  std::string data = bytes_of(random.below(5'000), seed);
  uint64_t offset = random.below(100);
  bool done = false;
  fibers.spawn("io", [&](Suspend s) {
    ASSERT_TRUE(write_whole(s, file, offset, as_bytes(data)));
    ASSERT_TRUE(sync(s, file));
    std::string back(data.size() + random.below(50), 'x');
    auto n = read_whole(s, file, offset, std::as_writable_bytes(std::span(back)));
    ASSERT_EQ(n.value(), data.size());
    back.resize(*n);
    EXPECT_EQ(back, data);
    done = true;
  });
  loop.drain();
  RC_ASSERT(done);
}

TEST(FiberIo, TransfersLargerThanOneBuffer) {
  ManualLoop loop;
  Fibers fibers(loop, loop);
  MemoryFile file(loop);
  std::string data = bytes_of(3 * kTransferBytes + 17, 1), back(data.size(), 0);
  fibers.spawn("io", [&](Suspend s) {
    ASSERT_TRUE(write_whole(s, file, 0, as_bytes(data)));
    ASSERT_TRUE(read_whole(s, file, 0, std::as_writable_bytes(std::span(back))));
  });
  loop.drain();
  EXPECT_TRUE(back == data);
}

TEST(FiberIo, ErrorsComeBack) {
  ManualLoop loop;
  Fibers fibers(loop, loop);
  MemoryFile file(loop);
  file.fail_next = true;
  int checked = 0;
  fibers.spawn("io", [&](Suspend s) {
    std::byte b[8] = {};
    EXPECT_EQ(read_whole(s, file, 0, b).error().code, ErrorCode::kIo);
    EXPECT_EQ(write_whole(s, file, 0, b).error().code, ErrorCode::kNoSpace);
    EXPECT_EQ(read_whole(s, file, 0, {}).value(), 0u);
    ++checked;
  });
  loop.drain();
  EXPECT_EQ(checked, 1);
}

// The operation completes into its own buffer after the fiber's stack is gone.
TEST(FiberIo, CancelledInFlight) {
  ManualLoop loop;
  Fibers fibers(loop, loop);
  MemoryFile file(loop);
  file.content = "content";
  fibers.spawn("reader", [&](Suspend s) {
    auto bytes = std::make_unique<std::byte[]>(16);
    (void)read_whole(s, file, 0, MutableByteView(bytes.get(), 16));
    FAIL();
  });
  fibers.spawn("writer", [&](Suspend s) {
    std::string data(16, 'w');
    (void)write_whole(s, file, 100, as_bytes(data));
    FAIL();
  });
  loop.settle();
  fibers.cancel_all();
  loop.drain();
  EXPECT_EQ(file.size(), 116u);
}

TEST(FiberIo, OffloadReturnsAfterTheWork) {
  struct Inline : Offload {
    ManualLoop& loop;
    explicit Inline(ManualLoop& l) : loop(l) {}
    void run(Callback<void()> work, Callback<void()> done) override {
      loop.call_at(loop.now() + 1_ms, [work = std::move(work), done = std::move(done)]() mutable {
        work();
        done();
      });
    }
  };
  ManualLoop loop;
  Fibers fibers(loop, loop);
  Inline blocking(loop);
  std::string order;
  fibers.spawn("f", [&](Suspend s) {
    offload(s, blocking, [&] { order += "work "; });
    order += "after";
  });
  loop.drain();
  EXPECT_EQ(order, "work after");
}

}  // namespace
}  // namespace kahuna
