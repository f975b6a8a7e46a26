// A node's parts and how they hang together: the class behind node.h. Included by node*.cc only:
// node.cc (status, stopping), node_boot.cc (from a directory to running replicas), node_peers.cc
// (founding, other nodes), node_members.cc (when the roster changes), node_sessions.cc (accepted
// connections).
#pragma once

#include <algorithm>
#include <map>
#include <set>

#include "kahuna/node/departure.h"
#include "kahuna/node/dialer.h"
#include "kahuna/node/engine_queue.h"
#include "kahuna/node/groups.h"
#include "kahuna/node/identity.h"
#include "kahuna/node/joiner.h"
#include "kahuna/node/membership.h"
#include "kahuna/node/node.h"
#include "kahuna/node/registry.h"
#include "kahuna/node/scrubber.h"
#include "kahuna/node/service.h"
#include "kahuna/node/shards.h"
#include "kahuna/node/signs_of_life.h"
#include "kahuna/node/status.h"
#include "kahuna/node/wire.h"
#include "net/codec/frame.h"
#include "runtime/probe.h"

namespace kahuna::node {

// A node that is about to stop waits no longer for the requests it has.
inline constexpr Duration kDrainPatience = Duration::seconds(1);
// ... nor for its engine, when that has no room, or is slow: the log has what it lacks.
inline constexpr Duration kLastFlushPatience = Duration::seconds(10);
// A turn's messages to one peer are cut into frames of about this size.
inline constexpr size_t kBatchBytesMax = 1024 * 1024;
inline constexpr PartitionId kMetaPartition{0};
// Tokens of no request: those have a generation above 0 in their upper half, and a slot in their
// lower.
inline constexpr Token kNoToken = 0;
inline constexpr Token kRegistryToken = UINT64_MAX;

class NodeImpl final : public Node,
                       public Groups::Hooks,
                       public Service::Hooks,
                       public Shards::Hooks,
                       public Dialer::Hooks,
                       public Registry::Hooks,
                       public SignsOfLife::Hooks,
                       public Membership::Hooks,
                       public Departure::Hooks,
                       public Joiner::Hooks,
                       public Scrubber::Hooks,
                       public codec::FrameConnection::Owner {
 public:
  NodeImpl(Host& host, Options options, Callback<void(Error)> on_fatal, Observer* observer)
      : host_(host),
        options_(std::move(options)),
        on_fatal_(std::move(on_fatal)),
        observer_(observer),
        service_(host_, *this, options_),
        registry_(host_, *this),
        signs_(*host.clock, *this),
        membership_(*this),
        departure_(host_, *this),
        scrubber_(host_, *this),
        fibers_(*host.clock, *host.scheduler) {
    if (host.loops && host.loops->count() > 1)
      shards_ = std::make_unique<Shards>(host, *this, options_, observer);
  }

  ~NodeImpl() override {
    alive_.reset();
    host_.clock->cancel(drain_timer_);
    host_.clock->cancel(dialers_timer_);
    fibers_.cancel_all();
    listener_.reset();
    sessions_.clear();
    dialers_.clear();
    joiner_.reset();
    groups_.reset();
    engine_queue_.reset();
    shards_.reset();
    journal_.reset();
    engine_.reset();
  }

  void start();

  // --- Node ---
  void shut_down(Callback<void()> done) override {
    listener_.reset();
    SOMETIMES(node_shut_down_gracefully);
    if (!groups_) return host_.scheduler->post(std::move(done));
    stopped_ = std::move(done);
    if (!started_) return flush_last();
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
  bool renews_engine() const override { return renews_engine_; }
  bool booted() const override { return started_; }
  std::string asked() const override;
  NodeId id() const override { return identity_ ? identity_->node() : NodeId(); }
  uint64_t boot() const override { return identity_ ? identity_->boot().number : 0; }
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
  void on_applied(PartitionId partition) override {
    if (partition == kMetaPartition) membership_.update();
  }
  void on_read(Token token, Result<> granted) override {
    if (!granted) return service_.on_read(token, fail(std::move(granted.error())));
    const ReadRequest* request = service_.reading(token);
    if (!request) return;
    auto answer = read_applied(*groups_->state(request->partition), *request);
    if (!answer && answer.error().code == ErrorCode::kDamaged) on_engine_damaged(answer.error());
    service_.on_read(token, std::move(answer));
  }
  void on_transfer(Token token, Result<> moved) override {
    service_.on_transfer(token, std::move(moved));
  }
  void on_stopped(Error reason) override { fatal_later(std::move(reason)); }
  void on_engine_damaged(Error reason) override;
  void on_disk_full(std::string_view why) override { on_shard_disk_full(0, why); }
  void on_slow_disk(std::string text) override {
    if (options_.on_slow_disk) options_.on_slow_disk(text);
  }
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
  void on_shard_slow_disk(std::string text) override { on_slow_disk(std::move(text)); }
  void hear(Watermark watermark) override { service_.hear(watermark); }  // and of Joiner::Hooks
  engine::Engine& engine() override { return *engine_queue_; }

  // --- Service::Hooks ---
  void respond(uint64_t session, ByteView response) override {
    auto it = sessions_.find(session);
    if (it == sessions_.end()) return;
    // Who does not read what writes came to, either, loses its connection, not our memory.
    if (!it->second.connection->send(codec::FrameKind::kResponse, response)) close_soon(session);
  }
  bool takes_answers(uint64_t session) const override {
    auto it = sessions_.find(session);
    return it == sessions_.end() ||
           it->second.connection->unsent_bytes() < options_.answer_bytes_max;
  }
  Result<> forward(NodeId to, ByteView request) override {
    Dialer* dialer = dialer_of(to);
    if (!dialer || FAULT_POINT(forwarding_is_refused))
      return fail(ErrorCode::kUnavailable,
                  "the partition's leader is a node that this one is not connected to");
    if (MUTANT(requests_among_replicas)) return dialer->send(codec::FrameKind::kRequest, request);
    return dialer->requests->send(codec::FrameKind::kRequest, request);
  }
  std::string address_of(NodeId node) const override;
  NodeId node_named(std::string_view name) const override;
  void collect_status(uint64_t session, uint64_t request) override;
  NodeId leader_of(PartitionId partition) const override {
    if (is_elsewhere(partition)) return shards_->leader_of(partition);
    const raft::Replica* replica = groups_->replica(partition);
    return replica ? replica->leader().node : NodeId();
  }
  void wake(PartitionId partition) override {
    if (is_elsewhere(partition)) return shards_->wake(partition);
    groups_->wake(partition);
  }
  Result<> propose(PartitionId partition, partition::Command command, Token token) override {
    if (!is_elsewhere(partition)) return groups_->propose(partition, command, token);
    return shards_->propose(partition, std::move(command), token);
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

  Result<std::optional<partition::Command>> members_command(std::string_view wish) override {
    return membership_.command(wish);
  }

  std::string scrub(std::string_view node) override {
    if (node == options_.name && started_) scrubber_.begin();
    return scrubber_.to_json(options_.name);
  }

  // --- Scrubber::Hooks ---
  size_t loops() const override { return shards_ ? shards_->count() : 1; }
  journal::ScrubReport scrub_journal(Suspend s, size_t loop) override {
    return loop > 0 ? shards_->scrub(s, loop) : journal_->scrub(s, options_.scrub_bytes_per_second);
  }
  Result<uint64_t> scrub_engine(Suspend s) override {
    return engine_->scrub(s, options_.scrub_bytes_per_second);
  }
  void on_engine_rotten(Error reason) override;

  // --- Membership::Hooks, Departure::Hooks, Joiner::Hooks (node_members.cc) ---
  void on_roster() override;
  void ask_whether_gone() override;
  void on_departed() override;
  void on_join_refused(Error error) override { fatal_later(std::move(error)); }

  // --- Dialer::Hooks ---
  Hello greeting(const Dialer& dialer) const override {
    Hello hello = greeting();
    if (dialer.for_requests()) hello.role = wire::Role::Forwarder;
    return hello;
  }
  Result<> on_greeted(Dialer& dialer, const Hello& hello) override;
  void on_response(Dialer&, ByteView payload) override {
    if (const wire::Response* response = decode_response(payload)) service_.on_response(*response);
  }
  void on_heard(Dialer& dialer) override {
    if (dialer.node) signs_.heard(dialer.node);
  }
  void on_down(Dialer& dialer) override {
    if (!dialer.node) return;
    if (dialer.for_requests()) return service_.on_peer_down(dialer.node);
    dialer.requests->hang_up();
    peer_disconnected(dialer.node);
  }

  void on_refused(Dialer& dialer, const Hello& hello) override {
    if (dialer.for_requests()) return;
    // The others remember what this directory has forgotten, or know of its removal.
    const bool knows = hello.roster_revision >= roster().revision;
    if (hello.refused_code == ErrorCode::kRolledBack ||
        (hello.refused_code == ErrorCode::kRemoved && knows))
      fatal_later({hello.refused_code, hello.refused});
  }

  // --- SignsOfLife::Hooks ---
  void probe_peers() override {
    for (auto& dialer : dialers_) dialer->probe(), dialer->requests->probe();
    tell_roster_again();
    consider_only_copy();
  }
  void on_silent(NodeId peer) override { peer_disconnected(peer); }

  // --- Registry::Hooks, Membership::Hooks ---
  partition::StateMachine* meta() override {
    return groups_ ? groups_->state(kMetaPartition) : nullptr;
  }
  void meta_failed(const Error& error) override {
    if (error.code == ErrorCode::kDamaged) on_engine_damaged(error);
  }
  bool leads_meta() const override {
    const raft::Replica* replica = groups_ ? groups_->replica(kMetaPartition) : nullptr;
    return replica && replica->can_serve();
  }
  void visit_unapplied_meta(const std::function<void(const raft::Entry&)>& visit) const override {
    const raft::Replica* replica = groups_ ? groups_->replica(kMetaPartition) : nullptr;
    if (!replica) return;
    const raft::Status status = replica->status();
    for (Index i = status.applied.next(); i <= status.last.index; i = i.next())
      if (const raft::Entry* entry = replica->entry(i)) visit(*entry);
  }
  Result<> propose_to_meta(partition::Command command) override {
    command.watermark = service_.watermark();
    return groups_->propose(kMetaPartition, command, kRegistryToken);
  }
  Watermark watermark() const override { return service_.watermark(); }

  // --- accepted connections ---
  void on_frame(codec::FrameConnection& connection, codec::FrameKind kind,
                ByteView payload) override;
  void on_disconnect(codec::FrameConnection& connection, Error reason) override;

 private:
  struct Session {
    std::unique_ptr<codec::FrameConnection> connection;
    bool greeted = false;
    wire::Role role = wire::Role::Client;
    NodeId node;  // none: a client, or a node that is heard for its news of the members only
    bool is_peer() const { return node && role == wire::Role::Node; }
    uint64_t boot = 0;
    Time heard;  // last frame, or when it was accepted
    bool hears_members = false;
    std::optional<Revision>
        told;  // of the roster whose members it was told; none: it was told none
  };

  Result<> boot(Suspend s);
  Result<> open_journals(Suspend s);
  bool had_journals() const;
  Result<> open_journal(Suspend s, const Layout& layout, bool must_exist);
  Result<> lay_out_journals(Suspend s);
  Result<> copy_journals(Suspend s, const Layout& before, const Layout& after);
  Result<> start_groups(Suspend s);
  Result<> open_engine(Suspend s);
  // No other node has what this one's engine holds, or not all of it: members that came to one that
  // was alone begin with nothing, and perhaps never start.
  bool is_alone() const {
    return is_only_member() || (only_copy_ && !MUTANT(members_assumed_to_have_states));
  }
  bool is_only_member() const {
    if (!identity_ || !identity_->founding()) return false;
    const auto& members = roster().members;
    return std::none_of(members.begin(), members.end(), [this](const RosterMember& m) {
      return m.state != MemberState::kRemoved && m.node != identity_->node();
    });
  }
  // Whether that has changed, now and then; and makes it durable.
  void consider_only_copy();
  void note_only(bool only);
  // That this boot will make.
  Duration longest_promise() const {
    return options_.raft.reads == raft::Reads::kLease ? options_.raft.election_timeout_min
                                                      : Duration();
  }
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
      if (alive.expired() || std::exchange(drained_, true)) return;
      host_.clock->cancel(drain_timer_);
      flush_last();
    };
    drain_timer_ = host_.clock->call_at(host_.clock->now() + kDrainPatience, idle);
    service_.close(idle);
  }
  // The last step of a stop, which ends it.
  void flush_last() {
    auto end = [this, alive = std::weak_ptr<char>(alive_)] {
      if (alive.expired() || !stopped_) return;
      host_.clock->cancel(drain_timer_);
      std::exchange(stopped_, {})();
    };
    if (!MUTANT(stop_waits_for_room)) {
      drain_timer_ = host_.clock->call_at(host_.clock->now() + kLastFlushPatience, [end] {
        SOMETIMES(node_stops_without_its_last_flush);
        end();
      });
    }
    groups_->flush(end);
  }
  std::unique_ptr<Dialer> dial(const std::string& name, const Address& address);
  Hello greeting() const;
  void accept(std::unique_ptr<Stream> stream);
  // Closes the connection that is likeliest dead, if any is.
  void make_room();
  void greet(Session& session, uint64_t id, ByteView payload);
  Result<> judge_peer(const Hello& hello) const;
  // A node of this cluster that this one does not know, for it knows of later members. It may be
  // that nobody is left whom this one knows, or none where it looks for them.
  bool brings_news(const Hello& hello) const;
  void take_news(const wire::PeerBatch& batch);
  void on_peer_batch(Session& session, const wire::PeerBatch& batch, ByteView bytes);
  void consider_founding();
  void adopt_founding(Founding founding, std::optional<Roster> roster);
  void on_offer(const wire::PeerBatch& batch);
  void offer_founding(Dialer& dialer);
  void close_strangers();
  void begin_joining();

  // Members (node_members.cc).
  void store_identity();
  void sync_dialers();
  bool is_dialed(const RosterMember& member) const;
  void tell_roster(Dialer& dialer);
  void tell_roster_again();
  void tell_clients();
  void on_roster_told(NodeId from, const Roster& roster);
  void greeted_by(const Hello& hello);
  void on_leaving(NodeId node);
  void tell_gone(NodeId node, PartitionId partition);
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
  // As last known; empty before the cluster is founded.
  const Roster& roster() const {
    static const Roster kNone;
    if (!membership_.roster().members.empty()) return membership_.roster();
    return identity_ ? identity_->roster() : kNone;
  }
  const RosterMember* member(NodeId node) const { return find_member(roster(), node); }
  // A founder's configured address wins over the recorded one.
  Address address_of(const RosterMember& member) const;
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
  bool renews_engine_ = false;  // noted in the directory
  bool only_copy_ = false;      // as noted in the directory
  bool noting_only_ = false;    // a fiber does, or loops are asked

  std::unique_ptr<Identity> identity_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<EngineQueue> engine_queue_;  // null when there is no other loop
  std::unique_ptr<journal::Journal> journal_;  // of the home loop, as groups_
  RecoveredGroups recovered_;
  Service service_;
  std::unique_ptr<Groups> groups_;
  std::unique_ptr<Shards> shards_;  // null when there is no other loop
  bool started_ = false;
  std::map<NodeId, std::vector<PartitionId>> gone_;  // to be told to those who leave
  size_t leaving_ = 0;                               // loops that still lead, when stopping
  Callback<void()> stopped_;                         // to be told
  bool drained_ = false;                             // of requests
  TimerId drain_timer_ = 0;                          // the patience of the step under way
  std::vector<std::unique_ptr<Dialer>> dialers_;     // in the founders' order, then in the roster's
  TimerId dialers_timer_ = 0;
  std::unique_ptr<Joiner> joiner_;  // null when nothing is to be asked
  std::unique_ptr<Listener> listener_;
  std::map<uint64_t, Session> sessions_;
  uint64_t next_session_ = 1;
  Registry registry_;
  SignsOfLife signs_;
  Membership membership_;
  Departure departure_;
  Scrubber scrubber_;
  bool storing_ = false;   // a fiber is in store_identity()
  bool departed_ = false;  // no partition needs this node any more
  Time lingers_until_;     // members that were removed are dialed, connected or not
  std::optional<Founding> offered_founding_;  // to be made durable
  std::optional<Roster> offered_roster_;
  bool founding_now_ = false;
  std::set<size_t> full_loops_;  // whose disk is full
  Fibers fibers_;
};

}  // namespace kahuna::node
