#include "kahuna/node/shard.h"

#include <algorithm>

#include "kahuna/partition/position.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {
// A turn's messages to one peer are cut into frames of about this size.
constexpr size_t kFrameBytesMax = 1024 * 1024;
}  // namespace

Result<> add_groups(Groups& groups, const Shard::Start& start, size_t loop,
                    RecoveredGroups& recovered) {
  std::vector<ReplicaId> founders;
  for (const FoundingMember& m : start.founding.members)
    founders.push_back({m.node, m.incarnation});
  std::sort(founders.begin(), founders.end());
  for (const partition::Descriptor& d : partition::founding_descriptors(start.founding.partitions))
    if (start.layout.loop_of(d.id) == loop)
      RETURN_IF_ERROR(
          groups.add(d, founders, start.alone, start.promise, std::move(recovered[d.id])));
  recovered.clear();
  return {};
}

Shard::Shard(Host& host, const Options& options, Observer* observer, std::shared_ptr<HomeSink> home)
    : host_(host),
      options_(options),
      observer_(observer),
      outlet_(host, 0, std::move(home)),
      fibers_(*host.clock, *host.scheduler) {}

Shard::~Shard() {
  fibers_.cancel_all();
  groups_.reset();
  journal_.reset();
}

ToHome& Shard::home() {
  ToHome& batch = outlet_.batch();
  batch.loop = host_.loops->self();
  return batch;
}

// --- boot ---

void Shard::spawn(const char* name, Callback<Result<>(Suspend)> work, Done done) {
  fibers_.spawn(name, [this, work = std::move(work), done = std::move(done)](Suspend s) mutable {
    Result<> result = work(s);
    answer([done = std::move(done), result = std::move(result)]() mutable {
      done(std::move(result));
    });
  });
}

void Shard::open(std::string journal_dir, bool must_exist, Done done) {
  auto work = [this, dir = std::move(journal_dir), must_exist](Suspend s) -> Result<> {
    journal::Options options = options_.journal;
    options.dir = dir;
    options.must_exist = must_exist;
    ASSIGN_OR_RETURN(journal_,
                     journal::Journal::open(s, host_, fibers_, std::move(options),
                                            [this](Error error) { on_stopped(std::move(error)); }));
    recovered_ = journal_->take_recovered();
    return {};
  };
  spawn("open journal", std::move(work), std::move(done));
}

void Shard::adopt(RecoveredGroups groups, Done done) {
  CHECK(recovered_.empty());
  recovered_ = std::move(groups);
  spawn(
      "adopt", [this](Suspend s) { return journal_->adopt(s, recovered_); }, std::move(done));
}

void Shard::start(Start start, Done done) {
  auto work = [this, start = std::move(start)](Suspend) mutable -> Result<> {
    self_ = start.self;
    layout_ = start.layout;
    engine_ = std::make_unique<ShardEngine>(*start.engine, std::move(start.applied), *this);
    auto groups =
        std::make_unique<Groups>(host_, *this, *journal_, *engine_, self_, options_, observer_);
    RETURN_IF_ERROR(add_groups(*groups, start, host_.loops->self(), recovered_));
    groups_ = std::move(groups);
    for (PartitionId id : groups_->ids())
      if (partition::StateMachine* state = groups_->state(id))
        watermark_ = std::max(watermark_, state->last_stamp());
    home().watermark = watermark_;
    groups_->start();
    return {};
  };
  spawn("start", std::move(work), std::move(done));
}

LoopStatus Shard::status() const {
  LoopStatus status;
  status.loop = host_.loops->self();
  if (journal_) status.journal = journal_->statistics();
  if (!groups_) return status;
  status.replicas = groups_->statuses();
  status.damaged = groups_->damaged();
  return status;
}

// --- from the home loop ---

void Shard::transfer(PartitionId partition, NodeId to, Token token) {
  CHECK(groups_ != nullptr);
  auto asked = groups_->transfer(partition, to, token);
  if (!asked) on_transfer(token, fail(std::move(asked.error())));
}

void Shard::hand_over(Done done) {
  CHECK(groups_ != nullptr);
  groups_->hand_over([this, done = std::move(done)]() mutable {
    answer([done = std::move(done)]() mutable { done({}); });
  });
}

void Shard::scrub(Callback<void(journal::ScrubReport)> done) {
  CHECK(groups_ != nullptr);
  fibers_.spawn("scrub", [this, done = std::move(done)](Suspend s) mutable {
    auto report = journal_->scrub(s, options_.scrub_bytes_per_second);
    answer([done = std::move(done), report = std::move(report)]() mutable {
      done(std::move(report));
    });
  });
}

