// One segment file and the direct-style steps on it: create, begin a life, read.
//
// Every buffer and file of an operation in flight is held by its completion, so that a cancelled
// fiber leaves nothing dangling (host.h, rule 4).
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kahuna/journal/format.h"
#include "kahuna/journal/image.h"
#include "runtime/fiber.h"
#include "runtime/host.h"

namespace kahuna::journal {

// Page-aligned bytes; grows, never shrinks.
class PageBuffer {
 public:
  PageBuffer() = default;
  explicit PageBuffer(size_t bytes) { ensure(bytes); }
  ~PageBuffer();
  PageBuffer(const PageBuffer&) = delete;
  PageBuffer& operator=(const PageBuffer&) = delete;
  // At least `bytes` large afterwards; contents are lost when it grows.
  void ensure(size_t bytes);
  std::byte* data() { return data_; }
  size_t capacity() const { return capacity_; }
  MutableByteView view(size_t bytes) { return {data_, bytes}; }

 private:
  std::byte* data_ = nullptr;
  size_t capacity_ = 0;
};

struct Segment {
  SegmentHeader header;
  std::unique_ptr<File> file;
  // Where the next body starts and where the last header ends; the room between them is free.
  uint64_t body_next = kBodyZone;
  uint64_t header_low = 0;
  uint64_t first_batch = 0;  // 0 = none yet
  // Made by an earlier process. A sync of it may have failed unseen, after which the kernel may
  // report good syncs that make nothing durable: such a file is read, never written again.
  bool inherited = false;
  // Something in it is not as it was written: nothing more is, and its file is not used again.
  bool damaged = false;

  bool reusable() const { return !inherited && !damaged; }
  uint32_t life() const { return header.id.life; }
  // Whether a body and a header of these sizes fit without sharing a page.
  bool fits(uint64_t body_bytes, uint64_t header_bytes) const {
    return body_bytes + header_bytes <= header_low && header_low - header_bytes >= body_next &&
           round_up(body_next + body_bytes, kPageBytes) <=
               round_down(header_low - header_bytes, kPageBytes);
  }
  uint64_t room() const { return header_low > body_next ? header_low - body_next : 0; }
  void reset_positions() {
    body_next = kBodyZone;
    header_low = header.bytes;
    first_batch = 0;
  }
};
using SegmentPtr = std::shared_ptr<Segment>;

struct SegmentPlace {
  Disk* disk = nullptr;
  std::string dir;
  bool direct = false;
  std::string path(const std::string& name) const { return dir + "/" + name; }
};

Result<> write_part(Suspend suspend, SegmentPtr segment, uint64_t offset,
                    std::shared_ptr<PageBuffer> buffer, size_t bytes);
Result<> sync_segment(Suspend suspend, SegmentPtr segment);
// Reads [offset, offset + bytes) of the file; short only at its end. A transfer that fails is asked
// for again until it has failed `attempts` times.
Result<size_t> read_part(Suspend suspend, SegmentPtr segment, uint64_t offset,
                         std::shared_ptr<PageBuffer> buffer, size_t bytes, int attempts);
// A page is lost when so many attempts to read it failed: an error that passes is no damage.
inline constexpr int kReadAttempts = 4;
// Reads the first `bytes` of the file; pages that cannot be read, or lie past its end, are filled
// with bytes that no checksum accepts. Fails only if nothing can be read at all.
Result<SegmentBytes> read_image(Suspend suspend, SegmentPtr segment, uint64_t bytes);

// Creates the file, full of zeros and with both header copies, under a temporary name, and gives it
// its own once it is durable. kNoSpace: the temporary file was removed.
Result<SegmentPtr> create_segment(Suspend suspend, const SegmentPlace& place,
                                  const SegmentHeader& header);
// Starts a new life: rewrites the header copies one after the other, each synced, so that one of
// them is whole at any instant.
Result<> begin_life(Suspend suspend, SegmentPtr segment, const SegmentHeader& header);
// Opens an existing file and reads its header. kDamaged: neither copy is good.
Result<SegmentPtr> open_segment(Suspend suspend, const SegmentPlace& place,
                                const std::string& name);

}  // namespace kahuna::journal
