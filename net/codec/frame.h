// The native frame: length, checksum, kind, payload. Sans-IO, plus a connection over any host's stream.
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

#include "runtime/bytes.h"
#include "runtime/callback.h"
#include "runtime/error.h"
#include "runtime/host.h"

namespace kahuna::codec {

enum class FrameKind : uint16_t {
  kHello = 1,         // schemas/wire.fbs Hello; first frame in both directions
  kRequest = 2,       // schemas/wire.fbs Request, client to node
  kResponse = 3,      // schemas/wire.fbs Response
  kPeer = 4,          // schemas/wire.fbs PeerBatch, node to node
};

inline constexpr size_t kFrameHeaderBytes = 16;
inline constexpr size_t kFrameBytesMax = 8 * 1024 * 1024;

// Appends one frame to `out`. CHECKs payload.size() <= kFrameBytesMax.
void append_frame(std::string& out, FrameKind kind, ByteView payload);

// Cuts a byte stream into frames.
class FrameReader {
 public:
  // Takes bytes in pieces of any size; calls `sink(kind, payload)` for every complete frame, in
  // order; payload is 8-aligned and valid during the call only. After an error (kDamaged: checksum
  // or magic; kTooLarge) the stream is lost: close it. The sink may return false to stop for good
  // (its owner is being destroyed); feed then returns at once and touches nothing.
  template <class Sink>
  Result<> feed(ByteView bytes, Sink&& sink);
  size_t buffered() const;
};

// A stream of frames: owns the Stream, buffers output up to a bound, sends what was written in one
// turn together at its end, and reports frames one by one.
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

  // Queues a frame. kOverloaded when unsent_bytes_max would be passed (nothing queued); kClosed when
  // the stream is gone (nothing queued).
  Result<> send(FrameKind kind, ByteView payload);
  size_t unsent_bytes() const;
  void pause_reading();
  void resume_reading();
  Address peer() const;

  void on_data(ByteView bytes) override;
  void on_writable() override;
  void on_closed(Error reason) override;

  // For the owner's bookkeeping; not interpreted.
  uint64_t tag = 0;
};

}  // namespace kahuna::codec
