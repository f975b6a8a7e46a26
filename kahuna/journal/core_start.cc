#include <algorithm>
#include <utility>

#include "kahuna/journal/core.h"
#include "kahuna/journal/recovery.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::journal {
namespace {
constexpr uint64_t kFirstSegmentBytes = uint64_t{4} << 20;

std::string parent_of(const std::string& dir) {
  size_t slash = dir.rfind('/');
  return slash == std::string::npos ? std::string() : dir.substr(0, slash);
}
}  // namespace

SegmentHeader Core::new_header(uint32_t file) {
  return {{journal_, file, next_life_++}, options_.segment_bytes, unit(), kCurrentSemanticLevel};
}

Result<> Core::start(Suspend suspend, Fibers& fibers) {
  ASSIGN_OR_RETURN(Recovery found, recover(suspend, place_, options_));
  RETURN_IF_ERROR(settle_directory(suspend, found));
  journal_ = found.journal != 0 ? found.journal : host_.random("journal").next() | 1;
  next_life_ = found.next_life;
  next_file_ = found.next_file;
  // What was read may sit in a cache that a killed process left behind.
  if (found.last) RETURN_IF_ERROR(sync_segment(suspend, found.last));
  used_.assign(found.used.begin(), found.used.end());
  auto begun = begin_segment(suspend, found);
  if (begun) {
    RETURN_IF_ERROR(write_seal(suspend, found));
    leave_superseded(found);
    RETURN_IF_ERROR(remove_many_free(suspend, found));
  } else if (begun.error().code == ErrorCode::kNoSpace && found.may_go_on &&
             found.last->header.unit == unit()) {
    // What was removed does not come back, after a loss of power, beside what is acknowledged from
    // now on.
    RETURN_IF_ERROR(kahuna::sync_dir(suspend, *host_.disk, options_.dir));
    go_on(found);
  } else {
    return fail(std::move(begun.error()));
  }
  recovered_ = found.replay.groups();
  found.replay.fill(index_);
  free_.insert(free_.end(), found.free.begin(), found.free.end());
  statistics_.segments = used_.size();
  fibers.spawn("journal", [self = shared_from_this()](Suspend s) { self->maintain(s); });
  return {};
}

Result<> Core::settle_directory(Suspend suspend, const Recovery& found) {
  RETURN_IF_ERROR(kahuna::make_dir(suspend, *host_.disk, options_.dir));
  RETURN_IF_ERROR(kahuna::sync_dir(suspend, *host_.disk, parent_of(options_.dir)));
  for (const std::string& name : found.leftovers)
    RETURN_IF_ERROR(kahuna::remove(suspend, *host_.disk, place_.path(name)));
  // A killed process may have renamed segments into place without syncing the directory.
  return kahuna::sync_dir(suspend, *host_.disk, options_.dir);
}

// Begins a new segment; with a full disk, in the place of files that nothing needs. It is small, so
// that opening is quick; a spare of the full size follows in the background.
Result<> Core::begin_segment(Suspend suspend, Recovery& found) {
  builder_.plan(found.seal_records, unit());
  SegmentHeader header = new_header(next_file_++);
  header.for_seal = found.needs_seal;
  const uint64_t seal = kBodyZone + builder_.body_bytes() + builder_.header_bytes();
  header.bytes = std::max(std::min<uint64_t>(kFirstSegmentBytes, options_.segment_bytes),
                          round_up(seal, kPageBytes) + 4 * kPageBytes);
  CHECK_EQ(header.id.life, found.next_life);
  while (true) {
    auto created = create_segment(suspend, place_, header);
    if (created) {
      used_.push_back(std::move(*created));
      return {};
    }
    if (created.error().code != ErrorCode::kNoSpace || found.free.empty())
      return fail(std::move(created.error()));
    // A journal without any segment is one that was lost (Options::must_exist).
    const bool only =
        used_.empty() && !found.last && found.superseded.empty() && found.free.size() == 1;
    if (only && !MUTANT(last_segment_makes_room)) return fail(std::move(created.error()));
    RETURN_IF_ERROR(remove_last_free(suspend, found));
  }
}

