#include "sim/checker_search.h"

#include <algorithm>
#include <set>
#include <vector>

#include "runtime/check.h"

namespace kahuna::sim {
namespace {

struct State {
  bool present = false;
  ValueId value = kNothing;
  int64_t revision = -1;
  friend auto operator<=>(const State&, const State&) = default;
};

struct Item {
  OperationNumber operation = 0;
  bool looks = false;
  Look look;  // when it looks
  EventNumber invoked = 0;
  EventNumber completed = kNever;
};

class Search {
 public:
  Search(const History& history, const KeyHistory& key, uint64_t steps_max)
      : history_(history), steps_max_(steps_max) {
    auto add = [&](OperationNumber n, bool sure) {
      const Operation& op = history.operations()[n];
      items_.push_back({n, false, {}, op.invoked, sure ? op.completed : kNever});
      if (sure) ++required_;
    };
    for (OperationNumber n : key.done) add(n, true);
    for (OperationNumber n : key.doubtful) add(n, false);
    for (const Look& look : key.looks) {
      items_.push_back({look.operation, true, look, look.invoked, look.completed});
      ++required_;
    }
    std::sort(items_.begin(), items_.end(),
              [](const Item& a, const Item& b) { return a.invoked < b.invoked; });
    done_.assign(items_.size(), false);
  }

  Finding run() {
    bool found = explore(State{});
    if (gave_up_) return Finding::kUndecided;
    return found ? Finding::kOk : Finding::kViolation;
  }

 private:
  bool explore(const State& state) {
    if (required_ == 0) return true;
    if (++steps_ > steps_max_) {
      gave_up_ = true;
      return false;
    }
    if (!visited_.insert({done_, state}).second) return false;
    // What is invoked after some open operation completed must come after that one.
    EventNumber limit = kNever;
    for (size_t i = 0; i < items_.size(); ++i)
      if (!done_[i]) limit = std::min(limit, items_[i].completed);
    for (size_t i = 0; i < items_.size() && items_[i].invoked < limit; ++i) {
      if (done_[i]) continue;
      State next = state;
      if (!step(items_[i], next)) continue;
      bool required = items_[i].completed != kNever;
      done_[i] = true;
      required_ -= required;
      if (explore(next)) return true;
      done_[i] = false;
      required_ += required;
      if (gave_up_) return false;
    }
    return false;
  }

  bool step(const Item& item, State& state) const {
    const Operation& op = history_.operations()[item.operation];
    if (item.looks) return sees(item.look, op, state);
    if (op.function == Function::kDelete) {
      if (!state.present) return false;
    } else if (!conditions_hold(op.conditions, state.present, state.value, state.revision)) {
      return false;
    }
    state.present = op.function == Function::kWrite;
    state.value = state.present ? op.value : kNothing;
    ++state.revision;
    return item.completed == kNever || op.reply.revision == kNoRevision ||
           op.reply.revision == state.revision;
  }

  static bool sees(const Look& look, const Operation& op, const State& state) {
    if (look.revision != kNoRevision && look.revision != state.revision) return false;
    if (look.refused)
      return !conditions_hold(op.conditions, state.present, state.value, state.revision);
    if (look.absent == state.present) return false;
    return look.absent || look.value == kNotSeen || look.value == state.value;
  }

  const History& history_;
  const uint64_t steps_max_;
  std::vector<Item> items_;
  std::vector<bool> done_;
  size_t required_ = 0;
  uint64_t steps_ = 0;
  bool gave_up_ = false;
  std::set<std::pair<std::vector<bool>, State>> visited_;
};

}  // namespace

Finding search_key(const History& history, const KeyHistory& key, uint64_t steps_max) {
  return Search(history, key, steps_max).run();
}

}  // namespace kahuna::sim
