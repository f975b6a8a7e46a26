#include "net/codec/liveness.h"

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::codec {

void Liveness::begin(FrameConnection& connection) {
  CHECK(connection_ == nullptr);
  connection_ = &connection;
  heard_ = clock_.now();
}

void Liveness::end() {
  clock_.cancel(std::exchange(timer_, 0));
  connection_ = nullptr;
  pinged_ = false;
}

void Liveness::on_heard() {
  heard_ = clock_.now();
  clock_.cancel(std::exchange(timer_, 0));
  pinged_ = false;
}

void Liveness::on_use() {
  if (!connection_ || timer_ != 0 || clock_.now() - heard_ < kQuiet) return;
  looks_ = 0;
  taken_ = connection_->sent_bytes();
  ping();
  timer_ = clock_.call_at(clock_.now() + kLook, [this] { look(); });
}

void Liveness::ping() {
  pinged_ = connection_->send(FrameKind::kPing, {}).has_value();
  ping_end_ = connection_->sent_bytes() + connection_->unsent_bytes();
}

void Liveness::look() {
  timer_ = 0;
  const uint64_t taken = connection_->sent_bytes();
  const bool moves = taken > taken_ && taken_ < ping_end_;
  taken_ = taken;
  looks_ = moves ? 0 : looks_ + 1;
  if (!pinged_) ping();
  if (looks_ >= kLooksMax) {
    SOMETIMES(connection_found_dead);
    return dead_();
  }
  timer_ = clock_.call_at(clock_.now() + kLook, [this] { look(); });
}

}  // namespace kahuna::codec
