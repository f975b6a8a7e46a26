#include "kahuna/journal/core.h"

#include <algorithm>
#include <utility>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::journal {
namespace {
// Release marks that ride along in one batch.
constexpr size_t kMarksPerBatch = 256;
// With a full disk this much of the last segment is kept for the marks that free others.
constexpr uint64_t kReserveBytesMax = 256 * 1024;

size_t segment_bytes_of(const Options& options) {
  return std::clamp(round_up(options.segment_bytes, kPageBytes), kSegmentBytesMin,
                    kSegmentBytesMax);
}
// Largest record that fits an empty segment beside its header.
size_t record_bytes_max(size_t segment_bytes) {
  return (segment_bytes - kBodyZone - 4 * kPageBytes) / kSectorBytes * kSectorPayload;
}

StateItem with_hard_state(StateItem state, const raft::HardState& hard) {
  state.term = hard.term.value();
  state.vote_node = hard.vote.node.value();
  state.vote_incarnation = hard.vote.incarnation;
  return state;
}
bool same_hard_state(const StateItem& a, const StateItem& b) {
  return a.term == b.term && a.vote_node == b.vote_node && a.vote_incarnation == b.vote_incarnation;
}
}  // namespace

size_t entry_bytes_max(const Options& options) {
  return (record_bytes_max(segment_bytes_of(options)) - sizeof(RecordHead)) / 8 * 8;
}

Core::Core(Host& host, Options options, Callback<void(Error)> on_fatal)
    : host_(host), options_(std::move(options)), on_fatal_(std::move(on_fatal)) {
  options_.segment_bytes = segment_bytes_of(options_);
  // A batch and its header always fit an empty segment.
  options_.batch_bytes_max = std::clamp<size_t>(
      options_.batch_bytes_max, kPageBytes,
      std::min<size_t>((options_.segment_bytes - kBodyZone) / 4, size_t{32} << 20));
  options_.spare_segments = std::max<size_t>(options_.spare_segments, 1);
  options_.copy_forward_segments = std::max<size_t>(options_.copy_forward_segments, 2);
  place_ = {host.disk, options_.dir, options_.direct};
}

void Core::close() {
  closed_ = true;
  waiters_.clear();
  on_fatal_.reset();
  host_.clock->cancel(std::exchange(retry_timer_, 0));
  wake_maintenance();
}

// --- queue ---

Result<> Core::admit(PartitionId group, const raft::Persist& persist) const {
  if (fatal_) return fail(ErrorCode::kIo, "the journal's disk failed; restart this node");
  size_t bytes = record_bytes(sizeof(StateTail));
  const size_t largest = record_bytes_max(options_.segment_bytes);
  for (const raft::Entry& entry : persist.entries) {
    size_t one = record_bytes(entry.payload.size());
    if (one > largest)
      return fail(ErrorCode::kTooLarge, "entry of " + std::to_string(entry.payload.size()) +
                                            " bytes in group " + std::to_string(group.value()) +
                                            " exceeds the journal's limit of " +
                                            std::to_string(largest - sizeof(RecordHead)));
    bytes += one;
  }
  if (!queue_.empty() && queued_bytes() + bytes > options_.pending_bytes_max)
    return fail(ErrorCode::kOverloaded, "the journal's queue is full (" +
                                            std::to_string(options_.pending_bytes_max) + " bytes)");
  if (statistics_.no_space && spares_.empty()) {
    // Framing and header items at most double a record.
    uint64_t reserve = std::min<uint64_t>(options_.segment_bytes / 8, kReserveBytesMax);
    if (2 * (queued_bytes() + bytes) + 4 * kPageBytes + reserve > used_.back()->room())
      return fail(ErrorCode::kNoSpace, "the disk is full: no room for another journal segment of " +
                                           std::to_string(options_.segment_bytes) + " bytes");
  }
  return {};
}

