// The snapshots that the replicas of a loop send while they lead. Owned by Groups.
//
//   T1 a stream begins at a position at or above what its leader had applied when it was asked for,
//      so one that is refused as too old is asked for again and then is not;
//   T2 while it lasts, the log behind its position is kept, and afterwards what the receiver lacks
//   of
//      it until it has what was there at the end of the stream, or makes no progress (held()): else
//      it would need the next snapshot as soon as it has this one;
//   T3 at most kSnapshotStreamsMax views are open, each with kSnapshotPartsInFlight parts on their
//   way, as large as the
//      network takes them without keeping heartbeats waiting (raft/flight_limit.h); the others wait
//      their turn;
//   T4 all together they send no more than Options::snapshot_bytes_per_second, and up to kHurryMax
//   times as much the
//      more of the log is kept for them (T2): beyond a bound it is not kept, and the stream was in
//      vain;
//   T5 every stream asked for ends in Hooks::stream_ended(), unless its leader is deposed.
//
// A broken connection ends nothing: the receiver says where to go on.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/engine/engine.h"
#include "kahuna/node/node.h"
#include "kahuna/node/snapshot.h"
#include "kahuna/partition/state_machine.h"
#include "kahuna/raft/flight_limit.h"
#include "runtime/host.h"
#include "runtime/random.h"

namespace kahuna::node {

class SnapshotStreams {
 public:
  class Hooks {
   public:
    virtual ~Hooks() = default;
    virtual void send(const SnapshotPart& part) = 0;
    virtual void stream_ended(PartitionId group, ReplicaId to, Term term) = 0;
    // A receiver holds a part of a state at that position.
    virtual void was_committed(PartitionId group, raft::LogPosition position) = 0;
    // The engine did. The stream has ended.
    virtual void read_failed(const Error& error) = 0;
    // send_due() is to be called at the end of this turn.
    virtual void parts_due() = 0;
    // Bytes in the log of the partition's replica here.
    virtual uint64_t log_bytes(PartitionId group) const = 0;
  };
  SnapshotStreams(Host& host, Hooks& hooks, engine::Engine& engine, const Options& options);
  ~SnapshotStreams() {
    clock_.cancel(timer_);
    clock_.cancel(pace_timer_);
  }

  struct Wanted {
    partition::Descriptor descriptor;
    ReplicaId from, to;
    Term term;
    Index applied;  // by the leader, now
  };
  void want(Wanted wanted);
  void on_reply(const SnapshotReply& reply);
  void leadership_lost(PartitionId group);
  // Whoever is no member any more is sent nothing more.
  void keep_members(const raft::Replica& leader);
  // The engine holds more than before.
  void saved();
  // Somebody waits until the engine holds more.
  bool wants_save() const;
  // What the log of a leader, whose replica it is, must not be compacted beyond; nullopt: nothing.
  std::optional<Index> held(const raft::Replica& leader);
  void send_due();

 private:
  struct Stream {
    Wanted wanted;
    Time not_before;  // begin
    // Once it has begun:
    std::unique_ptr<engine::View> view;
    std::vector<engine::RowRange> ranges;
    uint64_t id = 0;
    raft::LogPosition position;
    std::string last_row;  // that was sent; the next one is the first behind it
    uint64_t sent = 0;     // number of the next part
    bool all_sent = false;
    uint64_t written = 0;  // parts, by the receiver
    raft::FlightLimit flight_limit;
    std::optional<uint64_t> timed;  // the part by which it goes
    uint64_t sent_most =
        0;  // parts from this number on were never sent: an answer is to no earlier attempt
    std::string written_row;
    Time heard, resend_at;
    bool again = false;  // what is to be sent was sent before, and nobody has answered since
  };

  // Has the state, and not yet the log up to `goal`.
  struct Receiver {
    PartitionId group;
    ReplicaId replica;
    Index has, goal;
    Time progressed;
  };

  Index saved_index(PartitionId group) const;
  bool may_begin(const Stream& stream) const;
  Result<> begin(Stream& stream);
  void begin_due();
  Result<SnapshotPart> next_part(Stream& stream);
  static bool may_send(const Stream& stream);
  void wait_for_reply(Stream& stream);
  uint64_t bytes_per_second(PartitionId group) const;
  void pace(PartitionId group, size_t bytes);
  bool waits_for_pace();
  void go_on(Stream& stream, uint64_t parts, const std::string& last_row);
  void put_off(Stream& stream);
  void end(size_t at);
  size_t active() const;
  void arm();
  void on_timer();

  Clock& clock_;
  Hooks& hooks_;
  engine::Engine& engine_;
  const Options& options_;
  RandomStream random_;
  std::vector<Receiver> receivers_;
  Time send_from_;  // nothing is sent before
  TimerId pace_timer_ = 0;
  std::vector<std::unique_ptr<Stream>> streams_;  // in the order in which they were asked for
  TimerId timer_ = 0;
};

}  // namespace kahuna::node
