#include "tests/raft/cluster.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/hash.h"
#include "runtime/probe.h"

namespace kahuna::raft::testing {
namespace {

std::string number(uint64_t value) {
  return std::to_string(value);
}
std::string number(ReplicaId id) {
  return id ? number(id.node.value()) : "nobody";
}

std::string list_text(const std::vector<ReplicaId>& list) {
  std::string text;
  for (ReplicaId id : list)
    text += (text.empty() ? "" : ",") + number(id.node.value()) +
            (id.incarnation == 0 ? "" : "/" + number(id.incarnation));
  return text;
}

std::string entries_text(const std::vector<Entry>& entries) {
  std::string text = "[";
  for (const Entry& entry : entries) {
    if (text.size() > 1) text += ", ";
    text += to_text(LogPosition{entry.index, entry.term}) + " ";
    text += content_text(entry);
  }
  return text + "]";
}

const char* kRoleNames[] = {"follower", "pre-candidate", "candidate", "leader"};

}  // namespace

std::string to_text(const Configuration& configuration) {
  if (!configuration.known()) return "nobody known";
  std::string text = "members " + list_text(configuration.voters);
  if (configuration.joint()) text += " from " + list_text(configuration.outgoing);
  if (!configuration.learners.empty()) text += " learning " + list_text(configuration.learners);
  return text;
}

std::string content_text(const Entry& entry) {
  if (entry.kind == EntryKind::kNoop) return "noop";
  if (entry.kind == EntryKind::kConfiguration)
    return to_text(*decode_configuration(entry.payload.view()));
  return std::string(entry.payload.text());
}

std::string to_text(LogPosition position) {
  return number(position.index.value()) + "@" + number(position.term.value());
}

std::string to_text(const Message& m) {
  std::string text =
      number(m.from) + "->" + number(m.to) + " term " + number(m.term.value()) + ": ";
  std::string refused = m.rejected ? " refused" : "";
  std::string commit = " commit " + number(m.commit.value());
  switch (m.kind) {
    case MessageKind::kAppend:
      return text + "append after " + to_text(m.prev) + " " + entries_text(m.entries) + commit;
    case MessageKind::kAppendReply:
      return text + "append" +
             (m.rejected
                  ? " after " + number(m.prev.index.value()) + " refused, try " + to_text(m.match)
                  : " durable to " + to_text(m.match));
    case MessageKind::kHeartbeat:
      return text + "heartbeat " + number(m.round) + commit + (m.unanswered ? ", unanswered" : "") +
             (m.quiesce ? ", fall quiet" : "");
    case MessageKind::kHeartbeatReply:
      return text + "heartbeat " + number(m.round) +
             (m.rejected ? refused
                         : " has " + number(m.commit.value()) + " durable to " + to_text(m.match)) +
             (m.promise > Duration() ? ", promises " + number(m.promise.millis()) + " ms" : "") +
             (m.quiesce ? ", is quiet" : "");
    case MessageKind::kPreVote: return text + "would you vote for " + to_text(m.prev);
    case MessageKind::kPreVoteReply: return text + (m.rejected ? "would not" : "would") + " vote";
    case MessageKind::kVote:
      return text + "vote for " + to_text(m.prev) + (m.transfer ? ", as the leader asks" : "");
    case MessageKind::kTimeoutNow: return text + "take over at " + to_text(m.prev);
    case MessageKind::kTimeoutNowReply: return text + "cannot take over";
    case MessageKind::kWake: return text + "where is the leader";
    case MessageKind::kVoteReply: return text + "vote" + (m.rejected ? " refused" : " granted");
    case MessageKind::kFetch:
      return text + "who has " + number(m.prev.index.value() + 1) + " to " + to_text(m.match);
    case MessageKind::kFetchReply:
      return text + (m.rejected ? "has none of it" : "has " + entries_text(m.entries));
  }
  return text + "?";
}

Cluster::Cluster(size_t voters, Options options, uint64_t seed, Narrator narrator,
                 std::vector<int64_t> rates, size_t spares)
    : options_(options),
      seed_(seed),
      narrator_(std::move(narrator)),
      nodes_(voters + spares + 1),
      rates_(std::move(rates)) {
  rates_.resize(nodes_.size(), 0);
  Configuration first;
  for (size_t n = 1; n <= voters; ++n) first.voters.push_back(replica_id(n));
  for (size_t n = 1; n <= voters; ++n) {
    nodes_[n].present = nodes_[n].asked_in = nodes_[n].joined = true;
    nodes_[n].flushed_configuration = first;
    start(n);
  }
}

void Cluster::add_empty(size_t n) {
  CHECK(!nodes_[n].present);
  const uint64_t incarnation = nodes_[n].incarnation + 1;
  nodes_[n] = Node();
  nodes_[n].incarnation = incarnation;
  nodes_[n].present = true;
  nodes_[n].flushed_stateless = true;
  start(n);
}

void Cluster::destroy(size_t n) {
  CHECK(nodes_[n].removed);
  nodes_[n].replica.reset();
  nodes_[n].present = nodes_[n].dirty = false;
  nodes_[n].writes.clear();
  narrate(number(n) + " is wiped");
}

// What is applied anywhere is committed: who was in and is no longer, is out for good.
void Cluster::note_members(Index index, const Configuration& configuration) {
  if (index <= members_noted_) return;
  members_noted_ = index;
  for (size_t n = 1; n <= size(); ++n) {
    Node& node = nodes_[n];
    if (!node.present) continue;
    bool in = configuration.contains(id(n));
    if (node.joined && !in) node.removed = true;
    node.joined = node.joined || in;
  }
}

Result<LogPosition> Cluster::change(size_t n, std::vector<ReplicaId> voters,
                                    std::vector<ReplicaId> learners) {
  auto result = replica(n).change(local(n), std::move(voters), std::move(learners));
  step(n);
  return result;
}

Time Cluster::local(size_t n) const {
  return Time::from_nanos(now_.nanos() + now_.nanos() / 1000 * rates_[n] / 1000);
}

Time Cluster::due(size_t n) const {
  Time deadline = nodes_[n].replica->deadline();
  if (rates_[n] == 0 || deadline == Time::max()) return deadline;
  int64_t at = static_cast<int64_t>(static_cast<__int128>(deadline.nanos()) * 1'000'000 /
                                    (1'000'000 + rates_[n]));
  return Time::from_nanos(at + 2000);  // local() rounds
}

std::optional<size_t> Cluster::leader() {
  std::optional<size_t> best;
  for (size_t n = 1; n <= size(); ++n) {
    if (alive(n) && replica(n).role() == Role::kLeader &&
        (!best || replica(n).term() > replica(*best).term()))
      best = n;
  }
  return best;
}

void Cluster::start(size_t n) {
  Node& node = nodes_[n];
  std::vector<Entry> stored;
  std::vector<TailEntry> faulty;
  for (const Entry& entry : node.stored) {
    bool lost = node.rotten.contains(entry.index);
    if (!lost && faulty.empty()) {
      stored.push_back(entry);
    } else if (MUTANT(faulty_counts_as_present)) {
      stored.push_back(entry);
      if (lost) stored.back().payload = Payload();
    } else {
      faulty.push_back({entry, lost});
      if (lost) faulty.back().entry.payload = Payload();
    }
  }
  Recovered recovered =
      recover(node.hard_state, stored, node.commit, node.flushed, std::move(faulty));
  if (recovered.stateless) node.flushed_stateless = true, node.flushed = recovered.base;
  recovered.stateless = node.stateless = node.flushed_stateless;
  recovered.configuration = node.configuration = node.flushed_configuration;
  node.writes.clear();
  node.applied = node.flushed;
  node.state = node.flushed_state;
  if (recovered.cut_journal) cut_journal(n, recovered.base, {}, false);
  RandomStream random(seed_, "raft", n * 1000 + node.lives++);
  node.replica.emplace(options_, kGroup, id(n), std::move(recovered), random, local(n));
  report(checker_.restarted(*node.replica));
  node.dirty = node.replica->has_ready();
  if (pump_at_once) pump(n);
}

void Cluster::report(InvariantChecker::Violation violation) {
  if (violation && violation_.empty()) violation_ = *violation;
}

void Cluster::narrate(const std::string& line) {
  if (narrator_) narrator_(line);
}

void Cluster::step(size_t n) {
  report(checker_.observe(replica(n)));
  nodes_[n].dirty = replica(n).has_ready();
  if (pump_at_once) pump(n);
}

void Cluster::narrate_role(size_t n, Role before, Term term_before) {
  Replica& r = replica(n);
  if (r.role() == before && r.term() == term_before) return;
  narrate(number(n) + " is " + kRoleNames[static_cast<int>(r.role())] + " in term " +
          number(r.term().value()));
}

void Cluster::timer(size_t n) {
  if (replica(n).deadline() == Time::max()) return;
  advance_to(due(n));
  Role before = replica(n).role();
  Term term = replica(n).term();
  replica(n).on_timer(local(n));
  narrate_role(n, before, term);
  step(n);
}

Result<LogPosition> Cluster::propose(size_t n, std::string_view text) {
  Result<LogPosition> result = replica(n).propose(local(n), EntryKind::kCommand, Payload(text));
  step(n);
  return result;
}

Result<> Cluster::read(size_t n, ReadToken token) {
  if (auto index = replica(n).lease_read(local(n))) {
    checker_.read_asked(replica(n), token);
    report(checker_.read_granted(replica(n), {token, *index}));
    narrate(number(n) + " grants read " + number(token) + " at " + number(index->value()) +
            " by its lease");
    nodes_[n].granted.push_back({token, *index});
    step(n);
    return {};
  }
  Result<> result = replica(n).read(local(n), token);
  if (result) checker_.read_asked(replica(n), token);
  step(n);
  return result;
}

Result<> Cluster::transfer(size_t n, size_t to) {
  Role before = replica(n).role();
  Term term = replica(n).term();
  Result<> result = replica(n).transfer(local(n), replica_id(to));
  narrate_role(n, before, term);
  step(n);
  return result;
}

void Cluster::retire(size_t n) {
  replica(n).retire();
}

void Cluster::disconnect(size_t n, size_t peer) {
  replica(n).peer_disconnected(local(n), id(peer));
  step(n);
}

void Cluster::wake(size_t n) {
  replica(n).wake(local(n));
  step(n);
}

void Cluster::pump(size_t n) {
  while (alive(n) && replica(n).has_ready()) {
    Ready ready = replica(n).take_ready();
    report(checker_.observe(replica(n)));
    carry_out(n, std::move(ready));
    report(checker_.observe(replica(n)));
  }
  nodes_[n].dirty = false;
}

void Cluster::carry_out(size_t n, Ready ready) {
  Node& node = nodes_[n];
  if (ready.lost_leadership) {
    ++node.lost_leaderships;
    narrate(number(n) + " lost leadership");
  }
  for (Message& message : ready.messages) {
    report(checker_.sent(message));
    narrate(to_text(message));
    network.push_back(std::move(message));
  }
  if (ready.persist) {
    const Persist& write = *ready.persist;
    narrate(number(n) + " writes #" + number(write.id) + " term " +
            number(write.hard_state.term.value()) + " vote " + number(write.hard_state.vote) +
            (write.entries.empty() ? "" : " " + entries_text(write.entries)));
    node.writes.push_back(std::move(*ready.persist));
  }
  for (ReadGrant grant : ready.granted_reads) {
    report(checker_.read_granted(replica(n), grant));
    narrate(number(n) + " grants read " + number(grant.token) + " at " +
            number(grant.index.value()));
    node.granted.push_back(grant);
  }
  for (ReadToken token : ready.refused_reads) {
    checker_.read_refused(replica(n), token);
    narrate(number(n) + " refuses read " + number(token));
    node.refused.push_back(token);
  }
  if (!ready.committed.empty()) apply(n, ready.committed);
  node.trim = ready.trim;
  for (ReplicaId to : ready.snapshots_due) {
    narrate(number(n) + " streams its state at " + to_text(node.applied) + " to " + number(to));
    streams.push_back({id(n), to, replica(n).term(), node.applied, node.state, node.configuration});
  }
}

void Cluster::end_stream(const Stream& stream) {
  size_t from = stream.from.node.value();
  if (!alive(from) || id(from) != stream.from) return;
  replica(from).snapshot_ended(stream.to, stream.term);
  step(from);
}

void Cluster::lose_stream(size_t at) {
  Stream stream = streams[at];
  streams.erase(streams.begin() + static_cast<ptrdiff_t>(at));
  end_stream(stream);
}

void Cluster::begin_install(size_t at) {
  const Stream& stream = streams[at];
  size_t to = stream.to.node.value();
  if (!alive(to) || id(to) != stream.to ||
      replica(to).snapshot_offered(local(to), stream.from, stream.term, stream.position) !=
          Offer::kTake)
    return;
  nodes_[to].stateless = true;
  nodes_[to].state = 0;
  replica(to).discard_state(local(to));
  step(to);
}

void Cluster::install(size_t at) {
  Stream stream = streams[at];
  streams.erase(streams.begin() + static_cast<ptrdiff_t>(at));
  size_t to = stream.to.node.value();
  if (alive(to) && id(to) == stream.to) {
    Node& node = nodes_[to];
    Offer offer =
        replica(to).snapshot_offered(local(to), stream.from, stream.term, stream.position);
    if (offer == Offer::kTake) {
      narrate(number(to) + " installs a state at " + to_text(stream.position));
      replica(to).discard_state(local(to));
      report(checker_.observe(replica(to)));
      node.applied = node.flushed = stream.position;
      node.state = node.flushed_state = stream.state;
      node.stateless = node.flushed_stateless = false;
      node.configuration = node.flushed_configuration = stream.configuration;
      pump(to);
      const bool held = replica(to).term_at(stream.position.index) == stream.position.term;
      const FaultyTail& tail = replica(to).tail();
      const bool in_place =
          tail.term_at(stream.position.index) == stream.position.term || (held && !tail.empty());
      replica(to).restore(stream.position, stream.configuration);
      std::vector<Entry> behind;
      replica(to).copy_log(stream.position.index, replica(to).status().last.index, behind);
      if (!held || !journal_will_hold(node, stream.position))
        cut_journal(to, stream.position, std::move(behind), in_place);
      release(node, stream.position.index.prev());
      ++installs;
    }
    step(to);
  }
  end_stream(stream);
}

// Once everything written is durable.
bool Cluster::journal_will_hold(const Node& node, LogPosition position) const {
  Node later;
  later.stored = node.stored;
  for (const Persist& write : node.writes) store(later, write);
  return std::any_of(later.stored.begin(), later.stored.end(), [&](const Entry& e) {
    return e.index == position.index && e.term == position.term;
  });
}

// `behind`: what the log holds behind the position.
void Cluster::cut_journal(size_t n, LogPosition position, std::vector<Entry> behind,
                          bool in_place) {
  Node& node = nodes_[n];
  Persist cut;
  cut.hard_state = node.writes.empty() ? node.hard_state : node.writes.back().hard_state;
  cut.entries.push_back({.index = position.index, .term = position.term, .kind = EntryKind::kBase});
  std::move(behind.begin(), behind.end(), std::back_inserter(cut.entries));
  if (in_place) cut.restored = cut.entries.back().index;
  release(node, position.index.prev());
  node.writes.push_back(std::move(cut));
}

void Cluster::release(Node& node, Index index) {
  node.released = std::max(node.released, index);
  std::erase_if(node.stored, [&](const Entry& e) { return e.index <= node.released; });
}

void Cluster::apply(size_t n, const std::vector<Entry>& entries) {
  Node& node = nodes_[n];
  if (node.stateless) return report("replica " + number(n) + " applied without a state");
  narrate(number(n) + " applies " + entries_text(entries));
  for (const Entry& entry : entries) {
    CHECK_EQ(entry.index, node.applied.index.next());
    node.applied = {entry.index, entry.term};
    node.state = hash64(entry.payload.view(), node.state ^ entry.term.value());
    if (entry.kind == EntryKind::kConfiguration) {
      node.configuration = *decode_configuration(entry.payload.view());
      note_members(entry.index, node.configuration);
    }
  }
  replica(n).applied(node.applied.index);
}

void Cluster::store(Node& node, const Persist& write) {
  node.hard_state = write.hard_state;
  node.commit = std::max(node.commit, write.commit);
  for (const Entry& entry : write.entries) {
    if (entry.index <= write.restored) {
      store_restored(node, entry);
      continue;
    }
    while (!node.stored.empty() && node.stored.back().index >= entry.index) node.stored.pop_back();
    node.rotten.erase(node.rotten.lower_bound(entry.index), node.rotten.end());
    node.stored.push_back(entry);
  }
  std::erase_if(node.stored, [&](const Entry& e) { return e.index <= node.released; });
}

void Cluster::store_restored(Node& node, const Entry& entry) {
  if (entry.index <= node.released) return;
  CHECK(!node.stored.empty() && node.stored.front().index <= entry.index);
  size_t at = entry.index.value() - node.stored.front().index.value();
  CHECK_LT(at, node.stored.size());
  CHECK_EQ(node.stored[at].term, entry.term);
  node.stored[at] = entry;
  node.repairs += node.rotten.erase(entry.index);
}

void Cluster::lose_state(size_t n) {
  Node& node = nodes_[n];
  CHECK(!node.replica.has_value());
  node.flushed = kFoundingBase;
  node.flushed_state = 0;
  node.flushed_stateless = false;
  narrate("the engine of " + number(n) + " loses everything");
}

bool Cluster::rot(size_t n, Index index) {
  Node& node = nodes_[n];
  CHECK(!node.replica.has_value());
  bool there = !node.stored.empty() && node.stored.front().index <= index &&
               index <= node.stored.back().index;
  if (there)
    node.rotten.insert(index),
        narrate("the disk of " + number(n) + " loses entry " + number(index.value()));
  return there;
}

size_t Cluster::rotten_copies(LogPosition position) const {
  size_t copies = 0;
  for (const Node& node : nodes_) {
    if (!node.rotten.contains(position.index)) continue;
    for (const Entry& entry : node.stored)
      copies += entry.index == position.index && entry.term == position.term;
  }
  return copies;
}

void Cluster::sync(size_t n, size_t count) {
  Node& node = nodes_[n];
  WriteId last = 0;
  for (; count > 0 && !node.writes.empty(); --count) {
    last = std::max(last, node.writes.front().id);
    store(node, node.writes.front());
    node.writes.pop_front();
  }
  if (last == 0) return;
  narrate(number(n) + " synced #" + number(last));
  replica(n).persisted(local(n), last);
  step(n);
}

void Cluster::flush(size_t n) {
  Node& node = nodes_[n];
  node.flushed_stateless = node.stateless;
  if (node.stateless) return;
  node.flushed = node.applied;
  node.flushed_state = node.state;
  node.flushed_configuration = node.configuration;
  replica(n).release(node.flushed.index);
  Index release = std::min(node.flushed.index, node.trim);
  // One short: the base keeps its record.
  while (!node.stored.empty() && node.stored.front().index < release)
    node.stored.erase(node.stored.begin());
  step(n);
}

void Cluster::compact(size_t n) {
  Node& node = nodes_[n];
  flush(n);
  if (node.stateless) return;
  replica(n).compact(node.flushed.index);
  Index base = replica(n).status().base.index;
  while (!node.stored.empty() && node.stored.front().index < base)
    node.stored.erase(node.stored.begin());
  narrate(number(n) + " compacts up to " + number(base.value()));
  step(n);
}

void Cluster::crash(size_t n, size_t writes_kept) {
  Node& node = nodes_[n];
  for (size_t i = 0; i < writes_kept && i < node.writes.size(); ++i) store(node, node.writes[i]);
  node.writes.clear();
  node.replica.reset();
  node.dirty = false;
  narrate(number(n) + " crashed");
}

void Cluster::restart(size_t n) {
  start(n);
  narrate(number(n) + " restarted with last " + to_text(replica(n).status().last) + " commit " +
          number(replica(n).status().commit.value()));
}

void Cluster::receive(Message message) {
  size_t to = message.to.node.value();
  if (!alive(to)) return;
  Role before = replica(to).role();
  Term term = replica(to).term();
  replica(to).receive(local(to), std::move(message));
  narrate_role(to, before, term);
  step(to);
}

void Cluster::deliver(size_t at) {
  Message message = std::move(network[at]);
  network.erase(network.begin() + static_cast<ptrdiff_t>(at));
  receive(std::move(message));
}

void Cluster::settle(size_t rounds_max) {
  for (size_t round = 0; round < rounds_max; ++round) {
    bool idle = true;
    while (!network.empty()) {
      deliver(0);
      idle = false;
    }
    while (!streams.empty()) {
      install(0);
      idle = false;
    }
    for (size_t n = 1; n <= size(); ++n) {
      if (!alive(n)) continue;
      if (nodes_[n].dirty) pump(n), idle = false;
      if (!nodes_[n].writes.empty()) sync(n), idle = false;
    }
    if (idle) return;
  }
}

}  // namespace kahuna::raft::testing
