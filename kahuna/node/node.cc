#include "kahuna/node/node.h"

#include <algorithm>
#include <map>
#include <set>

#include "kahuna/node/dialer.h"
#include "kahuna/node/engine_damage.h"
#include "kahuna/node/engine_queue.h"
#include "kahuna/node/groups.h"
#include "kahuna/node/identity.h"
#include "kahuna/node/journals.h"
#include "kahuna/node/registry.h"
#include "kahuna/node/service.h"
#include "kahuna/node/shards.h"
#include "kahuna/node/status.h"
#include "kahuna/node/wire.h"
#include "kahuna/partition/position.h"
#include "net/codec/frame.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {

// Connections beyond Options::sessions_max, for nodes and for those that have not said who they are.
constexpr size_t kSessionsSpare = 16;
// A connection that was silent for so long may be dead without our knowing: nothing is asked of those
// who dialed, for they ask. Not greeted for so long, it has no business here.
constexpr Duration kSilentMax = Duration::seconds(30);
constexpr Duration kUngreetedMax = Duration::seconds(2);
// A node that is about to stop waits no longer for the requests it has.
constexpr Duration kDrainPatience = Duration::seconds(1);
// A turn's messages to one peer are cut into frames of about this size.
constexpr size_t kBatchBytesMax = 1024 * 1024;
constexpr PartitionId kMetaPartition{0};
// Tokens of no request: those have a generation above 0 in their upper half, and a slot in their lower.
constexpr Token kNoToken = 0;
constexpr Token kRegistryToken = UINT64_MAX;

bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

Result<> validate(const Options& o) {
  if (!valid_name(o.name))
    return fail(ErrorCode::kInvalid, "bad node name '" + o.name + "': use 1..64 of letters, digits, '-', '_', '.'");
  if (o.founders.empty() || o.founders.size() > 9)
    return fail(ErrorCode::kInvalid, "name 1..9 founders, for example --founders n1=127.0.0.1:2073,n2=…");
  bool self = false;
  for (size_t i = 0; i < o.founders.size(); ++i) {
    if (!valid_name(o.founders[i].name))
      return fail(ErrorCode::kInvalid, "bad founder name '" + o.founders[i].name + "'");
    for (size_t j = 0; j < i; ++j)
      if (o.founders[i].name == o.founders[j].name || o.founders[i].address == o.founders[j].address)
        return fail(ErrorCode::kInvalid, "founder '" + o.founders[i].name + "' is listed twice");
    self = self || o.founders[i].name == o.name;
  }
  if (!self) return fail(ErrorCode::kInvalid, "node '" + o.name + "' is not among its own founders");
  if (o.partitions < 1 || o.partitions > 4096)
    return fail(ErrorCode::kInvalid, "the number of partitions must be 1..4096");
  // A command that fits no segment would stop the node that was asked to log it.
  const size_t command = partition::command_bytes_max(o.value_bytes_max);
  const size_t entry = journal::entry_bytes_max(o.journal);
  if (entry < command)
    return fail(ErrorCode::kInvalid, "journal segments of " + std::to_string(o.journal.segment_bytes) +
                                         " bytes hold entries of at most " + std::to_string(entry) +
                                         ", but a command may take " + std::to_string(command) +
                                         "; make segments larger");
  return {};
}

