#include "sim/checker_key.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

#include "runtime/check.h"

namespace kahuna::sim {

bool conditions_hold(const WriteConditions& c, bool present, ValueId value, int64_t revision) {
  if (c.if_absent && present) return false;
  if (c.if_exists && !present) return false;
  if (c.compare_revision && c.revision != revision) return false;
  if (c.compare_value) {
    bool equal = present ? value == c.value : c.value == kBlank;
    if (!equal) return false;
  }
  return true;
}

bool page_covers(const History& history, const SeenPage& page, std::string_view key) {
  if (!page.after.empty() && key <= page.after) return false;
  if (page.complete) return true;
  return !page.items.empty() && key <= history.text(page.items.back().key);
}

namespace {

Look look_at(OperationNumber number, const Operation& op) {
  Look look;
  look.operation = number;
  look.invoked = op.invoked;
  look.completed = op.completed;
  look.revision = op.reply.revision;
  return look;
}

// What an ok, not mutating reply says.
Look look_of(OperationNumber number, const Operation& op) {
  Look look = look_at(number, op);
  switch (op.function) {
    case Function::kRead:
      look.absent = op.reply.value == kNothing;
      look.value = op.reply.value;
      break;
    case Function::kExists: look.absent = !op.reply.done; break;
    case Function::kDelete: look.absent = true; break;
    case Function::kWrite: look.refused = true; break;
    case Function::kScan: UNREACHABLE("scans are split by key");
  }
  return look;
}

void add_scan(const History& history, OperationNumber number, const Operation& op,
              std::vector<KeyHistory>& keys, const std::vector<size_t>& of_bucket) {
  const SeenPage& page = history.pages()[op.page];
  std::map<NameId, const SeenItem*> items;
  for (const SeenItem& item : page.items) items[item.key] = &item;
  for (size_t index : of_bucket) {
    KeyHistory& key = keys[index];
    if (!page_covers(history, page, history.text(key.key))) continue;
    Look look = look_at(number, op);
    auto found = items.find(key.key);
    look.absent = found == items.end();
    if (!look.absent) {
      look.revision = found->second->revision;
      look.value = found->second->value;
    }
    key.looks.push_back(look);
  }
}

}  // namespace

std::vector<KeyHistory> split_by_key(const History& history) {
  const std::vector<Operation>& operations = history.operations();
  std::vector<bool> is_key(history.names().size());
  for (const Operation& op : operations) {
    if (op.function != Function::kScan)
      is_key[op.key] = true;
    else if (op.is_ok())
      for (const SeenItem& item : history.pages()[op.page].items) is_key[item.key] = true;
  }
  std::vector<KeyHistory> keys;
  for (NameId id = 0; id < is_key.size(); ++id) {
    if (!is_key[id]) continue;
    keys.emplace_back();
    keys.back().key = id;
  }
  std::sort(keys.begin(), keys.end(), [&](const KeyHistory& a, const KeyHistory& b) {
    return history.text(a.key) < history.text(b.key);
  });
  std::vector<size_t> index_of(history.names().size());
  std::map<std::string_view, std::vector<size_t>> buckets;
  for (size_t i = 0; i < keys.size(); ++i) {
    index_of[keys[i].key] = i;
    buckets[History::bucket_of(history.text(keys[i].key))].push_back(i);
  }
  static const std::vector<size_t> none;
  for (OperationNumber i = 0; i < operations.size(); ++i) {
    const Operation& op = operations[i];
    if (op.function == Function::kScan) {
      auto bucket = buckets.find(history.text(op.key));
      if (op.is_ok())
        add_scan(history, i, op, keys, bucket == buckets.end() ? none : bucket->second);
      continue;
    }
    KeyHistory& key = keys[index_of[op.key]];
    if (op.is_doubtful()) {
      if (op.mutates()) key.doubtful.push_back(i);
    } else if (op.is_ok()) {
      if (op.mutates() && op.reply.done)
        key.done.push_back(i);
      else
        key.looks.push_back(look_of(i, op));
    }
  }
  return keys;
}

namespace {

// The search for one key. Slots with what replies say are `facts_`; `slots_` is the explanation
// tried.
class KeySolver {
 public:
  KeySolver(const History& history, const KeyHistory& key, const CheckerOptions& options)
      : history_(history), key_(key), options_(options) {}

