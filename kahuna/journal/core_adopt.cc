#include <algorithm>
#include <utility>

#include "kahuna/journal/core.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::journal {

Result<> Core::adopt(Suspend suspend, std::map<PartitionId, RecoveredGroup> groups) {
  for (auto& [id, found] : groups) RETURN_IF_ERROR(adopt_group(suspend, id, found));
  return await_queued(suspend);
}

Result<> Core::adopt_group(Suspend suspend, PartitionId id, RecoveredGroup& found) {
  GroupIndex* known = index_.find(id.value());
  CHECK(known == nullptr || (known->queued_last == 0 && known->queued.term == 0));
  // Whoever wrote anything at all had a term.
  if (found.hard_state.term == Term()) return {};
  release(id, found.released);
  raft::Persist persist;
  persist.hard_state = found.hard_state;
  if (MUTANT(adopted_vote_forgotten)) persist.hard_state.vote = {};
  persist.commit = found.commit;
  size_t bytes = 0;
  for (raft::Entry& entry : found.entries) {
    size_t one = record_bytes(entry.payload.size());
    if (!persist.entries.empty() && bytes + one > options_.batch_bytes_max) {
      RETURN_IF_ERROR(append_when_possible(suspend, id, persist));
      persist.entries.clear();
      bytes = 0;
    }
    bytes += one;
    persist.entries.push_back(std::move(entry));
  }
  RETURN_IF_ERROR(append_when_possible(suspend, id, std::move(persist)));
  if (!found.faulty.empty() && !MUTANT(adopted_damage_forgotten)) {
    SOMETIMES(journal_adopts_faulty_tail);
    queue_faulty(index_.group(id.value()), found.faulty);
  }
  return {};
}

Result<> Core::append_when_possible(Suspend suspend, PartitionId id, raft::Persist persist) {
  while (true) {
    auto queued = append(id, persist, {});
    if (queued || queued.error().code != ErrorCode::kOverloaded) return queued;
    SOMETIMES(journal_adopts_more_than_fits);
    RETURN_IF_ERROR(await_queued(suspend));
  }
}

// Returns when everything queued so far is synced, or cannot be for want of space.
Result<> Core::await_queued(Suspend suspend) {
  if (queue_end_ == synced_end_) return {};
  auto self = shared_from_this();
  bool synced = await<bool>(suspend, [&](Callback<void(bool)> done) {
    auto once = std::make_shared<Callback<void(bool)>>(std::move(done));
    auto end = [once](bool result) {
      if (*once) std::exchange(*once, nullptr)(result);
    };
    waiters_.push_back({queue_end_, [end] { end(true); }});
    on_full_ = [end] { end(false); };
    schedule();
  });
  on_full_.reset();
  if (synced) return {};
  return fail(ErrorCode::kNoSpace, "the disk is full: no room for a journal in " + options_.dir);
}

// Lost ones by identity, a record for each run of one term; the others whole.
void Core::queue_faulty(GroupIndex& group, const std::vector<raft::TailEntry>& tail) {
  const uint64_t first = tail.front().entry.index.value(), last = tail.back().entry.index.value();
  CHECK_EQ(first, std::max(group.queued_last, group.queued.released) + 1);
  const size_t before = queue_.size();
  for (size_t at = 0; at < tail.size();) {
    const raft::Entry& entry = tail[at].entry;
    if (!tail[at].lost) {
      append_entry(queue_, RecordType::kEntry, group.queued.group, entry);
      ++at;
      continue;
    }
    size_t end = at + 1;
    while (end < tail.size() && tail[end].lost && tail[end].entry.term == entry.term) ++end;
    append_faulty(queue_, group.queued.group, entry.term.value(), entry.index.value(),
                  tail[end - 1].entry.index.value());
    at = end;
  }
  queue_end_ += queue_.size() - before;
  group.queued_last = last;
  group.pending_first = std::min(group.pending_first, first);
  group.pending_until = queue_end_;
  schedule();
}

}  // namespace kahuna::journal
