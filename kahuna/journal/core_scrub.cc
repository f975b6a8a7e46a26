// Looks for damage in what is at rest, while the journal runs, and moves away from it.
//
//   S1 only what was synced before it is read is judged, in a segment that stays in its life and
//   its role
//      meanwhile; what is found twice in a row is damage;
//   S2 damage is never written over. Its segment takes no more batches; what is live in it, and in
//   those
//      before it, is appended again from memory; then it goes the way of all segments (C3), and its
//      file is removed;
//   S3 what is appended again is what lives there at that moment, is durable, and is about to be
//   replaced by
//      nothing in the queue: as copies it cuts nothing, and a crash at any point leaves the group
//      as it was;
//   S4 an entry whose content is lost stays so: not memory but the other replicas have it
//   (raft/repair.h).
//
// The rate holds for what is read and for what is appended again. What is read is asked of the disk
// itself, where that is possible: pages that the system keeps show no rot.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "kahuna/journal/core.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::journal {
namespace {
constexpr size_t kReadBytes = size_t{128} << 10;
// Appended again at a time, so that what others append waits for no more.
constexpr size_t kCopyBytes = size_t{256} << 10;

bool holds(const std::deque<SegmentPtr>& list, const SegmentPtr& segment) {
  return std::find(list.begin(), list.end(), segment) != list.end();
}

// Reads pages through `file`; what cannot be read is filled with bytes that no checksum accepts.
void read_pages(Suspend suspend, const SegmentPtr& file, uint64_t at,
                const std::shared_ptr<PageBuffer>& buffer, size_t bytes) {
  constexpr int kUnreadable = 0xdb;
  auto all = read_part(suspend, file, at, buffer, bytes, 1);
  if (all && *all == bytes) return;
  auto page = std::make_shared<PageBuffer>(kPageBytes);
  for (size_t done = 0; done < bytes; done += kPageBytes) {
    auto one = read_part(suspend, file, at + done, page, kPageBytes, kReadAttempts);
    if (!one || *one < kPageBytes) {
      SOMETIMES(journal_scrub_finds_unreadable_page);
      std::memset(page->data() + (one ? *one : 0), kUnreadable, kPageBytes - (one ? *one : 0));
    }
    std::memcpy(buffer->data() + done, page->data(), kPageBytes);
  }
}
}  // namespace

// Waits until so many bytes are due.
class Core::Pace {
 public:
  Pace(Clock& clock, size_t bytes_per_second) : clock_(clock), rate_(bytes_per_second) {
    CHECK_GT(rate_, 0u);
  }
  void spend(Suspend suspend, uint64_t bytes) {
    const auto nanos = static_cast<double>(bytes) * 1e9 / static_cast<double>(rate_);
    due_ = std::max(due_, clock_.now()) + Duration::nanos(static_cast<int64_t>(nanos));
    suspend.sleep_until(due_);
  }

 private:
  Clock& clock_;
  size_t rate_;
  Time due_;
};

ScrubReport Core::scrub(Suspend suspend, size_t bytes_per_second) {
  Pace pace(*host_.clock, bytes_per_second);
  ScrubReport report;
  // What a seal replaced is needed until a batch follows it.
  if (!replaced_.empty() && queue_any_state()) (void)await_queued(suspend);
  std::vector<SegmentPtr> all(used_.begin(), used_.end()), found;
  all.insert(all.end(), spares_.begin(), spares_.end());
  all.insert(all.end(), free_.begin(), free_.end());
  if (MUTANT(scrub_skips_a_segment) && used_.size() > 1) all.erase(all.begin());
  for (const SegmentPtr& segment : all) {
    auto damage = scrub_segment(suspend, segment, pace, report.bytes);
    if (closed_ || fatal_) return report;
    if (!damage || MUTANT(scrub_keeps_silent)) continue;
    report.damaged.push_back(std::move(*damage));
    found.push_back(segment);
    segment->damaged = true;
    drop_damaged_spares();  // before one of them is taken into use
  }
  leave_damaged(suspend, pace);
  for (const SegmentPtr& segment : found) report.repaired += !holds(used_, segment);
  return report;
}

std::optional<ScrubExpectation> Core::expectation_of(const SegmentPtr& segment) const {
  ScrubExpectation expected{.header = segment->header};
  expected.idle = holds(spares_, segment) || (holds(free_, segment) && segment->reusable());
  if (expected.idle) return expected;
  const auto at = std::find(used_.begin(), used_.end(), segment);
  if (at == used_.end()) return std::nullopt;
  expected.body_end = segment->body_next;
  expected.header_begin = segment->header_low;
  expected.batch_first = expected.batch_end = segment->first_batch;
  if (segment->first_batch == 0) return expected;
  // Batches are consecutive over the segments.
  expected.batch_end = next_batch_;
  for (auto later = at + 1; later != used_.end(); ++later)
    if ((*later)->first_batch != 0)
      expected.batch_end = std::min(expected.batch_end, (*later)->first_batch);
  if (flight_.active && flight_.segment == segment) {
    --expected.batch_end;
    expected.body_end = builder_.body_offset();
    expected.header_begin = builder_.header_offset() + builder_.header_bytes();
  }
  return expected;
}

