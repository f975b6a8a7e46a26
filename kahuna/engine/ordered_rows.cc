#include "kahuna/engine/ordered_rows.h"

#include <iterator>

namespace kahuna::engine {

std::string_view record_position(std::string_view row) {
  if (row.size() <= 1 + kVersionSuffixBytes || uint8_t(row[0]) != uint8_t(RowKind::kRecord))
    return {};
  return row.substr(0, row.size() - kVersionSuffixBytes);
}

void OrderedRows::put(std::string_view row, std::string_view value) {
  std::string_view position = record_position(row);
  auto at = sorted_.lower_bound(row);
  if (at != sorted_.end() && at->first == row) {
    bytes_ += value.size() - at->second.size();
    at->second.assign(value);
    return;
  }
  if (!position.empty()) {
    if (at != sorted_.begin() && record_position(std::prev(at)->first) == position) return;
    if (at != sorted_.end() && record_position(at->first) == position) {
      // The usual case: one older version, just behind. Its node is used again.
      auto hint = std::next(at);
      auto node = sorted_.extract(at);
      bytes_ += row.size() + value.size() - node.key().size() - node.mapped().size();
      node.key().assign(row);
      node.mapped().assign(value);
      sorted_.insert(hint, std::move(node));
      return;
    }
  }
  bytes_ += row.size() + value.size();
  sorted_.emplace_hint(at, row, value);
}

void OrderedRows::remove(std::string_view row) {
  auto at = sorted_.find(row);
  if (at == sorted_.end()) return;
  bytes_ -= at->first.size() + at->second.size();
  sorted_.erase(at);
}

void OrderedRows::remove_range(std::string_view from, std::string_view to) {
  auto at = sorted_.lower_bound(from);
  while (at != sorted_.end() && at->first < to) {
    bytes_ -= at->first.size() + at->second.size();
    at = sorted_.erase(at);
  }
}

const std::string* OrderedRows::find(std::string_view row) const {
  auto at = sorted_.find(row);
  return at == sorted_.end() ? nullptr : &at->second;
}

void OrderedRows::scan(std::string_view from, std::string_view to, const RowVisitor& visit) const {
  if (from >= to) return;
  for (auto at = sorted_.lower_bound(from); at != sorted_.end() && at->first < to; ++at)
    if (!visit(at->first, at->second)) return;
}

}  // namespace kahuna::engine
