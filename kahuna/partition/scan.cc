#include "kahuna/partition/scan.h"

#include <map>

#include "kahuna/partition/position.h"
#include "kahuna/partition/rows.h"
#include "runtime/probe.h"

namespace kahuna::partition {

namespace {

using engine::RowKind;

constexpr size_t kScanLimitMax = 1000;

// Collects one page; candidates arrive in ascending order of position, newest record of each.
class PageBuilder {
 public:
  PageBuilder(std::string_view prefix, size_t limit) : prefix_(prefix), limit_(limit) {}

  // False when the page is full and this candidate belongs to the next one.
  bool offer(const Newest& record) {
    if (page_.items.size() == limit_ || bytes_ > kScanBytesMax || looked_at_ == kScanRowsMax) {
      SOMETIMES(partition_scan_has_cursor);
      page_.cursor = last_key_;
      return false;
    }
    ++looked_at_;
    last_key_ = key_of(record.position);
    // Nested buckets share the prefix only when their hashes collide.
    bool inside =
        last_key_.starts_with(prefix_) && last_key_.find('/', prefix_.size()) == std::string::npos;
    if (!inside || !record.alive) return true;
    bytes_ += last_key_.size() + record.value.size();
    page_.items.push_back({last_key_, {std::string(record.value), record.revision, record.stamp}});
    return true;
  }
  ScanPage take() {
    if (MUTANT(scan_skips_last) && !page_.items.empty()) page_.items.pop_back();
    return std::move(page_);
  }

 private:
  std::string_view prefix_;
  size_t limit_;
  size_t bytes_ = 0, looked_at_ = 0;
  std::string last_key_;
  ScanPage page_;
};

// Positions of keys that begin with `prefix` (which ends in '/') and hash like its bucket.
PositionRange positions_of_prefix(std::string_view prefix) {
  std::string start = position_of(prefix);
  start.resize(start.size() - 2);  // without the terminator
  std::string end = start;
  end.back() = '/' + 1;
  return {std::move(start), std::move(end)};
}

using Overlay = std::map<std::string_view, const Head*>;

Newest newest_of(std::string_view position, const Head& head) {
  return {position, head.alive, head.revision, head.stamp, head.value};
}

}  // namespace

Result<> visit_newest(engine::Engine& engine, const HeadCache& heads, const PositionRange& range,
                      const std::function<bool(const Newest&)>& visit) {
  Overlay overlay;
  heads.for_each_pinned([&](std::string_view position, const Head& head) {
    if (position >= range.start && (range.end.empty() || position < range.end))
      overlay.emplace(position, &head);
  });
  auto next = overlay.cbegin();
  std::string previous;  // position of the row before
  bool stopped = false, malformed = false;
  std::string to = range.end.empty() ? std::string(1, char(uint8_t(RowKind::kRecord) + 1))
                                     : rows_from(RowKind::kRecord, range.end);
  RETURN_IF_ERROR(engine.scan(rows_from(RowKind::kRecord, range.start), to,
                              [&](std::string_view row, std::string_view value) {
                                std::string_view position = position_in_record_row(row);
                                if (position == previous) return true;  // superseded
                                previous = position;
                                for (; next != overlay.cend() && next->first < position; ++next) {
                                  stopped = !visit(newest_of(next->first, *next->second));
                                  if (stopped) return false;
                                }
                                if (next != overlay.cend() && next->first == position) {
                                  stopped = !visit(newest_of(next->first, *next->second));
                                  ++next;
                                  return !stopped;
                                }
                                auto record = read_record_row(row, value);
                                malformed = !record;
                                if (malformed) return false;
                                stopped = !visit({position, !record->tombstone, record->revision,
                                                  record->stamp, record->value});
                                return !stopped;
                              }));
  if (malformed) return fail(ErrorCode::kDamaged, "a malformed record row");
  for (; next != overlay.cend() && !stopped; ++next)
    stopped = !visit(newest_of(next->first, *next->second));
  return {};
}

Result<ScanPage> scan_bucket(engine::Engine& engine, const HeadCache& heads,
                             const Descriptor& descriptor, const ScanRequest& request) {
  if (request.limit < 1 || request.limit > kScanLimitMax)
    return fail(ErrorCode::kInvalid, "the limit of a scan is 1 to 1000");
  std::string prefix = std::string(request.bucket) + "/";
  if (!request.cursor.empty() && !request.cursor.starts_with(prefix))
    return fail(ErrorCode::kInvalid, "the cursor belongs to another bucket");
  PositionRange all = positions_of_space(request.bucket);
  bool ends_inside = descriptor.end.empty() || all.end <= descriptor.end;
  if (!descriptor.contains(all.start) || !ends_inside)
    return fail(ErrorCode::kWrongPartition, "the bucket belongs to another partition");

  PositionRange range = positions_of_prefix(prefix);
  if (!request.cursor.empty()) {
    // Just behind the cursor's key, as placed in this bucket.
    std::string after = range.start;
    for (char c : request.cursor.substr(prefix.size())) {
      after.push_back(c);
      if (c == '\0') after.push_back('\xff');
    }
    after += std::string_view("\x00\x02", 2);
    range.start = std::move(after);
  }

  PageBuilder page(prefix, request.limit);
  RETURN_IF_ERROR(
      visit_newest(engine, heads, range, [&](const Newest& record) { return page.offer(record); }));
  return page.take();
}

}  // namespace kahuna::partition
