// Saving applied state to the engine, flushing it, and letting go of the log behind what is
// flushed.
#include <algorithm>

#include "kahuna/node/groups_group.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {
constexpr size_t kSaveParts = 16;
}  // namespace

bool Groups::states_due() const {
  return !unsaved_.empty() &&
         (unsaved_before_flush_ > 0 || unsaved_entries_ >= options_.save_entries ||
          unsaved_bytes_ >= options_.save_bytes || streams_.wants_save());
}

void Groups::consider_save() {
  if (!batch_ && (states_due() || !installs_due_.empty())) save();
}

void Groups::save() {
  CHECK(!batch_ && saving_.empty());
  batch_ = std::make_shared<engine::WriteBatch>();
  if (states_due()) collect_states();
  flush_follows_ = flush_wanted_ && unsaved_before_flush_ == 0;
  collect_installs();
  write_batch();
}

// Of the groups that have waited longest, as many as make a part of what is due at once: everybody
// else in this loop waits for it.
void Groups::collect_states() {
  const size_t entries =
      unsaved_entries_ - std::min(unsaved_entries_, options_.save_entries / kSaveParts);
  const size_t bytes = unsaved_bytes_ - std::min(unsaved_bytes_, options_.save_bytes / kSaveParts);
  do {
    Group& group = *unsaved_.front();
    forget_unsaved(group);
    group.state.collect(*batch_);
    saving_.push_back(&group);
  } while (!unsaved_.empty() && unsaved_entries_ > entries && unsaved_bytes_ > bytes);
  if (!unsaved_.empty()) SOMETIMES(states_are_saved_in_parts);
}

void Groups::forget_unsaved(Group& group) {
  if (!std::exchange(group.unsaved, false)) return;
  const auto at = std::find(unsaved_.begin(), unsaved_.end(), &group);
  if (size_t(at - unsaved_.begin()) < unsaved_before_flush_) --unsaved_before_flush_;
  unsaved_.erase(at);
  unsaved_entries_ -= std::min(unsaved_entries_, group.state.unsaved_entries());
  unsaved_bytes_ -= std::min(unsaved_bytes_, group.state.unsaved_bytes());
}

void Groups::write_batch() {
  if (FAULT_POINT(engine_refuses_a_write))
    return on_saved(fail(ErrorCode::kOverloaded, "fault point"));
  engine_.start_write(batch_, guarded([this](Result<> result) { on_saved(std::move(result)); }));
}

void Groups::on_saved(Result<> result) {
  if (stopped_) return;
  if (!result) {
    if (result.error().code != ErrorCode::kOverloaded && result.error().code != ErrorCode::kNoSpace)
      return engine_failed(result.error());
    SOMETIMES(engine_refused_a_write);
    save_refused_ = true;
    // Without what is refused: it makes room.
    bool retried = disk_.is_full(DiskWatch::Part::kEngine);
    if (!flushing_ && !retried && host_.clock->now() >= extra_flush_from_) flush_engine();
    if (!stall_timer_)
      stall_timer_ = host_.clock->call_at(host_.clock->now() + kStallRetry,
                                          guarded([this] { retry_stalled(); }));
    return;
  }
  batch_.reset();
  std::vector<Group*> groups;
  groups.swap(saving_);
  for (Group* group : groups) group->state.saved();
  // Asked for while this batch was under way, and it was the last: no other one will bring it
  // about.
  bool nothing_left = flush_wanted_ && unsaved_before_flush_ == 0 && !MUTANT(last_flush_forgotten);
  if (nothing_left && !flush_follows_) SOMETIMES(flush_asked_for_while_saving);
  if ((flush_follows_ || nothing_left) && !flushing_) flush_engine();
  installs_saved();
  streams_.saved();
  consider_save();  // makes room for what waits
  if (stopped_) return;
  if (!MUTANT(stalled_entries_forgotten)) apply_stalled();
  if (stopped_) return;
  consider_save();
}

// --- flush ---

void Groups::consider_flush() {
  if (flushing_ || flush_wanted_ || disk_.is_full(DiskWatch::Part::kEngine)) return;
  bool unflushed = !unsaved_.empty() || batch_ || engine_.unflushed_bytes() > 0;
  if (unflushed_bytes_ >= options_.flush_bytes ||
      engine_.unflushed_bytes() >= options_.flush_bytes ||
      (unflushed && host_.clock->now() >= extra_flush_from_ && FAULT_POINT(engine_flushes_early))) {
    start_flush();
  } else if (unflushed && !flush_timer_) {
    flush_timer_ =
        host_.clock->call_at(host_.clock->now() + options_.flush_interval, guarded([this] {
                               flush_timer_ = 0;
                               start_flush();
                             }));
  }
}

