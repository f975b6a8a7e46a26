// What follows when the roster changes, for those who come, those who go and those who stay.
#include <algorithm>

#include "kahuna/node/node_impl.h"
#include "kahuna/partition/position.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {

// A member that was removed, and is not connected, is dialed for so long: some group may need it.
constexpr Duration kLinger = Duration::seconds(60);
constexpr Duration kStoreRetry = Duration::seconds(1);

}  // namespace

void NodeImpl::on_roster() {
  const Roster& roster = membership_.roster();
  const Wanted wanted = wanted_by(roster);
  groups_->want(wanted);
  if (shards_) shards_->want(wanted);
  const RosterMember* self = member(identity_->node());
  if (!self || self->state == MemberState::kRemoved) {
    std::vector<PartitionId> all;
    for (const partition::Descriptor& d :
         partition::founding_descriptors(identity_->founding()->partitions))
      all.push_back(d.id);
    departure_.begin(std::move(all));
  }
  store_identity();
  consider_only_copy();
  lingers_until_ = host_.clock->now() + kLinger;
  // Not now: a dialer or a group may be on the stack.
  host_.scheduler->post([this, alive = std::weak_ptr<char>(alive_)] {
    if (alive.expired()) return;
    sync_dialers();
    for (auto& dialer : dialers_) tell_roster(*dialer);
    tell_clients();
  });
}

// The roster, and that this node has left: one after the other, since both are in one file.
void NodeImpl::store_identity() {
  if (std::exchange(storing_, true)) return;
  fibers_.spawn("store identity", [this](Suspend s) {
    while (identity_->roster().revision < roster().revision && !departed_) {
      auto stored = identity_->remember(s, host_, roster());
      if (stored) continue;
      storing_ = false;
      if (stored.error().code != ErrorCode::kNoSpace) return fatal_later(stored.error());
      // It is a copy: there is time until there is room.
      host_.clock->call_at(host_.clock->now() + kStoreRetry,
                           [this, alive = std::weak_ptr<char>(alive_)] {
                             if (!alive.expired()) store_identity();
                           });
      return;
    }
    storing_ = false;
    if (!departed_) return;
    // Where that fails, it is told again.
    (void)identity_->mark_removed(s, host_);
    fatal_later(was_removed(options_.name));
  });
}

// --- leaving ---

void NodeImpl::ask_whether_gone() {
  for (auto& dialer : dialers_) {
    if (!dialer->up()) continue;
    dialer->outbox.set_leaving();
    flush(*dialer);
  }
}

void NodeImpl::on_departed() {
  departed_ = true;
  store_identity();
}

void NodeImpl::on_leaving(NodeId node) {
  const RosterMember* leaving = member(node);
  if (!leaving || leaving->state != MemberState::kRemoved) return;  // not known here yet
  auto tell = [this, node](PartitionId id) { tell_gone(node, id); };
  groups_->find_without(node, tell);
  if (shards_) shards_->find_without(node, tell);
}

// Once a turn, for there may be thousands.
void NodeImpl::tell_gone(NodeId node, PartitionId partition) {
  auto [at, first] = gone_.try_emplace(node);
  at->second.push_back(partition);
  if (!first) return;
  host_.scheduler->post([this, node, alive = std::weak_ptr<char>(alive_)] {
    if (alive.expired()) return;
    const auto found = gone_.extract(node);
    Dialer* dialer = dialer_of(node);
    if (found.empty() || !dialer || !dialer->up()) return;
    dialer->outbox.set_gone(found.mapped());
    flush(*dialer);
  });
}

// --- connections ---

// Until it is known to go by it: the word may be lost.
void NodeImpl::tell_roster(Dialer& dialer) {
  if (!dialer.up() || dialer.roster >= roster().revision || FAULT_POINT(members_are_not_told))
    return;
  dialer.outbox.set_roster(encode_roster(roster()));
  flush(dialer);
}

