// The journal's disk shape (format.md): sectors, segment headers, batches and records. Pure
// functions over bytes; no I/O.
//
// 1. Every sector after a segment's header area ends in a trailer that says what it is and where it
//    belongs; a sector is believed only at the place and in the life that its trailer names.
// 2. Nothing here trusts a byte read from disk: decoders return nullopt or an error, never CHECK.
// 3. Integers are little-endian.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kahuna/raft/types.h"
#include "runtime/bytes.h"
#include "runtime/error.h"

namespace kahuna::journal {

static_assert(std::endian::native == std::endian::little);

inline constexpr size_t kSectorBytes = 512;
inline constexpr size_t kPageBytes = 4096;
inline constexpr size_t kTrailerBytes = 24;
inline constexpr size_t kSectorPayload = kSectorBytes - kTrailerBytes;
// Two copies of the segment header, each in a page of its own; the body zone follows.
inline constexpr uint64_t kHeaderCopyOffset = kPageBytes;
inline constexpr uint64_t kBodyZone = 2 * kPageBytes;
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr size_t kSegmentBytesMin = 64 * 1024;
inline constexpr size_t kSegmentBytesMax = size_t{1} << 32;

constexpr uint64_t round_up(uint64_t n, uint64_t unit) {
  return (n + unit - 1) / unit * unit;
}
constexpr uint64_t round_down(uint64_t n, uint64_t unit) {
  return n / unit * unit;
}

// --- segments ---

// The identity of a segment in one of its lives. `life` rises with every use of any file of the
// journal, so it also orders the segments.
struct SegmentId {
  uint64_t journal = 0;  // minted with the journal; not tied to a loop or node
  uint32_t file = 0;     // the number in its name
  uint32_t life = 0;     // from 1
  friend bool operator==(const SegmentId&, const SegmentId&) = default;
};

struct SegmentHeader {
  SegmentId id;
  uint64_t bytes = 0;  // size of the file
  uint32_t unit = 0;   // writes start and end on multiples of this: 512 or 4096
  SemanticLevel level = kCurrentSemanticLevel;
  bool for_seal = false;  // made at an open; its first batch is a seal
};

std::string segment_name(uint32_t file);  // "00000012"
std::optional<uint32_t> parse_segment_name(std::string_view name);

// Fills one sector.
void encode_segment_header(const SegmentHeader& header, MutableByteView sector);
// kDamaged: not a header of this journal's kind, or its checksum fails; kVersion: written by a
// newer version.
Result<SegmentHeader> decode_segment_header(ByteView sector);

// --- sectors ---

enum class Zone : uint8_t { kBody = 0, kHeader = 1 };

enum class SectorState : uint8_t {
  kWritten,    // belongs exactly here, in this life
  kUnwritten,  // zeros, or intact from an earlier life of this place: nothing was written here
  kForeign,    // intact, but belongs elsewhere: a misdirected write
  kCorrupt,    // neither
};

struct Sector {
  SectorState state = SectorState::kCorrupt;
  Zone zone = Zone::kBody;
  bool seal = false;   // of a batch that opens a segment after recovery
  bool first = false;  // of a body: it begins with a Preamble
  uint64_t batch = 0;  // meaningful unless kCorrupt; 0 in zeros
  uint32_t file = 0, life = 0;
};

struct SectorStamp {
  uint64_t batch = 0;
  Zone zone = Zone::kBody;
  bool seal = false;
  bool first = false;
};

// Writes the trailer of the sector that lies at `offset` of the segment.
void stamp_sector(const SegmentId& id, uint64_t offset, const SectorStamp& stamp,
                  MutableByteView sector);
Sector inspect_sector(const SegmentId& id, uint64_t offset, ByteView sector);

// Spreads a stream of bytes over the payloads of consecutive sectors.
class SectorWriter {
 public:
  // `out` has room for all that will be put.
  explicit SectorWriter(std::byte* out) : out_(out) {}
  void put(ByteView bytes);
  // Zeroes the rest up to a multiple of `unit`, stamps every sector, returns the bytes used.
  size_t finish(const SegmentId& id, uint64_t offset, const SectorStamp& stamp, size_t unit);

