#include "kahuna/journal/format.h"

#include <algorithm>
#include <cstring>

#include "runtime/check.h"
#include "runtime/hash.h"
#include "runtime/probe.h"

namespace kahuna::journal {
namespace {

template <class T>
void put_pod(std::vector<std::byte>& out, const T& value) {
  auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof(T));
}
template <class T>
T get_pod(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}
template <class T>
ByteView pod_view(const T& value) {
  return {reinterpret_cast<const std::byte*>(&value), sizeof(T)};
}

constexpr uint64_t kSegmentMagic = 0x314c'4e52'4a55'484bull;  // "KHUJRNL1"

struct SegmentHeaderBytes {
  uint64_t magic = 0;
  uint32_t version = 0;
  uint32_t unit = 0;
  uint64_t level = 0;
  uint64_t journal = 0;
  uint64_t bytes = 0;
  uint32_t file = 0;
  uint32_t life = 0;
  uint64_t flags = 0;
};
static_assert(sizeof(SegmentHeaderBytes) == 56);
constexpr uint64_t kForSealFlag = 1;
constexpr size_t kSegmentCrcOffset = kSectorBytes - 4;

struct Trailer {
  uint64_t batch = 0;
  uint32_t life = 0;
  uint32_t file = 0;
  uint32_t where = 0;  // sector number in the segment; the three top bits are flags
  uint32_t crc = 0;    // of the whole sector before it, seeded with the journal's id
};
static_assert(sizeof(Trailer) == kTrailerBytes);
constexpr uint32_t kHeaderFlag = 1u << 31, kSealFlag = 1u << 30, kFirstFlag = 1u << 29,
                   kWhereMask = kFirstFlag - 1;
static_assert(kSegmentBytesMax / kSectorBytes <= kWhereMask);

uint32_t journal_seed(uint64_t journal) {
  return crc32c(pod_view(journal));
}

bool all_zero(ByteView bytes) {
  for (size_t i = 0; i < bytes.size(); i += 8)
    if (get_pod<uint64_t>(bytes.data() + i) != 0) return false;
  return true;
}

}  // namespace

std::string segment_name(uint32_t file) {
  std::string digits = std::to_string(file);
  return digits.size() >= 8 ? digits : std::string(8 - digits.size(), '0') + digits;
}

std::optional<uint32_t> parse_segment_name(std::string_view name) {
  if (name.size() != 8) return std::nullopt;
  uint32_t file = 0;
  for (char c : name) {
    if (c < '0' || c > '9') return std::nullopt;
    file = file * 10 + static_cast<uint32_t>(c - '0');
  }
  return file;
}

void encode_segment_header(const SegmentHeader& header, MutableByteView sector) {
  CHECK_EQ(sector.size(), kSectorBytes);
  SegmentHeaderBytes out{
      kSegmentMagic,        kFormatVersion,    header.unit,
      header.level.value(), header.id.journal, header.bytes,
      header.id.file,       header.id.life,    header.for_seal ? kForSealFlag : 0};
  std::memset(sector.data(), 0, sector.size());
  std::memcpy(sector.data(), &out, sizeof(out));
  uint32_t crc = crc32c(sector.first(kSegmentCrcOffset));
  std::memcpy(sector.data() + kSegmentCrcOffset, &crc, sizeof(crc));
}

