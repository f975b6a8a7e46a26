// The end of a log whose content is partly lost on its own disk, though the identity (index, term)
// of every entry in it is known (reference/protocol-traps.md 21, 22; the idea of telling "lost"
// from "never had" is that of Alagappan et al. 2018, CTRL).
//
// Such an entry was perhaps acknowledged. So it *counts as present when votes are granted, and as
// absent everywhere else*: the replica judges candidates by the last position of its tail, while
// what it acknowledges, sends, commits and applies is its log, which ends before the tail; it does
// not campaign.
//
// Repair. By log matching, entries of one (group, index, term) are equal wherever they are. So the
// content may come from anybody who has it: from the leader, whose appends are compared with the
// tail like with any log, or, while there is none, from any other replica, whatever its term and
// role (kFetch). What is intact behind a lost entry is kept and given to those who ask: two
// replicas that have lost different entries repair each other, where neither could be elected
// before.
//
// Discarding. The tail, or the end of it, is dropped for three reasons only:
//   (a) entries of the leader of the term contradict it, as they may contradict any log;
//   (b) a state that was committed covers or contradicts it;
//   (c) so many of the other voters that no quorum does without all of them, each in a durable term
//   later than
//       H, the term in which this replica found the damage, say that they never had its first entry
//       (i, t). Of three that is two, of two it is the other one. "Compacted" is not "never had",
//       and nor is "lost".
// Why (c) is safe: whatever this replica acknowledged before the damage it did in terms up to H.
// Suppose that a leader of a term T <= H ever commits (i, t), or anything behind it. Some X is in
// its quorum and among those of (c). X's answer came in a term > H, after which it acknowledges
// nothing in T any more, so X acknowledged (i, t) first and answered later that it never had it. X
// dropped it in between: not for (a) or (b), because leaders of terms after T and committed states
// have what was committed in T; and not for (c), by the same argument about the answers that X had,
// which were earlier. So (i, t) is committed in no term up to H, and the promises that made it
// count were about nothing. It may still be committed in a later term, by others; what this replica
// acknowledges there is whole.
//
// A minority is not enough, and nor is "everybody has answered, and none is intact": of three
// replicas one that never had the entry and two whose disks have lost it are exactly what is left
// of an entry that was acknowledged to a client. To go on without it would be a lie. The group
// waits, and says why.
//
// Configurations. The tail may hold changes of members whose content is lost; (c) goes by the
// configuration before it. That is enough: (i, t) is committed at the latest with the first change
// behind it, so under a configuration one step away at most, whose quorums (c) blocks as well
// (configuration.h, Members::blocks): if joint, a majority of the new voters counts, and nobody
// else does.
//
// For (c) the replica moves to a term after H itself, once that many lack the entry; who hears that
// follows only if it knows no live leader, for a leader settles it all by (a).
//
// Offers. A replica that cannot campaign, for its tail or for want of a state, may have the longest
// log of those that are left, and nobody could be elected. So when it refuses a candidate whose
// last position it has, it sends what follows. The candidate appends that to its log if it ends
// just there: by log matching it then has a prefix of the log of the leader that wrote it, as if it
// had received it then. It acknowledges none of it, and any leader's entries overrule it as usual.
// A candidate that ends with something else, of a term before that of the sender's last position
// (the offer names it), drops what the offer contradicts: it is the beginning of the log of the
// leader of this later term, which had all that was committed before; what is not in it was not,
// nor will it be, for a leader that inherits it commits it with an entry of its own term only,
// which this candidate would have acknowledged. It moves to a new term first, so that it is not
// believed any more to hold what it drops. Where the two logs part is found over several
// candidacies; one that took an offer asks again at once, until nobody has more for it.
//
// Why repair is safe. What a replica has promised is the set of positions that it acknowledged.
// Votes are judged by a position at or above all of these, as before the damage; so whoever is
// elected holds every entry that was committed with this replica's acknowledgement. Terms and votes
// are not part of the tail: a replica that has lost those does not start (journal/journal.h). What
// it acknowledges from now on is in its log, that is, intact and durable again.
//
//   T1 it begins right behind the log's last entry, and its first entry is lost; or it is empty;
//   T2 it is contiguous, and terms never decrease along log and tail;
//   T3 its last position never moves back but for one of the three reasons above.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <vector>

#include "kahuna/raft/log.h"
#include "kahuna/raft/types.h"

namespace kahuna::raft {

class FaultyTail {
 public:
  FaultyTail() = default;
  // CHECKs T1 (but for the log's end) and T2.
  explicit FaultyTail(std::vector<TailEntry> entries);

  bool empty() const { return entries_.empty(); }
  size_t lost() const { return lost_; }
  // Of a tail that is not empty.
  LogPosition first() const { return entries_.front().position(); }
  LogPosition last() const { return entries_.back().position(); }
  std::optional<Term> term_at(Index index) const;
  // The intact entry at index, or nullptr.
  const Entry* intact_at(Index index) const;
  // The last of the lost entries that follow each other from first() on.
  LogPosition first_run_end() const;

  // Puts content where it was lost. False when nothing of this identity is lost here.
  bool fill(const Entry& entry);
  // A leader's entry for the index of first(). True: it is that very entry, which leaves the tail.
  // False: it contradicts the tail, which is dropped.
  bool take_place(LogPosition of);
  // Moves what is intact at the front behind the end of `log`.
  void join(Log& log);
  // Drops entries up to index.
  void drop_through(Index index);
  void clear();

 private:
  void pop_front();

  std::deque<TailEntry> entries_;
  size_t lost_ = 0;
};

}  // namespace kahuna::raft