class NodeImpl final : public Node,
                       public Groups::Hooks,
                       public Service::Hooks,
                       public Shards::Hooks,
                       public Dialer::Hooks,
                       public Registry::Hooks,
                       public codec::FrameConnection::Owner {
 public:
  NodeImpl(Host& host, Options options, Callback<void(Error)> on_fatal, Observer* observer)
      : host_(host), options_(std::move(options)), on_fatal_(std::move(on_fatal)), observer_(observer),
        service_(host_, *this, options_), registry_(host_, *this), fibers_(*host.clock, *host.scheduler) {
    if (host.loops && host.loops->count() > 1)
      shards_ = std::make_unique<Shards>(host, *this, options_, observer);
  }

  ~NodeImpl() override {
    alive_.reset();
    host_.clock->cancel(drain_timer_);
    fibers_.cancel_all();
    listener_.reset();
    sessions_.clear();
    dialers_.clear();
    groups_.reset();
    engine_queue_.reset();
    shards_.reset();
    journal_.reset();
    engine_.reset();
  }

  void start() {
    if (auto valid = validate(options_); !valid) return fatal_later(valid.error());
    fibers_.spawn("boot", [this](Suspend s) {
      if (auto booted = boot(s); !booted) fatal_later(booted.error());
    });
  }

  // --- Node ---
  void shut_down(Callback<void()> done) override {
    listener_.reset();
    SOMETIMES(node_shut_down_gracefully);
    if (!groups_) return host_.scheduler->post(std::move(done));
    if (!started_) return groups_->flush(std::move(done));
    stopped_ = std::move(done);
    leaving_ = shards_ ? 2 : 1;
    auto left = [this, alive = std::weak_ptr<char>(alive_)] {
      if (!alive.expired() && --leaving_ == 0) drain();
    };
    if (shards_) shards_->hand_over(left);
    groups_->hand_over(left);
  }
  void move_leader(PartitionId partition, NodeId to) override {
    if (started_) (void)transfer(partition, to, kNoToken);
  }
  void leave(size_t loop) override {
    if (shards_) shards_->leave(loop);
  }
  bool booted() const override { return started_; }
  NodeId id() const override { return identity_ ? identity_->node() : NodeId(); }
  Address address() const override { return listener_ ? listener_->address() : Address(); }
  std::vector<PartitionId> partitions() const override;
  const raft::Replica* replica(PartitionId id) const override {
    Groups* groups = groups_of(id);
    return groups ? groups->replica(id) : nullptr;
  }
  const partition::StateMachine* state(PartitionId id) const override {
    Groups* groups = groups_of(id);
    return groups ? groups->state(id) : nullptr;
  }

  // --- Groups::Hooks ---
  void send(const raft::Message& message) override {
    Dialer* dialer = dialer_of(message.to.node);
    if (!dialer || !dialer->up() || FAULT_POINT(peer_message_is_lost)) return;
    dialer->outbox.add(message);
    if (dialer->outbox.bytes() >= kBatchBytesMax) flush(*dialer);
  }
  void send(const SnapshotPart& part) override { send_to(part.to.node, part); }
  void send(const SnapshotReply& reply) override { send_to(reply.to.node, reply); }
  void messages_sent() override {
    for (auto& dialer : dialers_)
      if (dialer->up() && !dialer->outbox.empty()) flush(*dialer);
  }
  void on_write(Token token, Result<partition::Reply> reply) override {
    if (token == kRegistryToken) return registry_.proposal_done(reply);
    service_.on_write(token, std::move(reply));
  }
  void on_serving(PartitionId partition) override {
    if (partition == kMetaPartition) registry_.update();
  }
  void on_read(Token token, Result<> granted) override {
    if (!granted) return service_.on_read(token, fail(std::move(granted.error())));
    const ReadRequest* request = service_.reading(token);
    if (!request) return;
    auto answer = read_applied(*groups_->state(request->partition), *request);
    if (!answer && answer.error().code == ErrorCode::kDamaged) on_engine_damaged(answer.error());
    service_.on_read(token, std::move(answer));
  }
  void on_transfer(Token token, Result<> moved) override { service_.on_transfer(token, std::move(moved)); }
  void on_stopped(Error reason) override { fatal_later(std::move(reason)); }
  void on_engine_damaged(Error reason) override;
  void on_disk_full(std::string_view why) override { on_shard_disk_full(0, why); }
  void on_damage(std::string text) override {
    if (options_.on_damage) options_.on_damage(text);
  }

  // --- Shards::Hooks ---
  void send_frame(NodeId peer, ByteView frame) override {
    Dialer* dialer = dialer_of(peer);
    if (dialer && dialer->up()) (void)dialer->send(codec::FrameKind::kPeer, frame);
  }
  void on_read_answer(Token token, Result<ReadAnswer> answer) override {
    service_.on_read(token, std::move(answer));
  }
  void on_shard_stopped(Error reason) override { fatal_later(std::move(reason)); }
  void on_shard_engine_damaged(Error reason) override { on_engine_damaged(std::move(reason)); }
  void on_shard_disk_full(size_t loop, std::string_view why) override;
  void on_shard_damage(std::string text) override { on_damage(std::move(text)); }
  void hear(Watermark watermark) override { service_.hear(watermark); }
  engine::Engine& engine() override { return *engine_queue_; }

  // --- Service::Hooks ---
  void respond(uint64_t session, ByteView response) override {
    auto it = sessions_.find(session);
    if (it == sessions_.end()) return;
    // A client that does not read its answers loses its connection, not our memory.
    if (!it->second.connection->send(codec::FrameKind::kResponse, response)) close_soon(session);
  }
  Result<> forward(NodeId to, ByteView request) override {
    Dialer* dialer = dialer_of(to);
    if (!dialer || FAULT_POINT(forwarding_is_refused))
      return fail(ErrorCode::kUnavailable, "the leader is not a known node");
    return dialer->send(codec::FrameKind::kRequest, request);
  }
  std::string address_of(NodeId node) const override;
  NodeId node_named(std::string_view name) const override;
  void collect_status(uint64_t session, uint64_t request) override;
  NodeId leader_of(PartitionId partition) const override {
    if (is_elsewhere(partition)) return shards_->leader_of(partition);
    const raft::Replica* replica = groups_->replica(partition);
    return replica ? replica->leader().node : NodeId();
  }
  Result<> propose(PartitionId partition, partition::Command command, Token token) override {
    if (!is_elsewhere(partition)) return groups_->propose(partition, command, token);
    shards_->propose(partition, std::move(command), token);
    return {};
  }
  Result<> read(const ReadRequest& request, Token token) override {
    if (!is_elsewhere(request.partition)) return groups_->read(request.partition, token);
    shards_->read(request, token);
    return {};
  }

  Result<> transfer(PartitionId partition, NodeId to, Token token) override {
    if (!is_elsewhere(partition)) return groups_->transfer(partition, to, token);
    shards_->transfer(partition, to, token);
    return {};
  }

  // --- Dialer::Hooks ---
  Hello greeting() const override;
  Result<> on_greeted(Dialer& dialer, const Hello& hello) override;
  void on_response(Dialer&, ByteView payload) override {
    if (const wire::Response* response = decode_response(payload)) service_.on_response(*response);
  }
  void on_down(Dialer& dialer) override {
    if (!dialer.node) return;
    service_.on_peer_down(dialer.node);
    peer_disconnected(dialer.node);
  }

  void on_refused(Dialer&, const Hello& hello) override {
    // The others remember what this directory has forgotten.
    if (hello.refused_code == ErrorCode::kRolledBack) fatal_later({ErrorCode::kRolledBack, hello.refused});
  }

  // --- Registry::Hooks ---
  partition::StateMachine* meta() override { return groups_ ? groups_->state(kMetaPartition) : nullptr; }
  bool leads_meta() const override {
    const raft::Replica* replica = groups_ ? groups_->replica(kMetaPartition) : nullptr;
    return replica && replica->can_serve();
  }
  Result<> propose_to_meta(partition::Command command) override {
    command.watermark = service_.watermark();
    return groups_->propose(kMetaPartition, command, kRegistryToken);
  }
  Watermark watermark() const override { return service_.watermark(); }

  // --- accepted connections ---
  void on_frame(codec::FrameConnection& connection, codec::FrameKind kind, ByteView payload) override;
  void on_disconnect(codec::FrameConnection& connection, Error reason) override;

 private:
  struct Session {
    std::unique_ptr<codec::FrameConnection> connection;
    bool greeted = false;
    wire::Role role = wire::Role::Client;
    NodeId node;
    uint64_t boot = 0;
    Time heard;  // last frame, or when it was accepted
  };

  Result<> boot(Suspend s);
  Result<> open_journals(Suspend s);
  Result<> open_journal(Suspend s, const Layout& layout);
  Result<> lay_out_journals(Suspend s);
  Result<> copy_journals(Suspend s, const Layout& before, const Layout& after);
  Result<> start_groups(Suspend s);
  Result<> open_engine(Suspend s);
  // No other node has what this one's engine holds.
  bool is_alone() const {
    return identity_ && identity_->founding() && identity_->founding()->members.size() < 2;
  }
  size_t loops() const { return shards_ ? shards_->count() : 1; }
  // On another loop than this one.
  bool is_elsewhere(PartitionId partition) const { return shards_ && shards_->has(partition); }
  Groups* groups_of(PartitionId partition) const {
    return is_elsewhere(partition) ? shards_->groups_of(partition) : groups_.get();
  }
  void peer_disconnected(NodeId peer) {
    if (!groups_) return;
    groups_->peer_disconnected(peer);
    if (shards_) shards_->peer_disconnected(peer);
  }
  NodeStatus status() const;
  // Others lead what this node led: ends the requests that it still has, then the node.
  void drain() {
    auto idle = [this, alive = std::weak_ptr<char>(alive_)] {
      if (alive.expired() || !stopped_) return;
      host_.clock->cancel(drain_timer_);
      groups_->flush(std::exchange(stopped_, {}));
    };
    drain_timer_ = host_.clock->call_at(host_.clock->now() + kDrainPatience, idle);
    service_.close(idle);
  }
  void accept(std::unique_ptr<Stream> stream);
  // Closes the connection that is likeliest dead, if any is.
  void make_room();
  void greet(Session& session, uint64_t id, ByteView payload);
  Result<> judge_peer(const Hello& hello) const;
  void on_peer_batch(Session& session, const wire::PeerBatch& batch, ByteView bytes);
  void consider_founding();
  void adopt_founding(Founding founding);
  void offer_founding(Dialer& dialer);
  void flush(Dialer& dialer) {
    (void)dialer.send(codec::FrameKind::kPeer,
                      dialer.outbox.finish(identity_->node(), dialer.node, service_.watermark()));
    dialer.outbox.clear();
  }
  template <class Value>
  void send_to(NodeId node, const Value& value) {
    Dialer* dialer = dialer_of(node);
    if (!dialer || !dialer->up()) return;
    dialer->outbox.add(value);
    if (dialer->outbox.bytes() >= kBatchBytesMax) flush(*dialer);
  }
  void close_soon(uint64_t session);
  Dialer* dialer_of(NodeId node) const {
    for (const auto& dialer : dialers_)
      if (dialer->node == node) return dialer.get();
    return nullptr;
  }
  const FoundingMember* member(NodeId node) const {
    if (!identity_ || !identity_->founding()) return nullptr;
    for (const FoundingMember& m : identity_->founding()->members)
      if (m.node == node) return &m;
    return nullptr;
  }
  // A node's configured address wins over the one it was founded with.
  Address address_for(const std::string& name, const Address& otherwise) const {
    for (const Founder& f : options_.founders)
      if (f.name == name) return f.address;
    return otherwise;
  }
  void fatal_later(Error error) {
    if (!on_fatal_ || failing_) return;
    failing_ = true;
    host_.scheduler->post([this, error, alive = std::weak_ptr<char>(alive_)] {
      if (!alive.expired()) std::exchange(on_fatal_, {})(error);
    });
  }

  Host& host_;
  const Options options_;
  Callback<void(Error)> on_fatal_;
  Observer* observer_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  bool failing_ = false;
  bool engine_damaged_ = false;

  std::unique_ptr<Identity> identity_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<EngineQueue> engine_queue_;  // null when there is no other loop
  std::unique_ptr<journal::Journal> journal_;  // of the home loop, as groups_
  RecoveredGroups recovered_;
  Service service_;
  std::unique_ptr<Groups> groups_;
  std::unique_ptr<Shards> shards_;  // null when there is no other loop
  bool started_ = false;
  size_t leaving_ = 0;        // loops that still lead, when stopping
  Callback<void()> stopped_;  // to be told
  TimerId drain_timer_ = 0;
  std::vector<std::unique_ptr<Dialer>> dialers_;  // in the founders' order
  std::unique_ptr<Listener> listener_;
  std::map<uint64_t, Session> sessions_;
  uint64_t next_session_ = 1;
  Registry registry_;
  std::optional<Founding> offered_founding_;   // to be made durable
  bool founding_now_ = false;
  std::set<size_t> full_loops_;                // whose disk is full
  Fibers fibers_;
};

