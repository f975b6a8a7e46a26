#include "kahuna/journal/batch_builder.h"

#include <algorithm>
#include <cstring>

#include "runtime/check.h"
#include "runtime/hash.h"
#include "runtime/probe.h"

namespace kahuna::journal {
namespace {
// Below this many states a scan from the back finds a group's faster than a map.
constexpr size_t kScanMax = 16;
}  // namespace

void BatchBuilder::plan(ByteView records, size_t unit) {
  items_.states.clear();
  items_.ranges.clear();
  state_slots_.clear();
  count_ = 0;
  unit_ = unit;
  records_bytes_ = records.size();
  for (size_t at = 0; at < records.size();) {
    auto record = parse_record(records.subspan(at));
    CHECK(record.has_value());
    add(*record);
    at += record->bytes;
    ++count_;
  }
  body_bytes_ = round_up(sectors_for(sizeof(Preamble) + records.size()) * kSectorBytes, unit);
  header_bytes_ =
      round_up(header_sectors(items_.states.size(), items_.ranges.size()) * kSectorBytes, unit);
}

void BatchBuilder::add(const Record& record) {
  const RecordHead& head = record.head;
  if (static_cast<RecordType>(head.type) == RecordType::kState) {
    StateItem state = state_of(record);
    auto& states = items_.states;
    if (states.size() <= kScanMax) {
      for (StateItem& known : states) {
        if (known.group != state.group) continue;
        known = state;
        return;
      }
    } else {
      if (state_slots_.empty())
        for (size_t i = 0; i < states.size(); ++i) state_slots_[states[i].group] = i;
      auto [slot, added] = state_slots_.try_emplace(state.group, states.size());
      if (!added) {
        states[slot->second] = state;
        return;
      }
    }
    states.push_back(state);
    return;
  }
  uint64_t last = static_cast<RecordType>(head.type) == RecordType::kFaulty ? faulty_last_of(record)
                                                                            : head.index;
  auto& ranges = items_.ranges;
  if (!ranges.empty()) {
    RangeItem& back = ranges.back();
    if (back.group == head.group && back.term == head.term && back.type == head.type &&
        back.last + 1 == head.index && last - back.first < kRangeEntriesMax &&
        uint64_t{back.bytes} + record.bytes <= UINT32_MAX) {
      back.last = last;
      back.bytes += static_cast<uint32_t>(record.bytes);
      return;
    }
  }
  ranges.push_back({head.group, head.term, head.index, last, head.type,
                    static_cast<uint32_t>(std::min<size_t>(record.bytes, UINT32_MAX))});
}

void BatchBuilder::encode(MutableByteView records, Segment& segment, uint64_t number,
                          const BatchLinks& links, bool seal) {
  CHECK_EQ(records.size(), records_bytes_);
  CHECK(segment.fits(body_bytes_, header_bytes_));
  CHECK_GT(number, links.synced);
  CHECK_LE(links.oldest_life, segment.life());
  const SegmentId& id = segment.header.id;
  for (size_t at = 0; at < records.size();) {
    RecordHead head;
    std::memcpy(&head, records.data() + at, sizeof(head));
    uint32_t crc =
        record_crc(ByteView(records).subspan(at), head.length, id, number, sizeof(Preamble) + at);
    std::memcpy(records.data() + at, &crc, sizeof(crc));
    at += record_bytes(head.length);
  }
  const size_t parts = header_sectors(items_.states.size(), items_.ranges.size());
  CHECK_LE(parts, kHeaderSectorsMax);
  body_offset_ = segment.body_next;
  header_offset_ = segment.header_low - header_bytes_;

  Preamble preamble;
  preamble.magic = kPreambleMagic;
  preamble.header_sectors = static_cast<uint32_t>(parts);
  preamble.length = sizeof(Preamble) + records.size();
  preamble.synced = links.synced;
  preamble.oldest_batch = links.oldest_batch;
  preamble.oldest_life = links.oldest_life;
  preamble.body_crc = crc32c(records);
  SectorStamp stamp{number, Zone::kBody, seal};
  body_->ensure(body_bytes_);
  SectorWriter writer(body_->data());
  writer.put({reinterpret_cast<const std::byte*>(&preamble), sizeof(preamble)});
  writer.put(records);
  CHECK_EQ(writer.finish(id, body_offset_, stamp, unit_), body_bytes_);

  SlotHead head;
  head.parts = static_cast<uint16_t>(parts);
  head.body_offset = body_offset_;
  head.body_length = preamble.length;
  head.synced = links.synced;
  head.oldest_batch = links.oldest_batch;
  head.oldest_life = links.oldest_life;
  head.body_crc = preamble.body_crc;
  // The parts end where the header ends; padding, if any, comes first.
  const size_t padding = header_bytes_ - parts * kSectorBytes;
  stamp.zone = Zone::kHeader;
  header_->ensure(header_bytes_);
  std::memset(header_->data(), 0, padding);
  encode_header(id, header_offset_ + padding, stamp, head, items_, header_->data() + padding);

  segment.body_next += body_bytes_;
  segment.header_low -= header_bytes_;
  if (segment.first_batch == 0) segment.first_batch = number;
}

}  // namespace kahuna::journal
