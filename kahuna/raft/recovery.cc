#include "kahuna/raft/recovery.h"

#include <algorithm>

#include "runtime/probe.h"

namespace kahuna::raft {
namespace {

// The stored entry at index, or nullptr.
const Entry* find(const std::vector<Entry>& stored, Index index) {
  if (stored.empty() || index < stored.front().index || index > stored.back().index) return nullptr;
  return &stored[index.value() - stored.front().index.value()];
}

}  // namespace

// Nothing before the newest base counts: it lay below a state that was restored.
static void begin_at_base(std::vector<Entry>& stored, std::vector<TailEntry>& faulty) {
  for (size_t at = faulty.size(); at-- > 0;) {
    if (faulty[at].lost || faulty[at].entry.kind != EntryKind::kBase) continue;
    stored.clear();
    size_t next = at;
    for (; next < faulty.size() && !faulty[next].lost; ++next)
      stored.push_back(std::move(faulty[next].entry));
    faulty.erase(faulty.begin(), faulty.begin() + static_cast<ptrdiff_t>(next));
    return;
  }
  for (size_t at = stored.size(); at-- > 0;) {
    if (stored[at].kind != EntryKind::kBase) continue;
    stored.erase(stored.begin(), stored.begin() + static_cast<ptrdiff_t>(at));
    return;
  }
}

// Forgets lost entries up to `applied`, with all before them. What is intact behind joins `stored`.
// (A base that was lost is among them: the engine has its state.)
static void skip_applied(std::vector<Entry>& stored, std::vector<TailEntry>& faulty,
                         LogPosition applied) {
  if (faulty.empty() || faulty.front().entry.index > applied.index) return;
  SOMETIMES(raft_lost_entries_are_in_the_engine);
  stored.clear();
  size_t known = applied.index.value() - faulty.front().entry.index.value();
  if (known >= faulty.size() || faulty[known].entry.term != applied.term) {
    faulty.clear();  // it ends before, or is of a leader that was overruled
    return;
  }
  size_t next = known + 1;
  for (; next < faulty.size() && !faulty[next].lost; ++next)
    stored.push_back(std::move(faulty[next].entry));
  faulty.erase(faulty.begin(), faulty.begin() + static_cast<ptrdiff_t>(next));
}

// The journal begins behind what the engine has.
static Recovered without_state(HardState hard_state, std::vector<Entry> stored, Index commit,
                               std::vector<TailEntry> faulty) {
  SOMETIMES(raft_state_is_lost);
  Recovered result;
  result.hard_state = hard_state;
  result.stateless = !MUTANT(lost_state_counts_as_held);
  if (!stored.empty()) {
    result.base = {stored.front().index, stored.front().term};
    stored.erase(stored.begin());
  } else {
    result.base = faulty.front().position();
    faulty.erase(faulty.begin());
    while (!faulty.empty() && !faulty.front().lost) {
      stored.push_back(std::move(faulty.front().entry));
      faulty.erase(faulty.begin());
    }
  }
  result.entries = std::move(stored);
  result.faulty = std::move(faulty);
  result.applied = result.base.index;
  Index last = result.entries.empty() ? result.base.index : result.entries.back().index;
  result.commit = std::clamp(commit, result.base.index, last);
  return result;
}

Recovered recover(HardState hard_state, std::vector<Entry> stored, Index commit,
                  LogPosition applied, std::vector<TailEntry> faulty) {
  begin_at_base(stored, faulty);
  skip_applied(stored, faulty, applied);
  const bool based = !stored.empty() && stored.front().kind == EntryKind::kBase;
  std::optional<LogPosition> first;
  if (!stored.empty())
    first = LogPosition{stored.front().index, stored.front().term};
  else if (!faulty.empty())
    first = faulty.front().position();
  if (first && first->index > (based ? applied.index : applied.index.next()))
    return without_state(hard_state, std::move(stored), commit, std::move(faulty));
  Recovered result;
  result.hard_state = hard_state;
  result.applied = applied.index;

  bool follows_founding =
      !based && !stored.empty() && stored.front().index == kFoundingBase.index.next();
  const Entry* at_applied = find(stored, applied.index);
  if (follows_founding && applied == kFoundingBase) {
    result.base = kFoundingBase;
  } else if (at_applied && at_applied->term == applied.term) {
    if (follows_founding) {
      result.base = kFoundingBase;
    } else {
      result.base = {stored.front().index, stored.front().term};
      stored.erase(stored.begin());
    }
  } else if (!based && !stored.empty() && stored.front().index == applied.index.next() &&
             stored.front().term >= applied.term) {
    // Released up to the applied index, which was therefore durable here: the tail follows it.
    result.base = applied;
  } else if (stored.empty() && !faulty.empty() && faulty.front().entry.term >= applied.term) {
    result.base = applied;  // lost from the first entry on
  } else {
    // Ahead of the journal: a state was restored, and a crash came before the journal was cut; or
    // the journal's tail is of a leader that was overruled, overwritten in memory before it could
    // be rewritten on disk.
    if (!stored.empty()) SOMETIMES(raft_engine_ahead_of_journal);
    result.base = applied;
    stored.clear();
    faulty.clear();
    result.cut_journal = result.base != kFoundingBase;
  }
  result.entries = std::move(stored);
  result.faulty = std::move(faulty);
  Index last = result.entries.empty() ? result.base.index : result.entries.back().index;
  result.commit = std::clamp(commit, applied.index, last);
  return result;
}

}  // namespace kahuna::raft
