#include "kahuna/journal/recovery.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "kahuna/journal/image.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::journal {
namespace {

// What the first pass learns of one segment.
struct Survey {
  SegmentPtr segment;
  uint64_t batch_min = 0, batch_max = 0;
  bool only_seals = false;
  std::optional<BatchLinks> links;
};

// The newest good batch so far. It is applied when a later one shows that it was synced; the last
// of all moves into the seal.
struct Held {
  SegmentPtr segment;
  uint64_t number = 0;
  uint64_t body_bytes = 0, header_bytes = 0;
  bool whole = false;  // header and body
  std::vector<std::byte> records;
};

using ImagePtr = std::shared_ptr<const SegmentImage>;

class Recoverer {
 public:
  Recoverer(Suspend suspend, const SegmentPlace& place, const Options& options)
      : suspend_(suspend), place_(place), options_(options) {}

  Result<Recovery> run() {
    RETURN_IF_ERROR(open_files());
    RETURN_IF_ERROR(survey());
    RETURN_IF_ERROR(drop_torn_seals());
    RETURN_IF_ERROR(choose_start());
    RETURN_IF_ERROR(walk());
    plan_seal();
    RETURN_IF_ERROR(out_.replay.check());
    return std::move(out_);
  }

 private:
  Result<> open_files();
  Result<> survey();
  bool is_misdirected(uint32_t life, uint64_t batch) const;
  // So one after that batch was begun.
  bool is_misdirected_after(uint32_t life, uint64_t batch) const {
    return is_misdirected(life, batch + 1) && !MUTANT(misdirected_batch_never_begun);
  }
  Result<> drop_torn_seals();
  Result<> choose_start();
  Result<> walk();
  Result<> walk_segment(const Survey& survey, uint64_t cut);
  Result<> judge_last(const SegmentImage& image, const Segment& segment, const Judgement& last);
  std::unexpected<Error> lost_without_trace(const Segment& segment, uint64_t offset,
                                            uint64_t batch) const;
  void apply_held();
  void plan_seal();
  Result<ImagePtr> image_of(const SegmentPtr& segment);
  std::string place_text(const Segment& segment, uint64_t offset) const {
    return "segment " + segment_name(segment.header.id.file) + " offset " + std::to_string(offset);
  }