Result<SegmentHeader> decode_segment_header(ByteView sector) {
  if (sector.size() < kSectorBytes) return fail(ErrorCode::kDamaged, "header cut short");
  auto in = get_pod<SegmentHeaderBytes>(sector.data());
  if (in.magic != kSegmentMagic) return fail(ErrorCode::kDamaged, "not a journal segment");
  if (crc32c(sector.first(kSegmentCrcOffset)) !=
      get_pod<uint32_t>(sector.data() + kSegmentCrcOffset))
    return fail(ErrorCode::kDamaged, "header checksum fails");
  if (in.version != kFormatVersion)
    return fail(ErrorCode::kVersion, "journal format " + std::to_string(in.version) +
                                         " is not readable by this version (it reads " +
                                         std::to_string(kFormatVersion) + ")");
  if (in.level > kCurrentSemanticLevel.value())
    return fail(ErrorCode::kVersion, "journal was written under semantic level " +
                                         std::to_string(in.level) + ", newer than this version's " +
                                         std::to_string(kCurrentSemanticLevel.value()));
  if ((in.unit != kSectorBytes && in.unit != kPageBytes) || in.bytes < kSegmentBytesMin ||
      in.bytes > kSegmentBytesMax || in.bytes % kPageBytes != 0 || in.life == 0 ||
      in.life > kLifeMax)
    return fail(ErrorCode::kDamaged, "header values are out of range");
  return SegmentHeader{{in.journal, in.file, in.life},
                       in.bytes,
                       in.unit,
                       SemanticLevel(in.level),
                       (in.flags & kForSealFlag) != 0};
}

void stamp_sector(const SegmentId& id, uint64_t offset, const SectorStamp& stamp,
                  MutableByteView sector) {
  CHECK_EQ(sector.size(), kSectorBytes);
  CHECK_EQ(offset % kSectorBytes, 0u);
  Trailer trailer{stamp.batch, id.life, id.file, static_cast<uint32_t>(offset / kSectorBytes), 0};
  if (stamp.zone == Zone::kHeader) trailer.where |= kHeaderFlag;
  if (stamp.seal) trailer.where |= kSealFlag;
  if (stamp.first) trailer.where |= kFirstFlag;
  std::byte* at = sector.data() + kSectorPayload;
  std::memcpy(at, &trailer, sizeof(trailer));
  trailer.crc = crc32c(sector.first(kSectorBytes - 4), journal_seed(id.journal));
  std::memcpy(at, &trailer, sizeof(trailer));
}

Sector inspect_sector(const SegmentId& id, uint64_t offset, ByteView sector) {
  CHECK_EQ(sector.size(), kSectorBytes);
  auto trailer = get_pod<Trailer>(sector.data() + kSectorPayload);
  Sector result;
  if (trailer.batch == 0) {
    result.state = all_zero(sector) ? SectorState::kUnwritten : SectorState::kCorrupt;
    return result;
  }
  bool intact = crc32c(sector.first(kSectorBytes - 4), journal_seed(id.journal)) == trailer.crc;
  if (!intact && !MUTANT(crc_not_checked)) return result;
  if (trailer.batch > kBatchMax) return result;
  result.zone = trailer.where & kHeaderFlag ? Zone::kHeader : Zone::kBody;
  result.seal = trailer.where & kSealFlag;
  result.first = result.zone == Zone::kBody && (trailer.where & kFirstFlag);
  result.batch = trailer.batch;
  result.file = trailer.file;
  result.life = trailer.life;
  bool here = trailer.file == id.file && (trailer.where & kWhereMask) == offset / kSectorBytes;
  if (!here)
    result.state = SectorState::kForeign;
  else if (trailer.life == id.life || MUTANT(old_segment_reused))
    result.state = SectorState::kWritten;
  else  // A life of this file still to come cannot be: then the segment's header went back in time.
    result.state = trailer.life < id.life ? SectorState::kUnwritten : SectorState::kForeign;
  return result;
}

void SectorWriter::put(ByteView bytes) {
  while (!bytes.empty()) {
    size_t within = position_ % kSectorPayload;
    size_t n = std::min(bytes.size(), kSectorPayload - within);
    std::memcpy(out_ + position_ / kSectorPayload * kSectorBytes + within, bytes.data(), n);
    position_ += n;
    bytes = bytes.subspan(n);
  }
}

size_t SectorWriter::finish(const SegmentId& id, uint64_t offset, const SectorStamp& stamp,
                            size_t unit) {
  size_t used = sectors_for(position_) * kSectorBytes;
  size_t whole = round_up(used, unit);
  size_t within = position_ % kSectorPayload;
  if (within != 0) std::memset(out_ + used - kSectorBytes + within, 0, kSectorPayload - within);
  std::memset(out_ + used, 0, whole - used);
  SectorStamp each = stamp;
  for (size_t at = 0; at < used; at += kSectorBytes) {
    each.first = at == 0;
    stamp_sector(id, offset + at, each, MutableByteView(out_ + at, kSectorBytes));
  }
  return whole;
}

