#include "kahuna/raft/progress.h"

#include <algorithm>
#include <utility>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {

size_t Progress::room(const Log& log) {
  if (probing_) return probe_sent_ ? 0 : flight_limit_.bytes();
  if (next_ > log.last().index) return 0;
  const uint64_t in_flight = log.bytes_between(std::max(match_, flight_start_), next_.prev());
  if (in_flight < flight_limit_.bytes()) return flight_limit_.bytes() - in_flight;
  full_ = true;
  return 0;
}

void Progress::sent(Index end) {
  CHECK_GE(end.next(), next_);
  if (probing_) {
    CHECK(!probe_sent_);
    probe_sent_ = true;
    probe_anchor_ = next_.prev();
  }
  next_ = end.next();
}

void Progress::heartbeat_sent(uint64_t round, Time now) {
  if (check_round_ == 0) {
    check_round_ = round;
    check_next_ = next_;
  }
  if (check_round_ == round)
    flight_limit_.asked(now, std::exchange(full_, false));
  else
    flight_limit_.waits(now);
}

void Progress::accepted(Index match) {
  if (match < match_) return;  // an older answer, overtaken
  match_ = match;
  next_ = std::max(next_, match.next());
  probing_ = probe_sent_ = false;
}

bool Progress::rejected(Index anchor, Index candidate, Index base) {
  if (anchor >= next_ || MUTANT(refusals_ignored)) return false;
  if (probing_ && !(probe_sent_ && anchor == probe_anchor_)) return false;
  if (anchor <= match_) {
    // Refused where it had matched: the follower lost what it called durable. Forget its promise
    // (commit never goes back) and start over from what it still has.
    if (!probing_ || MUTANT(lost_tail_not_sent_again)) return false;
    SOMETIMES(raft_follower_regressed);
    match_ = std::min(match_, candidate);
  }
  if (anchor <= base) {
    // It needs what is no longer here. Ask again at its next sign of life: it may catch up from
    // another leader meanwhile.
    SOMETIMES(raft_follower_below_base);
    probe_from(base);
    probe_sent_ = true;
    probe_anchor_ = base;
    return false;
  }
  probe_from(std::max(candidate, match_));
  return true;
}

void Progress::heartbeat_answered(uint64_t round, Index received, Time now) {
  confirmed_round_ = std::max(confirmed_round_, round);
  if (check_round_ == 0 || round < check_round_) return;
  if (round == check_round_) flight_limit_.answered(now);
  check_round_ = 0;
  if (received.next() >= check_next_ || MUTANT(refusals_ignored)) {
    next_ = std::max(next_, received.next());
    probing_ = probe_sent_ = false;
    return;
  }
  SOMETIMES(raft_resends_lost_appends);
  probe_from(std::max(received, match_));
  // What the follower says it received needs no probe; what it acknowledged once and does not
  // mention now does.
  // Nothing of what was sent arrived twice running: it may take nothing, and is asked with one
  // append at a time.
  probing_ = received < match_ || received == lost_after_;
  lost_after_ = received;
}

void Progress::disconnected(uint64_t last_round) {
  probing_ = probe_sent_ = true;
  full_ = false;
  probe_anchor_ = Index();
  check_round_ = last_round + 1;
  check_next_ = next_;
}

void Progress::probe_from(Index match) {
  next_ = match.next();
  flight_start_ = match;
  probing_ = true;
  probe_sent_ = false;
  full_ = false;
  check_round_ = 0;
  CHECK_GE(match, match_);
}

}  // namespace kahuna::raft
