// Turns queued records into the sectors of one batch: computes the header's items, sets the
// records' checksums, spreads both over stamped sectors. Buffers are reused; no allocation once
// warm.
#pragma once

#include <cstdint>
#include <memory>

#include "kahuna/journal/format.h"
#include "kahuna/journal/live_index.h"
#include "kahuna/journal/segment.h"

namespace kahuna::journal {

class BatchBuilder {
 public:
  // Reads `records` (whole records; may be empty) and works out their items.
  void plan(ByteView records, size_t unit);
  size_t body_bytes() const { return body_bytes_; }
  size_t header_bytes() const { return header_bytes_; }
  size_t records() const { return count_; }
  const HeaderItems& items() const { return items_; }

  // Builds what was planned, at the segment's free positions, and advances them.
  void encode(MutableByteView records, Segment& segment, uint64_t number, const BatchLinks& links,
              bool seal);
  uint64_t body_offset() const { return body_offset_; }
  uint64_t header_offset() const { return header_offset_; }
  // Hold the buffers while they are being written.
  const std::shared_ptr<PageBuffer>& body() const { return body_; }
  const std::shared_ptr<PageBuffer>& header() const { return header_; }

 private:
  void add(const Record& record);

  HeaderItems items_;
  std::map<uint64_t, size_t> state_slots_;  // group -> its place in items_.states; many groups only
  size_t count_ = 0, unit_ = kSectorBytes, records_bytes_ = 0;
  size_t body_bytes_ = 0, header_bytes_ = 0;
  uint64_t body_offset_ = 0, header_offset_ = 0;
  std::shared_ptr<PageBuffer> body_ = std::make_shared<PageBuffer>();
  std::shared_ptr<PageBuffer> header_ = std::make_shared<PageBuffer>();
};

}  // namespace kahuna::journal
