#include "net/connection.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "net/errors.h"
#include "net/poller.h"
#include "net/sockets.h"
#include "net/turn.h"
#include "runtime/check.h"

namespace kahuna::net {
namespace {

// Output buffers up to this are kept for the next write.
constexpr size_t kKeptBytes = 256 * 1024;

Error close_reason(int number) {
  if (number == 0) return Error(ErrorCode::kClosed, "the peer closed the connection");
  Error error = error_from_errno(number, "connection lost");
  error.code = ErrorCode::kClosed;
  return error;
}

}  // namespace

// The Stream that users hold.
class ConnectionStream final : public Stream {
 public:
  explicit ConnectionStream(CountedPtr<Connection> connection)
      : connection_(std::move(connection)) {}
  ~ConnectionStream() override { connection_->release(); }

  void set_handler(StreamHandler* handler) override { connection_->handler_ = handler; }
  size_t write(ByteView bytes) override { return connection_->write(bytes); }
  void pause_reading() override {
    if (std::exchange(connection_->paused, true)) return;
    if (connection_->state == Connection::State::kOpen) connection_->poller_.update(*connection_);
  }
  void resume_reading() override { connection_->resume(); }
  Address peer() const override { return connection_->peer_; }

 private:
  CountedPtr<Connection> connection_;
};

Connection::~Connection() {
  if (fd >= 0) ::close(fd);
}

std::unique_ptr<Stream> Connection::make_stream() {
  CHECK(state == State::kOpen);
  peer_ = peer_address(fd);
  return std::make_unique<ConnectionStream>(CountedPtr<Connection>(this));
}

void Connection::deliver(ByteView bytes) {
  if (state != State::kOpen) return;
  CHECK(handler_ != nullptr);  // set_handler() was not called in the turn the stream was received
  if (paused || !held_.empty()) {
    held_ += as_text(bytes);
    return;
  }
  handler_->on_data(bytes);
}

void Connection::deliver_close(int number) {
  if (state != State::kOpen) return;
  // Bytes that came before the end go first; a reset does not wait for a reader that paused.
  if (paused ? number == 0 : !held_.empty()) {
    held_close_ = number;
    return;
  }
  const CountedPtr<Connection> self(this);
  poller_.close(*this);
  CHECK(handler_ != nullptr);
  // The handler may destroy the Stream, or keep it and be heard no more.
  std::exchange(handler_, nullptr)->on_closed(close_reason(number));
}

void Connection::sent(size_t bytes) {
  CHECK_LE(bytes, out.size());
  if (bytes == out.size()) {
    out.clear();
    if (out.capacity() > kKeptBytes) std::string().swap(out);
  } else {
    out.erase(0, bytes);
  }
  if (!starved_ || room_posted_ || out.size() > kUnsentBytesMax / 2) return;
  room_posted_ = true;
  turn_.post([self = CountedPtr<Connection>(this)] {
    self->room_posted_ = false;
    self->offer_room();
  });
}

void Connection::offer_room() {
  if (!starved_ || state != State::kOpen || out.size() > kUnsentBytesMax / 2) return;
  starved_ = false;
  handler_->on_writable();
}

size_t Connection::write(ByteView bytes) {
  if (state != State::kOpen) return bytes.size();
  const size_t taken =
      std::min(bytes.size(), kUnsentBytesMax - std::min(out.size(), kUnsentBytesMax));
  if (taken < bytes.size()) starved_ = true;
  if (taken == 0) return 0;
  out.append(as_text(bytes.first(taken)));
  poller_.request_flush(*this);
  return taken;
}

void Connection::resume() {
  if (!std::exchange(paused, false) || state != State::kOpen) return;
  poller_.update(*this);
  if (held_.empty() && !held_close_) return;
  if (std::exchange(held_posted_, true)) return;
  turn_.post([self = CountedPtr<Connection>(this)] {
    self->held_posted_ = false;
    self->deliver_held();
  });
}

void Connection::deliver_held() {
  if (paused || state != State::kOpen) return;
  if (!held_.empty()) {
    const std::string bytes = std::exchange(held_, {});
    handler_->on_data(as_bytes(bytes));
  }
  if (held_close_ && !paused && state == State::kOpen)
    deliver_close(*std::exchange(held_close_, {}));
}

void Connection::release() {
  handler_ = nullptr;
  if (state != State::kClosed) poller_.close(*this);
}

}  // namespace kahuna::net