// --- boot ---

Result<> NodeImpl::boot(Suspend s) {
  ASSIGN_OR_RETURN(identity_, Identity::load(s, host_, options_.name, loops()));
  RETURN_IF_ERROR(open_engine(s));
  RETURN_IF_ERROR(open_journals(s));
  ASSIGN_OR_RETURN(listener_, host_.network->listen(options_.listen, [this](std::unique_ptr<Stream> stream) {
                     accept(std::move(stream));
                   }));
  for (const Founder& f : options_.founders)
    if (f.name != options_.name)
      dialers_.push_back(std::make_unique<Dialer>(host_, *this, f.name, f.address));
  if (identity_->founding()) return start_groups(s);
  consider_founding();
  return {};
}

Result<> NodeImpl::open_journals(Suspend s) {
  if (identity_->journals_left()) {
    RETURN_IF_ERROR(remove_other_journals(s, host_, options_.journal, identity_->layout()));
    RETURN_IF_ERROR(identity_->lay_out(s, host_, identity_->layout(), false));
  }
  if (identity_->layout().loops != loops()) return lay_out_journals(s);
  RETURN_IF_ERROR(open_journal(s, identity_->layout()));
  recovered_ = journal_->take_recovered();
  if (!shards_) return {};
  return shards_->open(s, identity_->layout(), options_.journal.dir);
}

