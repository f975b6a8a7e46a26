// Founding, and what passes between nodes.
#include <algorithm>

#include "kahuna/node/node_impl.h"
#include "runtime/probe.h"

namespace kahuna::node {

// --- founding: the first listed founder mints, when it has met all the others unfounded ---

void NodeImpl::consider_founding() {
  if (identity_->founding() || founding_now_ || options_.joins) return;
  if (options_.founders.front().name != options_.name) return;
  Founding founding;
  for (const Founder& f : options_.founders) {
    NodeId node = identity_->node();
    if (f.name != options_.name) {
      auto it = std::find_if(dialers_.begin(), dialers_.end(),
                             [&](const auto& d) { return d->name() == f.name; });
      if (!(*it)->up() && MUTANT(founds_without_the_others)) continue;
      if (!(*it)->up()) return;
      node = (*it)->node;
    }
    founding.members.push_back({node, f.name, f.address, 1});
  }
  founding.cluster = ClusterId(host_.random("cluster-id").next() | 1);
  founding.partitions = options_.partitions;
  adopt_founding(std::move(founding), std::nullopt);
}

std::string NodeImpl::asked() const {
  if (!identity_ || identity_->founding()) return "";
  if (joiner_) return joiner_->outcomes();
  std::string all;
  for (const auto& d : dialers_)
    all += (all.empty() ? "" : "; ") + d->name() + " at " + to_string(d->address()) + ": " +
           (d->up()                ? "it waits, too"
            : d->trouble().empty() ? "not asked yet"
                                   : d->trouble());
  return all;
}

void NodeImpl::adopt_founding(Founding founding, std::optional<Roster> roster) {
  if (identity_->founding() || founding_now_) return;
  founding_now_ = true;
  offered_founding_ = std::move(founding);
  offered_roster_ = std::move(roster);
  fibers_.spawn("found", [this](Suspend s) {
    auto stored =
        identity_->found(s, host_, std::move(*offered_founding_), std::move(offered_roster_));
    if (stored) stored = start_groups(s);
    if (!stored) return fatal_later(stored.error());
    joiner_.reset();
    close_strangers();
    for (auto& dialer : dialers_)
      if (dialer->up()) offer_founding(*dialer);
  });
}

// Who greeted this node before it was founded, and is no member, must greet it again to be told so.
void NodeImpl::close_strangers() {
  std::erase_if(sessions_, [this](const auto& each) {
    const bool stranger =
        each.second.node && !member(each.second.node) && !MUTANT(early_strangers_stay);
    if (stranger) SOMETIMES(stranger_greeted_before_the_founding);
    return stranger;
  });
}

void NodeImpl::offer_founding(Dialer& dialer) {
  if (!identity_->founding()) return;
  dialer.outbox.set_founding(encode_founding(*identity_->founding()), false);
  if (roster().revision != Revision()) dialer.outbox.set_roster(encode_roster(roster()));
  flush(dialer);
}

void NodeImpl::on_offer(const wire::PeerBatch& batch) {
  auto founding = decode_founding(as_bytes(text_of(batch.founding())));
  if (!founding) return;
  std::optional<Roster> roster;
  if (batch.roster()) {
    auto told = decode_roster(as_bytes(text_of(batch.roster())));
    if (!told) return;
    roster = std::move(*told);
  }
  if (!options_.joins) {
    const bool listed = std::any_of(founding->members.begin(), founding->members.end(),
                                    [&](const FoundingMember& m) {
                                      return m.node == identity_->node() && m.name == options_.name;
                                    });
    if (!listed)
      return fatal_later({ErrorCode::kWrongCluster,
                          "this cluster was founded without this data directory; a node whose "
                          "directory was lost cannot rejoin under its old name"});
    return adopt_founding(std::move(*founding), std::move(roster));
  }
  const RosterMember* self = roster ? find_member(*roster, identity_->node()) : nullptr;
  if (!self) return;
  if (self->state == MemberState::kRemoved) return fatal_later(was_removed(options_.name));
  SOMETIMES(node_joins);
  adopt_founding(std::move(*founding), std::move(roster));
}

// --- joining ---

void NodeImpl::begin_joining() {
  if (options_.join.empty()) return;  // somebody will ask for it
  ClusterId cluster;
  std::string wish;
  if (identity_->founding())
    cluster = identity_->founding()->cluster;
  else
    wish = "join " + std::to_string(identity_->node().value()) + " " + options_.name + " " +
           to_string(options_.listen) + " voter";
  joiner_ = std::make_unique<Joiner>(host_, *this, options_.join, cluster, std::move(wish));
}

// --- peers ---

std::unique_ptr<Dialer> NodeImpl::dial(const std::string& name, const Address& address) {
  auto dialer = std::make_unique<Dialer>(host_, *this, name, address);
  dialer->requests =
      std::make_unique<Dialer>(host_, *this, name, address, options_.raft.election_timeout_max);
  return dialer;
}

Hello NodeImpl::greeting() const {
  Hello h;
  h.role = wire::Role::Node;
  h.node = id();
  if (identity_) h.boots = identity_->boots();
  h.name = options_.name;
  h.watermark = service_.watermark();
  Address address = options_.listen;
  for (const Founder& f : options_.founders)
    if (f.name == options_.name) address = f.address;
  h.address = to_string(address);
  h.roster_revision = roster().revision;
  if (identity_ && identity_->founding()) {
    h.founded = true;
    h.cluster = identity_->founding()->cluster;
    for (const RosterMember& m : roster().members)
      if (m.state != MemberState::kRemoved)
        h.members.push_back({m.node, m.name, to_string(address_of(m))});
  }
  return h;
}

Result<> NodeImpl::judge_peer(const Hello& hello) const {
  if (!identity_ || hello.node == identity_->node() || !hello.node)
    return fail(ErrorCode::kInvalid, "a node cannot be its own peer");
  const auto& founding = identity_->founding();
  if (founding && hello.cluster && hello.cluster != founding->cluster)
    return fail(
        ErrorCode::kWrongCluster,
        "node '" + hello.name + "' belongs to another cluster; check --founders and --data");
  if (founding && !member(hello.node)) {
    if (hello.roster_revision > roster().revision)
      return fail(ErrorCode::kUnavailable,
                  "node '" + hello.name + "' knows of later members than this node");
    SOMETIMES(stranger_refused);
    return fail(ErrorCode::kRemoved,
                "node '" + hello.name +
                    "' is not a member of this cluster: its data directory is new, or it "
                    "was removed long ago; a lost directory cannot rejoin under its old name: "
                    "'kahuna members "
                    "remove' the member that had it, then start this node on an empty directory "
                    "with --join");
  }
  if (!founding && options_.joins) {
    if (hello.founded) return {};
    return fail(ErrorCode::kWrongCluster, "node '" + options_.name +
                                              "' waits to join a cluster, and '" + hello.name +
                                              "' is in none");
  }
  if (!founding && std::none_of(options_.founders.begin(), options_.founders.end(),
                                [&](const Founder& f) { return f.name == hello.name; }))
    return fail(ErrorCode::kWrongCluster,
                "node '" + hello.name + "' is not among this node's --founders");
  return registry_.judge(hello.node, hello.name, hello.boots);
}

bool NodeImpl::brings_news(const Hello& hello) const {
  if (!started_ || hello.role != wire::Role::Node || MUTANT(strangers_bring_no_news)) return false;
  return hello.cluster == identity_->founding()->cluster && !member(hello.node) &&
         hello.roster_revision > roster().revision;
}

// A roster is a copy of what meta has committed, whoever tells it. What else a stranger says is not
// listened to until it comes again, as a member.
void NodeImpl::take_news(const wire::PeerBatch& batch) {
  if (!batch.roster()) return;
  auto told = decode_roster(as_bytes(text_of(batch.roster())));
  if (!told || told->revision <= roster().revision) return;
  SOMETIMES(stranger_brings_news_of_members);
  membership_.heard(*told);
}

Result<> NodeImpl::on_greeted(Dialer& dialer, const Hello& hello) {
  RETURN_IF_ERROR(judge_peer(hello));
  if (hello.role != wire::Role::Node || hello.name != dialer.name())
    return fail(ErrorCode::kWrongCluster, "the node at " + to_string(dialer.address()) + " is '" +
                                              hello.name + "', not '" + dialer.name() + "'");
  if (dialer.member && dialer.member != hello.node)
    return fail(ErrorCode::kWrongCluster,
                "node '" + hello.name + "' is another one than this cluster's member");
  dialer.node = hello.node;
  dialer.roster = hello.roster_revision;
  service_.hear(hello.watermark);
  if (dialer.for_requests()) return {};
  registry_.heard(hello.node, hello.boots);
  // The dialer counts as up only after this returns.
  host_.scheduler->post(
      [this, alive = std::weak_ptr<char>(alive_), name = dialer.name(), founded = hello.founded] {
        if (alive.expired()) return;
        for (auto& d : dialers_) {
          if (d->name() != name || !d->up()) continue;
          if (!founded && !MUTANT(founding_offered_once)) offer_founding(*d);
          if (founded) tell_roster(*d);
        }
        consider_founding();
      });
  return {};
}

void NodeImpl::on_peer_batch(Session& session, const wire::PeerBatch& batch, ByteView bytes) {
  if (NodeId(batch.from()) != session.node || NodeId(batch.to()) != identity_->node()) return;
  service_.hear(Watermark(batch.watermark()));
  if (batch.founding() && !identity_->founding()) on_offer(batch);
  if (!groups_) return;
  if (batch.roster())
    if (auto told = decode_roster(as_bytes(text_of(batch.roster()))))
      on_roster_told(session.node, *told);
  if (Dialer* dialer = dialer_of(session.node); dialer && batch.roster_revision() >= 0)
    dialer->roster = std::max(dialer->roster, Revision(batch.roster_revision()));
  if (batch.leaving()) on_leaving(session.node);
  if (batch.gone())
    for (uint64_t id : *batch.gone()) departure_.heard(PartitionId(id));
  NodeId from = session.node, to = identity_->node();
  if (shards_) shards_->receive(from, batch, bytes);
  // Groups takes no message for a partition that is not its own.
  if (batch.messages())
    for (const auto* m : *batch.messages()) groups_->receive(to_message(*m, from, to));
  if (batch.heartbeats())
    for (const auto* h : *batch.heartbeats()) groups_->receive(to_message(*h, false, from, to));
  if (batch.heartbeat_replies())
    for (const auto* h : *batch.heartbeat_replies())
      groups_->receive(to_message(*h, true, from, to));
  if (batch.snapshot_parts())
    for (const auto* p : *batch.snapshot_parts())
      if (!is_elsewhere(PartitionId(p->group()))) groups_->receive(to_part(*p, from, to));
  if (batch.snapshot_replies())
    for (const auto* r : *batch.snapshot_replies()) groups_->receive(to_reply(*r, from, to));
}

}  // namespace kahuna::node
