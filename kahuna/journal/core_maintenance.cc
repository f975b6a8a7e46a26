// The journal's background fiber: keeps spare segments ready, recycles freed ones, copies forward
// what pins the oldest.
#include <algorithm>
#include <utility>

#include "kahuna/journal/core.h"
#include "kahuna/journal/image.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::journal {
namespace {
// The oldest segment is copied forward when what is live is at most this part of a whole one.
constexpr uint64_t kCopyParts = 4;
constexpr Duration kRetryAfterFull = Duration::millis(100);
}  // namespace

void Core::wake_maintenance() {
  if (!wake_) return;
  Callback<void()> wake = std::move(wake_);
  wake();
}

void Core::maintain(Suspend suspend) {
  while (!closed_ && !fatal_) {
    if (maintenance_step(suspend)) continue;
    wake_ = suspend.waker();
    suspend.park();
  }
}

// Does one piece of work; false: there is none.
bool Core::maintenance_step(Suspend suspend) {
  if (spares_.size() < options_.spare_segments) {
    auto prepared = prepare_spare(suspend);
    if (closed_ || fatal_) return false;
    if (!prepared) {
      fail_for_good(std::move(prepared.error()));
      return false;
    }
    if (*prepared) return true;
  }
  if (free_.size() > kFreeKept || (!free_.empty() && !free_.front()->reusable())) {
    auto removed = remove_free(suspend);
    if (!removed && !closed_) fail_for_good(std::move(removed.error()));
    return true;
  }
  return copy_due() && copy_forward(suspend);
}

Result<> Core::remove_free(Suspend suspend) {
  std::string name = segment_name(free_.front()->header.id.file);
  const bool damaged = free_.front()->damaged;
  free_.pop_front();
  auto removed = kahuna::remove(suspend, *host_.disk, place_.path(name));
  if (!removed && !(damaged && removed.error().code == ErrorCode::kNotFound)) return removed;
  return damaged ? kahuna::sync_dir(suspend, *host_.disk, place_.dir) : Result<>();
}

// True: something was done. False: the disk is full.
Result<bool> Core::prepare_spare(Suspend suspend) {
  SegmentPtr segment;
  if (!free_.empty() &&
      (!free_.front()->reusable() || free_.front()->header.bytes != options_.segment_bytes)) {
    RETURN_IF_ERROR(remove_free(suspend));
    return true;
  }
  if (!free_.empty()) {
    segment = std::move(free_.front());
    free_.pop_front();
    const uint32_t file = segment->header.id.file;
    SOMETIMES(journal_recycles);
    RETURN_IF_ERROR(begin_life(suspend, segment, new_header(file)));
    ++statistics_.recycled;
  } else {
    if (statistics_.no_space && host_.clock->now() < retry_at_) {
      arm_retry();
      return false;
    }
    auto created = create_segment(suspend, place_, new_header(next_file_++));
    if (!created && created.error().code == ErrorCode::kNoSpace) {
      SOMETIMES(journal_disk_full);
      statistics_.no_space = true;
      retry_at_ = host_.clock->now() + kRetryAfterFull;
      arm_retry();
      if (blocked_ && on_full_) on_full_();
      return false;
    }
    if (!created) return fail(std::move(created.error()));
    segment = std::move(*created);
  }
  statistics_.no_space = false;
  spares_.push_back(std::move(segment));
  if (blocked_) {
    blocked_ = false;
    schedule();
  }
  return true;
}

// With a batch waiting and a full disk somebody must look again, even if no append comes.
void Core::arm_retry() {
  if (!blocked_ || retry_timer_ != 0 || closed_) return;
  retry_timer_ = host_.clock->call_at(retry_at_, [self = shared_from_this()] {
    self->retry_timer_ = 0;
    self->wake_maintenance();
  });
}

bool Core::copy_due() const {
  if (used_.size() < 2 || copies_end_ > synced_end_) return false;
  if (used_.size() <= options_.copy_forward_segments && !statistics_.no_space) return false;
  const Segment& front = *used_.front();
  LiveCount live = index_.live(front.life());
  return !live.dead() && live.bytes <= options_.segment_bytes / kCopyParts &&
         front.life() != uncopyable_life_ && copy_tried_at_ != synced_end_;
}

