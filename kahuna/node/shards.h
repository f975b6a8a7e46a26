// The other event loops of a node, as its home loop sees them. Lives on the home loop.
//
// A partition is pinned to a loop by the layout. Requests and peers' messages that concern another
// loop's partitions go there, and come back, as values, a turn's worth at a time (outlet.h).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kahuna/node/shard.h"

namespace kahuna::node {

class Shards {
 public:
  class Hooks {
   public:
    virtual ~Hooks() = default;
    virtual void send_frame(NodeId peer, ByteView frame) = 0;
    virtual void on_write(Token token, Result<partition::Reply> reply) = 0;
    virtual void on_read_answer(Token token, Result<ReadAnswer> answer) = 0;
    virtual void on_transfer(Token token, Result<> moved) = 0;
    virtual void on_shard_stopped(Error reason) = 0;
    virtual void on_shard_engine_damaged(Error reason) = 0;
    virtual void on_shard_disk_full(size_t loop, std::string_view why) = 0;
    virtual void on_shard_damage(std::string text) = 0;
    virtual void on_shard_slow_disk(std::string text) = 0;
    virtual void hear(Watermark watermark) = 0;
    virtual Watermark watermark() const = 0;
    virtual engine::Engine& engine() = 0;
  };
  static constexpr Duration kStatusPatience = Duration::seconds(1);

  // Starts building the shards. CHECKs that there are other loops. `options` outlives it and does
  // not change.
  Shards(Host& host, Hooks& hooks, const Options& options, Observer* observer);
  // The shards are gone by now, or their loops do not run any more.
  ~Shards();
  // Destroys the shard of a loop: on that loop, or when it does not run any more.
  void leave(size_t loop) { cells_[loop]->shard.reset(); }

  // --- boot; each suspends until all have answered, and returns the first error ---
  Result<> open(Suspend suspend, const Layout& layout, const std::string& journals,
                bool must_exist);
  Result<> adopt(Suspend suspend, const Layout& layout, RecoveredGroups& groups);
  Result<> start(Suspend suspend, const Shard::Start& start);

  // --- partitions of other loops ---
  bool has(PartitionId partition) const { return layout_.loop_of(partition) != 0; }
  NodeId leader_of(PartitionId partition) const;
  // End in Hooks::on_write, on_read_answer and on_transfer.
  // kOverloaded, and then nothing is proposed: the loop has too much to write already.
  Result<> propose(PartitionId partition, partition::Command command, Token token);
  void read(const ReadRequest& request, Token token);
  void transfer(PartitionId partition, NodeId to, Token token);
  // `done` runs when all loops have (groups.h), each within its patience.
  void hand_over(Callback<void()> done);
  // Hands a verified PeerBatch to the loops that it has messages for.
  void receive(NodeId peer, const wire::PeerBatch& batch, ByteView bytes);
  void peer_disconnected(NodeId peer);
  void wake(PartitionId partition);
  void want(const Wanted& wanted);
  // Groups::find_without() of each loop; `each` runs here, unless the node ends first.
  void find_without(NodeId node, std::function<void(PartitionId)> each);
  void flushed(const Marks& marks);
  journal::ScrubReport scrub(Suspend suspend, size_t loop);
  // Of all the loops that answer in time, in any order.
  void collect_status(Callback<void(std::vector<LoopStatus>)> done);

  // For observers that share the thread of all loops (the simulator). Null until started.
  Groups* groups(size_t loop) const {
    return cells_[loop]->shard ? cells_[loop]->shard->groups() : nullptr;
  }
  Groups* groups_of(PartitionId partition) const { return groups(layout_.loop_of(partition)); }
  size_t count() const { return cells_.size(); }

 private:
  using Call = Callback<void(Shard&, Shard::Done)>;
  using ShardOutlet = Outlet<ToShard, ShardCell>;
  struct Collection;
  Result<> ask_all(Suspend suspend, const std::function<Call(size_t loop)>& make);
  ToShard& to(size_t loop);
  void receive_batch(ToHome batch);

  Host& host_;
  Hooks& hooks_;
  const Options& options_;
  Layout layout_;
  std::shared_ptr<HomeSink> sink_;
  std::vector<std::shared_ptr<ShardCell>> cells_;      // [0] stays empty
  std::vector<std::unique_ptr<ShardOutlet>> outlets_;  // [0] is null
  std::vector<NodeId> leaders_;                        // by partition, of other loops
  std::vector<bool> concerned_;                        // scratch
};

}  // namespace kahuna::node
