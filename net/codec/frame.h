// The native frame: length, checksum, kind, payload. Sans-IO, plus a connection over any stream.
//
//   offset 0  u32 length of the payload, bytes, without padding; <= kFrameBytesMax
//   offset 4  u32 crc32c over bytes 0..3, 8..15 and the payload with its padding
//   offset 8  u16 kind (FrameKind), u16 flags (0), u32 version magic 'KHN1'
//   offset 16 payload, zero-padded to a multiple of 8, so that payloads stay 8-aligned
// All little endian.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "runtime/bytes.h"
#include "runtime/callback.h"
#include "runtime/error.h"
#include "runtime/host.h"

namespace kahuna::codec {

enum class FrameKind : uint16_t {
  kHello = 1,     // schemas/wire.fbs Hello; first frame in both directions
  kRequest = 2,   // schemas/wire.fbs Request, client to node
  kResponse = 3,  // schemas/wire.fbs Response
  kPeer = 4,      // schemas/wire.fbs PeerBatch, node to node
  kPing = 5,      // empty; by the side that dialed, once greeted (liveness.h)
  kPong = 6,      // empty; the answer, at once
};

inline constexpr size_t kFrameHeaderBytes = 16;
inline constexpr size_t kFrameBytesMax = 8 * 1024 * 1024;
inline constexpr uint32_t kFrameMagic = 0x314e484b;  // "KHN1" in file order

// Appends one frame to `out`. CHECKs payload.size() <= kFrameBytesMax.
void append_frame(std::string& out, FrameKind kind, ByteView payload);

// Cuts a byte stream into frames. A frame that lies whole and 8-aligned in the input is reported in
// place; any other is assembled in an aligned buffer of this reader, which grows with the bytes
// that arrived (never with the length that a header claims).
//
// Unknown kinds are reported like any other; padding bytes are covered by the checksum, not judged.
class FrameReader {
 public:
  // Takes bytes in pieces of any size; calls `sink(kind, payload)` for every complete frame, in
  // order; payload is 8-aligned and valid during the call only. After an error (kDamaged: checksum
  // or magic; kTooLarge) the stream is lost: close it. The sink may return false to stop for good
  // (its owner is being destroyed); feed then returns at once and touches nothing. A sink that
  // returns void never stops.
  template <class Sink>
  Result<> feed(ByteView bytes, Sink&& sink);
  // Bytes of an incomplete frame that wait for the rest.
  size_t buffered() const { return size_; }

 private:
  using Buffer = std::unique_ptr<std::byte[]>;  // from operator new: 16-aligned

  // Length, magic and flags of the header; returns the frame's bytes with header and padding.
  static Result<size_t> frame_bytes(const std::byte* header);
  // Verifies the checksum of a whole frame.
  static Result<> verify(const std::byte* frame, size_t frame_bytes);
  static FrameKind kind_of(const std::byte* frame);
  static ByteView payload_of(const std::byte* frame);
  // Moves bytes from the front of `bytes` into the buffer until it holds `target` bytes, or all.
  void fill(ByteView& bytes, size_t target);
  // The buffered frame left; keeps small buffers for the next one.
  void recycle(Buffer buffer, size_t capacity);

  template <class Sink>
  static bool report(Sink& sink, const std::byte* frame);
  // Reports the whole frame in the buffer and empties it; false = the sink stopped, this is gone.
  template <class Sink>
  Result<bool> report_buffered(Sink& sink);

  Buffer buffer_;
  size_t capacity_ = 0;
  size_t size_ = 0;      // bytes of the frame being assembled; 0 = at a frame boundary
  bool failed_ = false;  // an error was returned; the stream is lost
};

// A stream of frames: owns the Stream, buffers output up to a bound, sends what was written in one
// turn together at its end, and reports frames one by one.
//
// 1. The owner hears on_disconnect at most once, and nothing after it.
// 2. Destroying the connection in either of the owner's calls is safe; a payload stays valid until
//    the call that brought it returns.
// 3. A broken frame closes the stream and is reported as the disconnect's reason.
class FrameConnection final : public StreamHandler {
 public:
  struct Options {
    size_t unsent_bytes_max = 16 * 1024 * 1024;
  };
  class Owner {
   public:
    virtual ~Owner() = default;
    // May destroy the connection.
    virtual void on_frame(FrameConnection& connection, FrameKind kind, ByteView payload) = 0;
    // Last event; the connection is dead. May destroy it.
    virtual void on_disconnect(FrameConnection& connection, Error reason) = 0;
  };