// --- headers ---

namespace {
constexpr size_t kItemRoom = kSectorPayload - sizeof(SlotHead);

// How many states and ranges the next header sector takes of those left: states first.
struct SlotShare {
  size_t states, ranges;
};
SlotShare share(size_t states_left, size_t ranges_left) {
  SlotShare result{std::min(states_left, kItemRoom / sizeof(StateItem)), 0};
  size_t room = kItemRoom - result.states * sizeof(StateItem);
  if (result.states == states_left) result.ranges = std::min(ranges_left, room / sizeof(RangeItem));
  return result;
}
}  // namespace

size_t header_sectors(size_t states, size_t ranges) {
  size_t sectors = 0;
  do {
    SlotShare now = share(states, ranges);
    states -= now.states;
    ranges -= now.ranges;
    ++sectors;
  } while (states + ranges > 0);
  return sectors;
}

void encode_header(const SegmentId& id, uint64_t offset, const SectorStamp& stamp,
                   const SlotHead& head, const HeaderItems& items, std::byte* out) {
  size_t states = 0, ranges = 0;
  for (size_t part = 0; part < head.parts; ++part) {
    SlotShare now = share(items.states.size() - states, items.ranges.size() - ranges);
    SlotHead slot = head;
    slot.magic = kSlotMagic;
    slot.part = static_cast<uint16_t>(part);
    slot.states = static_cast<uint16_t>(now.states);
    slot.ranges = static_cast<uint16_t>(now.ranges);
    std::byte* at = out + part * kSectorBytes;
    std::memset(at, 0, kSectorBytes);
    std::memcpy(at, &slot, sizeof(slot));
    std::byte* item = at + sizeof(slot);
    if (now.states) std::memcpy(item, items.states.data() + states, now.states * sizeof(StateItem));
    item += now.states * sizeof(StateItem);
    if (now.ranges) std::memcpy(item, items.ranges.data() + ranges, now.ranges * sizeof(RangeItem));
    states += now.states;
    ranges += now.ranges;
    stamp_sector(id, offset + part * kSectorBytes, stamp, MutableByteView(at, kSectorBytes));
  }
  CHECK_EQ(states, items.states.size());
  CHECK_EQ(ranges, items.ranges.size());
}

namespace {
bool well_formed(const StateItem& state) {
  return state.released <= kIndexMax && state.commit <= kIndexMax;
}
}  // namespace

std::optional<SlotHead> decode_slot(ByteView sector, HeaderItems* items) {
  auto slot = get_pod<SlotHead>(sector.data());
  if (slot.magic != kSlotMagic || slot.part >= slot.parts) return std::nullopt;
  if (slot.states * sizeof(StateItem) + slot.ranges * sizeof(RangeItem) > kItemRoom)
    return std::nullopt;
  if (slot.body_length < sizeof(Preamble) || slot.body_offset % kSectorBytes != 0)
    return std::nullopt;
  if (!items) return slot;
  const std::byte* at = sector.data() + sizeof(slot);
  for (size_t i = 0; i < slot.states; ++i, at += sizeof(StateItem)) {
    items->states.push_back(get_pod<StateItem>(at));
    if (!well_formed(items->states.back())) return std::nullopt;
  }
  for (size_t i = 0; i < slot.ranges; ++i, at += sizeof(RangeItem)) {
    auto range = get_pod<RangeItem>(at);
    if (range.first == 0 || range.first > range.last || range.last > kIndexMax ||
        range.last - range.first >= kRangeEntriesMax)
      return std::nullopt;
    items->ranges.push_back(range);
  }
  return slot;
}

// --- records ---

