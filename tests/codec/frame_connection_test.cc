#include <gtest/gtest.h>

#include "net/codec/frame.h"
#include "tests/codec/test_stream.h"

namespace kahuna::codec {
namespace {

class FrameConnectionTest : public testing::Test, public FrameConnection::Owner {
 protected:
  void open(FrameConnection::Options options = {}) {
    connection = std::make_unique<FrameConnection>(scheduler, std::make_unique<TestStream>(wire),
                                                   *this, options);
  }
  void on_frame(FrameConnection&, FrameKind, ByteView payload) override {
    frames.emplace_back(as_text(payload));
    if (destroy_in_frame) connection.reset();
  }
  void on_disconnect(FrameConnection&, Error reason) override {
    reasons.push_back(reason.code);
    if (destroy_in_disconnect) connection.reset();
  }
  static std::string framed(std::string_view payload) {
    std::string out;
    append_frame(out, FrameKind::kRequest, as_bytes(payload));
    return out;
  }

  TestScheduler scheduler;
  Wire wire;
  std::unique_ptr<FrameConnection> connection;
  std::vector<std::string> frames;
  std::vector<ErrorCode> reasons;
  bool destroy_in_frame = false;
  bool destroy_in_disconnect = false;
};

TEST_F(FrameConnectionTest, SendsWhatWasQueuedInATurnInOneWrite) {
  open();
  ASSERT_TRUE(connection->send(FrameKind::kRequest, as_bytes("a")));
  ASSERT_TRUE(connection->send(FrameKind::kRequest, as_bytes("b")));
  EXPECT_EQ(wire.writes, 0);
  scheduler.end_turn();
  EXPECT_EQ(wire.writes, 1);
  EXPECT_EQ(scheduler.defers, 1);
  EXPECT_EQ(wire.sent, framed("a") + framed("b"));
  EXPECT_EQ(connection->unsent_bytes(), 0u);
}

TEST_F(FrameConnectionTest, WaitsForRoomAndKeepsTheOrder) {
  open();
  wire.room = 10;
  const std::string long_text(100'000, 'x');
  ASSERT_TRUE(connection->send(FrameKind::kRequest, as_bytes(long_text)));
  scheduler.end_turn();
  ASSERT_TRUE(connection->send(FrameKind::kRequest, as_bytes("tail")));
  scheduler.end_turn();
  EXPECT_EQ(wire.writes, 1);  // blocked: no further attempt before on_writable
  for (int i = 0; i < 100 && connection->unsent_bytes() > 0; ++i) {
    wire.room = 3'000;
    wire.handler->on_writable();
  }
  EXPECT_EQ(wire.sent, framed(long_text) + framed("tail"));
}

TEST_F(FrameConnectionTest, RefusesWholeFramesOverItsBound) {
  open({.unsent_bytes_max = 48});
  ASSERT_TRUE(connection->send(FrameKind::kRequest, as_bytes("12345678")));
  ASSERT_TRUE(connection->send(FrameKind::kRequest, as_bytes("12345678")));
  const Result<> refused = connection->send(FrameKind::kRequest, as_bytes("1"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOverloaded);
  EXPECT_EQ(connection->unsent_bytes(), 48u);
  scheduler.end_turn();
  EXPECT_TRUE(connection->send(FrameKind::kRequest, as_bytes("1")));
}

TEST_F(FrameConnectionTest, RefusesFramesAfterTheClose) {
  open();
  wire.handler->on_closed(Error(ErrorCode::kClosed, "reset"));
  EXPECT_EQ(connection->send(FrameKind::kRequest, {}).error().code, ErrorCode::kClosed);
  EXPECT_EQ(connection->peer(), (Address{"peer", 7}));
  EXPECT_EQ(reasons, std::vector{ErrorCode::kClosed});
  EXPECT_FALSE(wire.open);
}

TEST_F(FrameConnectionTest, MayBeDestroyedWhileReportingAFrame) {
  open();
  destroy_in_frame = true;
  const std::string bytes = framed("one") + framed("two");
  wire.handler->on_data(as_bytes(bytes));
  EXPECT_EQ(frames, std::vector<std::string>{"one"});
  EXPECT_FALSE(wire.open);
  EXPECT_TRUE(reasons.empty());
}

TEST_F(FrameConnectionTest, MayBeDestroyedWhileDisconnecting) {
  open();
  destroy_in_disconnect = true;
  wire.handler->on_closed(Error(ErrorCode::kClosed, "reset"));
  EXPECT_EQ(connection, nullptr);
  EXPECT_EQ(reasons.size(), 1u);
}

TEST_F(FrameConnectionTest, MayBeDestroyedBeforeItsDeferredFlush) {
  open();
  ASSERT_TRUE(connection->send(FrameKind::kRequest, as_bytes("lost")));
  connection.reset();
  scheduler.end_turn();
  EXPECT_EQ(wire.sent, "");
}

TEST_F(FrameConnectionTest, ClosesAStreamThatCarriesSomethingElse) {
  open();
  destroy_in_disconnect = true;
  const std::string bytes = framed("good") + "GET / HTTP/1.1\r\n\r\n";
  wire.handler->on_data(as_bytes(bytes));
  EXPECT_EQ(frames, std::vector<std::string>{"good"});
  EXPECT_EQ(reasons, std::vector{ErrorCode::kDamaged});
  EXPECT_FALSE(wire.open);
}

TEST_F(FrameConnectionTest, PassesBackPressureOn) {
  open();
  connection->pause_reading();
  EXPECT_TRUE(wire.paused);
  connection->resume_reading();
  EXPECT_FALSE(wire.paused);
}

}  // namespace
}  // namespace kahuna::codec
