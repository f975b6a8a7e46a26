// What the home loop and another loop of a node tell each other, a turn's worth at a time. Values
// only: whoever takes a batch owns everything in it.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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

// Frames for another loop, of a turn or of as long as that loop takes none. One of each peer is
// always taken, so that none is left out for ever because others come before it.
class PeerFrames {
 public:
  // False: it is left out, for there would be more than `bytes_max` of them.
  bool add(NodeId peer, std::string_view bytes, size_t bytes_max) {
    const bool fits = bytes_ + bytes.size() <= bytes_max;
    const auto is_its = [peer](const PeerFrame& frame) { return frame.peer == peer; };
    if (!fits && std::any_of(frames_.begin(), frames_.end(), is_its)) return false;
    bytes_ += bytes.size();
    frames_.push_back({peer, std::string(bytes)});
    return true;
  }
  auto begin() const { return frames_.begin(); }
  auto end() const { return frames_.end(); }

 private:
  std::vector<PeerFrame> frames_;
  size_t bytes_ = 0;
};

// What one loop knows of its partitions, for people.
struct LoopStatus {
  size_t loop = 0;
  std::vector<ReplicaStatus> replicas;
  std::vector<Damage> damaged;
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
  PeerFrames frames;  // verified; with messages for this loop's groups among others
  std::vector<Write> writes;
  size_t write_bytes = 0;  // keys and values
  std::vector<std::pair<Token, ReadRequest>> reads;
  std::vector<NodeId> disconnected;
  std::vector<PartitionId> wanted;      // their leaders are about to be asked for something
  std::optional<Marks> flushed;         // the engine's marks, after a flush
  std::optional<Result<>> written;      // the write that this loop asked for
  std::optional<Result<>> flush_ended;  // the flush that it asked for
};

struct ToHome {
  size_t loop = 0;
  PeerFrames frames;
  std::vector<std::pair<PartitionId, NodeId>> leaders;  // newest last
  std::vector<std::pair<Token, Result<partition::Reply>>> replies;
  std::vector<std::pair<Token, Result<ReadAnswer>>> answers;
  size_t answer_bytes = 0;                        // keys and values
  std::vector<std::pair<Token, Result<>>> moved;  // leadership
  Watermark watermark;
  // One of each at a time. The batch is not changed while it is written.
  std::shared_ptr<const engine::WriteBatch> write;
  bool wants_flush = false;
  std::vector<Callback<void()>> calls;
  std::optional<Error> stopped;
  bool engine_damaged = false;           // ... for that reason
  std::vector<std::string> damage;       // found, or made good
  std::vector<std::string> slow_disk;    // partitions given away because of it
  std::optional<std::string> disk_full;  // changed: why, or "" when there is room again
};

}  // namespace kahuna::node
