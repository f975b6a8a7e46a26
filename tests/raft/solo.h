// One replica under test, node 1 of a group of three unless said otherwise; the other members are
// the test itself. Writes complete only when the test says so.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "kahuna/raft/replica.h"

namespace kahuna::raft::testing {

class Solo {
 public:
  static constexpr PartitionId kGroup{7};
  static ReplicaId id(size_t n) { return {NodeId(n), 0}; }
  static Entry entry(uint64_t index, uint64_t term, std::string_view text = "x") {
    Entry entry;
    entry.index = Index(index);
    entry.term = Term(term);
    entry.kind = EntryKind::kCommand;
    entry.payload = Payload(text);
    return entry;
  }
  static LogPosition at(uint64_t index, uint64_t term) { return {Index(index), Term(term)}; }
  static Recovered fresh() {
    Recovered recovered;
    recovered.hard_state = {Term(1), ReplicaId()};
    recovered.commit = recovered.applied = Index(1);
    return recovered;
  }
  // A log after the founding base with these terms at 2, 3, …; the last term is the replica's.
  static Recovered with_log(std::vector<uint64_t> terms, uint64_t commit = 1) {
    Recovered recovered = fresh();
    for (uint64_t term : terms)
      recovered.entries.push_back(entry(recovered.entries.size() + 2, term));
    if (!terms.empty()) recovered.hard_state.term = Term(terms.back());
    recovered.commit = Index(commit);
    return recovered;
  }

  explicit Solo(Recovered recovered = fresh(), Options options = {}, size_t voters = 3)
      : replica_(options, kGroup, id(1), of(std::move(recovered), voters), RandomStream(1, "solo"),
                 now_) {
    wait(options.election_timeout_min);  // whatever it promised before it started
    drain();
  }

  Replica& replica() { return replica_; }
  Replica* operator->() { return &replica_; }
  Time now() const { return now_; }
  void wait(Duration duration) { now_ = now_ + duration; }

  // Takes effects; writes stay in flight.
  Ready take() {
    Ready ready = replica_.take_ready();
    if (ready.persist) last_write_ = ready.persist->id;
    for (const Message& message : ready.messages) sent_.push_back(message);
    if (!ready.committed.empty()) {
      for (const Entry& e : ready.committed) applied_.push_back({e.index, e.term});
      replica_.applied(ready.committed.back().index);
    }
    for (ReadGrant grant : ready.granted_reads) granted_.push_back(grant);
    for (ReadToken token : ready.refused_reads) refused_.push_back(token);
    return ready;
  }
  // Takes effects and completes every write until nothing is left.
  void drain() {
    while (replica_.has_ready()) {
      take();
      sync();
    }
  }
  void sync() {
    if (last_write_ != 0) replica_.persisted(now_, last_write_);
  }
  void fire() {
    now_ = std::max(now_, replica_.deadline());
    replica_.on_timer(now_);
  }

  Message message(MessageKind kind, size_t from, uint64_t term) {
    Message message;
    message.kind = kind;
    message.group = kGroup;
    message.from = id(from);
    message.to = id(1);
    message.term = Term(term);
    return message;
  }
  void receive(Message message) { replica_.receive(now_, std::move(message)); }
  void append(size_t from, uint64_t term, LogPosition prev, std::vector<Entry> entries,
              uint64_t commit = 1) {
    Message m = message(MessageKind::kAppend, from, term);
    m.prev = prev;
    m.entries = std::move(entries);
    m.commit = Index(commit);
    receive(std::move(m));
  }
  void acknowledge(size_t from, LogPosition match) {
    Message m = message(MessageKind::kAppendReply, from, replica_.term().value());
    m.match = match;
    receive(std::move(m));
  }
  void ask_for_vote(size_t from, uint64_t term, LogPosition last) {
    Message m = message(MessageKind::kVote, from, term);
    m.prev = last;
    receive(std::move(m));
  }
  void ask_for_pre_vote(size_t from, uint64_t term, LogPosition last) {
    Message m = message(MessageKind::kPreVote, from, term);
    m.prev = last;
    receive(std::move(m));
  }
  void answer_heartbeat(size_t from, uint64_t round, uint64_t has, LogPosition durable) {
    Message m = message(MessageKind::kHeartbeatReply, from, replica_.term().value());
    m.round = round;
    m.commit = Index(has);
    m.match = durable;
    receive(std::move(m));
  }
  // Through pre-vote and vote of node 2 to leadership; everything taken and written, and the own
  // first entry acknowledged by node 2 unless `commit` is false.
  void lead(bool commit = true) {
    fire();
    Term term = replica_.term().next();
    receive(message(MessageKind::kPreVoteReply, 2, term.value()));
    drain();
    receive(message(MessageKind::kVoteReply, 2, term.value()));
    drain();
    if (commit) acknowledge(2, replica_.status().last);
    drain();
    sent_.clear();
  }

  // Messages of a kind sent since the last clear().
  std::vector<Message> sent(MessageKind kind, size_t to = 0) const {
    std::vector<Message> found;
    for (const Message& m : sent_)
      if (m.kind == kind && (to == 0 || m.to == id(to))) found.push_back(m);
    return found;
  }
  void clear() { sent_.clear(); }
  const std::vector<LogPosition>& applied() const { return applied_; }
  const std::vector<ReadGrant>& granted() const { return granted_; }
  const std::vector<ReadToken>& refused() const { return refused_; }

 private:
  static Recovered of(Recovered recovered, size_t voters) {
    if (!recovered.configuration.known())
      for (size_t n = 1; n <= voters; ++n) recovered.configuration.voters.push_back(id(n));
    return recovered;
  }

  Time now_ = Time::from_nanos(1'000'000);
  Replica replica_;
  WriteId last_write_ = 0;
  std::vector<Message> sent_;
  std::vector<LogPosition> applied_;
  std::vector<ReadGrant> granted_;
  std::vector<ReadToken> refused_;
};

}  // namespace kahuna::raft::testing
