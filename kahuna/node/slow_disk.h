// Whether the disk beneath one event loop's journal is so slow that whoever leads here had better
// not. What the others have committed is answered only when it is durable with the leader too
// (raft/replica.h): one with a slow disk beats its heart, and makes everybody wait.
//
//   W1 counted is the time in which the journal was busy for replicas that lead here: up while
//   something that
//      the others had committed waited for it, for wait_min or longer; down otherwise. When `after`
//      has been reached the disk is slow: it takes at least twice as long as those of a quorum of
//      the others, their round trips included. Disks that are all slow are not, and neither is one
//      that nobody waits for;
//   W2 a partition is given away only to a replica whose disk has what is being waited for;
//   W3 ... and not again before a pause has passed, which doubles each time, up to kPausesMax times
//   the first:
//      where everybody is slow in turns, leadership stays.
//
// Belongs to Groups, on its loop. Not here: a disk that is full (disk_watch.h), an engine that is
// slow.
#pragma once

#include <map>
#include <optional>

#include "runtime/ids.h"
#include "runtime/time.h"

namespace kahuna::node {

class SlowDisk {
 public:
  struct Options {
    Duration after = Duration::millis(500);  // zero: no disk is ever slow
    Duration wait_min = Duration::millis(20);
    Duration pause = Duration::seconds(10);
  };
  static constexpr int64_t kPausesMax = 64;

  explicit SlowDisk(Options options) : options_(options) {}

  // A write of a replica that leads here, in the journal's hands from `began` on, is durable now.
  // `waited_since`: replica.holds_up_since(), before the replica was told.
  void synced(Time began, std::optional<Time> waited_since, Time now);
  // Something that others have committed waits since then, and still does.
  bool is_slow(Time waited_since, Time now);
  // Whether the partition may be given away again (W3).
  bool may_give_away(PartitionId id, Time now) const;
  void given_away(PartitionId id, Time now);

 private:
  struct Given {
    Time at;
    Duration pause;
  };
  void count();

  const Options options_;
  Duration balance_;  // W1, between zero and twice `after`
  Time counted_;      // up to here
  // Completions of one instant are one: of the journal's batch.
  Time at_, began_, waited_since_;
  Time last_waited_;
  std::map<PartitionId, Given> given_;
};

}  // namespace kahuna::node
