#include "kahuna/partition/rows.h"

#include "runtime/check.h"

namespace kahuna::partition {

namespace {

using engine::RowKind;

constexpr char kFormat = 1;
constexpr char kTombstoneFlag = 1;
constexpr size_t kRecordValueHeader = 1 + 1 + 8;
constexpr size_t kOperationSuffix = 8 + 8;
constexpr size_t kOperationValue = 1 + 1 + 8 + 8 + 8;
constexpr size_t kStateValue = 1 + 8 + 8;
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
  for (size_t i = 0; i < 8; ++i) out.push_back(char(v >> (8 * i)));
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

std::string rows_until(RowKind kind, std::string_view end) {
  if (end.empty()) return std::string(1, char(uint8_t(kind) + 1));
  return rows_from(kind, end);
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

void make_operation_row(std::string_view position, uint64_t client, uint64_t sequence,
                        std::string& row) {
  row.assign(1, kind_byte(RowKind::kOperation));
  row.append(position);
  append_big(row, client);
  append_big(row, sequence);
}

void make_operation_value(Watermark stamp, const Reply& reply, std::string& value) {
  value.assign(1, kFormat);
  value.push_back(char(reply.outcome));
  append_little(value, stamp.value());
  append_little(value, reply.stamp.value());
  append_little(value, uint64_t(reply.revision.value()));
}

std::string make_state_row(PartitionId id) {
  std::string row(1, kind_byte(RowKind::kState));
  append_big(row, id.value());
  return row;
}

void make_state_value(const StateRow& state, std::string& value) {
  value.assign(1, kFormat);
  append_little(value, state.last.value());
  append_little(value, state.floor.value());
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

std::optional<OperationRow> read_operation_row(std::string_view row, std::string_view value) {
  if (row.size() <= 1 + kOperationSuffix || value.size() != kOperationValue) return std::nullopt;
  if (value[0] != kFormat) return std::nullopt;
  auto outcome = Outcome(value[1]);
  if (outcome != Outcome::kDone && outcome != Outcome::kNotSet && outcome != Outcome::kNotFound)
    return std::nullopt;
  size_t suffix = row.size() - kOperationSuffix;
  return OperationRow{.position = std::string(row.substr(1, suffix - 1)),
                      .client = read_big<uint64_t>(row, suffix),
                      .sequence = read_big<uint64_t>(row, suffix + 8),
                      .stamp = Watermark(read_little(value, 2)),
                      .reply = {.outcome = outcome,
                                .revision = Revision(int64_t(read_little(value, 18))),
                                .stamp = Watermark(read_little(value, 10))}};
}

std::optional<StateRow> read_state_value(std::string_view value) {
  if (value.size() != kStateValue || value[0] != kFormat) return std::nullopt;
  return StateRow{Watermark(read_little(value, 1)), Watermark(read_little(value, 9))};
}

}  // namespace kahuna::partition