  FrameConnection(Scheduler& scheduler, std::unique_ptr<Stream> stream, Owner& owner,
                  Options options);
  ~FrameConnection() override;

  // Queues a frame. kOverloaded when unsent_bytes_max would be passed (nothing queued); kClosed
  // when the stream is gone (nothing queued); kTooLarge when payload passes kFrameBytesMax.
  Result<> send(FrameKind kind, ByteView payload);
  // Bytes queued here that the stream has not taken yet.
  size_t unsent_bytes() const { return out_.size() - taken_; }
  // Bytes that the stream has taken, ever.
  uint64_t sent_bytes() const { return sent_; }
  // Back-pressure. Frames of the piece being delivered may still be reported after pause_reading().
  void pause_reading();
  void resume_reading();
  Address peer() const;

  void on_data(ByteView bytes) override;
  void on_writable() override;
  void on_closed(Error reason) override;

  // For the owner's bookkeeping; not interpreted.
  uint64_t tag = 0;

 private:
  void flush();
  void disconnect(Error reason);

  Scheduler& scheduler_;
  Owner& owner_;
  Options options_;
  FrameReader reader_;
  std::unique_ptr<Stream> stream_;  // null once closed
  std::string out_;                 // frames not yet taken by the stream, from `taken_` on
  size_t taken_ = 0;
  uint64_t sent_ = 0;
  Address peer_;                 // remembered after the close
  bool flush_due_ = false;       // a flush is deferred to this turn's end
  bool blocked_ = false;         // the stream took too little; on_writable will come
  std::shared_ptr<bool> alive_;  // false once destroyed; outlives this in callbacks
};

template <class Sink>
bool FrameReader::report(Sink& sink, const std::byte* frame) {
  if constexpr (std::is_void_v<decltype(sink(FrameKind(), ByteView()))>) {
    sink(kind_of(frame), payload_of(frame));
    return true;
  } else {
    return sink(kind_of(frame), payload_of(frame));
  }
}

template <class Sink>
Result<bool> FrameReader::report_buffered(Sink& sink) {
  RETURN_IF_ERROR(verify(buffer_.get(), size_));
  // The sink may destroy this reader: the frame moves to the stack for the call.
  Buffer frame = std::move(buffer_);
  const size_t capacity = std::exchange(capacity_, 0);
  size_ = 0;
  if (!report(sink, frame.get())) return false;
  recycle(std::move(frame), capacity);
  return true;
}

template <class Sink>
Result<> FrameReader::feed(ByteView bytes, Sink&& sink) {
  if (failed_) return fail(ErrorCode::kDamaged, "the stream was already damaged before this point");
  while (!bytes.empty()) {
    const bool in_place = size_ == 0 && bytes.size() >= kFrameHeaderBytes;
    if (!in_place) {
      fill(bytes, kFrameHeaderBytes);
      if (size_ < kFrameHeaderBytes) return {};
    }
    const Result<size_t> total = frame_bytes(in_place ? bytes.data() : buffer_.get());
    if (!total) {
      failed_ = true;
      return fail(total.error());
    }
    if (in_place && bytes.size() >= *total && reinterpret_cast<uintptr_t>(bytes.data()) % 8 == 0) {
      if (Result<> sound = verify(bytes.data(), *total); !sound) {
        failed_ = true;
        return sound;
      }
      const std::byte* frame = bytes.data();
      bytes = bytes.subspan(*total);
      if (!report(sink, frame)) return {};
      continue;
    }
    fill(bytes, *total);
    if (size_ < *total) return {};
    const Result<bool> more = report_buffered(sink);
    if (!more) {
      failed_ = true;
      return fail(more.error());
    }
    if (!*more) return {};
  }
  return {};
}

}  // namespace kahuna::codec
