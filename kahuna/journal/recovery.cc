#include "kahuna/journal/recovery.h"

#include <algorithm>
#include <map>
#include <memory>
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
};

std::string groups_text(const HeaderItems& items) {
  std::set<uint64_t> groups;
  for (const RangeItem& range : items.ranges) groups.insert(range.group);
  for (const StateItem& state : items.states) groups.insert(state.group);
  std::string text;
  for (uint64_t group : groups) {
    if (text.size() > 100) return text + " …";
    text += (text.empty() ? "" : ",") + std::to_string(group);
  }
  return text.empty() ? "none" : text;
}

class Recoverer {
 public:
  Recoverer(Suspend suspend, const SegmentPlace& place, bool distrust_tears)
      : suspend_(suspend), place_(place), distrust_tears_(distrust_tears) {}

  Result<Recovery> run() {
    RETURN_IF_ERROR(open_files());
    RETURN_IF_ERROR(survey());
    RETURN_IF_ERROR(drop_torn_seals());
    RETURN_IF_ERROR(choose_start());
    RETURN_IF_ERROR(walk());
    out_.seal_records = out_.replay.faulty_records(faulty_);
    out_.replay.apply_body(out_.seal_records, out_.next_life);
    RETURN_IF_ERROR(out_.replay.check());
    return std::move(out_);
  }

 private:
  Result<> open_files();
  Result<> survey();
  Result<> drop_torn_seals();
  Result<> choose_start();
  Result<> walk();
  Result<bool> walk_segment(size_t at, uint64_t cut);
  Result<> judge_last(const Survey& survey, const Judgement& last, const SegmentImage& image);
  Result<SegmentImage> image_of(const SegmentPtr& segment);
  std::string place_text(const Segment& segment, uint64_t offset) const {
    return "segment " + segment_name(segment.header.id.file) + " offset " + std::to_string(offset);
  }

  Suspend suspend_;
  const SegmentPlace& place_;
  bool distrust_tears_;
  std::shared_ptr<PageBuffer> buffer_ = std::make_shared<PageBuffer>();
  std::vector<SegmentPtr> segments_;  // ascending life
  std::vector<Survey> chain_;         // those with batches in them, ascending life
  std::optional<BatchLinks> links_;   // those that begin the log latest
  std::set<std::pair<uint32_t, uint64_t>> foreign_;       // misdirected: (life, batch)
  bool last_whole_ = false;  // the last batch applied had both body and header
  HeaderItems faulty_;       // of the last batch, when its body is lost
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
      return fail(ErrorCode::kDamaged, "journal file " + name +
                                           " belongs to another journal than its neighbours");
    out_.next_life = std::max(out_.next_life, header.id.life + 1);
    out_.next_file = std::max(out_.next_file, *file + 1);
    segments_.push_back(std::move(*opened));
  }
  std::sort(segments_.begin(), segments_.end(), [](const SegmentPtr& a, const SegmentPtr& b) {
    return std::pair(a->life(), a->header.id.file) < std::pair(b->life(), b->header.id.file);
  });
  for (size_t i = 1; i < segments_.size(); ++i)
    if (segments_[i]->life() == segments_[i - 1]->life())
      return fail(ErrorCode::kDamaged, "journal segments " +
                                           segment_name(segments_[i - 1]->header.id.file) +
                                           " and " + segment_name(segments_[i]->header.id.file) +
                                           " claim the same life");
  return {};
}

Result<SegmentImage> Recoverer::image_of(const SegmentPtr& segment) {
  RETURN_IF_ERROR(read_image(suspend_, segment, buffer_, segment->header.bytes));
  return SegmentImage(segment->header, buffer_->view(segment->header.bytes));
}

Result<> Recoverer::survey() {
  for (const SegmentPtr& segment : segments_) {
    ASSIGN_OR_RETURN(SegmentImage image, image_of(segment));
    foreign_.insert(image.foreign().begin(), image.foreign().end());
    if (image.batch_min() == 0) {
      out_.free.push_back(segment);
      continue;
    }
    chain_.push_back({segment, image.batch_min(), image.batch_max(), image.only_seals()});
    // The start only moves forward, so the farthest is the newest.
    if (image.links() && (!links_ || image.links()->oldest_batch >= links_->oldest_batch))
      links_ = image.links();
  }
  return {};
}

Result<> Recoverer::drop_torn_seals() {
  while (!chain_.empty()) {
    const Survey& last = chain_.back();
    if (!last.only_seals || last.batch_min != last.batch_max) return {};
    ASSIGN_OR_RETURN(SegmentImage image, image_of(last.segment));
    if (image.judge(last.batch_min, kBodyZone, last.segment->header.bytes).body_good) return {};
    SOMETIMES(journal_torn_seal);
    out_.free.push_back(last.segment);
    chain_.pop_back();
  }
  return {};
}