Result<> Core::append(PartitionId id, const raft::Persist& persist, Callback<void()> done) {
  auto admitted = admit(id, persist);
  if (!admitted) {
    if (admitted.error().code == ErrorCode::kNoSpace) {
      SOMETIMES(journal_no_space);
      wake_maintenance();
    }
    return admitted;
  }
  GroupIndex& group = index_.group(id.value());
  StateItem state = with_hard_state(group.queued, persist.hard_state);
  CHECK_GE(state.term, group.queued.term);
  if (state.term == group.queued.term && group.queued.vote_node != 0) {
    CHECK_EQ(state.vote_node, group.queued.vote_node);  // R6: one vote per term
    CHECK_EQ(state.vote_incarnation, group.queued.vote_incarnation);
  }
  const uint64_t commit = std::max(state.commit, persist.commit.value());
  state.commit = std::min(commit, std::max(state.commit, vouched(group, persist)));
  if (!persist.entries.empty() && group.queued_last == state.released)
    state.released = std::max(state.released, persist.entries[0].index.value() - 1);
  bool vote_due = !same_hard_state(state, group.queued);
  bool write = vote_due || !persist.entries.empty();
  bool state_due = write && (group.state_due || !(state == group.queued));
  if (state != group.queued && !write) group.state_due = true;
  if (MUTANT(hard_state_not_written)) state = with_hard_state(state, {});
  group.queued = state;
  if (state_due) queue_state(group);
  if (!persist.entries.empty()) queue_entries(group, persist.entries, persist.restored);
  if (commit > group.queued.commit) {
    group.queued.commit = commit;
    group.state_due = true;
  }
  waiters_.push_back({queue_end_, std::move(done)});
  if (write) {
    schedule();
  } else if (queue_end_ == synced_end_) {
    // Nothing to wait for; still never inside the caller's call.
    host_.scheduler->defer([self = shared_from_this()] { self->run_waiters(self->synced_end_); });
  }
  return {};
}

// What a commit index may say that lies before these entries in the journal, which a crash may end
// between the two: the entries that they are to replace would seem committed.
uint64_t Core::vouched(const GroupIndex& group, const raft::Persist& persist) const {
  if (persist.entries.empty()) return UINT64_MAX;
  const uint64_t cut = std::max(persist.entries[0].index, persist.restored.next()).value();
  if (cut > group.queued_last) return UINT64_MAX;
  SOMETIMES(journal_notes_a_commit_later);
  return cut - 1;
}

void Core::queue_state(GroupIndex& group) {
  size_t before = queue_.size();
  append_state(queue_, group.queued);
  queue_end_ += queue_.size() - before;
  group.state_due = false;
}

// Those up to `restored` are written like copies, which cut nothing.
void Core::queue_entries(GroupIndex& group, const std::vector<raft::Entry>& entries,
                         Index restored) {
  uint64_t expected = entries[0].index.value();
  CHECK_GT(expected, group.queued.released);  // R7: what is released was committed
  CHECK_LE(expected, std::max(group.queued_last, group.queued.released) + 1);
  size_t before = queue_.size();
  for (const raft::Entry& entry : entries) {
    CHECK_EQ(entry.index.value(), expected);
    bool in_place = entry.index <= restored;
    if (in_place) {
      SOMETIMES(journal_restores_lost_entries);
      CHECK_LE(expected, group.queued_last);
    } else {
      if (expected <= group.queued_last) SOMETIMES(journal_truncates_tail);
      group.queued_last = expected;
    }
    append_entry(queue_, in_place ? RecordType::kCopied : RecordType::kEntry, group.queued.group,
                 entry);
    ++expected;
  }
  queue_end_ += queue_.size() - before;
  group.pending_first = std::min(group.pending_first, entries[0].index.value());
  group.pending_until = queue_end_;
}

void Core::release(PartitionId id, Index index) {
  if (fatal_) return;
  GroupIndex& group = index_.group(id.value());
  if (index.value() <= group.queued.released) return;
  group.queued.released = index.value();
  group.queued_last = std::max(group.queued_last, index.value());
  group.state_due = true;
  marks_due_.push_back(id.value());
  // With a full disk nobody may come to write the batch that frees a segment.
  if (statistics_.no_space) schedule();
}

bool Core::has_room() {
  if (!statistics_.no_space) return true;
  wake_maintenance();
  return false;
}