namespace {
void append_record(std::vector<std::byte>& out, const RecordHead& head, ByteView payload) {
  put_pod(out, head);
  out.insert(out.end(), payload.begin(), payload.end());
  out.resize(out.size() + (round_up(payload.size(), 8) - payload.size()));
}
}  // namespace

void append_state(std::vector<std::byte>& out, const StateItem& item) {
  StateTail tail{item.vote_node, item.vote_incarnation, item.released};
  RecordHead head;
  head.length = sizeof(tail);
  head.group = item.group;
  head.type = static_cast<uint8_t>(RecordType::kState);
  head.term = item.term;
  head.index = item.commit;
  append_record(out, head, pod_view(tail));
}

void append_entry(std::vector<std::byte>& out, RecordType type, uint64_t group,
                  const raft::Entry& entry) {
  CHECK_LE(entry.payload.size(), kSegmentBytesMax / 2);
  CHECK_LE(entry.level.value(), UINT32_MAX);
  RecordHead head;
  head.length = static_cast<uint32_t>(entry.payload.size());
  head.group = group;
  head.type = static_cast<uint8_t>(type);
  head.kind = static_cast<uint8_t>(entry.kind);
  head.level = static_cast<uint32_t>(entry.level.value());
  head.term = entry.term.value();
  head.index = entry.index.value();
  append_record(out, head, entry.payload.view());
}

void append_faulty(std::vector<std::byte>& out, uint64_t group, uint64_t term, uint64_t first,
                   uint64_t last) {
  FaultyTailRecord tail{last};
  RecordHead head;
  head.length = sizeof(tail);
  head.group = group;
  head.type = static_cast<uint8_t>(RecordType::kFaulty);
  head.term = term;
  head.index = first;
  append_record(out, head, pod_view(tail));
}

std::optional<Record> parse_record(ByteView bytes) {
  if (bytes.size() < sizeof(RecordHead)) return std::nullopt;
  Record record;
  record.head = get_pod<RecordHead>(bytes.data());
  size_t room = bytes.size() - sizeof(RecordHead);
  if (record.head.length > room || round_up(record.head.length, 8) > room) return std::nullopt;
  record.payload = bytes.subspan(sizeof(RecordHead), record.head.length);
  record.bytes = record_bytes(record.head.length);
  const RecordHead& head = record.head;
  switch (static_cast<RecordType>(head.type)) {
    case RecordType::kState:
      if (head.length != sizeof(StateTail) || !well_formed(state_of(record))) return std::nullopt;
      return record;
    case RecordType::kFaulty:
      if (head.length != sizeof(FaultyTailRecord) || head.index == 0 ||
          faulty_last_of(record) < head.index || faulty_last_of(record) > kIndexMax ||
          faulty_last_of(record) - head.index >= kRangeEntriesMax)
        return std::nullopt;
      return record;
    case RecordType::kEntry:
    case RecordType::kCopied:
      if (head.index == 0 || head.index > kIndexMax) return std::nullopt;
      return record;
  }
  return std::nullopt;
}

uint32_t record_crc(ByteView record, size_t payload, const SegmentId& id, uint64_t batch,
                    uint64_t offset) {
  struct {
    uint64_t batch, offset;
    uint32_t life, file;
  } place{batch, offset, id.life, id.file};
  return crc32c(record.subspan(sizeof(uint32_t), sizeof(RecordHead) - sizeof(uint32_t) + payload),
                crc32c(pod_view(place)));
}

StateItem state_of(const Record& record) {
  auto tail = get_pod<StateTail>(record.payload.data());
  return {record.head.group,     record.head.term,  tail.vote_node,
          tail.vote_incarnation, record.head.index, tail.released};
}

raft::Entry entry_of(const Record& record) {
  return {Index(record.head.index), Term(record.head.term),
          static_cast<raft::EntryKind>(record.head.kind), SemanticLevel(record.head.level),
          Payload(record.payload)};
}

uint64_t faulty_last_of(const Record& record) {
  return get_pod<FaultyTailRecord>(record.payload.data()).last;
}

}  // namespace kahuna::journal
