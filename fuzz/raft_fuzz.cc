// A replica against a network that lies: any message content, in any order, between any inputs of
// its own driver. Two of the three members are the input itself.
//
// What is checked: no CHECK fires and no memory is misused, whatever arrives; and what does not
// depend on the honesty of others holds all the same: the term never decreases, a vote never
// changes within a term, commit never decreases, committed entries come in order, each once and
// unchanged, and nothing is acknowledged or applied that is not durable here.
#include <cstdint>
#include <cstring>
#include <vector>

#include "kahuna/raft/recovery.h"
#include "runtime/check.h"

namespace kahuna::raft {
namespace {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return at_ >= size_; }
  uint8_t byte() { return empty() ? 0 : data_[at_++]; }
  // Mostly `near` or close to it; sometimes anything.
  uint64_t about(uint64_t near) {
    uint8_t b = byte();
    if (b < 120) return near;
    if (b < 200) return near + b % 8 - (near >= 3 ? 3 : near);
    if (b < 240) return b % 16;
    uint64_t any = 0;
    for (int i = 0; i < 8; ++i) any = any << 8 | byte();
    return any;
  }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

ReplicaId id(uint64_t n) {
  return {NodeId(n), 0};
}

class Driver {
 public:
  explicit Driver(Input& input)
      : input_(input),
        replica_(options(), PartitionId(1), id(1), start(), RandomStream(1, "fuzz"), now_) {}

  void run() {
    for (int steps = 0; !input_.empty() && steps < 2000; ++steps) {
      step();
      check();
    }
  }

 private:
  static Options options() {
    Options options;
    options.append_bytes_max = 200;
    options.inflight_bytes_max = 1000;
    options.uncommitted_bytes_max = 4000;
    return options;
  }

  Recovered start() {
    std::vector<Entry> stored;
    uint64_t count = input_.byte() % 6, term = 1;
    for (uint64_t i = 0; i < count; ++i) {
      term += input_.byte() % 2;
      stored.push_back({Index(2 + i), Term(term), EntryKind::kCommand, kCurrentSemanticLevel,
                        Payload(std::string_view("s"))});
    }
    LogPosition applied = kFoundingBase;
    if (count > 0 && input_.byte() % 2) applied = {stored[0].index, stored[0].term};
    Recovered recovered =
        recover({Term(term), ReplicaId()}, stored, Index(input_.byte() % 8), applied);
    applied_ = recovered.applied;
    recovered.configuration.voters = {id(1), id(2), id(3)};
    if (input_.byte() % 2) recovered.configuration.learners = {id(4)};
    return recovered;
  }

  // Time::max() is no deadline at all.
  void fire_timer() {
    if (replica_.deadline() != Time::max()) now_ = std::max(now_, replica_.deadline());
    replica_.on_timer(now_);
  }

  void step() {
    uint8_t what = input_.byte();
    switch (what % 16) {
      case 0: fire_timer(); break;
      case 1: now_ = now_ + Duration::millis(input_.byte()); break;
      case 2:
        (void)replica_.propose(now_, EntryKind::kCommand, Payload(std::string_view("p")));
        break;
      case 3: (void)replica_.read(now_, ++token_); break;
      case 4: replica_.peer_disconnected(now_, id(input_.byte() % 4)); break;
      case 5: replica_.release(Index(input_.about(replica_.status().applied.value()))); break;
      case 6:
      case 7: take(); break;
      case 8:
      case 9:
        if (taken_ > 0) replica_.persisted(now_, 1 + input_.byte() % taken_);
        break;
      case 10: elect(); break;
      case 11: {
        Configuration next = any_configuration();
        (void)replica_.change(now_, next.voters, next.learners);
        break;
      }
      default: replica_.receive(now_, message()); break;
    }
  }

  // The way to leadership, which no random walk finds: node 2 helps.
  void elect() {
    fire_timer();
    Message help;
    help.group = PartitionId(1);
    help.from = id(2);
    help.to = id(1);
    help.kind = MessageKind::kPreVoteReply;
    help.term = replica_.term().next();
    replica_.receive(now_, help);
    take();
    if (taken_ > 0) replica_.persisted(now_, taken_);
    help.kind = MessageKind::kVoteReply;
    help.term = replica_.term();
    replica_.receive(now_, help);
  }

