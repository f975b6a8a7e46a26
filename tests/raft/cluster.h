// A cluster of replicas in memory for tests: a network one can pick messages from, disks that lose
// what was not synced, engines that lose what was not flushed, and the invariant checker on every
// step. Nothing happens by itself; the test decides.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kahuna/raft/invariants.h"
#include "kahuna/raft/recovery.h"
#include "kahuna/raft/replica.h"

namespace kahuna::raft::testing {

inline constexpr PartitionId kGroup{7};
inline ReplicaId replica_id(size_t n, uint64_t incarnation = 0) {
  return {NodeId(n), incarnation};
}  // nodes count from 1

std::string to_text(LogPosition position);
std::string to_text(const Configuration& configuration);
std::string content_text(const Entry& entry);
std::string to_text(const Message& message);

struct Node {
  std::optional<Replica> replica;  // none while down
  uint64_t incarnation = 0;
  bool present = false;                  // has a replica, up or down
  bool asked_in = false;                 // somebody proposed to add this incarnation
  bool joined = false, removed = false;  // by configurations that were applied somewhere
  uint64_t lives = 0;
  bool dirty = false;  // has effects that were not carried out

  // The journal: what is synced, and writes handed over but not synced.
  HardState hard_state;
  std::vector<Entry> stored;  // contiguous
  std::set<Index> rotten;     // of stored: only index and term can be read
  uint64_t repairs = 0;       // entries written where they had been lost
  Index commit;
  std::deque<Persist> writes;
  Index released;

  // The engine.
  LogPosition applied = kFoundingBase, flushed = kFoundingBase;
  uint64_t state = 0, flushed_state = 0;  // a running hash of what was applied
  Configuration configuration, flushed_configuration;
  Index trim;
  // The marker that the state is being replaced: in the engine's memory, and flushed.
  bool stateless = false, flushed_stateless = false;

  std::vector<ReadGrant> granted;
  std::vector<ReadToken> refused;
  uint64_t lost_leaderships = 0;
};

// A state on its way from a leader to a follower.
struct Stream {
  ReplicaId from, to;
  Term term;
  LogPosition position;
  uint64_t state = 0;
  Configuration configuration;
};

class Cluster {
 public:
  // Called with one line for each effect, when set.
  using Narrator = std::function<void(const std::string&)>;

  // Nodes 1..voters are the group at first; the others are empty until add_empty().
  Cluster(size_t voters, Options options, uint64_t seed, Narrator narrator = {},
          std::vector<int64_t> rates = {}, size_t spares = 0);

  size_t size() const { return nodes_.size() - 1; }
  Node& node(size_t n) { return nodes_[n]; }
  Replica& replica(size_t n) { return *nodes_[n].replica; }
  bool alive(size_t n) const { return nodes_[n].replica.has_value(); }
  ReplicaId id(size_t n) const { return replica_id(n, nodes_[n].incarnation); }
  std::optional<size_t> leader();  // of the highest term, alive
  const std::string& violation() const { return violation_; }
  Index committed() const { return checker_.committed(kGroup); }

  // True time. Node n's clock runs at 1 + rates[n] / 10^6 of it.
  Time now() const { return now_; }
  void advance_to(Time time) { now_ = std::max(now_, time); }
  Time local(size_t n) const;
  Time due(size_t n) const;  // the replica's deadline, in true time

  // Inputs. Each is observed by the checker; effects are carried out by pump(), at once when
  // pump_at_once.
  bool pump_at_once = true;
  void timer(size_t n);  // at its deadline, if it has one: moves the clock there
  Result<LogPosition> propose(size_t n, std::string_view text);
  Result<LogPosition> change(size_t n, std::vector<ReplicaId> voters,
                             std::vector<ReplicaId> learners);
  // A new replica, without state and log, on a node that has none.
  void add_empty(size_t n);
  // Wipes a node whose replica was removed; the next one there is another.
  void destroy(size_t n);
  Result<> read(size_t n, ReadToken token);
  Result<> transfer(size_t n, size_t to);
  void retire(size_t n);  // until it restarts
  void disconnect(size_t n, size_t peer);
  void wake(size_t n);
  void pump(size_t n);
  // Makes the first `count` writes durable and says so.
  void sync(size_t n, size_t count = SIZE_MAX);
  void flush(size_t n);
  // Flushes, and drops the log up to there whatever the others hold.
  void compact(size_t n);
  // The first half of an install (a crash may follow), and the whole.
  void begin_install(size_t at);
  void install(size_t at);
  void lose_stream(size_t at);
  // Loses memory; keeps `writes_kept` of the unsynced writes.
  void crash(size_t n, size_t writes_kept = 0);
  void restart(size_t n);
  // While it is down: the content of one entry is lost on its disk. False when it is not there.
  bool rot(size_t n, Index index);
  // The same of all that its engine held.
  void lose_state(size_t n);
  // Nodes on whose disk this entry is lost.
  size_t rotten_copies(LogPosition position) const;

  // Network: messages in flight in the order of sending.
  std::deque<Message> network;
  void deliver(size_t at);  // removes it
  std::deque<Stream> streams;
  uint64_t installs = 0;
  void receive(Message message);  // as if it had arrived; unknown to the network
  // Delivers everything, and syncs everywhere, until nothing is left to do.
  void settle(size_t rounds_max = 1000);

 private:
  void step(size_t n);
  bool journal_will_hold(const Node& node, LogPosition position) const;
  void cut_journal(size_t n, LogPosition position, std::vector<Entry> behind, bool in_place);
  static void release(Node& node, Index index);
  void end_stream(const Stream& stream);
  void report(InvariantChecker::Violation violation);
  void narrate(const std::string& line);
  void narrate_role(size_t n, Role before, Term term_before);
  void carry_out(size_t n, Ready ready);
  void apply(size_t n, const std::vector<Entry>& entries);
  static void store(Node& node, const Persist& write);
  static void store_restored(Node& node, const Entry& entry);
  void start(size_t n);
  void note_members(Index index, const Configuration& configuration);

  Options options_;
  uint64_t seed_;
  Narrator narrator_;
  std::vector<Node> nodes_;  // [0] unused
  InvariantChecker checker_;
  std::string violation_;
  Index members_noted_;
  Time now_ = Time::from_nanos(0);
  std::vector<int64_t> rates_;
};

}  // namespace kahuna::raft::testing
