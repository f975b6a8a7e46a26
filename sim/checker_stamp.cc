#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "sim/checker.h"
#include "sim/checker_key.h"

namespace kahuna::sim {
namespace {

struct Stamped {
  int64_t revision;
  uint64_t stamp;
  OperationNumber operation;
};

Judgement violation(const History& history, std::string text, OperationNumber a,
                    OperationNumber b) {
  Judgement judgement;
  judgement.finding = Finding::kViolation;
  judgement.kind = "stamp";
  judgement.text = text + "\n  " + history.describe(a) + "\n  " + history.describe(b);
  return judgement;
}

// The stamps of one key, by revision.
Judgement check_versions(const History& history, NameId key, std::vector<Stamped>& seen) {
  std::sort(seen.begin(), seen.end(), [](const Stamped& a, const Stamped& b) {
    return a.revision != b.revision ? a.revision < b.revision : a.operation < b.operation;
  });
  for (size_t i = 1; i < seen.size(); ++i) {
    const Stamped& a = seen[i - 1];
    const Stamped& b = seen[i];
    if (a.revision == b.revision && a.stamp != b.stamp)
      return violation(
          history, fmt::format("key {}: two stamps for revision {}", history.text(key), a.revision),
          a.operation, b.operation);
    if (a.revision != b.revision && b.stamp <= a.stamp)
      return violation(history,
                       fmt::format("key {}: the stamp does not grow from revision {} to {}",
                                   history.text(key), a.revision, b.revision),
                       a.operation, b.operation);
  }
  return {};
}

// What a client writes is stamped above everything it had heard of when it asked.
Judgement check_causes(const History& history) {
  struct Event {
    EventNumber number;
    OperationNumber operation;
    bool completes;
  };
  std::vector<Event> events;
  const std::vector<Operation>& operations = history.operations();
  for (OperationNumber i = 0; i < operations.size(); ++i) {
    if (!operations[i].is_ok()) continue;
    events.push_back({operations[i].invoked, i, false});
    events.push_back({operations[i].completed, i, true});
  }
  std::sort(events.begin(), events.end(),
            [](const Event& a, const Event& b) { return a.number < b.number; });
  struct Heard {
    uint64_t stamp = 0;
    OperationNumber from = 0;
  };
  std::map<uint32_t, Heard> heard;              // by client
  std::map<OperationNumber, Heard> when_asked;  // open writes
  for (const Event& event : events) {
    const Operation& op = operations[event.operation];
    if (!event.completes) {
      if (op.mutates()) when_asked[event.operation] = heard[op.client];
      continue;
    }
    if (op.reply.stamp == kNoStamp) continue;
    if (op.mutates() && op.reply.done) {
      const Heard& before = when_asked[event.operation];
      if (before.stamp >= op.reply.stamp && before.stamp != 0)
        return violation(history, "a write is stamped below what its client had heard of",
                         before.from, event.operation);
    }
    when_asked.erase(event.operation);
    Heard& now = heard[op.client];
    if (op.reply.stamp > now.stamp) now = {op.reply.stamp, event.operation};
  }
  return {};
}

}  // namespace

Judgement check_stamps(const History& history) {
  std::map<NameId, std::vector<Stamped>> by_key;
  uint64_t checked = 0;
  auto add = [&](NameId key, int64_t revision, uint64_t stamp, OperationNumber number) {
    if (revision < 0 || stamp == kNoStamp) return;
    by_key[key].push_back({revision, stamp, number});
    ++checked;
  };
  for (OperationNumber i = 0; i < history.operations().size(); ++i) {
    const Operation& op = history.operations()[i];
    if (!op.is_ok()) continue;
    if (op.function == Function::kScan) {
      for (const SeenItem& item : history.pages()[op.page].items)
        add(item.key, item.revision, item.stamp, i);
    } else {
      add(op.key, op.reply.revision, op.reply.stamp, i);
    }
  }
  for (auto& [key, seen] : by_key) {
    Judgement judgement = check_versions(history, key, seen);
    if (judgement.finding != Finding::kOk) return judgement;
  }
  Judgement judgement = check_causes(history);
  judgement.checked = checked;
  return judgement;
}

}  // namespace kahuna::sim