  KeyVerdict solve() {
    if (!place_done() || !place_looks()) return violation_;
    for (size_t placed = placed_.size() + 1; placed != placed_.size();) {
      placed = placed_.size();
      if (!infer_states() || !place_seen_values()) return violation_;
    }
    if (!bound_times()) return violation_;
    sort_candidates();
    slots_ = facts_;
    absent_.assign(slots_.size(), 0);
    bool found = search(1);
    KeyVerdict verdict;
    verdict.unique = unique_;
    if (found) {
      verdict.slots = std::move(slots_);
    } else if (gave_up_) {
      verdict.finding = Finding::kUndecided;
      verdict.text = title() + "the search over unknown outcomes gave up";
    } else {
      verdict.finding = Finding::kViolation;
      verdict.text = title() + (why_.empty() ? "no order of the operations explains it" : why_);
    }
    return verdict;
  }

 private:
  const Operation& op(OperationNumber n) const { return history_.operations()[n]; }
  std::string title() const { return fmt::format("key {}: ", history_.text(key_.key)); }
  std::string line(OperationNumber n) const { return "\n  " + history_.describe(n); }
  bool reject(std::string text) {
    violation_.finding = Finding::kViolation;
    violation_.text = title() + std::move(text);
    return false;
  }

  // --- facts ---

  bool slot_exists(int64_t revision, OperationNumber because) {
    int64_t possible = int64_t(key_.done.size() + key_.doubtful.size());
    if (revision >= -1 && revision < possible) {
      while (int64_t(facts_.size()) < revision + 2) facts_.emplace_back();
      return true;
    }
    return reject(fmt::format("revision {} cannot be: at most {} writes can have taken effect{}",
                              revision, possible, line(because)));
  }

  bool place_done() {
    facts_.resize(1);
    facts_[0].presence_known = true;
    for (OperationNumber n : key_.done) {
      int64_t revision = op(n).reply.revision;
      if (revision == kNoRevision) return reject("a done write must say its revision" + line(n));
      if (revision < 0) return reject("a done write cannot have this revision" + line(n));
      if (!slot_exists(revision, n)) return false;
      if (!put(facts_[size_t(revision + 1)], n)) return false;
    }
    return true;
  }

  bool put(Slot& slot, OperationNumber n) {
    if (slot.mutation)
      return reject("two writes made the same revision" + line(*slot.mutation) + line(n));
    slot.mutation = n;
    slot.presence_known = true;
    slot.present = op(n).function == Function::kWrite;
    if (slot.present) slot.value = op(n).value;
    return true;
  }

  bool place_looks() {
    for (const Look& look : key_.looks) {
      if (look.revision == kNoRevision) {
        if (!look.absent)
          return reject("a reply about a value must say its revision" + line(look.operation));
        nothings_.push_back(look);
        continue;
      }
      if (!slot_exists(look.revision, look.operation)) return false;
      Slot& slot = facts_[size_t(look.revision + 1)];
      if (!look.refused && !note_presence(slot, look)) return false;
      if (look.refused) refusals_.push_back(look);
      if (look.completed < slot.before) {
        slot.before = look.completed;
        slot.before_because = look.operation;
      }
      if (look.invoked > slot.seen_until) {
        slot.seen_until = look.invoked;
        slot.seen_because = look.operation;
      }
    }
    std::sort(refusals_.begin(), refusals_.end(),
              [](const Look& a, const Look& b) { return a.revision < b.revision; });
    std::sort(nothings_.begin(), nothings_.end(),
              [](const Look& a, const Look& b) { return a.completed < b.completed; });
    return true;
  }

  bool note_presence(Slot& slot, const Look& look) {
    auto differs = [&] {
      return reject(fmt::format("revision {} is seen differently{}{}", look.revision,
                                slot.mutation ? line(*slot.mutation) : "", line(look.operation)));
    };
    if (slot.presence_known && slot.present == look.absent) return differs();
    slot.presence_known = true;
    slot.present = !look.absent;
    if (look.absent || look.value == kNotSeen) return true;
    if (slot.value != kNotSeen && slot.value != look.value) return differs();
    slot.value = look.value;
    return true;
  }

