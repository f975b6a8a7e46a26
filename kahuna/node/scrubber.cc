#include "kahuna/node/scrubber.h"

#include <algorithm>
#include <utility>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {

void Scrubber::open(Fibers& fibers, Duration interval) {
  fibers_ = &fibers;
  interval_ = interval;
  arm(interval_);
}

void Scrubber::arm(Duration wait) {
  host_.clock->cancel(std::exchange(timer_, 0));
  if (interval_ <= Duration()) return;
  timer_ = host_.clock->call_at(host_.clock->now() + wait, [this] {
    timer_ = 0;
    begin();
  });
}

void Scrubber::begin() {
  CHECK(fibers_ != nullptr);
  if (std::exchange(running_, true)) return;
  host_.clock->cancel(std::exchange(timer_, 0));
  ++number_;
  bytes_ = repaired_ = 0;
  damaged_.clear();
  left_over_ = false;
  fibers_->spawn("scrub", [this](Suspend suspend) { run(suspend); });
}

void Scrubber::run(Suspend suspend) {
  scrub_journals(suspend);
  scrub_engine(suspend);
  running_ = false;
  SOMETIMES(node_scrubbed);
  arm(left_over_ ? std::min(interval_, kSoon) : interval_);
}

void Scrubber::scrub_journals(Suspend suspend) {
  for (size_t loop = 0; loop < hooks_.loops(); ++loop) {
    journal::ScrubReport report = hooks_.scrub_journal(suspend, loop);
    bytes_ += report.bytes;
    repaired_ += report.repaired;
    left_over_ |= report.repaired < report.damaged.size();
    for (std::string& text : report.damaged) {
      hooks_.on_damage("the log: " + text);
      damaged_.push_back(std::move(text));
    }
    if (report.damaged.empty()) continue;
    SOMETIMES(node_scrub_finds_damage_in_a_journal);
    hooks_.on_damage(
        "the log: what " + std::to_string(report.repaired) + " of " +
        std::to_string(report.damaged.size()) + " damaged segments held is written anew" +
        (report.repaired < report.damaged.size() ? "; the others are tried again" : ""));
  }
}

void Scrubber::scrub_engine(Suspend suspend) {
  auto read = hooks_.scrub_engine(suspend);
  if (read) {
    bytes_ += *read;
    return;
  }
  damaged_.push_back(read.error().text);
  if (read.error().code != ErrorCode::kDamaged)
    return hooks_.on_damage("the store cannot be verified: " + read.error().text);
  SOMETIMES(node_scrub_finds_damage_in_the_engine);
  hooks_.on_damage("the store: " + read.error().text);
  suspend.sleep_until(host_.clock->now() + kTellFirst);
  hooks_.on_engine_rotten(read.error());
}

std::string Scrubber::to_json(const std::string& node) const {
  std::string damaged;
  for (std::string text : damaged_) {
    for (char& c : text)
      if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) c = '\'';
    damaged += (damaged.empty() ? "\"" : ",\"") + text + "\"";
  }
  return "{\"name\":\"" + node + "\",\"scrub\":" + std::to_string(number_) +
         ",\"running\":" + (running_ ? "true" : "false") + ",\"bytes\":" + std::to_string(bytes_) +
         ",\"damaged\":[" + damaged + "],\"repaired\":" + std::to_string(repaired_) + "}";
}

}  // namespace kahuna::node
