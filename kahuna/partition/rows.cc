#include "kahuna/partition/rows.h"

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::partition {

namespace {

using engine::RowKind;

constexpr char kFormat = 1, kStateFormat = 2;
constexpr char kTombstoneFlag = 1;
constexpr size_t kRecordValueHeader = 1 + 1 + 8;
constexpr size_t kOperationsRow = 1 + 8 + 8;
constexpr size_t kOperationBytes = 8 + 8 + 8 + 8 + 8 + 1;
constexpr size_t kStateValue1 = 1 + 8 + 8, kStateValue = kStateValue1 + 8;
constexpr size_t kInstallValueHeader = 1 + 4 * 8;
static_assert(engine::kVersionSuffixBytes == sizeof(uint64_t) * 2 + sizeof(uint32_t));

template <class T>
void append_big(std::string& out, T v) {
  for (size_t shift = 8 * sizeof(T); shift > 0; shift -= 8) out.push_back(char(v >> (shift - 8)));
}
template <class T>
T read_big(std::string_view bytes, size_t at) {
  T v = 0;
  for (size_t i = 0; i < sizeof(T); ++i) v = T(v << 8) | uint8_t(bytes[at + i]);
  return v;
}
void append_little(std::string& out, uint64_t v) {
  char bytes[8];
  for (size_t i = 0; i < 8; ++i) bytes[i] = char(v >> (8 * i));
  out.append(bytes, sizeof bytes);
}
uint64_t read_little(std::string_view bytes, size_t at) {
  uint64_t v = 0;
  for (size_t i = 8; i > 0; --i) v = (v << 8) | uint8_t(bytes[at + i - 1]);
  return v;
}
char kind_byte(RowKind kind) {
  return char(kind);
}

}  // namespace

std::string rows_from(RowKind kind, std::string_view position) {
  std::string row(1, kind_byte(kind));
  row.append(position);
  return row;
}

std::string rows_after(RowKind kind, std::string_view position) {
  CHECK(position.ends_with('\x01'));
  std::string row = rows_from(kind, position);
  row.back() = '\x02';
  return row;
}

std::pair<std::string, std::string> operations_rows_of(PartitionId id) {
  std::string from(1, kind_byte(RowKind::kOperations));
  append_big(from, id.value());
  // No stamp reaches the highest number.
  return {from, from + std::string(8, '\xff')};
}

std::vector<engine::RowRange> rows_of(const Descriptor& descriptor) {
  std::string records_end = descriptor.end.empty()
                                ? std::string(1, char(uint8_t(RowKind::kRecord) + 1))
                                : rows_from(RowKind::kRecord, descriptor.end);
  std::string state = make_state_row(descriptor.id);
  std::vector<engine::RowRange> ranges;
  ranges.emplace_back(rows_from(RowKind::kRecord, descriptor.start), std::move(records_end));
  if (!MUTANT(snapshot_without_operations)) ranges.push_back(operations_rows_of(descriptor.id));
  ranges.emplace_back(state, state + '\0');
  std::string members = make_members_row(descriptor.id);
  ranges.emplace_back(members, members + '\0');
  return ranges;
}

void make_record_row(std::string_view position, Watermark stamp, Index index, uint32_t ordinal,
                     std::string& row) {
  row.assign(1, kind_byte(RowKind::kRecord));
  row.append(position);
  append_big(row, ~stamp.value());
  append_big(row, ~index.value());
  append_big(row, ~ordinal);
}

void make_record_value(bool tombstone, Revision revision, std::string_view bytes,
                       std::string& value) {
  value.assign(1, kFormat);
  value.push_back(tombstone ? kTombstoneFlag : '\0');
  append_little(value, uint64_t(revision.value()));
  value.append(bytes);
}

void make_operations_row(PartitionId id, Watermark highest, std::string& row) {
  row.assign(1, kind_byte(RowKind::kOperations));
  append_big(row, id.value());
  append_big(row, highest.value());
}

void begin_operations_value(std::string& value) {
  value.assign(1, kFormat);
}

void append_operation(const OperationRow& operation, std::string& value) {
  append_little(value, operation.client);
  append_little(value, operation.sequence);
  append_little(value, operation.stamp.value());
  append_little(value, operation.reply.stamp.value());
  append_little(value, uint64_t(operation.reply.revision.value()));
  value.push_back(char(operation.reply.outcome));
}

std::string make_state_row(PartitionId id) {
  std::string row(1, kind_byte(RowKind::kState));
  append_big(row, id.value());
  return row;
}

void make_state_value(const StateRow& state, std::string& value) {
  value.assign(1, kStateFormat);
  append_little(value, state.last.value());
  append_little(value, state.floor.value());
  append_little(value, state.log_time.value());
}

std::string make_members_row(PartitionId id) {
  std::string row(1, kind_byte(RowKind::kMembers));
  append_big(row, id.value());
  return row;
}

std::string make_install_row(PartitionId id) {
  std::string row(1, kind_byte(RowKind::kInstall));
  append_big(row, id.value());
  return row;
}

void make_install_value(const InstallRow& install, std::string& value) {
  value.assign(1, kFormat);
  append_little(value, install.stream);
  append_little(value, install.position.index.value());
  append_little(value, install.position.term.value());
  append_little(value, install.parts);
  value.append(install.last_row);
}

std::string_view position_in_record_row(std::string_view row) {
  if (row.size() <= 1 + engine::kVersionSuffixBytes) return {};
  return row.substr(1, row.size() - 1 - engine::kVersionSuffixBytes);
}

std::optional<RecordRow> read_record_row(std::string_view row, std::string_view value) {
  if (position_in_record_row(row).empty() || value.size() < kRecordValueHeader) return std::nullopt;
  if (value[0] != kFormat || (value[1] & ~kTombstoneFlag) != 0) return std::nullopt;
  return RecordRow{
      .tombstone = value[1] == kTombstoneFlag,
      .revision = Revision(int64_t(read_little(value, 2))),
      .stamp = Watermark(~read_big<uint64_t>(row, row.size() - engine::kVersionSuffixBytes)),
      .value = value.substr(kRecordValueHeader)};
}

std::optional<Watermark> read_operations_row(std::string_view row, std::string_view value,
                                             std::vector<OperationRow>& operations) {
  if (row.size() != kOperationsRow || value.size() <= 1 || value[0] != kFormat) return std::nullopt;
  if ((value.size() - 1) % kOperationBytes != 0) return std::nullopt;
  Watermark highest(read_big<uint64_t>(row, kOperationsRow - 8)), before;
  for (size_t at = 1; at < value.size(); at += kOperationBytes) {
    auto outcome = Outcome(value[at + kOperationBytes - 1]);
    if (outcome != Outcome::kDone && outcome != Outcome::kNotSet && outcome != Outcome::kNotFound)
      return std::nullopt;
    operations.push_back({.client = read_little(value, at),
                          .sequence = read_little(value, at + 8),
                          .stamp = Watermark(read_little(value, at + 16)),
                          .reply = {.outcome = outcome,
                                    .revision = Revision(int64_t(read_little(value, at + 32))),
                                    .stamp = Watermark(read_little(value, at + 24))}});
    if (operations.back().stamp <= before || operations.back().stamp > highest) return std::nullopt;
    before = operations.back().stamp;
  }
  if (before != highest) return std::nullopt;
  return highest;
}

bool is_newer_state_value(std::string_view value) {
  return !value.empty() && uint8_t(value[0]) > uint8_t(kStateFormat);
}

std::optional<StateRow> read_state_value(std::string_view value) {
  const bool old = value.size() == kStateValue1 && value[0] == kFormat;
  if (!old && (value.size() != kStateValue || value[0] != kStateFormat)) return std::nullopt;
  return StateRow{Watermark(read_little(value, 1)), Watermark(read_little(value, 9)),
                  old ? LogTime() : LogTime(read_little(value, 17))};
}

std::optional<InstallRow> read_install_value(std::string_view value) {
  if (value.size() < kInstallValueHeader || value[0] != kFormat) return std::nullopt;
  return InstallRow{.stream = read_little(value, 1),
                    .position = {Index(read_little(value, 9)), Term(read_little(value, 17))},
                    .parts = read_little(value, 25),
                    .last_row = std::string(value.substr(kInstallValueHeader))};
}

bool is_well_formed(std::string_view row, std::string_view value) {
  if (row.empty()) return false;
  std::vector<OperationRow> operations;
  switch (engine::RowKind(static_cast<uint8_t>(row[0]))) {
    case engine::RowKind::kRecord: return read_record_row(row, value).has_value();
    case engine::RowKind::kOperations:
      return read_operations_row(row, value, operations).has_value();
    case engine::RowKind::kState: return read_state_value(value).has_value();
    case engine::RowKind::kMembers: return !value.empty();
    default: return false;
  }
}

}  // namespace kahuna::partition
