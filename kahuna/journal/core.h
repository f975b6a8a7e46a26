// The open journal: queue, group commit, segments. journal.h states the contract.
//
// One event loop. Held by the Journal, by its operations in flight and by its maintenance fiber.
//
//   C1 one batch is in flight at a time; the next one is built when it is synced;
//   C2 records lie in the queue in the order in which replay must see them;
//   C3 a segment leaves `used_` only from the front, only when dead by what is synced, and only
//      after a batch that says so was synced itself (format.md, "Recycling");
//   C4 every segment of the directory is in one of used_, spares_, free_, replaced_, but while a
//   fiber
//      has it in hand;
//   C5 after fatal_ or closed_ no waiter runs and nothing is written.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "kahuna/journal/batch_builder.h"
#include "kahuna/journal/journal.h"
#include "kahuna/journal/live_index.h"
#include "kahuna/journal/scrub.h"
#include "kahuna/journal/segment.h"

namespace kahuna::journal {

// Freed segments kept for reuse; more are removed.
inline constexpr size_t kFreeKept = 4;

class SegmentImage;
struct Recovery;

class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Host& host, Options options, Callback<void(Error)> on_fatal);

  Result<> start(Suspend suspend, Fibers& fibers);
  std::map<PartitionId, RecoveredGroup> take_recovered() { return std::move(recovered_); }
  Result<> append(PartitionId group, const raft::Persist& persist, Callback<void()> done);
  void release(PartitionId group, Index index);
  bool has_room();
  Result<> adopt(Suspend suspend, std::map<PartitionId, RecoveredGroup> groups);
  const Statistics& statistics() const { return statistics_; }
  ScrubReport scrub(Suspend suspend, size_t bytes_per_second);
  void set_memory(Memory memory) { memory_ = std::move(memory); }
  // The owner is gone: waiters are dropped, the fiber ends.
  void close();

 private:
  struct Waiter {
    uint64_t position = 0;  // runs once the queue is synced up to here
    Callback<void()> done;
  };
  struct Flight {
    bool active = false;
    SegmentPtr segment;
    uint64_t number = 0;
    uint64_t end = 0;                       // queue position after it
    size_t drop = 0;                        // leading segments that this batch declares free
    size_t body_done = 0, header_done = 0;  // bytes written
    bool writing_body = false, writing_header = false;
  };

  // --- start (core_start.cc) ---
  Result<> settle_directory(Suspend suspend, const Recovery& found);
  Result<> begin_segment(Suspend suspend, Recovery& found);
  Result<> write_seal(Suspend suspend, Recovery& found);
  void leave_superseded(Recovery& found);
  Result<> remove_many_free(Suspend suspend, Recovery& found);
  Result<> remove_last_free(Suspend suspend, Recovery& found);
  void go_on(Recovery& found);
  uint32_t unit() const { return options_.direct ? kPageBytes : kSectorBytes; }
  SegmentHeader new_header(uint32_t file);

  // --- groups of another journal (core_adopt.cc) ---
  Result<> adopt_group(Suspend suspend, PartitionId id, RecoveredGroup& found);
  Result<> append_when_possible(Suspend suspend, PartitionId id, raft::Persist persist);
  Result<> await_queued(Suspend suspend);
  void queue_faulty(GroupIndex& group, const std::vector<raft::TailEntry>& tail);

  // --- queue and batches (core.cc) ---
  Result<> admit(PartitionId group, const raft::Persist& persist) const;
  uint64_t vouched(const GroupIndex& group, const raft::Persist& persist) const;
  void queue_state(GroupIndex& group);
  void queue_entries(GroupIndex& group, const std::vector<raft::Entry>& entries, Index restored);
  void queue_release_marks();
  void schedule();
  void flush();
  void relieve();
  void launch(MutableByteView records, uint64_t end);
  size_t next_chunk() const;
  bool make_room(size_t chunk);
  void write_body();
  void write_header();
  void write(bool body, uint64_t offset, ByteView bytes);
  void written(bool body, Result<size_t> result);
  void synced();
  void run_waiters(uint64_t up_to);
  void fail_for_good(Error error);
  size_t queued_bytes() const { return queue_.size(); }

  // --- maintenance (core_maintenance.cc) ---
  void maintain(Suspend suspend);
  bool maintenance_step(Suspend suspend);
  Result<bool> prepare_spare(Suspend suspend);
  Result<> remove_free(Suspend suspend);
  bool copy_due() const;
  bool copy_forward(Suspend suspend);
  bool queue_from_memory(uint32_t life, size_t bytes_max);
  size_t queue_copies(const SegmentImage& image, const Segment& front);
  void wake_maintenance();
  void arm_retry();

  // --- scrubbing (core_scrub.cc) ---
  class Pace;
  std::optional<ScrubExpectation> expectation_of(const SegmentPtr& segment) const;
  std::optional<std::string> scrub_segment(Suspend suspend, SegmentPtr segment, Pace& pace,
                                           uint64_t& bytes);
  void drop_damaged_spares();
  void leave_damaged(Suspend suspend, Pace& pace);
  bool leave_front(Suspend suspend, Pace& pace);
  bool queue_any_state();

  Host& host_;
  Options options_;
  Callback<void(Error)> on_fatal_;
  Memory memory_;
  SegmentPlace place_;
  uint64_t journal_ = 0;
  Statistics statistics_;
  std::map<PartitionId, RecoveredGroup> recovered_;
  bool closed_ = false, fatal_ = false;

  LiveIndex index_;
  std::vector<std::byte> queue_;  // records not yet in a batch
  uint64_t queue_end_ = 0;        // position after them, in bytes since open
  uint64_t synced_end_ = 0;
  std::deque<Waiter> waiters_;       // ascending position
  std::vector<uint64_t> marks_due_;  // groups whose release is not queued yet
  bool flush_scheduled_ = false;
  bool blocked_ = false;  // the next batch waits for a segment
  BatchBuilder builder_;
  Flight flight_;
  uint64_t next_batch_ = 1;

  std::deque<SegmentPtr> used_;       // ascending life; back() is being written
  std::deque<SegmentPtr> spares_;     // ready, ascending life
  std::deque<SegmentPtr> free_;       // to be recycled or removed
  std::vector<SegmentPtr> replaced_;  // by seals; free once a batch after it is synced
  uint32_t next_life_ = 1, next_file_ = 1;

  Callback<void()> on_full_;  // while adopt() waits: no space for what it queued
  Callback<void()> wake_;     // of the parked maintenance fiber
  Time retry_at_;             // after a full disk, not before
  TimerId retry_timer_ = 0;
  uint64_t copies_end_ = 0;              // queue position after the last copies
  uint64_t copy_tried_at_ = UINT64_MAX;  // synced_end_ when copying found nothing to do
  uint32_t uncopyable_life_ = 0;         // a segment found damaged while it was copied
};

}  // namespace kahuna::journal
