// Shapes of this folder's engine rows. Row keys are big endian so that they order; values are fixed
// little-endian layouts that begin with a format byte.
//
//   record     10 · position · ~stamp 8 · ~log index 8 · ~ordinal 4
//              -> format u8 (1) · flags u8 (bit 0: tombstone) · revision i64 · value bytes
//   operations 20 · partition id 8 · highest stamp inside 8
//              -> format u8 (1) · records, ascending by stamp, each
//                 client u64 · sequence u64 · stamp u64 · reply's stamp u64 · revision i64 ·
//                 outcome u8
//   state      30 · partition id 8
//              -> format u8 (2) · last stamp u64 · floor u64 · log time u64; format 1 has no log
//              time
//   members    31 · partition id 8; absent until they change for the first time
//              -> the payload of the last entry that changed them (raft/configuration.h)
//   install    38 · partition id 8
//              -> format u8 (1) · stream u64 · log index u64 · term u64 · parts u64 · last row
//
// An install row says that the partition's other rows are incomplete: they are being replaced by
// those of a snapshot, of which `parts` parts, up to `last row`, are there.
//
// A record's ordinal counts the writes of one log entry; 0 today. An operation's record names no
// key: its id belongs to one key for good, so whoever divides a partition may give both sides all
// records.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
  uint64_t client = 0, sequence = 0;
  Watermark stamp;  // of the operation; the reply's own stamp is in `reply`
  Reply reply;
};

struct StateRow {
  Watermark last, floor;
  LogTime log_time;
  friend bool operator==(const StateRow&, const StateRow&) = default;
};

struct InstallRow {
  uint64_t stream = 0;         // names the sender's rows; 0: none have come
  raft::LogPosition position;  // whose state it will be
  uint64_t parts = 0;
  std::string last_row;
};

// Everything an engine holds of a partition's state, its applied mark and install row aside.
// Ascending.
std::vector<engine::RowRange> rows_of(const Descriptor& descriptor);

// First row of a kind at or after a position; "" = the kind's first. Positions end in 00 01, and no
// position is a prefix of another, so rows_after(position) follows all rows of exactly `position`.
std::string rows_from(engine::RowKind kind, std::string_view position);
std::string rows_after(engine::RowKind kind, std::string_view position);
// [first, last) of a partition's operations rows.
std::pair<std::string, std::string> operations_rows_of(PartitionId id);

// Append into `row` / `value`, which are cleared first.
void make_record_row(std::string_view position, Watermark stamp, Index index, uint32_t ordinal,
                     std::string& row);
void make_record_value(bool tombstone, Revision revision, std::string_view bytes,
                       std::string& value);
void make_operations_row(PartitionId id, Watermark highest, std::string& row);
void begin_operations_value(std::string& value);
void append_operation(const OperationRow& operation, std::string& value);
std::string make_state_row(PartitionId id);
void make_state_value(const StateRow& state, std::string& value);
std::string make_members_row(PartitionId id);
std::string make_install_row(PartitionId id);
void make_install_value(const InstallRow& install, std::string& value);

// Whether it is of a format that came later: not for this version to judge.
bool is_newer_state_value(std::string_view value);
// nullopt: malformed, or of a newer format.
std::optional<RecordRow> read_record_row(std::string_view row, std::string_view value);
// The position inside a record row; empty when it is too short.
std::string_view position_in_record_row(std::string_view row);
// Appends the records of one row to `operations`; the row's stamp, or nullopt.
std::optional<Watermark> read_operations_row(std::string_view row, std::string_view value,
                                             std::vector<OperationRow>& operations);
std::optional<StateRow> read_state_value(std::string_view value);
std::optional<InstallRow> read_install_value(std::string_view value);
// Whether a row of a partition's state is one that this code writes; of the members' row only that
// it is there.
bool is_well_formed(std::string_view row, std::string_view value);

}  // namespace kahuna::partition
