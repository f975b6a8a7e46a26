#include "sim/sim_network_frames.h"

#include <cstring>

#include "net/codec/frame.h"

namespace kahuna::sim {
namespace {
template <class T>
T load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
}  // namespace

size_t FrameTap::next_frame(size_t at) {
  if (transparent_ || pending_.size() - at < codec::kFrameHeaderBytes) return 0;
  const char* header = pending_.data() + at;
  size_t length = load<uint32_t>(header);
  if (length > codec::kFrameBytesMax || std::memcmp(header + 12, "KHN1", 4) != 0) {
    transparent_ = true;
    return 0;
  }
  size_t whole = codec::kFrameHeaderBytes + (length + 7) / 8 * 8;
  return pending_.size() - at < whole ? 0 : whole;
}

bool FrameTap::is_peer(std::string_view frame) {
  return load<uint16_t>(frame.data() + 8) == static_cast<uint16_t>(codec::FrameKind::kPeer);
}

std::string FrameTap::release(uint64_t id) {
  for (size_t i = 0; i < held_.size(); ++i) {
    if (held_[i].id != id) continue;
    std::string frame = std::move(held_[i].frame);
    held_.erase(held_.begin() + static_cast<ptrdiff_t>(i));
    return frame;
  }
  return {};
}

std::string FrameTap::rest() {
  std::string out;
  for (Held& held : held_) out += held.frame;
  held_.clear();
  return out + std::exchange(pending_, std::string());
}

}  // namespace kahuna::sim
