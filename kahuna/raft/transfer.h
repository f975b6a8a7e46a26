// Handing leadership to another replica (thesis §3.10; trap 20): what the leader that does so
// knows.
//
//   T1 a follower is told to take over (kTimeoutNow) only when its log holds, durably, all that the
//      leader's does, and all of that is committed;
//   T2 from the instant it is told the leader serves no reads and takes no proposals, for the rest
//   of
//      its term;
//   T3 it never resumes in that term: it is deposed, or, when the other does not take over in time
//   or
//      refuses, ceases to lead by itself and asks to be elected anew;
//   T4 before that nothing has happened: a leader that has waited too long simply goes on.
//
// The stages: the follower catches up with what there was when the hand-over was asked for, while
// proposals go on; then, for the round trip or so that is left, they are refused; then it is told.
//
// The follower campaigns at once, without a pre-vote. Its requests bear a mark, for the others
// would be right to refuse anybody else while they hear their leader.
#pragma once

#include <cstdint>

#include "kahuna/raft/types.h"
#include "runtime/time.h"

namespace kahuna::raft {

struct Transfer {
  enum class Stage : uint8_t { kNone, kCatchUp, kHold, kTold };

  Stage stage = Stage::kNone;
  ReplicaId target;
  Time until;  // no longer in this stage, or (kHold) in those before kTold
  Index goal;  // kCatchUp: what the follower must reach
};

}  // namespace kahuna::raft
