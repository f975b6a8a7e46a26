// Log time: a partition's own, in milliseconds from its founding, the clock of leases and of all
// that expires (DESIGN §7). Whoever leads stamps every command it proposes; what is applied is
// state (P7).
//
//   L1 stamps never decrease along the log;
//   L2 between two stamps no more log time passes than the monotonic clocks of those who led
//   meanwhile
//      measured, but for less than a millisecond of rounding: a deadline, stamp + length, has
//      passed when log time is *greater*, never when it is equal, and then it was not too early
//      (I14);
//   L3 while nobody leads, or a leader's clock stands still, log time stands still; wall clocks do
//   not
//      matter.
//
// A new leader goes on from the greatest stamp in its log, or of its state when the log has none,
// which every acknowledged stamp is at or below; from its election on its own clock counts. Entries
// without a command (those that open a term or change members) carry no stamp and leave log time as
// it is.
#pragma once

#include "runtime/ids.h"
#include "runtime/time.h"

namespace kahuna::partition {

// What a leader stamps by. A value; owned by who drives the replica.
class LogClock {
 public:
  bool runs_in(Term term) const { return term_ == term; }
  // Elected in `term`, at its own clock's `now`; `last` is the greatest stamp that it holds.
  void start(Term term, LogTime last, Time now);
  // Rounded down. CHECKs that `now` is not before the start.
  LogTime at(Time now) const;

 private:
  Term term_;
  LogTime last_;
  Time started_;
};

}  // namespace kahuna::partition
