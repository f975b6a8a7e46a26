// What a node has on one event loop other than its home: a journal, and the replicas of the
// partitions that are pinned to it. Built, used and destroyed on that loop.
//
//   H1 it hears from the home loop through take(), and answers through an Outlet; nothing else is
//      shared but the engine, whose contract allows it (E6);
//   H2 every token taken is answered once, unless the node ends first;
//   H3 messages of a turn leave before replies of that turn, encoded here.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "kahuna/node/identity.h"
#include "kahuna/node/journals.h"
#include "kahuna/node/outlet.h"
#include "kahuna/node/shard_batches.h"
#include "kahuna/node/shard_engine.h"
#include "kahuna/node/wire.h"

namespace kahuna::node {

// Where the shards' batches arrive; belongs to the home loop, which empties it when it ends.
struct HomeSink {
  Callback<void(ToHome)> receive;
  void take(ToHome batch) {
    if (receive) receive(std::move(batch));
  }
};

class Shard final : public Groups::Hooks, public ShardEngine::Hooks {
 public:
  using Done = Callback<void(Result<>)>;  // made on the home loop and run there

  // `options` outlives it and does not change.
  Shard(Host& host, const Options& options, Observer* observer, std::shared_ptr<HomeSink> home);
  ~Shard() override;

  // --- from the home loop ---
  void take(ToShard batch);
  // What follows is done once, in this order, through ToShard::calls.
  void open(std::string journal_dir, bool must_exist, Done done);  // journal::Options
  void adopt(RecoveredGroups groups, Done done);                   // only when the journal is new
  struct Start {
    NodeId self;
    Founding founding;
    bool alone;  // no other node has what this one has
    Layout layout;
    Duration promise;  // the longest of any boot
    engine::Engine* engine;
    Marks applied;
  };
  void start(Start start, Done done);
  LoopStatus status() const;
  void transfer(PartitionId partition, NodeId to, Token token);
  void hand_over(Done done);
  void scrub(Callback<void(journal::ScrubReport)> done);
  // Answers on the home loop.
  void answer(Callback<void()> call) { outlet_.batch().calls.push_back(std::move(call)); }

  void want(Wanted wanted) {
    if (groups_) groups_->want(std::move(wanted));
  }
  // Groups::find_without(); `each` runs on the home loop.
  void find_without(NodeId node, std::function<void(PartitionId)> each) {
    if (groups_)
      groups_->find_without(node,
                            [this, each](PartitionId id) { answer([each, id] { each(id); }); });
  }

  // For observers that share this loop's thread (the simulator). Null until started.
  Groups* groups() { return groups_.get(); }

  // --- Groups::Hooks ---
  void send(const raft::Message& message) override;
  void send(const SnapshotPart& part) override;
  void send(const SnapshotReply& reply) override;
  void messages_sent() override;
  void on_write(Token token, Result<partition::Reply> reply) override;
  void on_read(Token token, Result<> granted) override;
  void on_transfer(Token token, Result<> moved) override {
    home().moved.emplace_back(token, std::move(moved));
  }
  void on_serving(PartitionId) override {}
  void on_stopped(Error reason) override;
  void on_engine_damaged(Error reason) override {
    home().engine_damaged = true;
    on_stopped(std::move(reason));
  }
  void on_leader(PartitionId partition, NodeId leader) override;
  void on_disk_full(std::string_view why) override { home().disk_full.emplace(why); }
  void on_damage(std::string text) override { home().damage.push_back(std::move(text)); }
  void on_slow_disk(std::string text) override { home().slow_disk.push_back(std::move(text)); }

  // --- ShardEngine::Hooks ---
  void ask_write(std::shared_ptr<const engine::WriteBatch> batch) override;
  void ask_flush() override { home().wants_flush = true; }

 private:
  struct Outbox {
    NodeId peer;
    PeerBatchBuilder messages;
  };
  void spawn(const char* name, Callback<Result<>(Suspend)> work, Done done);
  void receive(const PeerFrame& frame);
  template <class Value>
  void send_to(NodeId peer, const Value& value);
  void ship(Outbox& outbox);
  ToHome& home();  // this turn's batch

  Host& host_;
  const Options& options_;
  Observer* observer_;
  Outlet<ToHome, HomeSink> outlet_;
  std::unique_ptr<journal::Journal> journal_;
  RecoveredGroups recovered_;
  std::unique_ptr<ShardEngine> engine_;
  NodeId self_;
  Layout layout_;
  std::unique_ptr<Groups> groups_;
  std::vector<std::unique_ptr<Outbox>> outboxes_;
  std::unordered_map<Token, ReadRequest> reading_;
  Watermark watermark_;
  Fibers fibers_;
};

// Holds a shard for both loops. Only its own loop looks inside.
struct ShardCell {
  std::unique_ptr<Shard> shard;
  void take(ToShard batch) {
    if (shard) shard->take(std::move(batch));
  }
};

// Adds the partitions of a founded cluster that are pinned to `loop`, with what its journal held.
Result<> add_groups(Groups& groups, const Shard::Start& start, size_t loop,
                    RecoveredGroups& recovered);

}  // namespace kahuna::node