// The segment begun opens with a batch that settles how the log ended (format.md, "Seals").
Result<> Core::write_seal(Suspend suspend, Recovery& found) {
  if (!found.needs_seal) return {};
  SOMETIMES(journal_seals);
  SegmentPtr segment = used_.back();
  BatchLinks links;
  links.synced = found.seal_batch - 1;
  links.oldest_life = found.oldest_life != 0 ? found.oldest_life : segment->life();
  links.oldest_batch = found.oldest_life != 0 ? found.oldest_batch : found.seal_batch;
  builder_.plan(found.seal_records, segment->header.unit);
  builder_.encode(found.seal_records, *segment, found.seal_batch, links, true);
  next_batch_ = found.seal_batch + 1;
  RETURN_IF_ERROR(
      write_part(suspend, segment, builder_.body_offset(), builder_.body(), builder_.body_bytes()));
  RETURN_IF_ERROR(write_part(suspend, segment, builder_.header_offset(), builder_.header(),
                             builder_.header_bytes()));
  RETURN_IF_ERROR(sync_segment(suspend, segment));
  ++statistics_.batches;
  // While the seal is the last batch, what it replaces stays.
  if (found.last->first_batch == 0) replaced_.push_back(found.last);
  return {};
}

// Boots that ended before a batch followed their seals have left one segment each, with the same
// batch in it. The oldest has it as it was first written, and stays until a batch follows, as
// `last` does.
void Core::leave_superseded(Recovery& found) {
  if (found.superseded.empty() || MUTANT(superseded_segments_forgotten)) return;
  replaced_.push_back(found.superseded.front());
  found.free.insert(found.free.end(), found.superseded.begin() + 1, found.superseded.end());
}

// Most are left to the background, for a quick start; but a node that is started again and again,
// and never gets as far, must not fill its disk.
Result<> Core::remove_many_free(Suspend suspend, Recovery& found) {
  while (found.free.size() > kFreeKept) {
    SOMETIMES(journal_start_removes_segments);
    RETURN_IF_ERROR(remove_last_free(suspend, found));
  }
  return {};
}

Result<> Core::remove_last_free(Suspend suspend, Recovery& found) {
  std::string name = segment_name(found.free.back()->header.id.file);
  found.free.pop_back();
  return kahuna::remove(suspend, *host_.disk, place_.path(name));
}

// For want of a new segment: appends behind the last batch, in its own segment.
void Core::go_on(Recovery& found) {
  SOMETIMES(journal_goes_on);
  Segment& last = *found.last;
  last.body_next = found.body_next;
  last.header_low = found.header_low;
  if (last.first_batch == 0) {
    last.first_batch = found.seal_batch;
    used_.push_back(found.last);
  }
  next_batch_ = found.seal_batch + 1;
  replaced_ = found.superseded;
  found.replay.move_life(found.next_life, last.life());
}

namespace {
class OpenJournal : public Journal {
 public:
  explicit OpenJournal(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~OpenJournal() override { core_->close(); }
  std::map<PartitionId, RecoveredGroup> take_recovered() override {
    return core_->take_recovered();
  }
  Result<> append(PartitionId group, const raft::Persist& persist, Callback<void()> done) override {
    return core_->append(group, persist, std::move(done));
  }
  void release(PartitionId group, Index index) override { core_->release(group, index); }
  Result<> adopt(Suspend suspend, std::map<PartitionId, RecoveredGroup> groups) override {
    return core_->adopt(suspend, std::move(groups));
  }
  ScrubReport scrub(Suspend suspend, size_t bytes_per_second) override {
    auto core = core_;  // the journal may go meanwhile
    return core->scrub(suspend, bytes_per_second);
  }
  bool has_room() override { return core_->has_room(); }
  void set_memory(Memory memory) override { core_->set_memory(std::move(memory)); }
  const Statistics& statistics() const override { return core_->statistics(); }

 private:
  std::shared_ptr<Core> core_;
};
}  // namespace

Result<std::unique_ptr<Journal>> Journal::open(Suspend suspend, Host& host, Fibers& fibers,
                                               Options options, Callback<void(Error)> on_fatal) {
  auto core = std::make_shared<Core>(host, std::move(options), std::move(on_fatal));
  RETURN_IF_ERROR(core->start(suspend, fibers));
  return std::make_unique<OpenJournal>(std::move(core));
}

Result<std::map<PartitionId, RecoveredGroup>> Journal::read(Suspend suspend, Host& host,
                                                            const Options& options) {
  const SegmentPlace place{host.disk, options.dir, options.direct};
  ASSIGN_OR_RETURN(Recovery found, recover(suspend, place, options));
  return found.replay.groups();
}

}  // namespace kahuna::journal