  // What a mutation or a refusal tells of the state it met.
  bool infer_states() {
    for (size_t s = 1; s < facts_.size(); ++s) {
      if (!facts_[s].mutation) continue;
      const Operation& m = op(*facts_[s].mutation);
      Slot& met = facts_[s - 1];
      const WriteConditions& c = m.conditions;
      bool needs_value = c.compare_value && c.value != kBlank;
      if (m.function == Function::kDelete || c.if_exists || needs_value) {
        if (!infer(met, true, *facts_[s].mutation)) return false;
      } else if (c.if_absent) {
        if (!infer(met, false, *facts_[s].mutation)) return false;
      }
      if (!needs_value) continue;
      if (met.value == kNotSeen) met.value = c.value;
      if (met.value != c.value) return contradicts(met, *facts_[s].mutation);
    }
    for (const Look& look : refusals_) {
      const WriteConditions& c = op(look.operation).conditions;
      if (c.compare_value || c.compare_revision || c.if_absent == c.if_exists) continue;
      if (!infer(facts_[size_t(look.revision + 1)], c.if_absent, look.operation)) return false;
    }
    return true;
  }
  bool infer(Slot& state, bool present, OperationNumber because) {
    if (state.presence_known && state.present != present) return contradicts(state, because);
    state.presence_known = true;
    state.present = present;
    return true;
  }
  bool contradicts(const Slot& state, OperationNumber because) {
    return reject("a condition was judged on a state that was not there" + line(because) +
                  (state.mutation ? line(*state.mutation) : ""));
  }

  // A hole whose value was seen and that only one operation can have written.
  bool place_seen_values() {
    std::map<ValueId, std::vector<OperationNumber>> writers;
    for (OperationNumber n : key_.doubtful)
      if (op(n).function == Function::kWrite) writers[op(n).value].push_back(n);
    for (size_t s = 1; s < facts_.size(); ++s) {
      Slot& slot = facts_[s];
      if (slot.mutation || slot.value == kNotSeen) continue;
      auto found = writers.find(slot.value);
      if (found == writers.end()) {
        return reject(fmt::format("revision {} holds a value that no write can have left there{}",
                                  int64_t(s) - 1, line(witness(s))));
      }
      if (found->second.size() > 1) continue;
      OperationNumber writer = found->second.front();
      if (placed_.contains(writer))
        return reject(fmt::format("took effect twice, as revisions {} and {}{}{}", placed_[writer],
                                  int64_t(s) - 1, line(writer), line(witness(s))));
      placed_[writer] = int64_t(s) - 1;
      slot.mutation = writer;
    }
    return true;
  }

  // An operation that saw the value of slot s, or judged by it.
  OperationNumber witness(size_t s) const {
    if (facts_[s].before != kNever || s + 1 == facts_.size() || !facts_[s + 1].mutation)
      return facts_[s].before_because;
    return *facts_[s + 1].mutation;
  }

  // Bounds that hold whatever fills the holes; catches most violations for certain.
  bool bound_times() {
    for (size_t s = 1; s < facts_.size(); ++s) {
      Slot& slot = facts_[s];
      const Slot& last = facts_[s - 1];
      slot.after = last.after;
      slot.after_because = last.after_because;
      raise(slot, last.seen_until, last.seen_because);
      if (slot.mutation) raise(slot, op(*slot.mutation).invoked, *slot.mutation);
    }
    for (size_t s = facts_.size(); s-- > 1;) {
      Slot& slot = facts_[s];
      if (slot.mutation && op(*slot.mutation).is_ok() &&
          op(*slot.mutation).completed < slot.before) {
        slot.before = op(*slot.mutation).completed;
        slot.before_because = *slot.mutation;
      }
      if (s + 1 < facts_.size() && facts_[s + 1].before < slot.before) {
        slot.before = facts_[s + 1].before;
        slot.before_because = facts_[s + 1].before_because;
      }
      if (slot.after >= slot.before) return reject(late(s, slot));
    }
    return true;
  }

