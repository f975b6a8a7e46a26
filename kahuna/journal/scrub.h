// Judges what is at rest in a segment of an open journal, a piece at a time. Pure.
//
// Unlike recovery it knows what must be there: every batch from the first to the last, whole, one
// behind the other in both zones, and both copies of the head. Of a segment that is kept for use:
// nothing that is neither zeros nor intact.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kahuna/journal/format.h"

namespace kahuna::journal {

// What is at rest: it was synced, and nobody writes to it.
struct ScrubExpectation {
  SegmentHeader header;
  bool idle = false;  // holds no batches; all of it is at rest
  // Otherwise bodies lie in [kBodyZone, body_end) and headers in [header_begin, header.bytes), of
  // the batches [batch_first, batch_end).
  uint64_t body_end = kBodyZone, header_begin = 0;
  uint64_t batch_first = 0, batch_end = 0;
};

class ScrubJudge {
 public:
  explicit ScrubJudge(const ScrubExpectation& expected);

  // Bytes in ascending order, of whole pages; false: damage, at damaged_at(). To be given: the
  // pages of the heads, and those that hold what is expected.
  bool take(uint64_t offset, ByteView bytes);
  // All was given. False: a batch is missing.
  bool finish();
  uint64_t damaged_at() const { return damaged_at_; }

 private:
  bool judge(uint64_t at, ByteView sector);
  bool judge_head(ByteView sector) const;
  bool judge_body(uint64_t at, const Sector& sector, ByteView bytes);
  bool judge_header(const Sector& sector, ByteView bytes);

  ScrubExpectation expected_;
  uint64_t damaged_at_ = 0;
  uint64_t body_batch_;     // the next one to begin
  uint64_t body_left_ = 0;  // sectors of the one before it
  uint64_t headers_end_;    // the next header is of the batch before this one
  uint64_t header_left_ = 0, header_part_ = 0, padding_ = 0;
};

}  // namespace kahuna::journal
