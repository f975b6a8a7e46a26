// One segment's bytes as recovery sees them: which batches left traces, and what is left of each.
// Pure; believes nothing that a checksum does not cover, and never CHECKs on what it reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kahuna/journal/format.h"
#include "runtime/probe.h"

namespace kahuna::journal {

// What is left of one batch.
struct Judgement {
  bool body_good = false;
  bool header_good = false;  // every header sector
  bool seen = false;         // at least one of its sectors is on disk
  // At least one of its sectors was provably never written, so it was never synced (format.md).
  bool unwritten = false;
  bool seal = false;
  uint64_t body_bytes = 0, header_bytes = 0;  // places taken; known when body or header is good
  std::optional<BatchLinks> links;
  HeaderItems items;            // when header_good
  std::vector<std::byte> body;  // records only, when body_good
};

// The bytes of a segment file. Segments are preallocated and most are mostly zeros: pages that hold
// nothing else take no memory.
class SegmentBytes {
 public:
  // Zeros; `size` is a multiple of kPageBytes.
  explicit SegmentBytes(uint64_t size);

  uint64_t size() const { return size_; }
  // Replaces what lies at `offset`, a page boundary; the last page may be given in part.
  void put(uint64_t offset, ByteView bytes);
  // The sector at `offset`, a sector boundary; valid while this object lives and that page is not
  // put again.
  ByteView sector(uint64_t offset) const;
  // The page at `offset`, a page boundary, is nothing but zeros.
  bool blank(uint64_t offset) const { return pages_[offset / kPageBytes] == nullptr; }
  // Memory taken.
  uint64_t held() const { return held_; }

 private:
  uint64_t size_;
  uint64_t held_ = 0;
  std::vector<std::unique_ptr<std::byte[]>> pages_;  // null: zeros
};

class SegmentImage {
 public:
  // `bytes` is the whole segment.
  SegmentImage(const SegmentHeader& header, SegmentBytes bytes);

  uint64_t held() const { return bytes_.held(); }

  // Batches that left at least one good sector, over the whole segment; 0, 0 = none.
  uint64_t batch_min() const { return batch_min_; }
  uint64_t batch_max() const { return batch_max_; }
  // Where a segment's first batch begins, and where its header ends, something was written that is
  // neither whole nor of another place: the batch was lost with all its traces. Of a segment that
  // begins with a seal: and with it, as far as can be told, a batch that followed.
  bool lost_first() const {
    if (batch_min_ != 0) return false;
    const uint64_t batches = header_.for_seal ? 2 : 1;
    for (uint64_t at = 0; at < batches * header_.unit; at += header_.unit) {
      if (sector_at(kBodyZone + at).state != SectorState::kCorrupt ||
          sector_at(header_.bytes - at - kSectorBytes).state != SectorState::kCorrupt)
        return false;
    }
    return !header_.for_seal || !MUTANT(lost_seal_passed_over);
  }
  bool only_seals() const { return batch_min_ != 0 && !other_than_seals_; }
  // Links of the highest batch here that still tells them.
  const std::optional<BatchLinks>& links() const { return links_; }
  // Misdirected sectors found here, by what they say they are: (life, batch).
  const std::vector<std::pair<uint32_t, uint64_t>>& foreign() const { return foreign_; }

  // Judges batch `number`, whose body would start at `body_at` and whose header would end at
  // `header_end`.
  Judgement judge(uint64_t number, uint64_t body_at, uint64_t header_end) const;

 private:
  Sector sector_at(uint64_t offset) const;
  ByteView bytes_at(uint64_t offset) const { return bytes_.sector(offset); }
  // The first `length` payload bytes of the sectors from `offset` on.
  std::vector<std::byte> gather(uint64_t offset, uint64_t length) const;
  std::optional<Preamble> preamble_at(uint64_t offset, uint64_t number) const;
  void judge_body(uint64_t number, uint64_t body_at, uint64_t length, uint32_t crc,
                  Judgement& result) const;
  void judge_header(uint64_t number, uint64_t begin, const SlotHead& like, Judgement& result) const;

  struct HeaderSector {
    uint64_t batch;
    uint64_t offset;
    friend auto operator<=>(const HeaderSector&, const HeaderSector&) = default;
  };
  SegmentHeader header_;
  SegmentBytes bytes_;
  uint64_t batch_min_ = 0, batch_max_ = 0;
  bool other_than_seals_ = false;
  std::optional<BatchLinks> links_;
  std::vector<HeaderSector> headers_;  // sorted
  std::vector<std::pair<uint32_t, uint64_t>> foreign_;
};

// Length of the longest prefix that is whole, well-formed records.
size_t whole_records(ByteView records);
// Whether a logical body, without its preamble, is a whole number of well-formed records whose
// checksums hold at this place.
bool records_good(ByteView records, const SegmentId& id, uint64_t batch, uint64_t first_offset);

}  // namespace kahuna::journal
