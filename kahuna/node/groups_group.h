// What Groups keeps of one replica. Included by its sources only.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/node/groups.h"

namespace kahuna::node {

struct Groups::Install {
  uint64_t stream = 0;  // 0: none has come yet
  raft::LogPosition position;
  ReplicaId from;  // who sends it; none after a restart
  Time heard;
  // In the engine, with the install row that says so.
  uint64_t written = 0;
  std::string written_row;
  // Accepted; what is between lies in `waiting`.
  uint64_t accepted = 0;
  std::string accepted_row;
  std::vector<std::string> waiting;
  bool begins = true;  // the old rows are still there
  bool last = false;   // the last part was accepted
  bool whole = false;  // ... and written: the state is there once flushed
};

struct Groups::Group {
  size_t position = 0;  // in groups_
  PartitionId id;
  raft::Replica replica;
  partition::StateMachine state;
  bool dirty = false;
  Time armed = Time::max();  // earliest entry of due_ that is ours
  Time campaign_at;          // it may campaign then, and not before

  struct PendingWrite {
    raft::LogPosition at;
    Token token;
  };
  std::deque<PendingWrite> writes;  // ascending by index
  struct WaitingRead {
    Index index;
    Token token;
  };
  std::vector<WaitingRead> reads;              // confirmed, waiting for the state to catch up
  std::deque<raft::Persist> stalled_persists;  // refused by the journal for now, in order
  std::vector<raft::Entry> stalled_entries;    // committed while too much was unsaved, in order
  Index applied;                               // in the state machine
  bool unsaved = false;                        // in unsaved_
  partition::LogClock log_clock;               // runs in a term that it leads
  bool serves = false;                         // leads, with an entry of its own term committed
  Index trim, released;
  NodeId leader;  // as last told
  // What the journal was told, and what of it was not refused: the last entry, term and vote.
  Index journaled;
  raft::HardState journaled_hard_state;
  std::optional<Install> install;  // a snapshot replaces the state; the replica has none meanwhile
  bool install_due = false;        // in installs_due_
  std::optional<Time>
      woken_to_move;        // leader: was quiet, and is asked who is there (groups_members.cc)
  bool faulty = false;      // the log was not whole when last looked at
  bool state_lost = false;  // the engine had it, and it has not come back
  std::optional<Time> stopped_since;  // nobody leads, and what is lost may be why
  bool stop_told = false;
  std::string damage;  // where on disk

  Group(size_t at, PartitionId partition, raft::Replica r, partition::StateMachine s,
        Index applied_to)
      : position(at),
        id(partition),
        replica(std::move(r)),
        state(std::move(s)),
        applied(applied_to) {}
};

}  // namespace kahuna::node
