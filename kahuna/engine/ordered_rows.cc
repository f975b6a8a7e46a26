#include "kahuna/engine/ordered_rows.h"

namespace kahuna::engine {

std::string_view record_position(std::string_view row) {
  if (row.size() <= 1 + kVersionSuffixBytes || uint8_t(row[0]) != uint8_t(RowKind::kRecord))
    return {};
  return row.substr(0, row.size() - kVersionSuffixBytes);
}

void OrderedRows::put(std::string_view row, std::string_view value) {
  std::string_view position = record_position(row);
  auto at = map_.lower_bound(row);
  if (at != map_.end() && at->first == row) {
    bytes_ += value.size() - at->second.size();
    at->second.assign(value);
    return;
  }
  if (!position.empty()) {
    if (at != map_.begin() && record_position(std::prev(at)->first) == position) return;
    if (at != map_.end() && record_position(at->first) == position) {
      // The usual case: one older version, just behind. Its node is used again.
      auto hint = std::next(at);
      auto node = map_.extract(at);
      bytes_ += row.size() + value.size() - node.key().size() - node.mapped().size();
      node.key().assign(row);
      node.mapped().assign(value);
      map_.insert(hint, std::move(node));
      return;
    }
  }
  bytes_ += row.size() + value.size();
  map_.emplace_hint(at, row, value);
}

void OrderedRows::remove(std::string_view row) {
  auto at = map_.find(row);
  if (at == map_.end()) return;
  bytes_ -= at->first.size() + at->second.size();
  map_.erase(at);
}

}  // namespace kahuna::engine