// What memory has need not be read: a whole segment, for the one entry of a group where nothing
// happens. When it lacks anything all is read, and what was queued before is queued twice: copies,
// of which the later wins.
bool Core::copy_forward(Suspend suspend) {
  SegmentPtr front = used_.front();
  const uint64_t began_at = queue_end_;
  if (!queue_from_memory(front->life(), options_.segment_bytes)) {
    SOMETIMES(journal_copies_from_disk);
    auto read = read_image(suspend, front, front->header.bytes);
    // The world may have moved on while reading.
    if (closed_ || fatal_) return false;
    if (used_.front() != front || used_.size() < 2) return true;
    if (!read) {
      uncopyable_life_ = front->life();
      return false;
    }
    SegmentImage image(front->header, std::move(*read));
    statistics_.copied += queue_copies(image, *front);
    for (auto& [id, group] : index_.groups()) {
      if (group.state_life != front->life()) continue;
      queue_state(group);
      ++statistics_.copied;
    }
  }
  if (queue_end_ == began_at) {
    copy_tried_at_ = synced_end_;
    return false;
  }
  SOMETIMES(journal_copies_forward);
  copies_end_ = queue_end_;
  schedule();
  return true;
}

// Queues what is live in that segment, states and entries, as far as memory has the latter; some of
// it, when it is much. False: there is more.
bool Core::queue_from_memory(uint32_t life, size_t bytes_max) {
  size_t copied = 0;
  bool all = true;
  for (auto& [id, group] : index_.groups()) {
    bool state_due = group.state_life == life;
    for (const Extent& extent : group.extents) {
      if (extent.life != life || extent.faulty) continue;
      state_due |= extent.first <= group.queued.released;  // it says so
      const uint64_t first = std::max(extent.first, group.queued.released + 1);
      for (uint64_t i = first; i <= extent.last && i < group.pending_first; ++i) {
        auto entry =
            memory_ && copied < bytes_max ? memory_(PartitionId(id), Index(i)) : std::nullopt;
        if (!entry || entry->payload.size() > entry_bytes_max(options_)) {
          all = false;
          if (copied >= bytes_max) break;
          continue;
        }
        CHECK_EQ(entry->index.value(), i);
        const size_t at = queue_.size();
        append_entry(queue_, RecordType::kCopied, id, *entry);
        queue_end_ += queue_.size() - at;
        copied += queue_.size() - at;
        ++statistics_.copied;
      }
    }
    if (!state_due || MUTANT(idle_votes_not_copied)) continue;
    queue_state(group);
    ++statistics_.copied;
  }
  schedule();
  return all;
}

// Queues the live entries of `front`. Returns how many.
size_t Core::queue_copies(const SegmentImage& image, const Segment& front) {
  std::map<std::pair<uint64_t, uint64_t>, raft::Entry> live;
  uint64_t body_at = kBodyZone, header_end = front.header.bytes;
  for (uint64_t number = front.first_batch; body_at < front.body_next; ++number) {
    Judgement batch = image.judge(number, body_at, header_end);
    if (!batch.body_good && batch.header_good) {
      // Found lost at open, or by now; what of it is live keeps the segment.
      SOMETIMES(journal_copies_around_damage);
      body_at += batch.body_bytes;
      header_end -= batch.header_bytes;
      continue;
    }
    if (!batch.body_good) {
      // Both copies, while this process ran.
      uncopyable_life_ = front.life();
      return 0;
    }
    for (size_t at = 0; at < batch.body.size();) {
      auto record = parse_record(ByteView(batch.body).subspan(at));
      CHECK(record.has_value());  // judge() has read them all
      at += record->bytes;
      auto type = static_cast<RecordType>(record->head.type);
      if (type != RecordType::kEntry && type != RecordType::kCopied) continue;
      const uint64_t index = record->head.index;
      GroupIndex* group = index_.find(record->head.group);
      if (!group || index >= group->pending_first) continue;
      const Extent* extent = LiveIndex::extent_at(*group, index);
      if (!extent || extent->life != front.life() || extent->faulty) continue;
      // Of several records of one index in this segment the last one is live.
      live.insert_or_assign({record->head.group, index}, entry_of(*record));
    }
    body_at += batch.body_bytes;
    header_end -= batch.header_bytes;
  }
  size_t before = queue_.size();
  for (const auto& [key, entry] : live) append_entry(queue_, RecordType::kCopied, key.first, entry);
  queue_end_ += queue_.size() - before;
  return live.size();
}

}  // namespace kahuna::journal