Result<> NodeImpl::open_journal(Suspend s, const Layout& layout) {
  journal::Options options = options_.journal;
  options.dir = layout.journal_dir(options.dir, 0);
  ASSIGN_OR_RETURN(journal_, journal::Journal::open(s, host_, fibers_, std::move(options),
                                                    [this, alive = std::weak_ptr<char>(alive_)](Error error) {
                                                      if (!alive.expired()) fatal_later(std::move(error));
                                                    }));
  return {};
}

// The number of loops has changed: journals.h.
Result<> NodeImpl::lay_out_journals(Suspend s) {
  SOMETIMES(journals_laid_out_anew);
  const Layout before = identity_->layout(), after{loops(), identity_->boot().number};
  if (auto copied = copy_journals(s, before, after); !copied) {
    Error error = std::move(copied.error());
    error.text += "; this while the logs were copied for --loops " + std::to_string(after.loops) + "; they are as they were, for --loops " +
                  std::to_string(before.loops);
    return fail(std::move(error));
  }
  RETURN_IF_ERROR(identity_->lay_out(s, host_, after, true));
  RETURN_IF_ERROR(remove_other_journals(s, host_, options_.journal, after));
  return identity_->lay_out(s, host_, after, false);
}

Result<> NodeImpl::copy_journals(Suspend s, const Layout& before, const Layout& after) {
  RETURN_IF_ERROR(identity_->lay_out(s, host_, before, true));
  ASSIGN_OR_RETURN(RecoveredGroups groups, read_journals(s, host_, options_.journal, before));
  if (MUTANT(layout_stored_before_journals)) RETURN_IF_ERROR(identity_->lay_out(s, host_, after, true));
  if (MUTANT(old_journals_removed_before_layout))
    RETURN_IF_ERROR(remove_other_journals(s, host_, options_.journal, after));
  RETURN_IF_ERROR(open_journal(s, after));
  recovered_ = take_groups_of(0, after, groups);
  if (shards_) {
    RETURN_IF_ERROR(shards_->open(s, after, options_.journal.dir));
    RETURN_IF_ERROR(shards_->adopt(s, after, groups));
  }
  return journal_->adopt(s, recovered_);
}