void Shard::take(ToShard batch) {
  watermark_ = std::max(watermark_, batch.watermark);
  for (auto& call : batch.calls) call(*this);
  if (!groups_) {
    CHECK(batch.writes.empty() && batch.reads.empty());  // not before start() is answered
    return;
  }
  for (const PeerFrame& frame : batch.frames) receive(frame);
  for (ToShard::Write& write : batch.writes) {
    auto accepted = groups_->propose(write.partition, write.command, write.token);
    if (!accepted) on_write(write.token, fail(std::move(accepted.error())));
  }
  for (auto& [token, request] : batch.reads) {
    auto accepted = groups_->read(request.partition, token);
    if (accepted)
      reading_.emplace(token, std::move(request));
    else
      home().answers.emplace_back(token, fail(std::move(accepted.error())));
  }
  for (NodeId peer : batch.disconnected) groups_->peer_disconnected(peer);
  for (PartitionId partition : batch.wanted) groups_->wake(partition);
  if (batch.written) engine_->written(std::move(*batch.written));
  if (batch.flushed) {
    engine_->set_flushed(std::move(*batch.flushed));
    groups_->flushed();
  }
  if (batch.flush_ended) engine_->flush_ended(std::move(*batch.flush_ended));
}

void Shard::receive(const PeerFrame& frame) {
  const size_t loop = host_.loops->self();
  const auto& batch = *flatbuffers::GetRoot<wire::PeerBatch>(frame.bytes.data());
  auto is_ours = [&](uint64_t group) { return layout_.loop_of(PartitionId(group)) == loop; };
  if (batch.messages())
    for (const auto* m : *batch.messages())
      if (is_ours(m->group())) groups_->receive(to_message(*m, frame.peer, self_));
  if (batch.heartbeats())
    for (const auto* h : *batch.heartbeats())
      if (is_ours(h->group())) groups_->receive(to_message(*h, false, frame.peer, self_));
  if (batch.heartbeat_replies())
    for (const auto* h : *batch.heartbeat_replies())
      if (is_ours(h->group())) groups_->receive(to_message(*h, true, frame.peer, self_));
  if (batch.snapshot_parts())
    for (const auto* p : *batch.snapshot_parts())
      if (is_ours(p->group())) groups_->receive(to_part(*p, frame.peer, self_));
  if (batch.snapshot_replies())
    for (const auto* r : *batch.snapshot_replies())
      if (is_ours(r->group())) groups_->receive(to_reply(*r, frame.peer, self_));
}

// --- from the replicas ---

void Shard::send(const raft::Message& message) {
  if (!FAULT_POINT(peer_message_is_lost)) send_to(message.to.node, message);
}

template <class Value>
void Shard::send_to(NodeId peer, const Value& value) {
  auto at = std::find_if(outboxes_.begin(), outboxes_.end(),
                         [&](const auto& outbox) { return outbox->peer == peer; });
  if (at == outboxes_.end()) {
    outboxes_.push_back(std::make_unique<Outbox>());
    outboxes_.back()->peer = peer;
    at = std::prev(outboxes_.end());
  }
  (*at)->messages.add(value);
  if ((*at)->messages.bytes() >= kFrameBytesMax) ship(**at);
}

void Shard::send(const SnapshotPart& part) {
  send_to(part.to.node, part);
}
void Shard::send(const SnapshotReply& reply) {
  send_to(reply.to.node, reply);
}

void Shard::messages_sent() {
  for (auto& outbox : outboxes_)
    if (!outbox->messages.empty()) ship(*outbox);
}

void Shard::ship(Outbox& outbox) {
  watermark_ = std::max(watermark_, groups_->last_stamp_seen());
  ByteView bytes = outbox.messages.finish(self_, outbox.peer, watermark_);
  if (!home().frames.add(outbox.peer, as_text(bytes), options_.loop_frame_bytes_max))
    SOMETIMES(shard_left_out_messages);
  outbox.messages.clear();
}

void Shard::on_write(Token token, Result<partition::Reply> reply) {
  if (reply) watermark_ = std::max(watermark_, reply->stamp);
  home().replies.emplace_back(token, std::move(reply));
}

void Shard::on_read(Token token, Result<> granted) {
  auto request = reading_.extract(token);
  CHECK(!request.empty());
  if (!granted) {
    home().answers.emplace_back(token, fail(std::move(granted.error())));
    return;
  }
  if (home().answer_bytes >= options_.loop_frame_bytes_max) {
    SOMETIMES(shard_reads_no_more_in_this_turn);
    home().answers.emplace_back(
        token, fail(ErrorCode::kOverloaded, "more is read at a time than this node answers"));
    return;
  }
  partition::StateMachine& state = *groups_->state(request.mapped().partition);
  auto answer = read_applied(state, request.mapped());
  if (!answer && answer.error().code == ErrorCode::kDamaged) on_engine_damaged(answer.error());
  if (answer) home().answer_bytes += bytes_of(*answer);
  home().answers.emplace_back(token, std::move(answer));
}

void Shard::on_stopped(Error reason) {
  if (!home().stopped) home().stopped = std::move(reason);
}

void Shard::ask_write(std::shared_ptr<const engine::WriteBatch> batch) {
  CHECK(home().write == nullptr);
  home().write = std::move(batch);
}

void Shard::on_leader(PartitionId partition, NodeId leader) {
  home().leaders.emplace_back(partition, leader);
}

}  // namespace kahuna::node