  static void raise(Slot& slot, EventNumber after, OperationNumber because) {
    if (after <= slot.after) return;
    slot.after = after;
    slot.after_because = because;
  }

  std::string late(size_t s, const Slot& slot) const {
    return fmt::format(
        "revision {} must come after the start of the first and before the end of the"
        " second of these{}{}{}",
        int64_t(s) - 1, line(slot.after_because), line(slot.before_because),
        slot.mutation ? "\n  it was made by" + line(*slot.mutation) : "");
  }

  // --- search ---

  // Candidates that only differ in when they were invoked: the earliest is as good as any other,
  // for two of them may change places in every explanation. kSingle: alone in its class.
  enum Class : uint8_t { kPlainDelete, kPlainSet, kIfAbsent, kIfExists, kSingle };

  void sort_candidates() {
    std::set<ValueId> compared;  // values that matter
    auto note_compared = [&](OperationNumber n) {
      if (op(n).conditions.compare_value) compared.insert(op(n).conditions.value);
    };
    for (OperationNumber n : key_.doubtful) note_compared(n);
    for (OperationNumber n : key_.done) note_compared(n);
    for (const Slot& slot : facts_) compared.insert(slot.value);
    for (const Look& look : refusals_) note_compared(look.operation);
    for (OperationNumber n : key_.doubtful)
      if (!placed_.contains(n)) candidates_.push_back({n, class_of(op(n), compared)});
    // Those that fit few places come first: they are of little use elsewhere.
    std::sort(candidates_.begin(), candidates_.end(), [&](const Candidate& a, const Candidate& b) {
      if (a.kind != b.kind) return a.kind > b.kind;
      return op(a.operation).invoked < op(b.operation).invoked;
    });
    used_.assign(candidates_.size(), false);
    for (size_t i = candidates_.size(); i-- > 0;) class_begin_[candidates_[i].kind] = i;
    for (size_t i = 0; i < candidates_.size(); ++i) class_end_[candidates_[i].kind] = i + 1;
  }

  static Class class_of(const Operation& m, const std::set<ValueId>& compared) {
    const WriteConditions& c = m.conditions;
    if (m.function == Function::kDelete) return kPlainDelete;
    if (c.compare_revision || c.compare_value || compared.contains(m.value)) return kSingle;
    if (c.if_absent) return c.if_exists ? kSingle : kIfAbsent;
    return c.if_exists ? kIfExists : kPlainSet;
  }

  // Explains slots s.. given those below. Iterative over determined slots, recursive at holes only.
  bool search(size_t s) {
    for (; s < slots_.size(); ++s) {
      if (++steps_ > options_.steps_max + slots_.size()) return give_up();
      if (!facts_[s].mutation) return fill(s);
      if (!enter(s, *facts_[s].mutation)) return false;
    }
    return finish();
  }

  bool give_up() {
    gave_up_ = true;
    return false;
  }

  bool fill(size_t s) {
    steps_ += candidates_.size() / 64;
    bool deletes_first = slots_[s - 1].present && deletes_abound(s);
    Class plain = deletes_first ? kPlainDelete : kPlainSet;
    Class other = deletes_first ? kPlainSet : kPlainDelete;
    bool any = false;
    for (Class kind : {kSingle, kIfExists, kIfAbsent, plain, other})
      if (fill_with(kind, s, any)) return true;
    if (!any)
      note([&] { return fmt::format("nothing can have made revision {}", int64_t(s) - 1); });
    return false;
  }

  // Tries each candidate of kSingle, the earliest usable one of another class.
  bool fill_with(Class kind, size_t s, bool& any) {
    for (size_t i = class_begin_[kind]; i < class_end_[kind] && !gave_up_; ++i) {
      if (used_[i] || !could_fill(s, op(candidates_[i].operation))) continue;
      Slot before = slots_[s];
      if (enter(s, candidates_[i].operation)) {
        if (any) unique_ = false;
        any = true;
        used_[i] = true;
        if (search(s + 1)) {
          unique_ = unique_ && only_candidate(s, i);
          return true;
        }
        used_[i] = false;
      }
      slots_[s] = before;
      if (kind != kSingle) break;
    }
    return false;
  }

