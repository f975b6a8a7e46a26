#include "kahuna/node/shards.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {

Shards::Shards(Host& host, Hooks& hooks, const Options& options, Observer* observer)
    : host_(host), hooks_(hooks), options_(options), sink_(std::make_shared<HomeSink>()) {
  Loops& loops = *host.loops;
  CHECK(loops.count() > 1 && loops.self() == 0);
  layout_.loops = loops.count();
  sink_->receive = [this](ToHome batch) { receive_batch(std::move(batch)); };
  cells_.push_back(std::make_shared<ShardCell>());
  outlets_.push_back(nullptr);
  for (size_t loop = 1; loop < loops.count(); ++loop) {
    auto cell = std::make_shared<ShardCell>();
    cells_.push_back(cell);
    outlets_.push_back(std::make_unique<ShardOutlet>(host, loop, cell));
    Host* there = &loops.host(loop);
    bool posted = loops.post(loop, [cell, there, &options, observer, sink = sink_] {
      cell->shard = std::make_unique<Shard>(*there, options, observer, sink);
    });
    CHECK(posted);  // nothing else was posted before
  }
}

Shards::~Shards() {
  sink_->receive.reset();
  for (auto& cell : cells_) cell->shard.reset();
}

ToShard& Shards::to(size_t loop) {
  ToShard& batch = outlets_[loop]->batch();
  batch.watermark = std::max(batch.watermark, hooks_.watermark());
  return batch;
}

// --- boot ---

Result<> Shards::ask_all(Suspend suspend, const std::function<Call(size_t)>& make) {
  struct Waiting {
    size_t left;
    Result<> result;
    Callback<void()> wake;
  };
  auto waiting = std::make_shared<Waiting>(cells_.size() - 1, Result<>(), suspend.waker());
  for (size_t loop = 1; loop < cells_.size(); ++loop) {
    Shard::Done done = [waiting](Result<> result) {
      if (!result && waiting->result) waiting->result = std::move(result);
      if (--waiting->left == 0) waiting->wake();
    };
    to(loop).calls.push_back([call = make(loop), done = std::move(done)](Shard& shard) mutable {
      call(shard, std::move(done));
    });
  }
  while (waiting->left > 0) suspend.park();
  return std::move(waiting->result);
}

Result<> Shards::open(Suspend suspend, const Layout& layout, const std::string& journals,
                      bool must_exist) {
  CHECK_EQ(layout.loops, cells_.size());
  layout_ = layout;
  return ask_all(suspend, [&](size_t loop) -> Call {
    return [dir = layout.journal_dir(journals, loop), must_exist](Shard& shard,
                                                                  Shard::Done done) mutable {
      shard.open(std::move(dir), must_exist, std::move(done));
    };
  });
}

Result<> Shards::adopt(Suspend suspend, const Layout& layout, RecoveredGroups& groups) {
  return ask_all(suspend, [&](size_t loop) -> Call {
    return [mine = take_groups_of(loop, layout, groups)](Shard& shard, Shard::Done done) mutable {
      shard.adopt(std::move(mine), std::move(done));
    };
  });
}

Result<> Shards::start(Suspend suspend, const Shard::Start& start) {
  leaders_.assign(start.founding.partitions + 1, NodeId());
  return ask_all(suspend, [&](size_t) -> Call {
    return [start](Shard& shard, Shard::Done done) mutable {
      shard.start(std::move(start), std::move(done));
    };
  });
}

// --- partitions of other loops ---

NodeId Shards::leader_of(PartitionId partition) const {
  return partition.value() < leaders_.size() ? leaders_[partition.value()] : NodeId();
}

Result<> Shards::propose(PartitionId partition, partition::Command command, Token token) {
  ToShard& there = to(layout_.loop_of(partition));
  const size_t bytes =
      command.key.size() + command.value.size() + command.conditions.if_value.value_or("").size();
  if (there.write_bytes > 0 && there.write_bytes + bytes > options_.loop_frame_bytes_max) {
    SOMETIMES(shard_was_not_given_a_write);
    return fail(ErrorCode::kOverloaded,
                "the event loop of the partition has more to write than it takes at a time");
  }
  there.write_bytes += bytes;
  there.writes.push_back({partition, std::move(command), token});
  return {};
}

void Shards::read(const ReadRequest& request, Token token) {
  to(layout_.loop_of(request.partition)).reads.emplace_back(token, request);
}

void Shards::transfer(PartitionId partition, NodeId node, Token token) {
  to(layout_.loop_of(partition)).calls.push_back([partition, node, token](Shard& shard) {
    shard.transfer(partition, node, token);
  });
}