void Core::queue_release_marks() {
  size_t n = std::min(marks_due_.size(), kMarksPerBatch);
  for (size_t i = 0; i < n; ++i) {
    GroupIndex* group = index_.find(marks_due_[i]);
    CHECK(group != nullptr);
    if (group->state_due) queue_state(*group);
  }
  marks_due_.erase(marks_due_.begin(), marks_due_.begin() + static_cast<ptrdiff_t>(n));
}

// --- batches ---

void Core::schedule() {
  if (flush_scheduled_ || flight_.active || closed_ || fatal_) return;
  flush_scheduled_ = true;
  host_.scheduler->defer([self = shared_from_this()] { self->flush(); });
}

void Core::flush() {
  flush_scheduled_ = false;
  if (flight_.active || closed_ || fatal_) return;
  if (!blocked_) {
    queue_release_marks();
    if (!queue_.empty()) {
      const size_t chunk = next_chunk();
      if (make_room(chunk)) {
        launch(MutableByteView(queue_).first(chunk), queue_end_ - (queue_.size() - chunk));
        if (chunk == queue_.size())
          queue_.clear();
        else
          queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(chunk));
        return;
      }
    }
  }
  if (statistics_.no_space) relieve();
}

// With a full disk: writes what lets the oldest segments be recycled, past the batch that waits for
// one. Marks may overtake queued records: they only repeat, earlier, what those will say, and of
// what is committed no more than what those leave as it is.
void Core::relieve() {
  std::vector<std::byte> marks;
  for (uint64_t id : marks_due_) {
    const GroupIndex& group = *index_.find(id);
    StateItem state = group.queued;
    state.commit = std::min(state.commit, group.pending_first - 1);
    append_state(marks, state);
  }
  const bool front_dead = used_.size() > 1 && index_.live(used_.front()->life()).dead();
  if (marks.empty() && !front_dead) return;
  builder_.plan(marks, used_.back()->header.unit);
  if (!used_.back()->fits(builder_.body_bytes(), builder_.header_bytes())) return;
  SOMETIMES(journal_relieves_full_disk);
  marks_due_.clear();
  launch(marks, synced_end_);
}

// Starts the batch that was planned from `records`; `end` is the queue position after it.
void Core::launch(MutableByteView records, uint64_t end) {
  size_t drop = 0;
  while (drop + 1 < used_.size() && index_.live(used_[drop]->life()).dead()) ++drop;
  const Segment& oldest = *used_[drop];
  BatchLinks links;
  links.synced = next_batch_ - 1;
  links.oldest_life = oldest.life();
  links.oldest_batch = oldest.first_batch != 0 ? oldest.first_batch : next_batch_;

  flight_.active = true;
  flight_.segment = used_.back();
  flight_.number = next_batch_++;
  flight_.end = end;
  flight_.drop = drop;
  flight_.body_done = flight_.header_done = 0;
  builder_.encode(records, *flight_.segment, flight_.number, links, false);
  statistics_.records += builder_.records();
  statistics_.bytes += builder_.body_bytes() + builder_.header_bytes();
  flight_.writing_body = flight_.writing_header = true;
  write_body();
  write_header();
}

// Bytes of the whole records that the next batch takes.
size_t Core::next_chunk() const {
  if (queue_.size() <= options_.batch_bytes_max) return queue_.size();
  SOMETIMES(journal_splits_queue);
  size_t chunk = 0;
  while (chunk < queue_.size()) {
    auto record = parse_record(ByteView(queue_).subspan(chunk));
    CHECK(record.has_value());
    if (chunk > 0 && chunk + record->bytes > options_.batch_bytes_max) break;
    chunk += record->bytes;
  }
  return chunk;
}

// Plans the batch and sees to it that used_.back() has room. False: it must wait for a segment.
bool Core::make_room(size_t chunk) {
  builder_.plan(ByteView(queue_).first(chunk), used_.back()->header.unit);
  const bool leaves = used_.back()->damaged && !spares_.empty();
  if (!leaves && used_.back()->fits(builder_.body_bytes(), builder_.header_bytes())) return true;
  if (spares_.empty()) {
    SOMETIMES(journal_waits_for_segment);
    blocked_ = true;
    wake_maintenance();
    return false;
  }
  used_.push_back(std::move(spares_.front()));
  spares_.pop_front();
  statistics_.segments = used_.size();
  builder_.plan(ByteView(queue_).first(chunk), used_.back()->header.unit);
  CHECK(used_.back()->fits(builder_.body_bytes(), builder_.header_bytes()));
  wake_maintenance();
  return true;
}

