// Shapes of this folder's engine rows. Row keys are big endian so that they order; values are fixed
// little-endian layouts that begin with a format byte.
//
//   record     10 · position · ~stamp 8 · ~log index 8 · ~ordinal 4
//              -> format u8 (1) · flags u8 (bit 0: tombstone) · revision i64 · value bytes
//   operation  20 · position · client 8 · sequence 8
//              -> format u8 (1) · outcome u8 · operation's stamp u64 · reply's stamp u64
//                 · revision i64
//   state      30 · partition id 8
//              -> format u8 (1) · last stamp u64 · floor u64
//
// A record's ordinal counts the writes of one log entry; 0 today.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kahuna/partition/state_machine.h"

namespace kahuna::partition {

// What one record row says. `value` points into the row's value.
struct RecordRow {
  bool tombstone = false;
  Revision revision;
  Watermark stamp;
  std::string_view value;
};

struct OperationRow {
  std::string position;
  uint64_t client = 0, sequence = 0;
  Watermark stamp;  // of the operation; the reply's own stamp is in `reply`
  Reply reply;
};

struct StateRow {
  Watermark last, floor;
};

// First row of a kind at or after a position; "" = the kind's first. Positions end in 00 01, and no
// position is a prefix of another, so rows_after(position) follows all rows of exactly `position`.
std::string rows_from(engine::RowKind kind, std::string_view position);
std::string rows_after(engine::RowKind kind, std::string_view position);
// End of the rows whose position is < end; "" = the kind's end.
std::string rows_until(engine::RowKind kind, std::string_view end);

// Append into `row` / `value`, which are cleared first.
void make_record_row(std::string_view position, Watermark stamp, Index index, uint32_t ordinal,
                     std::string& row);
void make_record_value(bool tombstone, Revision revision, std::string_view bytes,
                       std::string& value);
void make_operation_row(std::string_view position, uint64_t client, uint64_t sequence,
                        std::string& row);
void make_operation_value(Watermark stamp, const Reply& reply, std::string& value);
std::string make_state_row(PartitionId id);
void make_state_value(const StateRow& state, std::string& value);

// nullopt: malformed, or of a newer format.
std::optional<RecordRow> read_record_row(std::string_view row, std::string_view value);
// The position inside a record row; empty when it is too short.
std::string_view position_in_record_row(std::string_view row);
std::optional<OperationRow> read_operation_row(std::string_view row, std::string_view value);
std::optional<StateRow> read_state_value(std::string_view value);

}  // namespace kahuna::partition