void Shards::hand_over(Callback<void()> done) {
  struct Waiting {
    size_t left;
    Callback<void()> done;
  };
  auto waiting = std::make_shared<Waiting>(cells_.size() - 1, std::move(done));
  for (size_t loop = 1; loop < cells_.size(); ++loop) {
    Shard::Done one = [waiting](Result<>) {
      if (--waiting->left == 0) waiting->done();
    };
    to(loop).calls.push_back(
        [one = std::move(one)](Shard& shard) mutable { shard.hand_over(std::move(one)); });
  }
}

void Shards::receive(NodeId peer, const wire::PeerBatch& batch, ByteView bytes) {
  concerned_.assign(cells_.size(), false);
  auto concern = [&](const auto* list) {
    if (list)
      for (const auto* m : *list) concerned_[layout_.loop_of(PartitionId(m->group()))] = true;
  };
  concern(batch.messages());
  concern(batch.heartbeats());
  concern(batch.heartbeat_replies());
  concern(batch.snapshot_parts());
  concern(batch.snapshot_replies());
  for (size_t loop = 1; loop < cells_.size(); ++loop) {
    if (!concerned_[loop]) continue;
    if (!to(loop).frames.add(peer, as_text(bytes), options_.loop_frame_bytes_max))
      SOMETIMES(shard_was_not_given_messages);
  }
}

void Shards::peer_disconnected(NodeId peer) {
  for (size_t loop = 1; loop < cells_.size(); ++loop) to(loop).disconnected.push_back(peer);
}

void Shards::wake(PartitionId partition) {
  to(layout_.loop_of(partition)).wanted.push_back(partition);
}

void Shards::want(const Wanted& wanted) {
  for (size_t loop = 1; loop < cells_.size(); ++loop)
    to(loop).calls.push_back([wanted](Shard& shard) { shard.want(wanted); });
}

void Shards::find_without(NodeId node, std::function<void(PartitionId)> each) {
  for (size_t loop = 1; loop < cells_.size(); ++loop)
    to(loop).calls.push_back([node, each](Shard& shard) { shard.find_without(node, each); });
}

void Shards::flushed(const Marks& marks) {
  for (size_t loop = 1; loop < cells_.size(); ++loop) to(loop).flushed = marks;
}

journal::ScrubReport Shards::scrub(Suspend suspend, size_t loop) {
  return await<journal::ScrubReport>(suspend, [&](Callback<void(journal::ScrubReport)> done) {
    to(loop).calls.push_back(
        [done = std::move(done)](Shard& shard) mutable { shard.scrub(std::move(done)); });
  });
}

struct Shards::Collection {
  std::vector<LoopStatus> found;
  size_t expected = 0;
  Callback<void(std::vector<LoopStatus>)> done;
  void end() {
    if (done) std::exchange(done, nullptr)(std::move(found));
  }
};

void Shards::collect_status(Callback<void(std::vector<LoopStatus>)> done) {
  auto collection = std::make_shared<Collection>();
  collection->expected = cells_.size() - 1;
  collection->done = std::move(done);
  for (size_t loop = 1; loop < cells_.size(); ++loop) {
    to(loop).calls.push_back([collection](Shard& shard) mutable {
      shard.answer([collection = std::move(collection), status = shard.status()]() mutable {
        collection->found.push_back(std::move(status));
        if (collection->found.size() == collection->expected) collection->end();
      });
    });
  }
  host_.clock->call_at(host_.clock->now() + kStatusPatience, [collection] { collection->end(); });
}

// --- from the shards ---

void Shards::receive_batch(ToHome batch) {
  hooks_.hear(batch.watermark);
  for (const auto& [partition, leader] : batch.leaders)
    if (partition.value() < leaders_.size()) leaders_[partition.value()] = leader;
  for (const PeerFrame& frame : batch.frames) hooks_.send_frame(frame.peer, as_bytes(frame.bytes));
  for (auto& [token, reply] : batch.replies) hooks_.on_write(token, std::move(reply));
  for (auto& [token, answer] : batch.answers) hooks_.on_read_answer(token, std::move(answer));
  for (auto& [token, moved] : batch.moved) hooks_.on_transfer(token, std::move(moved));
  for (auto& call : batch.calls) call();
  if (batch.write) {
    hooks_.engine().start_write(std::move(batch.write), [this, loop = batch.loop](Result<> result) {
      to(loop).written = std::move(result);
    });
  }
  if (batch.wants_flush) {
    hooks_.engine().flush(
        [this, loop = batch.loop](Result<> result) { to(loop).flush_ended = std::move(result); });
  }
  for (std::string& text : batch.damage) hooks_.on_shard_damage(std::move(text));
  for (std::string& text : batch.slow_disk) hooks_.on_shard_slow_disk(std::move(text));
  if (batch.disk_full) hooks_.on_shard_disk_full(batch.loop, *batch.disk_full);
  if (batch.stopped && batch.engine_damaged)
    return hooks_.on_shard_engine_damaged(std::move(*batch.stopped));
  if (batch.stopped) hooks_.on_shard_stopped(std::move(*batch.stopped));
}

}  // namespace kahuna::node
