#include <algorithm>
#include <utility>

#include "kahuna/journal/core.h"
#include "kahuna/journal/recovery.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::journal {
namespace {
std::string parent_of(const std::string& dir) {
  size_t slash = dir.rfind('/');
  return slash == std::string::npos ? std::string() : dir.substr(0, slash);
}
}  // namespace

SegmentHeader Core::new_header(uint32_t file) {
  return {{journal_, file, next_life_++}, options_.segment_bytes, unit(), kCurrentSemanticLevel};
}

Result<> Core::start(Suspend suspend, Fibers& fibers) {
  ASSIGN_OR_RETURN(Recovery found, recover(suspend, place_, options_.distrust_tears));
  RETURN_IF_ERROR(settle_directory(suspend, found));
  journal_ = found.journal != 0 ? found.journal : host_.random("journal").next() | 1;
  next_batch_ = found.next_batch;
  next_life_ = found.next_life;
  next_file_ = found.next_file;
  // What was read may sit in a cache that a killed process left behind: make it durable before
  // anybody acts on it.
  if (!found.used.empty()) RETURN_IF_ERROR(sync_segment(suspend, found.used.back()));
  found.replay.fill(index_);
  recovered_ = found.replay.groups();
  used_.assign(found.used.begin(), found.used.end());
  bool go_on = found.clean && used_.back()->header.unit == unit();
  if (!go_on) RETURN_IF_ERROR(write_seal(suspend, found));
  free_.assign(found.free.begin(), found.free.end());
  free_.insert(free_.end(), found.retired.begin(), found.retired.end());
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

// A segment in a new life: one that is free, or a new one.
Result<SegmentPtr> Core::first_segment(Suspend suspend, Recovery& found) {
  for (size_t i = 0; i < found.free.size(); ++i) {
    SegmentPtr segment = found.free[i];
    if (segment->header.bytes != options_.segment_bytes) continue;
    RETURN_IF_ERROR(begin_life(suspend, segment, new_header(segment->header.id.file)));
    found.free.erase(found.free.begin() + static_cast<ptrdiff_t>(i));
    return segment;
  }
  return create_segment(suspend, place_, new_header(next_file_++));
}

// Opens a segment whose first batch settles how the log ended, so that what is left of a torn batch
// can never be taken for part of it (format.md, "Seals").
Result<> Core::write_seal(Suspend suspend, Recovery& found) {
  const bool first_ever = found.used.empty() && found.retired.empty();
  ASSIGN_OR_RETURN(SegmentPtr segment, first_segment(suspend, found));
  CHECK_EQ(segment->life(), found.next_life);
  used_.push_back(segment);
  if (first_ever) return {};
  SOMETIMES(journal_seals);
  BatchLinks links;
  links.synced = next_batch_ - 1;
  links.oldest_life = found.oldest_life != 0 ? found.oldest_life : segment->life();
  links.oldest_batch = found.oldest_life != 0 ? found.oldest_batch : next_batch_;
  builder_.plan(found.seal_records, segment->header.unit);
  if (!segment->fits(builder_.body_bytes(), builder_.header_bytes()))
    return fail(ErrorCode::kInvalid, "journal: segment_bytes is too small to describe what the "
                                     "last batch held; use the earlier, larger value");
  builder_.encode(found.seal_records, *segment, next_batch_, links, true);
  ++next_batch_;
  RETURN_IF_ERROR(write_part(suspend, segment, builder_.body_offset(), builder_.body(),
                             builder_.body_bytes()));
  RETURN_IF_ERROR(write_part(suspend, segment, builder_.header_offset(), builder_.header(),
                             builder_.header_bytes()));
  RETURN_IF_ERROR(sync_segment(suspend, segment));
  ++statistics_.batches;
  ++statistics_.syncs;
  return {};
}

namespace {
class OpenJournal : public Journal {
 public:
  explicit OpenJournal(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~OpenJournal() override { core_->close(); }
  std::map<PartitionId, RecoveredGroup> take_recovered() override {
    return core_->take_recovered();
  }
  Result<> append(PartitionId group, raft::Persist persist, Callback<void()> done) override {
    return core_->append(group, std::move(persist), std::move(done));
  }
  void release(PartitionId group, Index index) override { core_->release(group, index); }
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

}  // namespace kahuna::journal