// A sentence when it is damaged.
std::optional<std::string> Core::scrub_segment(Suspend suspend, SegmentPtr segment, Pace& pace,
                                               uint64_t& bytes) {
  const auto expected = expectation_of(segment);
  if (!expected) return std::nullopt;
  const std::string name = place_.path(segment_name(segment->header.id.file));
  auto stays = [&] {
    const bool idle = holds(spares_, segment) || holds(free_, segment);
    return !closed_ && !fatal_ && segment->header.id == expected->header.id &&
           (expected->idle ? idle : holds(used_, segment));
  };
  auto file = std::make_shared<Segment>();
  file->header = segment->header;
  auto opened = kahuna::open(suspend, *host_.disk, name, {.direct = true});
  if (!stays()) return std::nullopt;
  if (!opened) return name + " cannot be opened: " + opened.error().text;
  file->file = std::move(*opened);

  const uint64_t size = expected->header.bytes;
  const uint64_t low_end = expected->idle ? size : round_up(expected->body_end, kPageBytes);
  const uint64_t high =
      expected->idle ? size : std::max(low_end, round_down(expected->header_begin, kPageBytes));
  auto buffer = std::make_shared<PageBuffer>(kReadBytes);
  ScrubJudge judge(*expected);
  bool good = true;
  for (uint64_t at = 0; at < size && good;) {
    if (at == low_end) at = high;
    if (at == size) break;
    const size_t step = std::min<uint64_t>(kReadBytes, (at < low_end ? low_end : size) - at);
    const ScrubJudge before = judge;
    good = false;  // what is damaged is so twice
    for (int attempt = 0; attempt < 2 && !good; ++attempt) {
      judge = before;
      read_pages(suspend, file, at, buffer, step);
      if (!stays()) return std::nullopt;
      good = judge.take(at, buffer->view(step));
      bytes += step;
      pace.spend(suspend, step);
      if (!stays()) return std::nullopt;
    }
    at += step;
  }
  if (good && judge.finish()) return std::nullopt;
  SOMETIMES(journal_scrub_finds_damage);
  return name + " is damaged at offset " + std::to_string(judge.damaged_at());
}

// What is kept for use is not used, but removed.
void Core::drop_damaged_spares() {
  for (auto* list : {&spares_, &free_}) {
    std::vector<SegmentPtr> damaged;
    std::copy_if(list->begin(), list->end(), std::back_inserter(damaged),
                 [](const auto& s) { return s->damaged; });
    std::erase_if(*list, [](const auto& s) { return s->damaged; });
    free_.insert(free_.begin(), damaged.begin(), damaged.end());
  }
  wake_maintenance();
}

void Core::leave_damaged(Suspend suspend, Pace& pace) {
  while (!closed_ && !fatal_ && !statistics_.no_space) {
    if (std::none_of(used_.begin(), used_.end(), [](const auto& s) { return s->damaged; })) return;
    if (!leave_front(suspend, pace)) return;
  }
}

// One step towards freeing the oldest segment. False: none can be made now.
bool Core::leave_front(Suspend suspend, Pace& pace) {
  const SegmentPtr front = used_.front(), back = used_.back();
  const LiveCount before = index_.live(front->life());
  const uint64_t began_at = queue_end_;
  if (front != back) (void)queue_from_memory(front->life(), kCopyBytes);
  const uint64_t queued = queue_end_ - began_at;
  // A batch must follow: to free what is dead, or to leave the last segment.
  if (queued == 0 && front != back && !before.dead()) return false;
  if (queued == 0 && !queue_any_state()) return false;
  SOMETIMES(journal_leaves_damage);
  if (!await_queued(suspend)) return false;
  pace.spend(suspend, queued);
  if (closed_ || fatal_) return false;
  if (used_.front() != front || used_.back() != back) return true;
  const LiveCount after = index_.live(front->life());
  return after.entries + after.states < before.entries + before.states;
}

// Repeats the state of some group.
bool Core::queue_any_state() {
  for (auto& [id, group] : index_.groups()) {
    if (group.state_life == 0) continue;
    queue_state(group);
    schedule();
    return true;
  }
  return false;
}

}  // namespace kahuna::journal
