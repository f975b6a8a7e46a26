// Promising, and keeping promises; counting on them is in leader.cc. See lease.h.
#include "kahuna/raft/lease.h"

#include <algorithm>

#include "kahuna/raft/replica.h"
#include "runtime/probe.h"

namespace kahuna::raft {

// Before it started it may have promised anything.
void Replica::promise_at_start(Time now, const Recovered& recovered) {
  bool never_in_a_term = recovered.hard_state.term <= kFoundingBase.term &&
                         !recovered.hard_state.vote && promised() == kFoundingBase;
  if (never_in_a_term || MUTANT(restarted_voter_forgets_promise)) return;
  promised_until_ = now + std::max(options_.election_timeout_min, recovered.promise);
}

// The reply to a heartbeat of the leader that is followed.
void Replica::promise(Time now, Message& reply) {
  if (options_.reads != Reads::kLease || durability_.hard_state().term != hard_state_.term) return;
  reply.promise = options_.election_timeout_min;
  promised_until_ = std::max(promised_until_, now + options_.election_timeout_min);
  promised_to_ = reply.to;
}

// Whether voting for that candidate would break a promise.
bool Replica::is_bound_against(ReplicaId candidate, Time now) const {
  return now < promised_until_ && candidate != promised_to_;
}

std::optional<Index> Replica::lease_read(Time now) {
  if (options_.reads != Reads::kLease || role_ != Role::kLeader) return std::nullopt;
  if (has_told() && !MUTANT(lease_kept_after_handing_over)) return std::nullopt;
  if (commit_ < noop_index_ || now >= lease_until()) return std::nullopt;
  stir(now);
  return MUTANT(lease_read_waits_for_nothing) ? log_.base().index : commit_;
}

}  // namespace kahuna::raft