void Core::write_body() {
  size_t done = flight_.body_done;
  write(true, builder_.body_offset() + done,
        ByteView(builder_.body()->data() + done, builder_.body_bytes() - done));
}

void Core::write_header() {
  size_t done = flight_.header_done;
  write(false, builder_.header_offset() + done,
        ByteView(builder_.header()->data() + done, builder_.header_bytes() - done));
}

// Body and header may become durable in any order: recovery believes neither without the other.
void Core::write(bool body, uint64_t offset, ByteView bytes) {
  auto done = [self = shared_from_this(), body](Result<size_t> n) {
    self->written(body, std::move(n));
  };
  if (MUTANT(ack_before_sync_journal))
    flight_.segment->file->write_at(offset, bytes, std::move(done));
  else
    flight_.segment->file->write_durably_at(offset, bytes, std::move(done));
}

void Core::written(bool body, Result<size_t> result) {
  if (closed_ || fatal_) return;
  if (!result && MUTANT(failed_sync_tried_again)) return body ? write_body() : write_header();
  if (!result) return fail_for_good(std::move(result.error()));
  // Unbuffered files go on at a whole unit only.
  const size_t progress = round_down(*result, flight_.segment->header.unit);
  if (progress == 0) return fail_for_good(Error(ErrorCode::kIo, "write made no progress"));
  size_t& done = body ? flight_.body_done : flight_.header_done;
  done += progress;
  if (done < (body ? builder_.body_bytes() : builder_.header_bytes())) {
    SOMETIMES(journal_short_write);
    return body ? write_body() : write_header();
  }
  (body ? flight_.writing_body : flight_.writing_header) = false;
  if (flight_.writing_body || flight_.writing_header) return;
  synced();
}

void Core::synced() {
  flight_.active = false;
  synced_end_ = flight_.end;
  ++statistics_.batches;
  index_.apply(builder_.items(), flight_.segment->life());
  for (const RangeItem& range : builder_.items().ranges) {
    GroupIndex* group = index_.find(range.group);
    if (group->pending_until <= synced_end_) group->pending_first = UINT64_MAX;
  }
  for (size_t i = 0; i < flight_.drop; ++i) {
    index_.forget_segment(used_.front()->life());
    // A damaged one is removed at once: the next recovery need not see it.
    if (used_.front()->damaged)
      free_.push_front(std::move(used_.front()));
    else
      free_.push_back(std::move(used_.front()));
    used_.pop_front();
  }
  statistics_.segments = used_.size();
  flight_.segment.reset();
  const bool freed = flight_.drop > 0 || !replaced_.empty();
  free_.insert(free_.end(), replaced_.begin(), replaced_.end());
  replaced_.clear();
  if (freed || copy_due()) wake_maintenance();
  run_waiters(synced_end_);
  if (closed_) return;
  if (!queue_.empty() || statistics_.no_space) schedule();
}

void Core::run_waiters(uint64_t up_to) {
  while (!closed_ && !fatal_ && !waiters_.empty() && waiters_.front().position <= up_to) {
    Callback<void()> done = std::move(waiters_.front().done);
    waiters_.pop_front();
    if (done) done();
  }
}

void Core::fail_for_good(Error error) {
  if (fatal_ || closed_) return;
  fatal_ = true;
  waiters_.clear();
  wake_maintenance();
  error.text = "journal: " + error.text + "; nothing after this is acknowledged";
  // Posted: the maintenance fiber may be the one that found out, and its owner may end all fibers.
  host_.scheduler->post([self = shared_from_this(), error = std::move(error)]() mutable {
    if (self->on_fatal_) std::exchange(self->on_fatal_, nullptr)(std::move(error));
  });
}

}  // namespace kahuna::journal