Result<> NodeImpl::start_groups(Suspend s) {
  const Founding& founding = *identity_->founding();
  if (shards_) {
    engine_queue_ = std::make_unique<EngineQueue>(*engine_, [this] {
      shards_->flushed(MUTANT(unflushed_marks_told) ? engine_->applied() : engine_->flushed());
      groups_->flushed();
    });
  }
  engine::Engine& engine = shards_ ? *engine_queue_ : *engine_;
  RETURN_IF_ERROR(forget_damaged_engine(s, *host_.disk));
  auto groups = std::make_unique<Groups>(host_, *this, *journal_, engine, identity_->node(), options_, observer_);
  Shard::Start start{identity_->node(), founding, identity_->layout(), engine_.get(), engine_->applied()};
  if (auto added = add_groups(*groups, founding, identity_->layout(), 0, recovered_); !added) {
    // The engine is all that is read there.
    if (added.error().code == ErrorCode::kDamaged && !is_alone())
      RETURN_IF_ERROR(note_damaged_engine(s, *host_.disk));
    return added;
  }
  groups_ = std::move(groups);
  if (shards_) RETURN_IF_ERROR(shards_->start(s, start));
  Watermark stamp;
  for (PartitionId id : groups_->ids())
    if (partition::StateMachine* state = groups_->state(id)) stamp = std::max(stamp, state->last_stamp());
  service_.open(partition::founding_descriptors(founding.partitions), identity_->node(), stamp);
  registry_.open(identity_->node(), identity_->boot(), encode_founding(founding));
  groups_->start();
  started_ = true;
  return {};
}

// --- a damaged engine ---

// With other replicas to ask, an engine that is damaged is set up anew.
Result<> NodeImpl::open_engine(Suspend s) {
  const bool alone = is_alone();
  ASSIGN_OR_RETURN(bool known, is_engine_damaged(s, *host_.disk));
  std::string why = "as it found when it last ran";
  if (!known || alone) {
    auto opened = options_.open_engine(s, host_, fibers_);
    if (opened) engine_ = std::move(*opened);
    if (opened || alone || opened.error().code != ErrorCode::kDamaged) {
      if (opened) return {};
      return fail(std::move(opened.error()));
    }
    why = opened.error().text;
    RETURN_IF_ERROR(note_damaged_engine(s, *host_.disk));
  }
  SOMETIMES(engine_set_up_anew);
  on_damage("the store of node '" + options_.name + "' is damaged (" + why +
            "): it is set up anew from the log and the other nodes");
  RETURN_IF_ERROR(remove_engine(s, *host_.disk, options_.engine_dir));
  ASSIGN_OR_RETURN(engine_, options_.open_engine(s, host_, fibers_));
  return {};
}