 private:
  std::byte* out_;
  size_t position_ = 0;  // in payload bytes
};
constexpr uint64_t sectors_for(uint64_t payload) {
  return (payload + kSectorPayload - 1) / kSectorPayload;
}

// --- batches ---

// What both the body and every header sector of a batch say about the journal as a whole.
struct BatchLinks {
  uint64_t synced = 0;        // highest batch known synced when this one was written
  uint64_t oldest_batch = 1;  // recovery starts at this batch,
  uint32_t oldest_life = 0;   // in this segment; lower lives are free
  friend bool operator==(const BatchLinks&, const BatchLinks&) = default;
};

// First bytes of a body.
struct Preamble {
  uint32_t magic = 0;
  uint32_t header_sectors = 0;
  uint64_t length = 0;  // of the body, this preamble included, in payload bytes
  uint64_t synced = 0;
  uint64_t oldest_batch = 0;
  uint32_t oldest_life = 0;
  uint32_t body_crc = 0;  // of what follows the preamble
};
static_assert(sizeof(Preamble) == 40);
inline constexpr uint32_t kPreambleMagic = 0x4a62'7562;
inline constexpr uint32_t kSlotMagic = 0x4a68'6472;

enum class RecordType : uint8_t {
  kState = 1,   // a group's hard state, commit and released index
  kEntry = 2,   // cuts the group's log at its index, then extends it
  kCopied = 3,  // an entry copied forward from an older segment; cuts nothing
  kFaulty = 4,  // entries whose content was lost; cuts like kEntry
};

// A group's state as of the end of a batch.
struct StateItem {
  uint64_t group = 0;
  uint64_t term = 0, vote_node = 0, vote_incarnation = 0;
  uint64_t commit = 0, released = 0;
  friend bool operator==(const StateItem&, const StateItem&) = default;
};
static_assert(sizeof(StateItem) == 48);

// Consecutive entries of one group and term.
struct RangeItem {
  uint64_t group = 0, term = 0;
  uint64_t first = 0, last = 0;
  uint32_t type = 0;   // RecordType kEntry, kCopied or kFaulty
  uint32_t bytes = 0;  // of their records, saturated
  friend bool operator==(const RangeItem&, const RangeItem&) = default;
};
static_assert(sizeof(RangeItem) == 40);

// Start of the payload of a header sector; `states` StateItems and then `ranges` RangeItems follow.
struct SlotHead {
  uint32_t magic = 0;
  uint16_t part = 0, parts = 0;  // this header sector, of how many
  uint64_t body_offset = 0;      // in the segment
  uint64_t body_length = 0;      // as Preamble::length
  uint64_t synced = 0;
  uint64_t oldest_batch = 0;
  uint32_t oldest_life = 0;
  uint32_t body_crc = 0;
  uint16_t states = 0, ranges = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(SlotHead) == 56);

struct HeaderItems {
  std::vector<StateItem> states;  // one per group
  std::vector<RangeItem> ranges;  // in record order
};
// Header sectors that `states` and `ranges` items take; at least 1.
size_t header_sectors(size_t states, size_t ranges);
inline constexpr size_t kHeaderSectorsMax = 0xffff;
// Entries in one range, and lost entries in one batch; more is malformed. Keeps bytes that were
// made up from becoming a huge allocation.
inline constexpr uint64_t kRangeEntriesMax = uint64_t{1} << 20;
// Beyond these a number is malformed, so that counting on never wraps.
inline constexpr uint32_t kLifeMax = uint32_t{1} << 31;
inline constexpr uint64_t kBatchMax = uint64_t{1} << 62;
inline constexpr uint64_t kIndexMax = uint64_t{1} << 62;
// Fills the header sectors, stamped, at `out`, whose first byte lies at `offset` of the segment.
// `head` gives what all parts share.
void encode_header(const SegmentId& id, uint64_t offset, const SectorStamp& stamp,
                   const SlotHead& head, const HeaderItems& items, std::byte* out);
// Appends one header sector's items. Nullopt when it is not well formed.
std::optional<SlotHead> decode_slot(ByteView sector, HeaderItems* items);

// --- records ---

struct RecordHead {
  uint32_t crc = 0;     // of all that follows, padding excluded; covers life, batch and offset too
  uint32_t length = 0;  // payload bytes
  uint64_t group = 0;
  uint8_t type = 0;  // RecordType
  uint8_t kind = 0;  // raft::EntryKind
  uint16_t reserved = 0;
  uint32_t level = 0;
  uint64_t term = 0;
  uint64_t index = 0;  // kState: commit index; kFaulty: the first index
};
static_assert(sizeof(RecordHead) == 40);
constexpr size_t record_bytes(size_t payload) {
  return sizeof(RecordHead) + round_up(payload, 8);
}

// Payload of a kState record.
struct StateTail {
  uint64_t vote_node = 0, vote_incarnation = 0, released = 0;
};
// Payload of a kFaulty record: its last index.
struct FaultyTailRecord {
  uint64_t last = 0;
};

void append_state(std::vector<std::byte>& out, const StateItem& item);
void append_entry(std::vector<std::byte>& out, RecordType type, uint64_t group,
                  const raft::Entry& entry);
void append_faulty(std::vector<std::byte>& out, uint64_t group, uint64_t term, uint64_t first,
                   uint64_t last);

// One record as it lies in a body (or in the queue, with its checksum not yet set).
struct Record {
  RecordHead head;
  ByteView payload;
  size_t bytes = 0;  // whole, with padding
};
// Reads the record at the front of `bytes`; nullopt when it does not fit or is not well formed.
std::optional<Record> parse_record(ByteView bytes);
uint32_t record_crc(ByteView record, size_t payload, const SegmentId& id, uint64_t batch,
                    uint64_t offset);
StateItem state_of(const Record& record);
raft::Entry entry_of(const Record& record);
uint64_t faulty_last_of(const Record& record);

}  // namespace kahuna::journal