// A flush covers what was applied when it was asked for: that is saved first.
void Groups::start_flush() {
  unsaved_before_flush_ = unsaved_.size();
  if (flush_wanted_) return;
  host_.clock->cancel(flush_timer_);
  flush_timer_ = 0;
  flush_wanted_ = true;
  if (flushing_ || batch_) return;
  if (unsaved_before_flush_ == 0) return flush_engine();
  save();
}

void Groups::flush_engine() {
  std::vector<Callback<void()>> waiters;
  if (!batch_) {
    flush_wanted_ = flush_follows_ = false;
    unflushed_bytes_ = unsaved_bytes_;
    waiters.swap(flush_waiters_);
  }
  flushing_ = true;
  extra_flush_from_ = host_.clock->now() + options_.flush_interval / kExtraFlushes;
  engine_.flush(guarded([this, waiters = std::move(waiters)](Result<> flushed) mutable {
    on_flushed(std::move(flushed));
    if (stopped_) return;
    for (auto& waiter : waiters) waiter();
  }));
}

void Groups::on_flushed(Result<> flushed) {
  flushing_ = false;
  if (flushed) {
    disk_.found_room(DiskWatch::Part::kEngine);
  } else if (flushed.error().code == ErrorCode::kNoSpace) {
    disk_.found_full(DiskWatch::Part::kEngine, flushed.error().text);
  } else if (flushed.error().code != ErrorCode::kOverloaded) {
    return engine_failed(flushed.error());
  }
  release_flushed();
  finish_installs();
  if (stopped_) return;
  if (flush_wanted_ && !batch_) unsaved_before_flush_ == 0 ? flush_engine() : save();
}

void Groups::retry_full(DiskWatch::Part part) {
  if (stopped_) return;
  if (part == DiskWatch::Part::kEngine) {
    if (!flushing_) batch_ ? flush_engine() : start_flush();
    return;
  }
  bool stalled = std::any_of(groups_.begin(), groups_.end(),
                             [](const auto& group) { return !group->stalled_persists.empty(); });
  if (journal_.has_room() && !stalled) disk_.found_room(DiskWatch::Part::kJournal);
}

void Groups::release_flushed() {
  uint64_t total = 0;
  for (const auto& group : groups_) total += group->replica.log_bytes();
  const uint64_t keep = options_.log_keep_bytes / (total / options_.log_keep_total_bytes + 1);
  const auto& marks = MUTANT(log_released_unflushed) ? engine_.applied() : engine_.flushed();
  for (auto& group : groups_) {
    auto mark = marks.find(group->id);
    if (mark == marks.end() || group->install) continue;
    Index upto = std::min(mark->second.index, std::max(group->trim, releasable(*group, keep)));
    if (upto <= group->released || upto <= raft::kFoundingBase.index) continue;
    if (MUTANT(log_never_released)) continue;
    group->released = upto;
    journal_.release(group->id, upto.prev());  // the entry at `upto` stays: the base needs its term
    if (upto > group->trim) SOMETIMES(log_compacted_beyond_the_slowest);
    group->replica.release(upto);
    group->replica.compact(upto);
  }
}

// What of a log need not be kept for replicas that are behind. One that is being sent the state, or
// has just got it, goes on behind it, so that is kept, unless it is so much that the log would soon
// take no more.
Index Groups::releasable(const Group& group, uint64_t keep_bytes) {
  const Index last = group.replica.status().last.index;
  const Index by_count(last.value() - std::min<uint64_t>(last.value(), options_.log_keep_entries));
  const Index index = std::max(group.replica.before_last(keep_bytes), by_count);
  auto held = streams_.held(group.replica);
  if (!held || group.replica.log_bytes() > options_.raft.log_bytes_max / kLogShareKept)
    return index;
  return std::min(index, *held);
}

void Groups::flushed() {
  if (stopped_) return;
  release_flushed();
  finish_installs();
}

void Groups::flush(Callback<void()> done) {
  flush_waiters_.push_back(std::move(done));
  start_flush();
}

}  // namespace kahuna::node
