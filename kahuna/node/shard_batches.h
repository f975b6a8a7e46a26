// What the home loop and another loop of a node tell each other, a turn's worth at a time. Values
// only: whoever takes a batch owns everything in it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kahuna/journal/journal.h"
#include "kahuna/node/groups.h"
#include "kahuna/node/reading.h"
#include "kahuna/partition/command.h"
#include "runtime/callback.h"

namespace kahuna::node {

class Shard;
using Marks = std::map<PartitionId, raft::LogPosition>;

// An encoded PeerBatch from or to that node.
struct PeerFrame {
  NodeId peer;
  std::string bytes;
};

// What one loop knows of its partitions, for people.
struct LoopStatus {
  size_t loop = 0;
  std::vector<ReplicaStatus> replicas;
  std::vector<std::pair<PartitionId, std::string>> damaged;
  journal::Statistics journal;
};

struct ToShard {
  struct Write {
    PartitionId partition;
    partition::Command command;
    Token token;
  };
  std::vector<Callback<void(Shard&)>> calls;  // carried out first, in order
  Watermark watermark;
  std::vector<PeerFrame> frames;  // verified; with messages for this loop's groups among others
  size_t frame_bytes = 0;
  std::vector<Write> writes;
  std::vector<std::pair<Token, ReadRequest>> reads;
  std::vector<NodeId> disconnected;
  std::vector<PartitionId> wanted;      // their leaders are about to be asked for something
  std::optional<Marks> flushed;         // the engine's marks, after a flush
  std::optional<Result<>> written;      // the write that this loop asked for
  std::optional<Result<>> flush_ended;  // the flush that it asked for
};

struct ToHome {
  size_t loop = 0;
  std::vector<PeerFrame> frames;
  size_t frame_bytes = 0;
  std::vector<std::pair<PartitionId, NodeId>> leaders;  // newest last
  std::vector<std::pair<Token, Result<partition::Reply>>> replies;
  std::vector<std::pair<Token, Result<ReadAnswer>>> answers;
  std::vector<std::pair<Token, Result<>>> moved;  // leadership
  Watermark watermark;
  // One of each at a time. The batch is not changed while it is written.
  std::shared_ptr<const engine::WriteBatch> write;
  bool wants_flush = false;
  std::vector<Callback<void()>> calls;
  std::optional<Error> stopped;
  bool engine_damaged = false;  // ... for that reason
  std::vector<std::string> damage;       // found, or made good
  std::vector<std::string> slow_disk;    // partitions given away because of it
  std::optional<std::string> disk_full;  // changed: why, or "" when there is room again
};

}  // namespace kahuna::node
