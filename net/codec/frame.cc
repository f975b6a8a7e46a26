#include "net/codec/frame.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/check.h"
#include "runtime/hash.h"

namespace kahuna::codec {
namespace {

static_assert(std::endian::native == std::endian::little,
              "fields are stored as they lie in memory");

constexpr size_t kLengthAt = 0;
constexpr size_t kChecksumAt = 4;
constexpr size_t kKindAt = 8;
constexpr size_t kFlagsAt = 10;
constexpr size_t kMagicAt = 12;
// Buffers up to this are kept for the next frame; larger ones are returned, so that one large frame
// does not stay with every connection.
constexpr size_t kKeptBufferBytes = 64 * 1024;
constexpr size_t kFirstBufferBytes = 1024;

static_assert(kFrameHeaderBytes % 8 == 0, "payloads stay 8-aligned");

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <class T>
void store(char* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

constexpr size_t padded(size_t payload_bytes) {
  return (payload_bytes + 7) & ~size_t{7};
}

// Everything but the checksum field itself.
uint32_t checksum(const std::byte* frame, size_t frame_bytes) {
  return crc32c(ByteView(frame + kKindAt, frame_bytes - kKindAt),
                crc32c(ByteView(frame + kLengthAt, kChecksumAt - kLengthAt)));
}

}  // namespace

void append_frame(std::string& out, FrameKind kind, ByteView payload) {
  CHECK_LE(payload.size(), kFrameBytesMax);
  const size_t start = out.size();
  const size_t total = kFrameHeaderBytes + padded(payload.size());
  out.resize(start + total);  // zeroes the flags and the padding
  char* frame = out.data() + start;
  store(frame + kLengthAt, static_cast<uint32_t>(payload.size()));
  store(frame + kKindAt, static_cast<uint16_t>(kind));
  store(frame + kMagicAt, kFrameMagic);
  if (!payload.empty()) std::memcpy(frame + kFrameHeaderBytes, payload.data(), payload.size());
  store(frame + kChecksumAt, checksum(reinterpret_cast<const std::byte*>(frame), total));
}

Result<size_t> FrameReader::frame_bytes(const std::byte* header) {
  if (load<uint32_t>(header + kMagicAt) != kFrameMagic) {
    return fail(ErrorCode::kDamaged,
                "not a kahuna frame (wrong magic); is the peer speaking another protocol?");
  }
  if (load<uint16_t>(header + kFlagsAt) != 0) {
    return fail(ErrorCode::kDamaged, "frame with unknown flags");
  }
  const size_t length = load<uint32_t>(header + kLengthAt);
  if (length > kFrameBytesMax) {
    return fail(ErrorCode::kTooLarge, "frame of " + std::to_string(length) +
                                          " bytes; the limit is " + std::to_string(kFrameBytesMax));
  }
  return kFrameHeaderBytes + padded(length);
}

Result<> FrameReader::verify(const std::byte* frame, size_t frame_bytes) {
  if (load<uint32_t>(frame + kChecksumAt) == checksum(frame, frame_bytes)) return {};
  return fail(ErrorCode::kDamaged, "frame with a wrong checksum");
}

FrameKind FrameReader::kind_of(const std::byte* frame) {
  return static_cast<FrameKind>(load<uint16_t>(frame + kKindAt));
}

ByteView FrameReader::payload_of(const std::byte* frame) {
  return ByteView(frame + kFrameHeaderBytes, load<uint32_t>(frame + kLengthAt));
}

void FrameReader::fill(ByteView& bytes, size_t target) {
  if (size_ >= target) return;
  const size_t taken = std::min(target - size_, bytes.size());
  const size_t needed = size_ + taken;
  if (needed > capacity_) {
    const size_t grown = std::max({needed, capacity_ * 2, kFirstBufferBytes});
    Buffer larger = std::make_unique_for_overwrite<std::byte[]>(grown);
    if (size_ > 0) std::memcpy(larger.get(), buffer_.get(), size_);
    buffer_ = std::move(larger);
    capacity_ = grown;
  }
  std::memcpy(buffer_.get() + size_, bytes.data(), taken);
  size_ = needed;
  bytes = bytes.subspan(taken);
}

void FrameReader::recycle(Buffer buffer, size_t capacity) {
  if (capacity > kKeptBufferBytes || buffer_) return;
  buffer_ = std::move(buffer);
  capacity_ = capacity;
}

FrameConnection::FrameConnection(Scheduler& scheduler, std::unique_ptr<Stream> stream, Owner& owner,
                                 Options options)
    : scheduler_(scheduler),
      owner_(owner),
      options_(options),
      stream_(std::move(stream)),
      alive_(std::make_shared<bool>(true)) {
  CHECK(stream_ != nullptr);
  stream_->set_handler(this);
}

FrameConnection::~FrameConnection() {
  *alive_ = false;
}

Result<> FrameConnection::send(FrameKind kind, ByteView payload) {
  if (!stream_) return fail(ErrorCode::kClosed, "the connection is closed; nothing was sent");
  if (payload.size() > kFrameBytesMax) {
    return fail(ErrorCode::kTooLarge, "frame of " + std::to_string(payload.size()) +
                                          " bytes; the limit is " + std::to_string(kFrameBytesMax));
  }
  const size_t total = kFrameHeaderBytes + padded(payload.size());
  if (unsent_bytes() + total > options_.unsent_bytes_max) {
    return fail(ErrorCode::kOverloaded, "the peer reads too slowly: " +
                                            std::to_string(unsent_bytes()) + " bytes are waiting");
  }
  append_frame(out_, kind, payload);
  if (!flush_due_ && !blocked_) {
    flush_due_ = true;
    scheduler_.defer([this, alive = alive_] {
      if (!*alive) return;
      flush_due_ = false;
      flush();
    });
  }
  return {};
}

void FrameConnection::flush() {
  if (!stream_ || blocked_) return;
  while (taken_ < out_.size()) {
    const ByteView rest = as_bytes(out_).subspan(taken_);
    const size_t taken = stream_->write(rest);
    CHECK_LE(taken, rest.size());
    taken_ += taken;
    sent_ += taken;
    if (taken < rest.size()) {
      blocked_ = true;
      break;
    }
  }
  if (taken_ == out_.size()) {
    out_.clear();
    taken_ = 0;
    if (out_.capacity() > kKeptBufferBytes) std::string().swap(out_);
  } else if (taken_ >= out_.size() / 2) {
    out_.erase(0, taken_);
    taken_ = 0;
  }
}

void FrameConnection::pause_reading() {
  if (stream_) stream_->pause_reading();
}

void FrameConnection::resume_reading() {
  if (stream_) stream_->resume_reading();
}

Address FrameConnection::peer() const {
  return stream_ ? stream_->peer() : peer_;
}

void FrameConnection::on_data(ByteView bytes) {
  const std::shared_ptr<bool> alive = alive_;
  Result<> sound = reader_.feed(bytes, [&](FrameKind kind, ByteView payload) {
    owner_.on_frame(*this, kind, payload);
    return *alive;
  });
  if (!*alive || sound) return;
  disconnect(std::move(sound.error()));
}

void FrameConnection::on_writable() {
  blocked_ = false;
  flush();
}

void FrameConnection::on_closed(Error reason) {
  disconnect(std::move(reason));
}

void FrameConnection::disconnect(Error reason) {
  if (!stream_) return;
  peer_ = stream_->peer();
  stream_.reset();
  out_.clear();
  taken_ = 0;
  owner_.on_disconnect(*this, std::move(reason));
}

}  // namespace kahuna::codec