  // Whether there are more deletes than sets to spare for the holes ahead that share this one's
  // end. A guess at the better order, nothing more: two deletes cannot follow each other.
  bool deletes_abound(size_t s) const {
    int64_t spare = 0;
    for (Class kind : {kPlainDelete, kPlainSet})
      for (size_t i = class_begin_[kind]; i < class_end_[kind]; ++i)
        if (!used_[i] && op(candidates_[i].operation).invoked < facts_[s].before)
          spare += kind == kPlainDelete ? 1 : -1;
    for (size_t i = s; i < facts_.size() && facts_[i].before == facts_[s].before; ++i)
      if (!facts_[i].mutation && facts_[i].presence_known) spare += facts_[i].present ? 1 : -1;
    return spare >= 0;
  }

  // Cheap reasons against; enter() has the last word.
  bool could_fill(size_t s, const Operation& m) const {
    const WriteConditions& c = m.conditions;
    if (c.compare_revision && c.revision + 2 != int64_t(s)) return false;
    bool sets = m.function == Function::kWrite;
    if (facts_[s].presence_known && facts_[s].present != sets) return false;
    return m.invoked < facts_[s].before;
  }

  bool only_candidate(size_t s, size_t chosen) {
    for (size_t i = 0; i < candidates_.size(); ++i) {
      if (i == chosen) continue;
      const Operation& other = op(candidates_[i].operation);
      if (facts_[s].presence_known && facts_[s].present != (other.function == Function::kWrite))
        continue;
      if (other.invoked < facts_[s].before) return false;
    }
    return true;
  }

  // The first obstacle met; the text is made only then.
  template <class MakeText>
  void note(MakeText make_text) {
    if (why_.empty()) why_ = make_text();
  }

  // Makes n the mutation into slot s, when the state below, the facts and the times allow it.
  bool enter(size_t s, OperationNumber n) {
    const Operation& m = op(n);
    const Slot& last = slots_[s - 1];
    const Slot& fact = facts_[s];
    int64_t revision = int64_t(s) - 1;
    bool sets = m.function == Function::kWrite;
    if (fact.presence_known && fact.present != sets) return false;
    if (sets && fact.value != kNotSeen && fact.value != m.value) return false;
    if (!sets && !last.present) {
      note(
          [&] { return fmt::format("deleted while absent, as revision {}{}", revision, line(n)); });
      return false;
    }
    if (sets && !conditions_hold(m.conditions, last.present, last.value, revision - 1)) {
      note([&] {
        return fmt::format(
            "done as revision {} although its condition does not hold in revision {}{}{}", revision,
            revision - 1, line(n), last.mutation ? line(*last.mutation) : "");
      });
      return false;
    }
    Slot& slot = slots_[s];
    slot = fact;
    slot.mutation = n;
    slot.presence_known = true;
    slot.present = sets;
    slot.value = sets ? m.value : kNotSeen;
    slot.after = last.after;
    slot.after_because = last.after_because;
    raise(slot, last.seen_until, last.seen_because);
    raise(slot, m.invoked, n);
    if (slot.after >= slot.before) {
      note([&] { return late(s, slot); });
      return false;
    }
    absent_[s] = slot.present ? absent_[s - 1] : s;
    return refusals_fit(slot, revision) && nothings_fit(s);
  }

  // The reads of nothing that ended between the slots s - 1 and s, at the least times known: early
  // pruning for the search, place_nothings() has the last word.
  bool nothings_fit(size_t s) {
    auto by_end = [](const Look& l, EventNumber e) { return l.completed < e; };
    auto at = std::lower_bound(nothings_.begin(), nothings_.end(), slots_[s - 1].after + 1, by_end);
    for (; at != nothings_.end() && at->completed <= slots_[s].after; ++at) {
      size_t absent = absent_[s - 1];
      bool fits = !slots_[absent].present && slots_[absent + 1].before > at->invoked;
      if (fits) continue;
      note([&] { return "there was no moment when it could see nothing" + line(at->operation); });
      return false;
    }
    return true;
  }