  Suspend suspend_;
  const SegmentPlace& place_;
  const Options& options_;
  std::map<uint32_t, ImagePtr> images_;  // by life: read already, and small enough to keep
  uint64_t images_held_ = 0;
  std::vector<SegmentPtr> segments_;                 // ascending life
  std::vector<Survey> chain_;                        // those with batches in them, ascending life
  std::set<std::pair<uint32_t, uint64_t>> foreign_;  // misdirected: (life, batch)
  uint64_t next_ = 1;                                // the batch that comes next
  std::optional<Held> held_;
  std::optional<HeaderItems> faulty_;  // of the last batch, when its body is lost
  // The newest batch that some seal held which was passed over although it had been synced; 0:
  // none.
  uint64_t lost_seal_ = 0;
  HeaderItems lost_seal_items_;
  Recovery out_;
};

Result<> Recoverer::open_files() {
  auto names = kahuna::list(suspend_, *place_.disk, place_.dir);
  if (!names && names.error().code == ErrorCode::kNotFound) return {};
  if (!names) return fail(std::move(names.error()));
  for (const std::string& name : *names) {
    if (name.ends_with(".new")) out_.leftovers.push_back(name);
    auto file = parse_segment_name(name);
    if (!file) continue;
    auto opened = open_segment(suspend_, place_, name);
    if (!opened) return fail(std::move(opened.error()));
    const SegmentHeader& header = (*opened)->header;
    if (header.id.file != *file)
      return fail(ErrorCode::kDamaged, "journal file " + name + " says it is segment " +
                                           segment_name(header.id.file) + "; it was renamed");
    if (out_.journal == 0) out_.journal = header.id.journal;
    if (header.id.journal != out_.journal)
      return fail(ErrorCode::kDamaged,
                  "journal file " + name + " belongs to another journal than its neighbours");
    out_.next_life = std::max(out_.next_life, header.id.life + 1);
    out_.next_file = std::max(out_.next_file, *file + 1);
    segments_.push_back(std::move(*opened));
  }
  std::sort(segments_.begin(), segments_.end(), [](const SegmentPtr& a, const SegmentPtr& b) {
    return std::pair(a->life(), a->header.id.file) < std::pair(b->life(), b->header.id.file);
  });
  for (size_t i = 1; i < segments_.size(); ++i)
    if (segments_[i]->life() == segments_[i - 1]->life())
      return fail(ErrorCode::kDamaged,
                  "journal segments " + segment_name(segments_[i - 1]->header.id.file) + " and " +
                      segment_name(segments_[i]->header.id.file) + " claim the same life");
  return {};
}

Result<ImagePtr> Recoverer::image_of(const SegmentPtr& segment) {
  if (auto kept = images_.find(segment->life()); kept != images_.end()) return kept->second;
  ASSIGN_OR_RETURN(SegmentBytes bytes, read_image(suspend_, segment, segment->header.bytes));
  auto image = std::make_shared<const SegmentImage>(segment->header, std::move(bytes));
  if (images_held_ + image->held() <= options_.recovery_bytes_max) {
    images_held_ += image->held();
    images_.emplace(segment->life(), image);
  } else {
    SOMETIMES(journal_recovery_reads_twice);
  }
  return image;
}

Result<> Recoverer::survey() {
  SegmentPtr traceless;
  for (const SegmentPtr& segment : segments_) {
    ASSIGN_OR_RETURN(ImagePtr image, image_of(segment));
    foreign_.insert(image->foreign().begin(), image->foreign().end());
    if (image->batch_min() == 0) {
      if (image->lost_first()) traceless = segment;
      out_.free.push_back(segment);
      continue;
    }
    traceless.reset();  // whatever it held, a later batch is here
    chain_.push_back(
        {segment, image->batch_min(), image->batch_max(), image->only_seals(), image->links()});
  }
  // Nor is one that shows nothing but a piece of its first batch at a wrong place.
  const uint32_t newest = chain_.empty() ? 0 : chain_.back().segment->life();
  for (const SegmentPtr& segment : out_.free)
    if (segment->life() > newest && !segment->header.for_seal && is_misdirected(segment->life(), 0))
      traceless = segment;
  if (!traceless) return {};
  SOMETIMES(journal_first_batch_without_trace);
  return fail(ErrorCode::kDamaged,
              "journal: " + place_text(*traceless, kBodyZone) +
                  " has lost a batch, body and header, which was perhaps acknowledged; nothing was "
                  "changed; remove this replica's data and let it rejoin");
}

// Whether a sector of that batch, or of a later one of that life, was found where it does not
// belong.
bool Recoverer::is_misdirected(uint32_t life, uint64_t batch) const {
  const auto found = foreign_.lower_bound({life, batch});
  return found != foreign_.end() && found->first == life;
}

// What a seal replaces is kept until a batch follows it, so a seal that is last and not whole can
// be passed over. It is last when a sector of it, or of what would follow it, was never written:
// damage may have taken all traces of what did. One that was synced still says what was in it,
// should what it replaced be lost too.
Result<> Recoverer::drop_torn_seals() {
  while (!chain_.empty()) {
    const Survey& last = chain_.back();
    if (!last.only_seals || last.batch_min != last.batch_max) return {};
    ASSIGN_OR_RETURN(ImagePtr image, image_of(last.segment));
    const uint64_t end = last.segment->header.bytes;
    Judgement seal = image->judge(last.batch_min, kBodyZone, end);
    if (seal.body_good) return {};
    const bool nothing_behind =
        !is_misdirected_after(last.segment->life(), last.batch_min) &&
        (seal.unwritten ||
         (seal.body_bytes > 0 &&
          image->judge(last.batch_min + 1, kBodyZone + seal.body_bytes, end - seal.header_bytes)
              .unwritten));
    if (!nothing_behind && !MUTANT(lost_seal_passed_over)) {
      SOMETIMES(journal_seal_without_end);
      return lost_without_trace(*last.segment, kBodyZone, last.batch_min);
    }
    // With nothing to fall back on it begins the log, and has lost the entries that were in it.
    if (chain_.size() == 1 && seal.header_good && !seal.unwritten) return {};
    SOMETIMES(journal_torn_seal);
    if (seal.header_good && !seal.unwritten && lost_seal_ < last.batch_min) {
      lost_seal_ = last.batch_min;
      lost_seal_items_ = std::move(seal.items);
    }
    out_.free.push_back(last.segment);
    chain_.pop_back();
  }
  return {};
}

Result<> Recoverer::choose_start() {
  if (chain_.empty() && lost_seal_ == 0) return {};
  if (chain_.empty())
    return fail(ErrorCode::kDamaged, "journal: batch " + std::to_string(lost_seal_) +
                                         " and all before it are lost; nothing was changed; remove "
                                         "this replica's data and let it rejoin");
  std::optional<BatchLinks> links;
  // The start only moves forward, so the farthest is the newest.
  for (const Survey& survey : chain_)
    if (survey.links && (!links || survey.links->oldest_batch >= links->oldest_batch))
      links = survey.links;
  // When no batch tells, only the very first can have been attempted.
  if (!links && (chain_.size() != 1 || chain_[0].batch_max != 1))
    return fail(ErrorCode::kDamaged, "journal: no batch of segment " +
                                         segment_name(chain_[0].segment->header.id.file) +
                                         " is whole; nothing was changed");
  if (!links) links = BatchLinks{0, 1, chain_[0].segment->life()};
  next_ = links->oldest_batch;
  size_t skip = 0;
  while (skip < chain_.size() && chain_[skip].segment->life() < links->oldest_life)
    out_.free.push_back(chain_[skip++].segment);
  chain_.erase(chain_.begin(), chain_.begin() + static_cast<ptrdiff_t>(skip));
  if (chain_.empty() || chain_[0].segment->life() != links->oldest_life || next_ == 0 ||
      next_ > kBatchMax)
    return fail(ErrorCode::kDamaged, "journal: the segment of life " +
                                         std::to_string(links->oldest_life) +
                                         ", where its log begins, is missing");
  return {};
}

Result<> Recoverer::walk() {
  for (size_t at = 0; at < chain_.size(); ++at) {
    // A later segment takes over where its first batch says, whatever is left here beyond that.
    uint64_t cut = UINT64_MAX;
    for (size_t later = at + 1; later < chain_.size(); ++later)
      cut = std::min(cut, chain_[later].batch_min);
    if (cut < next_)
      return fail(ErrorCode::kDamaged, "journal: batch numbers overlap at segment " +
                                           segment_name(chain_[at].segment->header.id.file));
    RETURN_IF_ERROR(walk_segment(chain_[at], cut));
  }
  if (lost_seal_ == next_ && !MUTANT(lost_seal_passed_over)) {
    SOMETIMES(journal_seal_lost_with_what_it_replaced);
    faulty_ = std::move(lost_seal_items_);
  }
  return {};
}

void Recoverer::apply_held() {
  if (!held_) return;
  out_.replay.apply_body(held_->records, held_->segment->life());
  held_.reset();
}

// Goes through the batches of one segment, up to `cut`, where a later one takes over.
Result<> Recoverer::walk_segment(const Survey& survey, uint64_t cut) {
  Segment& segment = *survey.segment;
  ASSIGN_OR_RETURN(ImagePtr image, image_of(survey.segment));
  segment.reset_positions();
  while (next_ != cut) {
    Judgement batch = image->judge(next_, segment.body_next, segment.header_low);
    const bool later = cut != UINT64_MAX || survey.batch_max > next_ || lost_seal_ > next_ ||
                       is_misdirected_after(segment.life(), next_);
    std::string where = place_text(segment, segment.body_next) + " batch " + std::to_string(next_);
    if (batch.body_good) {
      if (!batch.header_good) SOMETIMES(journal_header_lost);
      apply_held();
      held_ =
          Held{survey.segment,       next_, batch.body_bytes, batch.header_bytes, batch.header_good,
               std::move(batch.body)};
    } else if (later && batch.header_good) {
      SOMETIMES(journal_body_lost_inside);
      apply_held();
      out_.replay.apply_damaged(batch.items, segment.life(), where);
    } else if (later) {
      return fail(ErrorCode::kDamaged,
                  "journal damaged below what was synced: " + where +
                      " has lost both body and header; nothing was changed; remove this replica's "
                      "data and let it rejoin");
    } else {
      return judge_last(*image, segment, batch);
    }
    if (segment.first_batch == 0) segment.first_batch = next_;
    segment.body_next += batch.body_bytes;
    segment.header_low -= batch.header_bytes;
    ++next_;
  }
  return {};
}

// Nothing later than `last` exists and its body is not whole: is it the end, a tear, or a loss?
Result<> Recoverer::judge_last(const SegmentImage& image, const Segment& segment,
                               const Judgement& last) {
  if (segment.room() < 2 * kSectorBytes) return {};
  const bool misdirected = is_misdirected(segment.life(), next_);
  if (last.header_good) {
    bool torn = last.unwritten && !misdirected && !options_.distrust_tears;
    if (torn || MUTANT(faulty_tail_truncated)) {
      SOMETIMES(journal_torn_body);
      return {};
    }
    // It is the last only if nothing was ever written behind it.
    const uint64_t body_at = segment.body_next + last.body_bytes;
    const uint64_t header_end = segment.header_low - last.header_bytes;
    if (!torn && header_end >= body_at + 2 * kSectorBytes &&
        !image.judge(next_ + 1, body_at, header_end).unwritten) {
      SOMETIMES(journal_nothing_left_behind_a_faulty_body);
      return lost_without_trace(segment, body_at, next_ + 1);
    }
    SOMETIMES(journal_faulty_body);
    faulty_ = last.items;
    return {};
  }
  if (last.unwritten && (!misdirected || MUTANT(misdirected_header_passed_over))) {
    if (last.seen) SOMETIMES(journal_torn_batch);
    return {};
  }
  return lost_without_trace(segment, segment.body_next, next_);
}

std::unexpected<Error> Recoverer::lost_without_trace(const Segment& segment, uint64_t offset,
                                                     uint64_t batch) const {
  return fail(ErrorCode::kDamaged,
              "journal: " + place_text(segment, offset) + " batch " + std::to_string(batch) +
                  " has lost both body and header, and was perhaps acknowledged; nothing was "
                  "changed; remove this replica's data and let it rejoin");
}

// Decides what the seal says, and applies it.
void Recoverer::plan_seal() {
  if (!chain_.empty()) {
    out_.needs_seal = true;
    out_.last = chain_.back().segment;
    const bool attempted = chain_.back().batch_max >= next_ || faulty_;
    if (attempted || !held_) {
      // A batch was begun after the newest good one, which was therefore synced.
      apply_held();
      out_.seal_batch = next_;
      if (faulty_) out_.seal_records = out_.replay.faulty_records(*faulty_);
    } else {
      Segment& segment = *held_->segment;
      out_.may_go_on = held_->whole && held_->segment == out_.last;
      out_.body_next = segment.body_next;
      out_.header_low = segment.header_low;
      segment.body_next -= held_->body_bytes;
      segment.header_low += held_->header_bytes;
      if (segment.first_batch == held_->number) segment.first_batch = 0;
      out_.seal_batch = held_->number;
      if (!MUTANT(replay_skips_last)) out_.seal_records = std::move(held_->records);
      held_.reset();
    }
    out_.replay.apply_body(out_.seal_records, out_.next_life);
  }
  for (const Survey& survey : chain_) {
    if (survey.segment->first_batch != 0)
      out_.used.push_back(survey.segment);
    else if (survey.segment != out_.last)
      out_.superseded.push_back(survey.segment);
  }
  if (!out_.used.empty()) {
    out_.oldest_life = out_.used[0]->life();
    out_.oldest_batch = out_.used[0]->first_batch;
  }
}

}  // namespace

Result<Recovery> recover(Suspend suspend, const SegmentPlace& place, const Options& options) {
  ASSIGN_OR_RETURN(Recovery found, Recoverer(suspend, place, options).run());
  if (found.journal == 0 && options.must_exist && !MUTANT(lost_journal_begins_anew)) {
    SOMETIMES(journal_is_gone);
    return fail(ErrorCode::kDamaged,
                "the log in directory '" + place.dir +
                    "' is gone, with what this node has promised the others, its votes "
                    "included: put it back as it was, or remove this node from the cluster and "
                    "start a new one on an empty "
                    "directory");
  }
  return found;
}

}  // namespace kahuna::journal
