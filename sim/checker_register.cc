#include <algorithm>
#include <map>
#include <string_view>

#include "sim/checker.h"
#include "sim/checker_key.h"
#include "sim/checker_scan.h"

namespace kahuna::sim {
namespace {

// A page must be ascending, without repetition, and inside its bucket and bounds.
bool well_formed(const History& history, OperationNumber number, Judgement& judgement) {
  const Operation& op = history.operations()[number];
  const SeenPage& page = history.pages()[op.page];
  std::string_view last = page.after;
  bool first = page.after.empty();
  for (const SeenItem& item : page.items) {
    std::string_view key = history.text(item.key);
    bool good = History::bucket_of(key) == history.text(op.key) && (first || key > last) &&
                item.revision >= 0 && item.value != kNothing;
    if (!good) {
      judgement.finding = Finding::kViolation;
      judgement.kind = "scan";
      judgement.text = "a scan's page is out of order, or shows a key that does not belong:\n  " +
                       history.describe(number);
      return false;
    }
    last = key;
    first = false;
  }
  return true;
}

}  // namespace

Judgement check_registers(const History& history, CheckerOptions options) {
  Judgement judgement;
  std::map<std::string_view, std::vector<OperationNumber>> pages;
  for (OperationNumber i = 0; i < history.operations().size(); ++i) {
    const Operation& op = history.operations()[i];
    if (op.function != Function::kScan || !op.is_ok()) continue;
    if (!well_formed(history, i, judgement)) return judgement;
    pages[history.text(op.key)].push_back(i);
  }
  std::vector<KeyHistory> keys = split_by_key(history);
  std::vector<KeyVerdict> verdicts;
  verdicts.reserve(keys.size());
  std::map<std::string_view, std::vector<BucketKey>> buckets;
  for (const KeyHistory& key : keys) {
    verdicts.push_back(check_key(history, key, options));
    const KeyVerdict& verdict = verdicts.back();
    judgement.checked += key.done.size() + key.doubtful.size() + key.looks.size();
    if (verdict.finding == Finding::kViolation) {
      judgement.finding = Finding::kViolation;
      judgement.kind = "linearizability";
      judgement.text = verdict.text;
      return judgement;
    }
    if (verdict.finding == Finding::kUndecided) {
      judgement.finding = Finding::kUndecided;
      judgement.text = verdict.text;
      ++judgement.undecided;
      continue;
    }
    buckets[History::bucket_of(history.text(key.key))].push_back({key.key, &verdict});
  }
  for (const auto& [bucket, scans] : pages) {
    auto found = buckets.find(bucket);
    if (found == buckets.end()) continue;
    Judgement atomic = check_bucket(history, scans, found->second);
    judgement.undecided += atomic.undecided;
    if (atomic.finding == Finding::kViolation) return atomic;
  }
  return judgement;
}

}  // namespace kahuna::sim
