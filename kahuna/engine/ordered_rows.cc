#include "kahuna/engine/ordered_rows.h"

#include <algorithm>

namespace kahuna::engine {

namespace {

constexpr char kOperationByte = char(RowKind::kOperation);
constexpr std::string_view kOperationsFrom(&kOperationByte, 1);
constexpr char kAfterOperationByte = char(uint8_t(RowKind::kOperation) + 1);
constexpr std::string_view kOperationsTo(&kAfterOperationByte, 1);
constexpr size_t kSpareMax = 1024;

bool is_operation(std::string_view row) {
  return !row.empty() && row[0] == kOperationByte;
}

}  // namespace

std::string_view record_position(std::string_view row) {
  if (row.size() <= 1 + kVersionSuffixBytes || uint8_t(row[0]) != uint8_t(RowKind::kRecord))
    return {};
  return row.substr(0, row.size() - kVersionSuffixBytes);
}

void OrderedRows::put(std::string_view row, std::string_view value) {
  if (is_operation(row))
    put_operation(row, value);
  else
    put_sorted(row, value);
}

void OrderedRows::put_operation(std::string_view row, std::string_view value) {
  auto at = operations_.find(row);
  if (at != operations_.end()) {
    bytes_ += value.size() - at->second.size();
    at->second.assign(value);
    return;
  }
  bytes_ += row.size() + value.size();
  if (spare_.empty()) {
    operations_.emplace(row, value);
    return;
  }
  auto node = std::move(spare_.back());
  spare_.pop_back();
  node.key().assign(row);
  node.mapped().assign(value);
  operations_.insert(std::move(node));
}

void OrderedRows::put_sorted(std::string_view row, std::string_view value) {
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
  if (is_operation(row)) {
    auto at = operations_.find(row);
    if (at == operations_.end()) return;
    bytes_ -= at->first.size() + at->second.size();
    auto node = operations_.extract(at);
    if (spare_.size() < kSpareMax) spare_.push_back(std::move(node));
    return;
  }
  auto at = sorted_.find(row);
  if (at == sorted_.end()) return;
  bytes_ -= at->first.size() + at->second.size();
  sorted_.erase(at);
}

const std::string* OrderedRows::find(std::string_view row) const {
  if (is_operation(row)) {
    auto at = operations_.find(row);
    return at == operations_.end() ? nullptr : &at->second;
  }
  auto at = sorted_.find(row);
  return at == sorted_.end() ? nullptr : &at->second;
}

void OrderedRows::scan(std::string_view from, std::string_view to, const RowVisitor& visit) const {
  // No sorted row lies between the first and the last operation row.
  if (!scan_sorted(from, std::min(to, kOperationsFrom), visit)) return;
  if (!scan_operations(std::max(from, kOperationsFrom), std::min(to, kOperationsTo), visit)) return;
  scan_sorted(std::max(from, kOperationsTo), to, visit);
}

bool OrderedRows::scan_sorted(std::string_view from, std::string_view to,
                              const RowVisitor& visit) const {
  if (from >= to) return true;
  for (auto at = sorted_.lower_bound(from); at != sorted_.end() && at->first < to; ++at)
    if (!visit(at->first, at->second)) return false;
  return true;
}

bool OrderedRows::scan_operations(std::string_view from, std::string_view to,
                                  const RowVisitor& visit) const {
  if (from >= to) return true;
  std::vector<const Hashed::value_type*> found;
  for (const auto& item : operations_)
    if (item.first >= from && item.first < to) found.push_back(&item);
  std::sort(found.begin(), found.end(),
            [](const auto* a, const auto* b) { return a->first < b->first; });
  for (const auto* item : found)
    if (!visit(item->first, item->second)) return false;
  return true;
}

}  // namespace kahuna::engine
