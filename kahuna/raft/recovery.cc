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

Result<Recovered> recover(HardState hard_state, std::vector<Entry> stored, Index commit,
                          LogPosition applied) {
  // Nothing before the newest base counts: it lay below a state that was restored.
  for (size_t at = stored.size(); at-- > 0;) {
    if (stored[at].kind != EntryKind::kBase) continue;
    stored.erase(stored.begin(), stored.begin() + static_cast<ptrdiff_t>(at));
    break;
  }
  const bool based = !stored.empty() && stored.front().kind == EntryKind::kBase;
  if (based && stored.front().index > applied.index)
    return fail(ErrorCode::kDamaged, "the journal follows a state at index " +
                                         std::to_string(stored.front().index.value()) +
                                         " but the engine ends at " + std::to_string(applied.index.value()) +
                                         "; restore this replica from its peers");
  if (!stored.empty() && stored.front().index > applied.index.next()) {
    return fail(ErrorCode::kDamaged,
                "the journal starts at index " + std::to_string(stored.front().index.value()) +
                    " but the engine ends at " + std::to_string(applied.index.value()) +
                    "; restore this replica from its peers");
  }
  Recovered result;
  result.hard_state = hard_state;
  result.applied = applied.index;

  bool follows_founding = !based && !stored.empty() && stored.front().index == kFoundingBase.index.next();
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
  } else {
    // Ahead of the journal: a state was restored, and a crash came before the journal was cut; or the
    // journal's tail is of a leader that was overruled, overwritten in memory before it could be
    // rewritten on disk.
    if (!stored.empty()) SOMETIMES(raft_engine_ahead_of_journal);
    result.base = applied;
    stored.clear();
    result.cut_journal = result.base != kFoundingBase;
  }
  result.entries = std::move(stored);
  Index last = result.entries.empty() ? result.base.index : result.entries.back().index;
  result.commit = std::clamp(commit, applied.index, last);
  return result;
}

}  // namespace kahuna::raft
