// A partition's state on its way from its leader to a replica that lacks what the log no longer
// holds: its rows as the leader's engine had them at one position, in parts. Values, and what they
// cost.
//
//   - The state is that of `position`; every part of one stream comes from one view of the engine.
//   - Parts are numbered from 0 and hold rows in ascending order; the receiver names the next
//   number
//     that it wants and the last row that it has, so any part can be made again, by the same
//     sender.
//   - A part that is made again may hold other rows: the engine may have dropped superseded ones,
//   and then it
//     reaches further. So each names the row that it follows, and is taken by who has just that
//     one.
//   - A part is believed only if its checksum holds, which the sender computes from the rows it
//   read.
//
// Fields are only ever added to the wire's shape.
#pragma once

#include <cstdint>
#include <string>

#include "kahuna/raft/types.h"
#include "runtime/time.h"

namespace kahuna::node {

struct SnapshotPart {
  PartitionId group;
  ReplicaId from, to;
  Term term;            // in which the sender leads
  uint64_t stream = 0;  // names the sender's view; never 0
  raft::LogPosition position;
  uint64_t number = 0;
  bool last = false;
  std::string after;  // the last row of the part before; empty for number 0
  std::string rows;   // puts, in the shape of engine::WriteBatch
  uint64_t checksum = 0;
};
// Of everything in it but who sends it when.
uint64_t checksum_of(const SnapshotPart& part);

enum class SnapshotAnswer : uint8_t {
  kParts = 1,   // so many are written
  kResend = 2,  // go on with this number
  kHave = 3,    // nothing is needed any more
  kStale = 4,   // the sender does not lead, or is behind
  kBusy = 5,    // later, with a state of `position` or above
};

struct SnapshotReply {
  PartitionId group;
  ReplicaId from, to;
  uint64_t stream = 0;
  SnapshotAnswer answer = SnapshotAnswer::kParts;
  uint64_t parts = 0;
  std::string last_row;  // of the part before `parts`; empty when that is 0
  raft::LogPosition
      position;  // kBusy: of the state that the receiver holds a part of; index 0: of none
};

// Parts on their way, per stream: what they take of a connection is what a heartbeat may have to
// wait for.
inline constexpr uint64_t kSnapshotPartsInFlight = 2;
// Streams that a loop sends, and receives, at a time.
inline constexpr size_t kSnapshotStreamsMax = 4;
// A stream of which nothing was heard is taken up again after one election timeout, and given up
// after so many.
inline constexpr int64_t kSnapshotPatience = 10;
// The log behind a state that is sent is kept up to this share of raft::Options::log_bytes_max (one
// over it); near that the state is sent so many times faster.
inline constexpr uint64_t kLogShareKept = 2;
inline constexpr uint64_t kHurryMax = 16;

}  // namespace kahuna::node