void NodeImpl::on_engine_damaged(Error reason) {
  if (is_alone()) return fatal_later(std::move(reason));
  if (std::exchange(engine_damaged_, true)) return;
  fibers_.spawn("engine damage", [this, reason = std::move(reason)](Suspend s) mutable {
    if (auto noted = note_damaged_engine(s, *host_.disk); !noted) return fatal_later(noted.error());
    reason.text += "; the store is set up anew from the other nodes when this node is started again";
    fatal_later(std::move(reason));
  });
}

std::vector<PartitionId> NodeImpl::partitions() const {
  std::vector<PartitionId> ids;
  if (!groups_) return ids;
  ids = groups_->ids();
  for (size_t loop = 1; loop < loops(); ++loop) {
    Groups* groups = shards_->groups(loop);
    if (!groups) continue;
    std::vector<PartitionId> more = groups->ids();
    ids.insert(ids.end(), more.begin(), more.end());
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

// --- founding: the first listed founder mints, when it has met all the others unfounded ---

void NodeImpl::consider_founding() {
  if (identity_->founding() || founding_now_ || options_.founders.front().name != options_.name) return;
  Founding founding;
  for (const Founder& f : options_.founders) {
    NodeId node = identity_->node();
    if (f.name != options_.name) {
      auto it = std::find_if(dialers_.begin(), dialers_.end(), [&](const auto& d) { return d->name() == f.name; });
      if (!(*it)->up()) return;
      node = (*it)->node;
    }
    founding.members.push_back({node, f.name, f.address, 1});
  }
  founding.cluster = ClusterId(host_.random("cluster-id").next() | 1);
  founding.partitions = options_.partitions;
  adopt_founding(std::move(founding));
}

void NodeImpl::adopt_founding(Founding founding) {
  if (identity_->founding() || founding_now_) return;
  founding_now_ = true;
  offered_founding_ = std::move(founding);
  fibers_.spawn("found", [this](Suspend s) {
    auto stored = identity_->found(s, host_, std::move(*offered_founding_));
    if (stored) stored = start_groups(s);
    if (!stored) return fatal_later(stored.error());
    for (auto& dialer : dialers_)
      if (dialer->up()) offer_founding(*dialer);
  });
}

void NodeImpl::offer_founding(Dialer& dialer) {
  if (!identity_->founding()) return;
  dialer.outbox.set_founding(encode_founding(*identity_->founding()), false);
  flush(dialer);
}

// --- peers ---

Hello NodeImpl::greeting() const {
  Hello h;
  h.role = wire::Role::Node;
  h.node = id();
  if (identity_) h.boot = identity_->boot();
  h.name = options_.name;
  h.watermark = service_.watermark();
  h.address = to_string(address_for(options_.name, options_.listen));
  if (identity_ && identity_->founding()) {
    h.founded = true;
    h.cluster = identity_->founding()->cluster;
    for (const FoundingMember& m : identity_->founding()->members)
      h.members.push_back({m.node, m.name, to_string(address_for(m.name, m.address))});
  }
  return h;
}

Result<> NodeImpl::judge_peer(const Hello& hello) const {
  if (!identity_ || hello.node == identity_->node() || !hello.node)
    return fail(ErrorCode::kInvalid, "a node cannot be its own peer");
  const auto& founding = identity_->founding();
  if (founding && hello.cluster && hello.cluster != founding->cluster)
    return fail(ErrorCode::kWrongCluster, "node '" + hello.name + "' belongs to another cluster; check --founders and --data");
  if (founding && !member(hello.node))
    return fail(ErrorCode::kWrongCluster, "node '" + hello.name + "' is not a member of this cluster: its data directory is new or "
                                          "was replaced; a lost directory cannot rejoin under its old name");
  if (!founding && std::none_of(options_.founders.begin(), options_.founders.end(),
                                [&](const Founder& f) { return f.name == hello.name; }))
    return fail(ErrorCode::kWrongCluster, "node '" + hello.name + "' is not among this node's --founders");
  return registry_.judge(hello.node, hello.name, hello.boot);
}

Result<> NodeImpl::on_greeted(Dialer& dialer, const Hello& hello) {
  RETURN_IF_ERROR(judge_peer(hello));
  if (hello.role != wire::Role::Node || hello.name != dialer.name())
    return fail(ErrorCode::kWrongCluster, "the node at " + to_string(dialer.address()) + " is '" + hello.name + "', not '" + dialer.name() + "'");
  dialer.node = hello.node;
  registry_.heard(hello.node, hello.boot);
  service_.hear(hello.watermark);
  // The dialer counts as up only after this returns.
  host_.scheduler->post([this, alive = std::weak_ptr<char>(alive_), name = dialer.name(), founded = hello.founded] {
    if (alive.expired()) return;
    for (auto& d : dialers_)
      if (d->name() == name && d->up() && !founded) offer_founding(*d);
    consider_founding();
  });
  return {};
}

void NodeImpl::on_peer_batch(Session& session, const wire::PeerBatch& batch, ByteView bytes) {
  if (NodeId(batch.from()) != session.node || NodeId(batch.to()) != identity_->node()) return;
  service_.hear(Watermark(batch.watermark()));
  if (batch.founding() && !identity_->founding()) {
    auto founding = decode_founding(as_bytes(text_of(batch.founding())));
    if (founding) {
      bool listed = std::any_of(founding->members.begin(), founding->members.end(), [&](const FoundingMember& m) {
        return m.node == identity_->node() && m.name == options_.name;
      });
      if (!listed)
        return fatal_later({ErrorCode::kWrongCluster, "this cluster was founded without this data directory; a node whose "
                                                      "directory was lost cannot rejoin under its old name"});
      adopt_founding(std::move(*founding));
    }
  }
  if (!groups_) return;
  NodeId from = session.node, to = identity_->node();
  if (shards_) shards_->receive(from, batch, bytes);
  // Groups takes no message for a partition that is not its own.
  if (batch.messages())
    for (const auto* m : *batch.messages()) groups_->receive(to_message(*m, from, to));
  if (batch.heartbeats())
    for (const auto* h : *batch.heartbeats()) groups_->receive(to_message(*h, false, from, to));
  if (batch.heartbeat_replies())
    for (const auto* h : *batch.heartbeat_replies()) groups_->receive(to_message(*h, true, from, to));
  if (batch.snapshot_parts())
    for (const auto* p : *batch.snapshot_parts())
      if (!is_elsewhere(PartitionId(p->group()))) groups_->receive(to_part(*p, from, to));
  if (batch.snapshot_replies())
    for (const auto* r : *batch.snapshot_replies()) groups_->receive(to_reply(*r, from, to));
}

// --- accepted connections ---

void NodeImpl::accept(std::unique_ptr<Stream> stream) {
  if (sessions_.size() >= options_.sessions_max) make_room();
  if (sessions_.size() >= options_.sessions_max + kSessionsSpare) return;  // closes it
  uint64_t id = next_session_++;
  Session session;
  session.heard = host_.clock->now();
  session.connection = std::make_unique<codec::FrameConnection>(*host_.scheduler, std::move(stream), *this,
                                                                codec::FrameConnection::Options{});
  session.connection->tag = id;
  sessions_.emplace(id, std::move(session));
}

void NodeImpl::make_room() {
  auto victim = sessions_.end();
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
    const Session& s = it->second;
    const Duration silent = host_.clock->now() - s.heard;
    if (s.role == wire::Role::Node || silent < (s.greeted ? kSilentMax : kUngreetedMax)) continue;
    if (victim == sessions_.end() || s.heard < victim->second.heard) victim = it;
  }
  if (victim == sessions_.end() || MUTANT(silent_sessions_kept)) return;
  SOMETIMES(silent_session_makes_room);
  sessions_.erase(victim);
}

void NodeImpl::on_frame(codec::FrameConnection& connection, codec::FrameKind kind, ByteView payload) {
  uint64_t id = connection.tag;
  Session& session = sessions_.find(id)->second;
  session.heard = host_.clock->now();
  if (!session.greeted) {
    if (kind != codec::FrameKind::kHello) {
      sessions_.erase(id);
      return;
    }
    return greet(session, id, payload);
  }
  if (kind == codec::FrameKind::kRequest) {
    const wire::Request* request = decode_request(payload);
    if (!request || (request->forwarded() && session.role != wire::Role::Node)) {
      sessions_.erase(id);
      return;
    }
    return service_.on_request(id, *request);
  }
  if (kind == codec::FrameKind::kPing) {
    if (!connection.send(codec::FrameKind::kPong, {})) close_soon(id);
    return;
  }
  if (kind == codec::FrameKind::kPeer && session.role == wire::Role::Node) {
    if (const wire::PeerBatch* batch = decode_peer_batch(payload)) {
      on_peer_batch(session, *batch, payload);
      // The peer takes us for founded, so its offer was lost: it offers again after it greeted again.
      if (identity_->founding() || founding_now_ || batch->founding()) return;
      SOMETIMES(founding_offer_lost);
      sessions_.erase(id);
      return;
    }
  }
  sessions_.erase(id);
}

void NodeImpl::greet(Session& session, uint64_t id, ByteView payload) {
  auto hello = decode_hello(payload);
  Hello answer = greeting();
  Result<> accepted;
  if (!hello) {
    accepted = fail(hello.error());
  } else if (hello->role == wire::Role::Node) {
    accepted = judge_peer(*hello);
  } else if (hello->cluster && answer.cluster && hello->cluster != answer.cluster) {
    accepted = fail(ErrorCode::kWrongCluster, "this node belongs to another cluster than the one this client talked to before; "
                                              "check --endpoints");
  } else if (sessions_.size() > options_.sessions_max) {
    SOMETIMES(client_refused_for_room);
    accepted = fail(ErrorCode::kOverloaded, "this node has as many connections as it may have; try another, or later");
  }
  if (!accepted) {
    answer.refused = accepted.error().text;
    answer.refused_code = accepted.error().code;
  }
  (void)session.connection->send(codec::FrameKind::kHello, as_bytes(encode_hello(answer)));
  if (!accepted) return close_soon(id);
  session.greeted = true;
  session.role = hello->role;
  service_.hear(hello->watermark);
  if (hello->role != wire::Role::Node) return;
  session.node = hello->node;
  session.boot = hello->boot.number;
  registry_.heard(hello->node, hello->boot);
  // A node dials anew only when its earlier connection was lost to it, or it is from an earlier boot:
  // that one speaks for nobody any more, whether or not we were told.
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    bool stale = it->first != id && it->second.node == hello->node;
    if (stale) SOMETIMES(stale_peer_connection_closed);
    it = stale ? sessions_.erase(it) : std::next(it);
  }
}