void NodeImpl::tell_roster_again() {
  if (MUTANT(roster_told_once)) return;
  for (auto& dialer : dialers_) {
    if (dialer->up() && dialer->roster < roster().revision) SOMETIMES(roster_told_again);
    tell_roster(*dialer);
  }
}

// Those that stay connected, so that they know whom to turn to when we are gone. One that does not
// read loses its connection, as with responses, and is greeted when it comes back.
void NodeImpl::tell_clients() {
  if (MUTANT(clients_not_told_of_members)) return;
  std::string news;
  for (auto& [id, session] : sessions_) {
    if (!session.hears_members || session.told >= roster().revision) continue;
    if (news.empty()) news = encode_hello(greeting());
    SOMETIMES(client_told_of_members);
    session.told = roster().revision;
    if (!session.connection->send(codec::FrameKind::kHello, as_bytes(news))) close_soon(id);
  }
}

void NodeImpl::on_roster_told(NodeId from, const Roster& told) {
  membership_.heard(told);
  Dialer* dialer = dialer_of(from);
  if (!dialer || !dialer->up()) return;
  dialer->roster = std::max(dialer->roster, told.revision);
  dialer->outbox.set_roster_revision(roster().revision);
  flush(*dialer);
}

// A node has connected, which may be behind, or leaving and long forgotten.
void NodeImpl::greeted_by(const Hello& hello) {
  const RosterMember* peer = member(hello.node);
  if (!groups_ || !peer) return;
  Dialer* dialer = dialer_of(hello.node);
  if (dialer) {
    dialer->roster = std::max(dialer->roster, hello.roster_revision);
    tell_roster(*dialer);
  }
  if (dialer || peer->state != MemberState::kRemoved) return;
  host_.scheduler->post([this, alive = std::weak_ptr<char>(alive_)] {
    if (!alive.expired()) sync_dialers();
  });
}

Address NodeImpl::address_of(const RosterMember& member) const {
  const auto& founders = identity_->founding()->members;
  const bool founded = std::any_of(founders.begin(), founders.end(),
                                   [&](const auto& f) { return f.node == member.node; });
  if (founded)
    for (const Founder& f : options_.founders)
      if (f.name == member.name) return f.address;
  return member.address;
}

bool NodeImpl::is_dialed(const RosterMember& member) const {
  if (member.node == identity_->node()) return false;
  if (member.state != MemberState::kRemoved) return true;
  if (MUTANT(removed_are_not_dialed)) return false;
  // Whoever has its address now must not hear from two of us.
  for (const RosterMember& other : roster().members)
    if (other.state != MemberState::kRemoved && address_of(other) == address_of(member))
      return false;
  if (host_.clock->now() < lingers_until_) return true;
  return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& s) {
    return s.second.is_peer() && s.second.node == member.node;
  });
}

// One for each member that is dialed, and no others. Not from within a dialer.
void NodeImpl::sync_dialers() {
  std::vector<std::unique_ptr<Dialer>> before = std::move(dialers_);
  dialers_.clear();
  bool lingers = false;
  for (const RosterMember& m : roster().members) {
    if (!is_dialed(m)) continue;
    lingers = lingers || m.state == MemberState::kRemoved;
    const Address address = address_of(m);
    auto same = std::find_if(before.begin(), before.end(), [&](const auto& d) {
      return d && d->name() == m.name && d->address() == address && (!d->node || d->node == m.node);
    });
    if (same != before.end())
      dialers_.push_back(std::move(*same));
    else
      dialers_.push_back(dial(m.name, address));
    dialers_.back()->member = dialers_.back()->requests->member = m.node;
  }
  for (auto& dialer : before) {
    if (!dialer || !dialer->node) continue;
    SOMETIMES(member_is_dialed_no_more);
    on_down(*dialer);
  }
  host_.clock->cancel(std::exchange(dialers_timer_, 0));
  if (!lingers) return;
  dialers_timer_ = host_.clock->call_at(host_.clock->now() + kLinger, [this] {
    dialers_timer_ = 0;
    sync_dialers();
  });
}

}  // namespace kahuna::node
