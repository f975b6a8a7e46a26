// A leader's lease (thesis §6.4.1; traps 17-20): while it holds nobody else can have become leader,
// and a read needs no round. Options::reads chooses; quorum rounds stay for when there is none.
//
// By the answer to a heartbeat a follower promises to let nobody else lead for a time after it
// received that heartbeat. The leader counts the time from when it sent it, less what the two
// clocks may drift apart meanwhile: with rates within 1 ± r, a span of p(1 - 2r) on one ends before
// one of p on another.
//
//   E1 promises are given and counted per group, term and round. No other sign of life counts;
//   E2 a lease is what a quorum has promised, the leader itself included: it serves while it leads
//   only; E3 a promise binds real votes and pre-votes alike, and its giver's own candidacy. It is
//   given only
//      once the term is durable, so that one who restarts and has never been in any term knows that
//      it has promised nothing. Anybody else behaves after a restart as if it had promised just
//      then, for as long as it ever did;
//   E4 only who was promised may release from it: by becoming a candidate, or by telling another to
//      (transfer.h), after which it has no lease, in this term, any more;
//   E5 a read under a lease waits for what was committed when it arrived, like any other.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "runtime/time.h"

namespace kahuna::raft {

// When the latest rounds of heartbeats of one leader's term were sent.
class RoundTimes {
 public:
  static constexpr size_t kKept = 64;

  void clear() { times_.reset(); }
  void sent(uint64_t round, Time now) {
    if (!times_) times_ = std::make_unique<Times>();
    (*times_)[round % kKept] = {round, now};
  }
  // nullopt when that round was never sent, or too many have been since.
  std::optional<Time> of(uint64_t round) const {
    if (!times_ || round == 0) return std::nullopt;
    const Sent& sent = (*times_)[round % kKept];
    return sent.round == round ? std::optional(sent.at) : std::nullopt;
  }

 private:
  struct Sent {
    uint64_t round = 0;
    Time at;
  };
  using Times = std::array<Sent, kKept>;
  std::unique_ptr<Times> times_;
};

// What of a promise a leader may count on: shorter by twice the bound on the clocks' rates.
inline Duration counted(Duration promise, uint32_t drift_ppm_max) {
  return Duration::nanos(promise.nanos() / 1'000'000 *
                         (1'000'000 - 2 * static_cast<int64_t>(drift_ppm_max)));
}

}  // namespace kahuna::raft