void NodeImpl::on_disconnect(codec::FrameConnection& connection, Error) {
  auto it = sessions_.find(connection.tag);
  NodeId node = it->second.node;
  uint64_t boot = it->second.boot;
  sessions_.erase(it);
  // Of a later boot there are other connections.
  if (node && registry_.met(node).number == boot) peer_disconnected(node);
}

void NodeImpl::close_soon(uint64_t session) {
  // Not at once: what was just queued is sent at the end of this turn.
  host_.clock->call_at(host_.clock->now() + Duration::millis(100), [this, session, alive = std::weak_ptr<char>(alive_)] {
    if (!alive.expired()) sessions_.erase(session);
  });
}

// --- status ---

void NodeImpl::on_shard_disk_full(size_t loop, std::string_view why) {
  bool was_full = !full_loops_.empty();
  if (why.empty())
    full_loops_.erase(loop);
  else
    full_loops_.insert(loop);
  if (options_.on_disk_full && was_full == full_loops_.empty()) options_.on_disk_full(why);
}

std::string NodeImpl::address_of(NodeId node) const {
  const FoundingMember* m = member(node);
  return m ? to_string(address_for(m->name, m->address)) : std::string();
}

NodeId NodeImpl::node_named(std::string_view name) const {
  for (const FoundingMember& m : identity_->founding()->members)
    if (m.name == name) return m.node;
  return NodeId();
}

