// The safety properties of Raft as readable code, checked from outside, over all replicas of all
// groups of a simulated cluster. Reports the first violation as text instead of aborting.
//
// Feeding it: observe() after every step of a replica (one input or one turn of inputs), then
// sent() for each message of the Ready that follows, restarted() instead of observe() for the first
// look at a replica after a crash. It keeps what each replica showed and promised before its crash.
//
//   R1 at most one leader per term
//   R2 a leader never changes what its log holds
//   R3 log matching
//   R4 a leader holds everything committed in earlier terms
//   R5 commit never decreases; it is durable on a quorum when first reached; equal everywhere
//   R6 term never decreases; at most one vote per term; what was told survives a crash
//   R7 nothing committed is truncated
//   R8 a leader commits by counting own-term entries only
//   R9 a read is granted at or after everything committed when it was asked
//   R10 a leader has a state, and a log that is whole
//   R11 a leader that told another to take over appends nothing and grants no read in that term
//   R12 the last configuration in a log is in force; leaders append one at a time, each a step from
//   the
//       committed one before, after an entry of their own term is committed
//   R13 a quorum of its configuration voted for a leader, which votes in it itself unless it was
//   not
//       committed there
//   R14 a quiet replica has nothing under way and knows who leads; a quiet leader's members hold
//   its log
//
// A quorum is one of every configuration that is in force where it is counted.
//
// Cheap when nothing changed; otherwise proportional to the entries that did.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/raft/replica.h"

namespace kahuna::raft {

class InvariantChecker {
 public:
  using Violation = std::optional<std::string>;

  // `node_alive` false: the node is down; what is durable there still counts.
  Violation observe(const Replica& replica, bool node_alive = true);
  // The first look at a replica that recovered from its disk.
  Violation restarted(const Replica& replica);
  // A message that left its sender.
  Violation sent(const Message& message);

  // Reads. Tokens must be unique per replica among the waiting ones.
  void read_asked(const Replica& replica, ReadToken token);
  Violation read_granted(const Replica& replica, ReadGrant grant);
  void read_refused(const Replica& replica, ReadToken token);

  // Highest index known to be committed in a group; zero before any.
  Index committed(PartitionId group) const;

 private:
  // One entry that some log held at some index.
  struct Seen {
    Term term;
    Term previous_term;
    uint64_t content = 0;
  };
  struct Committed {
    Term term;
    uint64_t content = 0;
    Term by;  // term of the leader that committed it, or later
  };
  // What was last seen of one replica.
  struct Shadow {
    bool known = false;
    Status status;
    std::deque<Term> terms;  // of (status.base, status.last]
    // Perhaps acknowledged before the disk lost it, and not durable again.
    std::map<Index, Term> lost;
    std::map<Term, ReplicaId> votes_told;
    Term term_told;           // by a vote, a candidacy or an acknowledgement
    LogPosition handed_over;  // the last it told another to take over: its last index, its term
    std::map<ReadToken, Index> reads;
  };
  struct Group {
    std::map<Term, ReplicaId> leaders;
    std::map<ReplicaId, Shadow> shadows;
    Index first{2};  // index of seen[0] and committed[0]
    std::deque<std::vector<Seen>> seen;
    std::deque<Committed> committed;
  };

  Violation check(const Replica& replica, Group& group, Shadow& shadow, bool restarted);
  Violation check_hard_state(const Shadow& shadow, const Status& now, bool restarted) const;
  Violation check_survived(const Shadow& shadow, const Replica& replica) const;
  Violation check_log(const Replica& replica, Group& group, Shadow& shadow, const Status& now,
                      bool restarted);
  Violation check_committed(const Replica& replica, Group& group, const Status& now, Index from);
  Violation check_handed_over(const Shadow& shadow, const Status& now) const;
  static Violation check_quiet(const Group& group, const Status& now);
  Violation check_counting(const Replica& replica, Group& group, const Status& before,
                           const Status& now);
  Violation check_new_leader(const Replica& replica, Group& group, const Status& now);
  static Violation check_changes(const Replica& replica, const Status& before, const Status& now,
                                 Index from);
  static Violation check_elected(const Group& group, const Status& now);
  static bool durable_on_quorum(const Group& group, LogPosition position,
                                const Configuration& configuration);
  static void prune(Group& group, const Configuration& configuration);

  // Looking a replica up is most of the work when nothing changed.
  Group& group_of(PartitionId id);

  std::map<PartitionId, Group> groups_;
  std::vector<Group*> by_id_;  // into groups_, of small ids
};

}  // namespace kahuna::raft
