#include "kahuna/node/slow_disk.h"

#include <algorithm>
#include <utility>

#include "runtime/probe.h"

namespace kahuna::node {
namespace {
// After so many times `after` without a wait, what was counted before says nothing.
constexpr int64_t kForgottenAfter = 20;
}  // namespace

void SlowDisk::synced(Time began, std::optional<Time> waited_since, Time now) {
  if (now != at_) {
    count();
    at_ = began_ = waited_since_ = now;
  }
  began_ = std::min(began_, began);
  if (waited_since) waited_since_ = std::min(waited_since_, *waited_since);
}

// The last batch.
void SlowDisk::count() {
  const bool waited =
      at_ - waited_since_ >= options_.wait_min || MUTANT(slow_leader_looks_at_itself);
  if (MUTANT(slow_leader_looks_at_itself)) waited_since_ = began_;
  const Time from = std::max(counted_, waited ? std::min(began_, waited_since_) : began_);
  const Time held_from = waited ? std::max(counted_, waited_since_) : at_;
  if (from < at_) balance_ = balance_ + (at_ - held_from) - (held_from - from);
  if (waited)
    last_waited_ = at_;
  else if (at_ - last_waited_ > options_.after * kForgottenAfter)
    balance_ = Duration();
  balance_ = std::clamp(balance_, Duration(), options_.after * 2);
  counted_ = at_;
}

bool SlowDisk::is_slow(Time waited_since, Time now) {
  if (options_.after == Duration() || MUTANT(slow_leader_stays)) return false;
  count();
  const bool waits = now - waited_since >= options_.wait_min;
  return balance_ + (waits ? now - std::max(counted_, waited_since) : Duration()) >= options_.after;
}

bool SlowDisk::may_give_away(PartitionId id, Time now) const {
  auto found = given_.find(id);
  return found == given_.end() || now - found->second.at >= found->second.pause ||
         MUTANT(slow_leader_ping_pong);
}

void SlowDisk::given_away(PartitionId id, Time now) {
  auto [found, first] = given_.try_emplace(id, Given{now, options_.pause});
  if (first) return;
  Given& given = found->second;
  const bool long_ago = now - given.at > given.pause * 4;
  given = {now, long_ago ? options_.pause : std::min(given.pause * 2, options_.pause * kPausesMax)};
}

}  // namespace kahuna::node
