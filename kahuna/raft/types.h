// Raft's vocabulary, shared by raft/, journal/, partition/ and node/. Pure values.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/ids.h"
#include "runtime/time.h"

namespace kahuna::raft {

enum class EntryKind : uint8_t {
  kNoop = 1,           // a new leader's first entry; empty payload
  kCommand = 2,        // payload is a schemas/command.fbs Command
  kConfiguration = 3,  // payload is an encoded Configuration; in force from when it is appended
  // In journals only: what a snapshot brought lies at and below it. Cuts the log there and keeps
  // the position; nothing before it counts. Empty payload.
  kBase = 255,
};

struct Entry {
  Index index;
  Term term;
  EntryKind kind = EntryKind::kNoop;
  SemanticLevel level = kCurrentSemanticLevel;
  Payload payload;
};

// An entry's identity: by log matching, equal (index, term) in one group means equal content.
struct LogPosition {
  Index index;
  Term term;
  friend constexpr auto operator<=>(LogPosition, LogPosition) = default;
};

// One entry of the end of a log that begins with damage (raft/repair.h).
struct TailEntry {
  Entry entry;
  bool lost = false;  // only index and term are known
  LogPosition position() const { return {entry.index, entry.term}; }
};

// What a replica must never forget. vote = none when it voted for nobody in `term`.
struct HardState {
  Term term;
  ReplicaId vote;
  friend constexpr auto operator<=>(HardState, HardState) = default;
};

// Every group's log begins as if compacted here, so that an empty replica can only start from a
// snapshot (trap 35): the first real entry of a founded group has index 2.
inline constexpr LogPosition kFoundingBase{Index(1), Term(1)};

enum class MessageKind : uint8_t {
  kAppend = 1,
  kAppendReply = 2,
  kHeartbeat = 3,
  kHeartbeatReply = 4,
  kPreVote = 5,
  kPreVoteReply = 6,
  kVote = 7,
  kVoteReply = 8,
  kFetch = 9,  // what its sender's disk has lost; answered whatever the terms (raft/repair.h)
  kFetchReply = 10,
  kTimeoutNow = 11,       // the leader tells a follower to take over (raft/transfer.h)
  kTimeoutNowReply = 12,  // only ever a refusal
  kWake = 13,             // to whoever is quiet: let yourself be heard (raft/quiescence.h)
};

// One message between two replicas of a group. Fields not named for a kind are zero.
struct Message {
  MessageKind kind = MessageKind::kAppend;
  PartitionId group;
  ReplicaId from;
  ReplicaId to;
  // Sender's current term; in kPreVote, and in the reply that grants it, the term to campaign in.
  Term term;
  // kAppend: the position just before entries[0]. kPreVote, kVote: the candidate's last position.
  // kTimeoutNow: the leader's last position.
  // kAppendReply, rejected: prev.index names the anchor that was refused.
  // kFetch: the index before the first wanted, and the term of that one. kFetchReply: the index
  // before entries[0]; rejected: as in kFetch; unasked: the candidate's last position.
  LogPosition prev;
  // kAppend, kHeartbeat: the leader's commit index (in kHeartbeat at most what the receiver has).
  // kHeartbeatReply, accepted: the sender's log up to here, durable or not, matches the leader's.
  Index commit;
  // kAppend, kHeartbeat: every replica holds the log up to here durably; it may be released.
  Index trim;
  // kHeartbeat: number of the read round it confirms; echoed by the reply. Counts up per leader
  // term.
  uint64_t round = 0;
  bool unanswered = false;  // kHeartbeat: the leader waits for no reply to it
  // kHeartbeat: nothing is to come, fall quiet. kHeartbeatReply: the sender has
  // (raft/quiescence.h).
  bool quiesce = false;
  // kHeartbeatReply, accepted: for so long after that heartbeat the sender lets nobody else lead
  // (raft/lease.h). Zero: no promise.
  Duration promise;
  bool transfer = false;  // kVote: the leader of the term before asked for this candidacy
  // kAppendReply, kHeartbeatReply, accepted: durable, matching prefix of the follower's log in this
  // term.
  // kAppendReply, rejected: the highest position worth trying next (hint), with its term.
  // kFetch: the last position wanted. kFetchReply, unasked: the last position of the sender's log,
  // lost entries included.
  LogPosition match;
  // In every reply. kFetchReply: the sender's log never had the first that was wanted, and `term`
  // is durable there.
  bool rejected = false;
  // kAppendReply, kHeartbeatReply: the sender holds no state; it needs a snapshot, whatever it
  // matches.
  bool needs_snapshot = false;
  // kAppend; contiguous from prev.index + 1; may be empty (a probe). kFetchReply: whatever of the
  // wanted indexes the sender has; who asked compares the terms.
  std::vector<Entry> entries;
};

}  // namespace kahuna::raft
