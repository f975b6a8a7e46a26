#include "kahuna/journal/image.h"

#include <algorithm>
#include <cstring>

#include "runtime/check.h"
#include "runtime/hash.h"
#include "runtime/probe.h"

namespace kahuna::journal {

namespace {
constexpr std::byte kBlankPage[kPageBytes] = {};
}  // namespace

SegmentBytes::SegmentBytes(uint64_t size) : size_(size), pages_(size / kPageBytes) {
  CHECK_EQ(size % kPageBytes, 0u);
}

void SegmentBytes::put(uint64_t offset, ByteView bytes) {
  CHECK_EQ(offset % kPageBytes, 0u);
  CHECK_LE(offset + bytes.size(), size_);
  for (size_t done = 0; done < bytes.size(); done += kPageBytes) {
    const size_t step = std::min(kPageBytes, bytes.size() - done);
    std::unique_ptr<std::byte[]>& page = pages_[(offset + done) / kPageBytes];
    if (!page) {
      if (std::memcmp(bytes.data() + done, kBlankPage, step) == 0) continue;
      page = std::make_unique<std::byte[]>(kPageBytes);
      held_ += kPageBytes;
    }
    std::memcpy(page.get(), bytes.data() + done, step);
  }
}

ByteView SegmentBytes::sector(uint64_t offset) const {
  const std::byte* page = pages_[offset / kPageBytes].get();
  return {(page ? page : kBlankPage) + offset % kPageBytes, kSectorBytes};
}

SegmentImage::SegmentImage(const SegmentHeader& header, SegmentBytes bytes)
    : header_(header), bytes_(std::move(bytes)) {
  CHECK_EQ(bytes_.size(), header.bytes);
  uint64_t links_batch = 0;
  for (uint64_t at = kBodyZone; at < header.bytes; at += kSectorBytes) {
    if (at % kPageBytes == 0 && bytes_.blank(at)) {
      at += kPageBytes - kSectorBytes;  // sectors never written leave no trace
      continue;
    }
    Sector sector = sector_at(at);
    if (sector.state == SectorState::kForeign) {
      SOMETIMES(journal_misdirected_sector);
      foreign_.emplace_back(sector.life, sector.batch);
    }
    if (sector.state != SectorState::kWritten || sector.life != header.id.life) continue;
    batch_min_ = batch_min_ == 0 ? sector.batch : std::min(batch_min_, sector.batch);
    batch_max_ = std::max(batch_max_, sector.batch);
    other_than_seals_ |= !sector.seal;
    std::optional<BatchLinks> links;
    if (sector.zone == Zone::kHeader) {
      headers_.push_back({sector.batch, at});
      if (auto slot = decode_slot(bytes_at(at), nullptr))
        links = BatchLinks{slot->synced, slot->oldest_batch, slot->oldest_life};
    } else if (auto preamble = preamble_at(at, sector.batch)) {
      links = BatchLinks{preamble->synced, preamble->oldest_batch, preamble->oldest_life};
    }
    if (links && sector.batch >= links_batch) {
      links_batch = sector.batch;
      links_ = links;
    }
  }
  std::sort(headers_.begin(), headers_.end());
}

Sector SegmentImage::sector_at(uint64_t offset) const {
  return inspect_sector(header_.id, offset, bytes_at(offset));
}

std::optional<Preamble> SegmentImage::preamble_at(uint64_t offset, uint64_t number) const {
  if (offset + kSectorBytes > header_.bytes) return std::nullopt;
  Sector sector = sector_at(offset);
  if (sector.state != SectorState::kWritten || !sector.first ||
      (sector.batch != number && !MUTANT(old_segment_reused)))
    return std::nullopt;
  Preamble preamble;
  std::memcpy(&preamble, bytes_at(offset).data(), sizeof(preamble));
  if (preamble.magic != kPreambleMagic || preamble.length < sizeof(Preamble) ||
      preamble.length > header_.bytes || preamble.header_sectors == 0 ||
      preamble.header_sectors > kHeaderSectorsMax ||
      offset + sectors_for(preamble.length) * kSectorBytes > header_.bytes)
    return std::nullopt;
  return preamble;
}

std::vector<std::byte> SegmentImage::gather(uint64_t offset, uint64_t length) const {
  std::vector<std::byte> out(length);
  for (uint64_t done = 0; done < length; done += kSectorPayload, offset += kSectorBytes)
    std::memcpy(out.data() + done, bytes_at(offset).data(),
                std::min<uint64_t>(kSectorPayload, length - done));
  return out;
}

Judgement SegmentImage::judge(uint64_t number, uint64_t body_at, uint64_t header_end) const {
  Judgement result;
  if (body_at + kSectorBytes + kSectorBytes > header_end) return result;
  const uint64_t header_last = header_end - kSectorBytes;

  auto preamble = preamble_at(body_at, number);
  // The first header sector that agrees with where this batch must lie.
  std::optional<SlotHead> slot;
  auto from = std::lower_bound(headers_.begin(), headers_.end(), HeaderSector{number, 0});
  for (auto it = from; it != headers_.end() && it->batch == number && !slot; ++it) {
    result.seen = true;
    auto candidate = decode_slot(bytes_at(it->offset), nullptr);
    if (!candidate || candidate->body_offset != body_at) continue;
    if (it->offset + uint64_t(candidate->parts - candidate->part) * kSectorBytes != header_end)
      continue;
    if (body_at + sectors_for(candidate->body_length) * kSectorBytes > header_end) continue;
    if (candidate->body_length > header_.bytes) continue;
    if (candidate->body_length < sizeof(Preamble)) continue;
    slot = candidate;
  }
  if (preamble) result.seen = true;
  if (!preamble && !slot) {
    // Its extent is unknown, but its first body and its last header sector have fixed places.
    for (uint64_t at : {body_at, header_last}) {
      Sector sector = sector_at(at);
      result.unwritten |= sector.state == SectorState::kUnwritten;
      result.seen |= sector.state == SectorState::kWritten && sector.batch == number;
      result.seal |= sector.state == SectorState::kWritten && sector.seal;
    }
    return result;
  }
  uint64_t length = preamble ? preamble->length : slot->body_length;
  uint64_t parts = slot ? slot->parts : preamble->header_sectors;
  uint32_t crc = slot ? slot->body_crc : preamble->body_crc;
  result.body_bytes = round_up(sectors_for(length) * kSectorBytes, header_.unit);
  result.header_bytes = round_up(parts * kSectorBytes, header_.unit);
  if (result.body_bytes + result.header_bytes > header_end - body_at) return result;

  judge_body(number, body_at, length, crc, result);
  if (slot) {
    judge_header(number, header_end - parts * kSectorBytes, *slot, result);
  } else {
    for (uint64_t at = header_end - parts * kSectorBytes; at < header_end; at += kSectorBytes)
      result.unwritten |= sector_at(at).state == SectorState::kUnwritten;
  }
  return result;
}

void SegmentImage::judge_body(uint64_t number, uint64_t body_at, uint64_t length, uint32_t crc,
                              Judgement& result) const {
  bool whole = true;
  for (uint64_t i = 0; i < sectors_for(length); ++i) {
    Sector sector = sector_at(body_at + i * kSectorBytes);
    bool good = sector.state == SectorState::kWritten && sector.zone == Zone::kBody &&
                (sector.batch == number || MUTANT(old_segment_reused));
    whole &= good;
    result.seen |= good;
    result.seal |= good && sector.seal;
    result.unwritten |= sector.state == SectorState::kUnwritten;
  }
  auto preamble = preamble_at(body_at, number);
  if (!preamble || preamble->length != length || preamble->body_crc != crc) return;
  if (!whole && !MUTANT(torn_tail_accepted)) return;
  std::vector<std::byte> body = gather(body_at, length);
  ByteView records = ByteView(body).subspan(sizeof(Preamble));
  bool trusting =
      MUTANT(crc_not_checked) || MUTANT(torn_tail_accepted) || MUTANT(old_segment_reused);
  if (!trusting &&
      (crc32c(records) != crc || !records_good(records, header_.id, number, sizeof(Preamble))))
    return;
  result.body_good = true;
  result.links = BatchLinks{preamble->synced, preamble->oldest_batch, preamble->oldest_life};
  body.erase(body.begin(), body.begin() + static_cast<ptrdiff_t>(sizeof(Preamble)));
  if (trusting) body.resize(whole_records(body));
  result.body = std::move(body);
}

void SegmentImage::judge_header(uint64_t number, uint64_t begin, const SlotHead& like,
                                Judgement& result) const {
  bool whole = true;
  HeaderItems items;
  for (uint64_t part = 0; part < like.parts; ++part) {
    uint64_t at = begin + part * kSectorBytes;
    Sector sector = sector_at(at);
    result.unwritten |= sector.state == SectorState::kUnwritten;
    if (sector.state != SectorState::kWritten || sector.zone != Zone::kHeader ||
        sector.batch != number) {
      whole = false;
      continue;
    }
    result.seal |= sector.seal;
    auto slot = decode_slot(bytes_at(at), &items);
    whole &= slot && slot->part == part && slot->parts == like.parts &&
             slot->body_length == like.body_length && slot->body_crc == like.body_crc;
  }
  uint64_t entries = 0;
  for (const RangeItem& range : items.ranges) entries += range.last - range.first + 1;
  if (!whole || entries > kRangeEntriesMax) return;
  result.header_good = true;
  if (!result.links) result.links = BatchLinks{like.synced, like.oldest_batch, like.oldest_life};
  result.items = std::move(items);
}

size_t whole_records(ByteView records) {
  size_t at = 0;
  while (auto record = parse_record(records.subspan(at))) at += record->bytes;
  return at;
}

bool records_good(ByteView records, const SegmentId& id, uint64_t batch, uint64_t first_offset) {
  uint64_t lost = 0;
  for (size_t at = 0; at < records.size();) {
    auto record = parse_record(records.subspan(at));
    if (!record) return false;
    if (static_cast<RecordType>(record->head.type) == RecordType::kFaulty)
      lost += faulty_last_of(*record) - record->head.index + 1;
    if (lost > kRangeEntriesMax) return false;
    if (record_crc(records.subspan(at), record->payload.size(), id, batch, first_offset + at) !=
        record->head.crc)
      return false;
    at += record->bytes;
  }
  return true;
}

}  // namespace kahuna::journal
