#include "kahuna/journal/scrub.h"

#include <cstring>

#include "runtime/check.h"

namespace kahuna::journal {

ScrubJudge::ScrubJudge(const ScrubExpectation& expected)
    : expected_(expected), body_batch_(expected.batch_first), headers_end_(expected.batch_end) {
  CHECK_LE(expected.batch_first, expected.batch_end);
}

bool ScrubJudge::take(uint64_t offset, ByteView bytes) {
  CHECK_EQ(offset % kPageBytes, 0u);
  for (size_t done = 0; done + kSectorBytes <= bytes.size(); done += kSectorBytes) {
    if (judge(offset + done, bytes.subspan(done, kSectorBytes))) continue;
    damaged_at_ = offset + done;
    return false;
  }
  return true;
}

bool ScrubJudge::finish() {
  if (expected_.idle) return true;
  damaged_at_ = body_left_ > 0 || body_batch_ != expected_.batch_end ? expected_.body_end
                                                                     : expected_.header.bytes;
  return body_left_ == 0 && body_batch_ == expected_.batch_end && header_left_ == 0 &&
         headers_end_ == expected_.batch_first;
}

bool ScrubJudge::judge(uint64_t at, ByteView bytes) {
  if (at == 0 || at == kHeaderCopyOffset) return judge_head(bytes);
  if (at < kBodyZone) return true;  // nothing is there, and nobody looks
  const Sector sector = inspect_sector(expected_.header.id, at, bytes);
  if (expected_.idle)
    return sector.state == SectorState::kWritten || sector.state == SectorState::kUnwritten;
  if (at < expected_.body_end) return judge_body(at, sector, bytes);
  if (at >= expected_.header_begin) return judge_header(sector, bytes);
  return true;  // free, or being written
}

bool ScrubJudge::judge_head(ByteView sector) const {
  auto head = decode_segment_header(sector);
  return head && head->id == expected_.header.id && head->bytes == expected_.header.bytes &&
         head->unit == expected_.header.unit && head->for_seal == expected_.header.for_seal;
}

bool ScrubJudge::judge_body(uint64_t at, const Sector& sector, ByteView bytes) {
  const bool written = sector.state == SectorState::kWritten && sector.zone == Zone::kBody;
  if (body_left_ > 0) {
    --body_left_;
    return written && !sector.first && sector.batch + 1 == body_batch_;
  }
  if (at % expected_.header.unit != 0)  // fills up a unit
    return sector.state == SectorState::kUnwritten && sector.batch == 0;
  if (!written || !sector.first || sector.batch != body_batch_) return false;
  Preamble preamble;
  std::memcpy(&preamble, bytes.data(), sizeof(preamble));
  const uint64_t sectors = sectors_for(preamble.length);
  if (preamble.magic != kPreambleMagic || sectors == 0 ||
      preamble.length > expected_.header.bytes || at + sectors * kSectorBytes > expected_.body_end)
    return false;
  body_left_ = sectors - 1;
  ++body_batch_;
  return true;
}

bool ScrubJudge::judge_header(const Sector& sector, ByteView bytes) {
  const bool written = sector.state == SectorState::kWritten && sector.zone == Zone::kHeader;
  if (!written) {  // fills up a unit
    ++padding_;
    return header_left_ == 0 && sector.state == SectorState::kUnwritten && sector.batch == 0 &&
           padding_ < expected_.header.unit / kSectorBytes;
  }
  padding_ = 0;
  auto slot = decode_slot(bytes, nullptr);
  if (!slot) return false;
  if (header_left_ == 0) {
    if (headers_end_ == expected_.batch_first) return false;
    --headers_end_;
    header_left_ = slot->parts;
    header_part_ = 0;
  }
  --header_left_;
  return sector.batch == headers_end_ && slot->part == header_part_++;
}

}  // namespace kahuna::journal