NodeStatus NodeImpl::status() const {
  NodeStatus status;
  status.name = options_.name;
  status.node = id();
  status.boot = identity_ ? identity_->boot().number : 0;
  status.serving = started_;
  status.loops = loops();
  status.disk_full = !full_loops_.empty();
  if (identity_ && identity_->founding()) {
    status.cluster = identity_->founding()->cluster;
    status.members = identity_->founding()->members;
  }
  status.watermark = service_.watermark();
  status.in_flight = service_.in_flight();
  status.sessions = sessions_.size();
  for (const auto& d : dialers_) status.peers.push_back({d->name(), d->address(), d->up()});
  LoopStatus home;
  if (journal_) home.journal = journal_->statistics();
  if (groups_) {
    for (PartitionId id : groups_->ids()) home.replicas.push_back(groups_->replica(id)->status());
    home.damaged = groups_->damaged();
  }
  status.parts.push_back(std::move(home));
  return status;
}

void NodeImpl::collect_status(uint64_t session, uint64_t request) {
  if (!shards_ || !started_) return service_.answer_status(session, request, to_json(status()));
  shards_->collect_status([this, session, request](std::vector<LoopStatus> others) {
    NodeStatus all = status();
    for (LoopStatus& other : others) all.parts.push_back(std::move(other));
    service_.answer_status(session, request, to_json(all));
  });
}

}  // namespace

std::unique_ptr<Node> Node::start(Host& host, Options options, Callback<void(Error)> on_fatal,
                                  Observer* observer) {
  auto node = std::make_unique<NodeImpl>(host, std::move(options), std::move(on_fatal), observer);
  node->start();
  return node;
}

}  // namespace kahuna::node
