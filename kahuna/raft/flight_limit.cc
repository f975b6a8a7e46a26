#include "kahuna/raft/flight_limit.h"

#include <algorithm>

#include "runtime/probe.h"

namespace kahuna::raft {

FlightLimit::FlightLimit(size_t most, Duration patience)
    : most_(most),
      patience_(patience),
      bytes_(MUTANT(flight_without_limit) ? most : std::min(most, kFirst)) {}

void FlightLimit::asked(Time now, bool full) {
  asked_ = now;
  full_ = full;
  late_from_ = now + shortest_.value_or(Duration()) + patience_;
}

void FlightLimit::waits(Time now) {
  if (now <= late_from_) return;
  late_from_ = now + patience_;
  halve();
}

void FlightLimit::answered(Time now) {
  const Duration wait = now - asked_;
  shortest_ = std::min(shortest_.value_or(wait), wait);
  const Duration queued = wait - *shortest_;
  if (queued > patience_) {
    SOMETIMES(raft_sends_less_at_once);
    if (bytes_ == std::min(most_, kLeast)) shortest_ = wait;
    halve();
  } else if (full_ && queued * 2 < patience_) {
    bytes_ = std::min(bytes_ * 2, most_);
  }
}

void FlightLimit::halve() {
  if (MUTANT(flight_without_limit)) return;
  bytes_ = std::max(bytes_ / 2, std::min(most_, kLeast));
}

}  // namespace kahuna::raft