Result<> Recoverer::choose_start() {
  if (chain_.empty()) return {};
  if (!links_) {
    // No batch tells its links: then only the very first can have been attempted.
    for (const Survey& survey : chain_)
      if (survey.batch_max != 1 || chain_.size() != 1)
        return fail(ErrorCode::kDamaged, "journal: no batch of segment " +
                                             segment_name(survey.segment->header.id.file) +
                                             " is whole; nothing was changed");
    out_.oldest_batch = 1;
    out_.oldest_life = chain_[0].segment->life();
  } else {
    out_.oldest_batch = links_->oldest_batch;
    out_.oldest_life = links_->oldest_life;
  }
  size_t skip = 0;
  while (skip < chain_.size() && chain_[skip].segment->life() < out_.oldest_life)
    out_.free.push_back(chain_[skip++].segment);
  chain_.erase(chain_.begin(), chain_.begin() + static_cast<ptrdiff_t>(skip));
  if (chain_.empty() || chain_[0].segment->life() != out_.oldest_life)
    return fail(ErrorCode::kDamaged, "journal: the segment of life " +
                                         std::to_string(out_.oldest_life) +
                                         ", where its log begins, is missing");
  return {};
}

Result<> Recoverer::walk() {
  out_.next_batch = out_.oldest_batch;
  for (size_t at = 0; at < chain_.size(); ++at) {
    uint64_t cut = UINT64_MAX;
    for (size_t later = at + 1; later < chain_.size(); ++later)
      cut = std::min(cut, chain_[later].batch_min);
    if (cut < out_.next_batch)
      return fail(ErrorCode::kDamaged, "journal: batch numbers overlap at segment " +
                                           segment_name(chain_[at].segment->header.id.file));
    ASSIGN_OR_RETURN(bool used, walk_segment(at, cut));
    (used ? out_.used : out_.retired).push_back(chain_[at].segment);
  }
  if (out_.used.empty()) {
    out_.oldest_life = 0;
  } else {
    out_.oldest_life = out_.used[0]->life();
    CHECK_EQ(out_.oldest_batch, out_.used[0]->first_batch);
  }
  std::sort(out_.free.begin(), out_.free.end(),
            [](const SegmentPtr& a, const SegmentPtr& b) { return a->life() < b->life(); });
  return {};
}

// Applies the batches of one segment, up to `cut`, where a later one takes over. True: it holds some.
Result<bool> Recoverer::walk_segment(size_t at, uint64_t cut) {
  const Survey& survey = chain_[at];
  Segment& segment = *survey.segment;
  ASSIGN_OR_RETURN(SegmentImage image, image_of(survey.segment));
  segment.reset_positions();
  while (out_.next_batch != cut) {
    const uint64_t number = out_.next_batch;
    Judgement batch = image.judge(number, segment.body_next, segment.header_low);
    const bool later = cut != UINT64_MAX || survey.batch_max > number;
    std::string where = place_text(segment, segment.body_next) + " batch " + std::to_string(number);
    if (batch.body_good) {
      if (MUTANT(replay_skips_last) && !later) break;
      if (!batch.header_good) SOMETIMES(journal_header_lost);
      out_.replay.apply_body(batch.body, segment.life());
    } else if (later && batch.header_good) {
      SOMETIMES(journal_body_lost_inside);
      out_.replay.apply_damaged(batch.items, segment.life(), where);
    } else if (later) {
      return fail(ErrorCode::kDamaged,
                  "journal damaged below what was synced: " + where +
                      " has lost both body and header; nothing was changed; remove this replica's "
                      "data and let it rejoin");
    } else {
      RETURN_IF_ERROR(judge_last(survey, batch, image));
      break;
    }
    if (segment.first_batch == 0) segment.first_batch = number;
    segment.body_next += batch.body_bytes;
    segment.header_low -= batch.header_bytes;
    last_whole_ = batch.body_good && batch.header_good;
    ++out_.next_batch;
  }
  if (cut == UINT64_MAX)
    out_.clean = segment.first_batch != 0 && last_whole_ && survey.batch_max < out_.next_batch;
  return segment.first_batch != 0;
}

// Nothing later than `last` exists and its body is not whole: is it the end, a tear, or a loss?
Result<> Recoverer::judge_last(const Survey& survey, const Judgement& last,
                               const SegmentImage& image) {
  const Segment& segment = *survey.segment;
  const uint64_t number = out_.next_batch;
  (void)image;
  if (segment.room() < 2 * kSectorBytes) return {};
  const bool misdirected = foreign_.contains({segment.life(), number});
  if (last.header_good) {
    bool torn = last.unwritten && !misdirected && !distrust_tears_;
    if (torn || MUTANT(faulty_tail_truncated)) {
      SOMETIMES(journal_torn_body);
      return {};
    }
    SOMETIMES(journal_faulty_body);
    faulty_ = last.items;
    return {};
  }
  if (last.unwritten) {
    if (last.seen) SOMETIMES(journal_torn_batch);
    return {};
  }
  return fail(ErrorCode::kDamaged,
              "journal: " + place_text(segment, segment.body_next) + " batch " +
                  std::to_string(number) + " (groups " + groups_text(last.items) +
                  ") has lost both body and header, and was perhaps acknowledged; nothing was "
                  "changed; remove this replica's data and let it rejoin");
}

}  // namespace

Result<Recovery> recover(Suspend suspend, const SegmentPlace& place, bool distrust_tears) {
  return Recoverer(suspend, place, distrust_tears).run();
}

}  // namespace kahuna::journal