  Message message() {
    Status now = replica_.status();
    Message m;
    m.kind = static_cast<MessageKind>(input_.byte() % 10);
    m.group = PartitionId(input_.byte() < 250 ? 1 : 2);
    m.from = id(2 + input_.byte() % 4);
    m.to = id(1);
    m.term = Term(input_.about(now.hard_state.term.value()));
    m.prev = position(now);
    m.commit = Index(input_.about(now.commit.value()));
    m.trim = Index(input_.about(now.commit.value()));
    m.round = input_.about(input_.byte());
    m.match = position(now);
    m.rejected = input_.byte() % 2;
    uint64_t entries = input_.byte() % 5;
    LogPosition at = m.prev;
    for (uint64_t i = 0; i < entries; ++i) {
      uint8_t shape = input_.byte();
      at.index = shape < 250 ? at.index.next() : Index(input_.about(at.index.value()));
      if (shape % 4 == 0) at.term = Term(input_.about(m.term.value()));
      if (shape >= 220 && shape < 240) {
        m.entries.push_back({at.index, at.term, EntryKind::kConfiguration, kCurrentSemanticLevel,
                             encode(any_configuration())});
        continue;
      }
      m.entries.push_back({at.index, at.term,
                           static_cast<EntryKind>(shape == 9 ? 7 : 1 + shape % 3),
                           kCurrentSemanticLevel, Payload(std::string_view("m"))});
    }
    return m;
  }

  // Of nodes 1 to 5: each a voter, about to leave, a learner, or none of these.
  Configuration any_configuration() {
    Configuration configuration;
    for (uint64_t n = 1; n <= 5; ++n) {
      switch (input_.byte() % 5) {
        case 0: configuration.voters.push_back(id(n)); break;
        case 1: configuration.outgoing.push_back(id(n)); break;
        case 2: configuration.learners.push_back(id(n)); break;
        case 3:
          configuration.voters.push_back(id(n));
          configuration.outgoing.push_back(id(n));
          break;
        default: break;
      }
    }
    if (!configuration.known()) configuration = {{id(1)}, {}, {}};
    return configuration;
  }

  LogPosition position(const Status& now) {
    Index index(input_.about(now.last.index.value()));
    // Often the truth, so that the interesting branches are reached.
    if (auto term = replica_.term_at(index); term && input_.byte() % 4) return {index, *term};
    return {index, Term(input_.about(now.last.term.value()))};
  }

  void take() {
    Ready ready = replica_.take_ready();
    if (ready.persist) taken_ = ready.persist->id;
    for (const Entry& entry : ready.committed) {
      CHECK_EQ(entry.index, applied_.next());
      CHECK_LE(entry.index, replica_.status().durable);
      applied_ = entry.index;
    }
    if (!ready.committed.empty()) replica_.applied(applied_);
    for (const Message& m : ready.messages) {
      if (m.kind == MessageKind::kAppendReply && !m.rejected)
        CHECK_LE(m.match.index, replica_.status().durable);
    }
  }

  void check() {
    Status now = replica_.status();
    CHECK_GE(now.hard_state.term, before_.hard_state.term);
    if (now.hard_state.term == before_.hard_state.term && before_.hard_state.vote)
      CHECK(now.hard_state.vote == before_.hard_state.vote);
    CHECK_GE(now.commit, before_.commit);
    CHECK_LE(now.commit, now.last.index);
    CHECK_LE(now.durable, now.last.index);
    CHECK_GE(now.applied, now.base.index);
    if (before_.commit && before_.commit >= now.base.index)
      CHECK(replica_.term_at(before_.commit) == before_commit_term_);
    before_ = now;
    before_commit_term_ = *replica_.term_at(now.commit);
  }

  Input& input_;
  Time now_ = Time::from_nanos(1);
  Index applied_;
  Replica replica_;
  WriteId taken_ = 0;
  ReadToken token_ = 0;
  Status before_{};
  Term before_commit_term_;
};

}  // namespace
}  // namespace kahuna::raft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kahuna::raft::Input input(data, size);
  kahuna::raft::Driver(input).run();
  return 0;
}