  bool refusals_fit(const Slot& slot, int64_t revision) {
    auto at = std::lower_bound(refusals_.begin(), refusals_.end(), revision,
                               [](const Look& l, int64_t r) { return l.revision < r; });
    for (; at != refusals_.end() && at->revision == revision; ++at) {
      if (!conditions_hold(op(at->operation).conditions, slot.present, slot.value, revision))
        continue;
      note([&] {
        return "not done although its condition holds" + line(at->operation) +
               (slot.mutation ? line(*slot.mutation) : "");
      });
      return false;
    }
    return true;
  }

  bool finish() {
    steps_ += nothings_.size() / 16;
    if (!refusals_fit(slots_[0], -1)) return false;
    std::vector<Slot> explained = slots_;
    if (place_nothings(explained)) {
      slots_ = std::move(explained);
      return true;
    }
    if (!slots_.back().present) return false;
    for (size_t i = 0; i < candidates_.size(); ++i) {
      if (used_[i] || candidates_[i].kind != kPlainDelete) continue;
      explained = slots_;
      Slot slot;
      OperationNumber removal = candidates_[i].operation;
      slot.mutation = removal;
      slot.presence_known = true;
      slot.after = explained.back().after;
      raise(slot, explained.back().seen_until, explained.back().seen_because);
      raise(slot, op(removal).invoked, removal);
      explained.push_back(slot);
      if (!place_nothings(explained)) return false;  // candidates are sorted: this one is earliest
      slots_ = std::move(explained);
      return true;
    }
    return false;
  }

  // Raises the times until every read of nothing has an absent state to see, or cannot have one.
  bool place_nothings(std::vector<Slot>& slots) {
    if (nothings_.empty()) return true;
    std::vector<size_t> absent(slots.size());  // the latest absent slot at or below; size() = none
    for (size_t s = 0; s < slots.size(); ++s)
      absent[s] = !slots[s].present ? s : s == 0 ? slots.size() : absent[s - 1];
    bool moved = true;
    while (moved) {
      moved = false;
      if (++steps_ > options_.steps_max + slots_.size()) return give_up();
      for (const Look& look : nothings_) {
        auto end = std::partition_point(slots.begin(), slots.end(), [&](const Slot& slot) {
          return slot.after < look.completed;
        });
        size_t s = end == slots.begin() ? slots.size() : absent[size_t(end - slots.begin()) - 1];
        if (s == slots.size()) {
          note([&] {
            return "there was no moment when it could see nothing" + line(look.operation);
          });
          return false;
        }
        if (s + 1 == slots.size() || slots[s + 1].after >= look.invoked) continue;
        moved = true;
        for (size_t i = s + 1; i < slots.size() && slots[i].after < look.invoked; ++i) {
          raise(slots[i], look.invoked, look.operation);
          if (slots[i].after < slots[i].before) continue;
          note([&] {
            return "there was no moment when it could see nothing" + line(look.operation) +
                   (slots[i].mutation ? line(*slots[i].mutation) : "");
          });
          return false;
        }
      }
    }
    return true;
  }

  const History& history_;
  const KeyHistory& key_;
  const CheckerOptions& options_;
  std::vector<Slot> facts_, slots_;
  std::vector<Look> nothings_, refusals_;      // by completion; by revision
  std::vector<size_t> absent_;                 // latest absent slot at or below, on the path taken
  std::map<OperationNumber, int64_t> placed_;  // doubtful ones that were seen -> revision
  struct Candidate {
    OperationNumber operation;
    Class kind;
  };
  std::vector<Candidate> candidates_;  // doubtful ones that were not
  size_t class_begin_[kSingle + 1] = {}, class_end_[kSingle + 1] = {};  // in candidates_
  std::vector<bool> used_;
  uint64_t steps_ = 0;
  bool gave_up_ = false;
  bool unique_ = true;
  std::string why_;  // the first obstacle met
  KeyVerdict violation_;
};

}  // namespace

KeyVerdict check_key(const History& history, const KeyHistory& key, const CheckerOptions& options) {
  return KeySolver(history, key, options).solve();
}

}  // namespace kahuna::sim
