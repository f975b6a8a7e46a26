// What a leader knows about one follower in its term, and what it may send it next.
//
//   P1 match never exceeds what the follower itself called durable and matching in this term;
//   P2 next > match;
//   P3 while probing at most one append is out: the one anchored at probe_anchor.
//
// Pipelining is the normal state, from the first message of a term on: appends follow each other
// without waiting. A refused anchor, a broken connection or a follower that forgot (restart) leads
// to probing, until any answer shows what the follower has. Lost messages are found through
// heartbeats: each notes what had been sent before it, and its answer says what had arrived.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kahuna/raft/flight_limit.h"
#include "kahuna/raft/log.h"
#include "runtime/time.h"

namespace kahuna::raft {

class Progress {
 public:
  Progress() = default;
  // At the start of a term: nothing known, entries from `next` on are still to be sent.
  Progress(Index next, Time now, FlightLimit flight_limit)
      : next_(next), flight_start_(next.prev()), flight_limit_(flight_limit), heard_(now) {}

  Index match() const { return match_; }
  Index next() const { return next_; }
  bool probing() const { return probing_; }
  Time heard() const { return heard_; }
  uint64_t confirmed_round() const { return confirmed_round_; }
  // By its last word in this term.
  bool has_state() const { return has_state_; }

  // How many bytes of entries may be sent in an append now (one entry may be larger); 0: none may
  // be sent.
  size_t room(const Log& log);
  // An append anchored at next - 1 and ending at `end` was sent.
  void sent(Index end);
  // A heartbeat of this round was sent; an answer is expected.
  void heartbeat_sent(uint64_t round, Time now);

  // Until then the follower lets nobody else lead, as this leader's clock counts it.
  Time promised_until() const { return promised_until_; }
  void promised(Time until) { promised_until_ = std::max(promised_until_, until); }

  // Any answer of this term arrived.
  void heard_at(Time now) { heard_ = now; }
  void state_told(bool has_state) { has_state_ = has_state; }
  // The follower called `match` durable.
  void accepted(Index match);
  // The follower refused the anchor; `candidate` is the highest index that may still match. The log
  // starts after `base`. Returns false when the refusal is old news, or when nothing can be done.
  bool rejected(Index anchor, Index candidate, Index base);
  // The log starts after `base` and next() does not: try there.
  void skip_to(Index base) { probe_from(base); }
  // The follower answered a heartbeat of this round; its log matches up to `received` in memory.
  void heartbeat_answered(uint64_t round, Index received, Time now);
  // The transport lost its connection: what is in flight is probably lost.
  void disconnected(uint64_t last_round);

 private:
  void probe_from(Index match);

  Index match_;
  Index next_{1};
  Index flight_start_;  // bytes in flight are counted from max(match, this)
  FlightLimit flight_limit_;
  bool full_ = false;  // as much as may be was in flight, since a heartbeat was last timed
  bool has_state_ = false;
  bool probing_ = false;
  bool probe_sent_ = false;
  Index probe_anchor_;
  Time heard_;
  Time promised_until_;
  uint64_t confirmed_round_ = 0;
  // The heartbeat whose answer will tell whether everything below check_next_ arrived; 0 = none.
  uint64_t check_round_ = 0;
  Index check_next_;
  Index lost_after_;  // what had arrived when appends were found lost the last time
};

}  // namespace kahuna::raft
