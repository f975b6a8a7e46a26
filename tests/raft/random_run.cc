#include "tests/raft/random_run.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tests/raft/cluster.h"

namespace kahuna::raft::testing {
namespace {

// How often things happen, relative to each other; zero means not in this run.
struct Plan {
  size_t voters = 3;  // at first
  size_t nodes = 3;   // with those that are empty at first
  Options options;
  uint64_t deliver = 100, pump = 100, sync = 60, time = 10;
  uint64_t propose = 20, read = 10;
  uint64_t crash = 0, restart = 0, flush = 3, cut = 0, heal = 0, disconnect = 0, depose = 0;
  uint64_t compact = 0, stream = 0, begin = 0, lose_stream = 0, strand = 0;
  uint64_t transfer = 0, retire = 0, usurp = 0;
  uint64_t change = 0, destroy = 0;
  uint64_t idle = 0, wake = 0;
  uint64_t lose_percent = 0, duplicate_percent = 0;
  uint64_t rot_percent = 0;  // of restarts, before which the disk loses entries
  size_t loses_state = 0;  // a node whose engine is lost at restarts, and no other's log is damaged
  bool rot_everywhere = false;  // ... of a majority too: then safety alone is judged
  bool reorder = false, pump_at_once = false;
  size_t sleepy = 0;  // a node whose timers hardly ever fire; 0 = none
  size_t steps = 2500;
  std::vector<int64_t> rates;  // of the clocks, by node
  bool warm = true;            // begin with a leader
};

Plan draw_plan(RandomStream& random) {
  static constexpr size_t kSizes[] = {1, 2, 3, 3, 3, 3, 4, 5};
  Plan plan;
  plan.nodes = plan.voters = kSizes[random.below(std::size(kSizes))];
  plan.options.append_bytes_max = random.chance(1, 2) ? 100 : 256 * 1024;
  plan.options.inflight_bytes_max = random.chance(1, 2) ? 400 : 4 * 1024 * 1024;
  plan.options.uncommitted_bytes_max = random.chance(1, 4) ? 600 : 16 * 1024 * 1024;
  plan.sync = random.chance(1, 2) ? 100 : 10;
  static constexpr uint64_t kTime[] = {8, 20, 60, 150};
  plan.time = kTime[random.below(std::size(kTime))];
  plan.pump = random.chance(1, 3) ? 20 : 150;
  plan.pump_at_once = random.chance(1, 3);
  plan.propose = random.chance(1, 3) ? 60 : 15;
  plan.read = random.chance(1, 2) ? 15 : 0;
  plan.reorder = random.chance(1, 3);
  plan.warm = random.chance(3, 4);
  if (random.chance(1, 2)) plan.crash = random.between(1, 6), plan.restart = 6;
  if (random.chance(1, 2)) plan.cut = random.between(1, 3), plan.heal = random.below(3);
  if (plan.nodes > 1 && random.chance(1, 4)) plan.depose = 1;
  if (random.chance(1, 3)) plan.sleepy = random.between(1, plan.nodes);
  if (random.chance(1, 3)) plan.disconnect = 3;
  if (random.chance(1, 2))
    plan.compact = random.between(2, 40), plan.stream = random.between(2, 40),
    plan.begin = random.below(8), plan.lose_stream = random.below(6),
    plan.strand = plan.nodes > 1 ? random.below(4) : 0;
  if (random.chance(1, 3)) plan.transfer = random.between(1, 10), plan.retire = random.below(3);
  if (random.chance(1, 2)) {
    static constexpr uint32_t kDrift[] = {1'000, 50'000, 200'000};
    plan.options.reads = Reads::kLease;
    uint32_t drift = plan.options.clock_drift_ppm_max = kDrift[random.below(std::size(kDrift))];
    plan.read = random.between(10, 60);
    plan.usurp = plan.nodes > 1 ? random.below(4) : 0;
    for (size_t n = 0; n <= plan.nodes; ++n)
      plan.rates.push_back(static_cast<int64_t>(random.below(2 * drift + 1)) - drift);
  }
  if (random.chance(1, 2)) plan.lose_percent = random.between(1, 30);
  if (random.chance(1, 3)) plan.duplicate_percent = random.between(1, 20);
  if (random.chance(1, 2)) {
    plan.nodes += random.between(1, 3);
    plan.change = random.between(2, 25);
    plan.destroy = random.below(6);
  }
  if (plan.crash > 0 && random.chance(2, 3)) {
    plan.rot_percent = random.between(10, 100);
    plan.rot_everywhere = random.chance(1, 4) || plan.change > 0;  // a minority of how many?
    if (plan.nodes > 2 && plan.change == 0 && random.chance(1, 4))
      plan.loses_state = random.between(1, plan.nodes);
    plan.crash = random.between(3, 12);
  }
  static constexpr int64_t kQuiesceMs[] = {0, 1, 1, 250};
  plan.options.quiesce_after = Duration::millis(kQuiesceMs[random.below(std::size(kQuiesceMs))]);
  if (random.chance(1, 2)) plan.idle = random.between(1, 8), plan.wake = random.below(8);
  return plan;
}

// RAFT_NARRATE=1 tells everything that happens.
Cluster::Narrator narrator() {
  if (!std::getenv("RAFT_NARRATE")) return {};
  return [](const std::string& line) { std::printf("%s\n", line.c_str()); };
}

class Run {
 public:
  explicit Run(uint64_t seed)
      : random_(seed, "run"),
        plan_(draw_plan(random_)),
        cluster_(plan_.voters, plan_.options, seed, narrator(), plan_.rates,
                 plan_.nodes - plan_.voters),
        cut_((plan_.nodes + 1) * (plan_.nodes + 1), false) {
    cluster_.pump_at_once = plan_.pump_at_once;
  }

  RunResult result() {
    if (plan_.warm) warm_up();
    for (; result_.steps < plan_.steps && cluster_.violation().empty(); ++result_.steps) {
      act();
      if (auto leader = cluster_.leader()) {
        Term term = cluster_.replica(*leader).term();
        if (term > last_leader_term_) ++result_.elections, last_leader_term_ = term;
      }
    }
    bool recovered = cluster_.violation().empty() && recovers();
    result_.violation = cluster_.violation();
    result_.stalled = result_.violation.empty() && !recovered && !plan_.rot_everywhere;
    result_.committed = cluster_.committed().value();
    result_.reads = granted_;
    result_.installs = cluster_.installs;
    for (size_t n = 1; n <= plan_.nodes; ++n) result_.repairs += cluster_.node(n).repairs;
    result_.rotten = rotten_;
    for (size_t n = 1; n <= plan_.nodes; ++n)
      if (cluster_.alive(n))
        result_.terms = std::max(result_.terms, cluster_.replica(n).term().value());
    return result_;
  }

 private:
  size_t any_node() { return 1 + random_.below(plan_.nodes); }

  void act() {
    struct Choice {
      uint64_t weight;
      void (Run::*action)();
    };
    const Choice choices[] = {{plan_.deliver, &Run::deliver},
                              {plan_.pump, &Run::pump},
                              {plan_.sync, &Run::sync},
                              {plan_.time, &Run::time},
                              {plan_.propose, &Run::propose},
                              {plan_.read, &Run::read},
                              {plan_.crash, &Run::crash},
                              {plan_.restart, &Run::restart},
                              {plan_.flush, &Run::flush},
                              {plan_.cut, &Run::cut},
                              {plan_.heal, &Run::heal},
                              {plan_.disconnect, &Run::disconnect},
                              {plan_.depose, &Run::depose},
                              {plan_.compact, &Run::compact},
                              {plan_.stream, &Run::stream},
                              {plan_.begin, &Run::begin_install},
                              {plan_.lose_stream, &Run::lose_stream},
                              {plan_.strand, &Run::strand},
                              {plan_.transfer, &Run::transfer},
                              {plan_.retire, &Run::retire},
                              {plan_.usurp, &Run::usurp},
                              {plan_.change, &Run::change},
                              {plan_.destroy, &Run::destroy},
                              {plan_.idle, &Run::idle},
                              {plan_.wake, &Run::wake}};
    uint64_t total = 0;
    for (const Choice& choice : choices) total += choice.weight;
    uint64_t pick = random_.below(total);
    for (const Choice& choice : choices) {
      if (pick < choice.weight) return (this->*choice.action)();
      pick -= choice.weight;
    }
  }

  void deliver() {
    std::deque<Message>& network = cluster_.network;
    if (network.empty()) return;
    size_t at = random_.below(network.size());
    if (!plan_.reorder) {  // the oldest of that pair
      Message& picked = network[at];
      at = static_cast<size_t>(std::find_if(network.begin(), network.end(),
                                            [&](const Message& m) {
                                              return m.from == picked.from && m.to == picked.to;
                                            }) -
                               network.begin());
    }
    if (is_cut(network[at]) || random_.chance(plan_.lose_percent, 100)) {
      network.erase(network.begin() + static_cast<ptrdiff_t>(at));
      return;
    }
    if (random_.chance(plan_.duplicate_percent, 100)) {
      Message copy = network[at];
      if (random_.chance(1, 2)) network.push_back(copy);
      cluster_.receive(std::move(copy));
      return;
    }
    cluster_.deliver(at);
  }

  void warm_up() {
    cluster_.pump_at_once = true;
    for (size_t n = 1; n <= plan_.nodes; ++n) cluster_.pump(n);
    while (!cluster_.leader()) {
      fire_earliest_timer();
      cluster_.settle();
    }
    cluster_.pump_at_once = plan_.pump_at_once;
  }

  bool fire_earliest_timer() {
    size_t first = 0;
    for (size_t n = 1; n <= plan_.nodes; ++n)
      if (cluster_.alive(n) && (first == 0 || cluster_.due(n) < cluster_.due(first))) first = n;
    if (first == 0 || cluster_.due(first) == Time::max()) return false;
    cluster_.timer(first);
    return true;
  }

  bool is_cut(const Message& m) {
    return cut_[m.from.node.value() * (plan_.nodes + 1) + m.to.node.value()];
  }

  void pump() {
    size_t n = any_node();
    if (cluster_.alive(n) && cluster_.node(n).dirty) cluster_.pump(n);
  }

  void sync() {
    size_t n = any_node();
    if (cluster_.alive(n) && !cluster_.node(n).writes.empty())
      cluster_.sync(n, 1 + random_.below(cluster_.node(n).writes.size()));
  }

  void time() {
    size_t n = any_node();
    if (!cluster_.alive(n)) return;
    // Mostly the earliest deadline; sometimes a node that is late with its own.
    if (random_.chance(4, 5)) {
      for (size_t other = 1; other <= plan_.nodes; ++other)
        if (cluster_.alive(other) && cluster_.due(other) < cluster_.due(n)) n = other;
    }
    if (n == plan_.sleepy && !random_.chance(1, 30)) {
      // Its time passes all the same: for the others.
      cluster_.advance_to(cluster_.now() + Duration::millis(20));
      n = 1 + n % plan_.nodes;
      if (!cluster_.alive(n) || cluster_.due(n) > cluster_.now()) return;
    }
    if (cluster_.replica(n).deadline() < Time::max()) cluster_.timer(n);
  }

  void propose() {
    size_t n = any_node();
    if (auto leader = cluster_.leader(); leader && random_.chance(3, 4)) n = *leader;
    if (cluster_.alive(n)) (void)cluster_.propose(n, "p" + std::to_string(++proposals_));
  }

  void read() {
    size_t n = any_node();
    if (cluster_.alive(n)) (void)cluster_.read(n, ++reads_);
  }

  void crash() {
    size_t n = any_node();
    if (!cluster_.alive(n)) return;
    granted_ += cluster_.node(n).granted.size();
    cluster_.node(n).granted.clear();
    cluster_.crash(n, random_.below(cluster_.node(n).writes.size() + 1));
  }

  void restart() {
    size_t n = any_node();
    if (cluster_.alive(n) || !cluster_.node(n).present) return;
    if (random_.chance(plan_.rot_percent, 100)) rot(n);
    cluster_.restart(n);
  }

  // Loses entries of a node that is down: mostly the newest, and of each a minority of its copies.
  void rot(size_t n) {
    if (plan_.loses_state != 0 && !plan_.rot_everywhere && n != plan_.loses_state) return;
    if (n == plan_.loses_state) cluster_.lose_state(n);
    for (uint64_t left = 1 + random_.below(3); left > 0; --left) {
      const std::vector<Entry>& stored = cluster_.node(n).stored;
      if (stored.empty()) return;
      size_t back = random_.chance(1, 2) ? random_.below(std::min<size_t>(stored.size(), 3))
                                         : random_.below(stored.size());
      const Entry& entry = stored[stored.size() - 1 - back];
      size_t copies = cluster_.rotten_copies({entry.index, entry.term});
      bool already = cluster_.node(n).rotten.contains(entry.index);
      if (already || (copies + 1 > (plan_.nodes - 1) / 2 && !plan_.rot_everywhere)) continue;
      rotten_ += cluster_.rot(n, entry.index);
    }
  }

  void flush() {
    size_t n = any_node();
    if (cluster_.alive(n)) cluster_.flush(n);
  }

  void transfer() {
    auto leader = cluster_.leader();
    if (!leader) return;
    (void)cluster_.transfer(*leader, any_node());
    if (random_.chance(1, 3)) return;
    bustle(40);
    propose();
    if (cluster_.alive(*leader)) (void)cluster_.read(*leader, ++reads_);
  }

  // It stops a while later.
  void retire() {
    size_t n = any_node();
    if (!cluster_.alive(n) || n == retired_) return;
    if (retired_ != 0 && cluster_.alive(retired_)) {
      cluster_.crash(retired_, 0);
      cluster_.restart(retired_);
    }
    cluster_.retire(retired_ = n);
    if (auto to = cluster_.replica(n).successor(cluster_.local(n)))
      (void)cluster_.transfer(n, to->node.value());
  }

  void compact() {
    size_t n = any_node();
    if (cluster_.alive(n)) cluster_.compact(n);
  }

  void stream() {
    if (!cluster_.streams.empty()) cluster_.install(random_.below(cluster_.streams.size()));
  }
  void begin_install() {
    if (!cluster_.streams.empty()) cluster_.begin_install(random_.below(cluster_.streams.size()));
  }
  void lose_stream() {
    if (!cluster_.streams.empty()) cluster_.lose_stream(random_.below(cluster_.streams.size()));
  }

  void bustle(int times) {
    for (int i = 0; i < times && cluster_.violation().empty(); ++i) {
      deliver();
      sync();
      pump();
    }
  }

  // Leaves a follower behind until the others have compacted what it lacks, and then lets them find
  // each other; what happens to the stream is drawn.
  void strand() {
    auto leader = cluster_.leader();
    size_t victim = any_node();
    if (!leader || *leader == victim) return;
    heal();
    size_t width = plan_.nodes + 1;
    for (size_t n = 1; n < width; ++n) cut_[victim * width + n] = cut_[n * width + victim] = true;
    for (int i = 0; i < 8; ++i) {
      propose();
      bustle(40);
    }
    for (size_t n = 1; n < width; ++n)
      if (cluster_.alive(n) && n != victim && random_.chance(2, 3)) cluster_.compact(n);
    heal();
    for (int i = 0; i < 6 && cluster_.streams.empty(); ++i) {
      if (auto now_leads = cluster_.leader()) cluster_.timer(*now_leads);
      bustle(60);
    }
    if (random_.chance(2, 3)) begin_install();
    // Another leader may have the log that the first one dropped.
    if (size_t n = any_node(); n != victim && cluster_.alive(n) && random_.chance(1, 2)) {
      cluster_.timer(n);
      bustle(100);
      propose();
      bustle(100);
    }
    if (cluster_.alive(victim) && random_.chance(1, 2)) cluster_.flush(victim);
    if (random_.chance(1, 3)) propose(), bustle(60);
    if (cluster_.alive(victim) && random_.chance(1, 3))
      cluster_.crash(victim, 0), cluster_.restart(victim);
    if (cluster_.alive(victim) && random_.chance(1, 2)) cluster_.timer(victim), bustle(40);
    if (random_.chance(1, 3)) time(), bustle(60);
    if (random_.chance(1, 2)) stream();
  }

  void cut() {
    size_t width = plan_.nodes + 1;
    size_t victim = any_node();
    if (auto leader = cluster_.leader(); leader && random_.chance(2, 3)) victim = *leader;
    uint64_t shape = random_.below(4);  // isolated, deaf, mute, or any set of links
    for (size_t a = 1; a < width; ++a) {
      for (size_t b = 1; b < width; ++b) {
        bool chosen = shape == 3 ? random_.chance(1, 3)
                                 : (a == victim && shape != 1) || (b == victim && shape != 2);
        if (chosen) cut_[a * width + b] = true;
      }
    }
  }

  // Cuts the leader off in some way, lets the others find a new one, and asks the old one things.
  void depose() {
    auto victim = cluster_.leader();
    if (!victim) return;
    heal();
    size_t width = plan_.nodes + 1;
    uint64_t shape = random_.below(3);
    size_t still_heard_by = random_.chance(1, 2) ? any_node() : 0;
    for (size_t n = 1; n < width; ++n) {
      if (n == still_heard_by) continue;
      if (shape != 1) cut_[*victim * width + n] = true;
      if (shape != 2) cut_[n * width + *victim] = true;
    }
    for (int i = 0; i < 12; ++i) {
      size_t n = any_node();
      if (n != *victim && cluster_.alive(n)) cluster_.timer(n);
      for (int j = 0; j < 60; ++j) {
        deliver();
        sync();
        pump();
      }
      propose();
      if (cluster_.alive(*victim) && random_.chance(1, 2))
        (void)cluster_.read(*victim, ++reads_), cluster_.pump(*victim);
      if (!cluster_.violation().empty()) return;
    }
  }

  // Time passes in small steps, timers fire when they are due, and everything that can arrive does,
  // soon or some steps later.
  void pass(Duration span, size_t reader, bool idle = false) {
    const bool slow = random_.chance(1, 3);
    for (Time end = cluster_.now() + span; cluster_.now() < end && cluster_.violation().empty();) {
      cluster_.advance_to(cluster_.now() +
                          Duration::millis(1 + static_cast<int64_t>(random_.below(15))));
      for (size_t n = 1; n <= plan_.nodes; ++n) {
        if (!cluster_.alive(n)) continue;
        if (cluster_.due(n) <= cluster_.now()) cluster_.timer(n);
        cluster_.pump(n);
        cluster_.sync(n);
      }
      bool held_up = slow && !random_.chance(1, 8);
      for (size_t left = cluster_.network.size() * 3;
           left > 0 && !held_up && !cluster_.network.empty(); --left) {
        if (is_cut(cluster_.network.front())) {
          cluster_.network.pop_front();
          continue;
        }
        cluster_.deliver(0);
        for (size_t n = 1; n <= plan_.nodes; ++n)
          if (cluster_.alive(n)) cluster_.pump(n), cluster_.sync(n);
      }
      if (!idle) propose();
      if (reader != 0 && cluster_.alive(reader)) (void)cluster_.read(reader, ++reads_);
    }
  }

  // Nothing is asked of the group; perhaps it falls quiet.
  void idle() {
    if (random_.chance(1, 2)) heal();
    pass(Duration::millis(static_cast<int64_t>(random_.between(100, 800))), 0, true);
    for (size_t n = 1; n <= plan_.nodes; ++n)
      result_.quiet += cluster_.alive(n) && cluster_.replica(n).quiet();
  }

  void wake() {
    size_t n = any_node();
    if (cluster_.alive(n)) cluster_.wake(n);
  }

  // The leader is cut off, from one follower sooner than from the rest. They lose their
  // connections, or restart; it is asked for reads all the while.
  void usurp() {
    auto victim = cluster_.leader();
    if (!victim) return;
    heal();
    pass(Duration::millis(150), 0);
    if (!cluster_.alive(*victim) || cluster_.leader() != victim) return;
    const size_t width = plan_.nodes + 1, first = any_node();
    auto cut_off = [&](size_t n) {
      cut_[*victim * width + n] = cut_[n * width + *victim] = true;
      if (n != *victim && cluster_.alive(n) && random_.chance(1, 2))
        cluster_.disconnect(n, *victim);
    };
    if (random_.chance(1, 2)) {
      cut_off(first);
      pass(Duration::millis(static_cast<int64_t>(random_.between(100, 600))), 0);
    }
    for (size_t n = 1; n < width; ++n) {
      if (n == *victim || n == first || !cluster_.alive(n)) continue;
      if (random_.chance(1, 3)) cluster_.crash(n, 0), cluster_.restart(n);
    }
    for (size_t n = 1; n < width; ++n) cut_off(n);
    pass(Duration::millis(700), *victim);
    heal();
  }

  // One random step: somebody comes, votes, leaves, or takes another's place.
  void change() {
    size_t n = any_node();
    if (auto leader = cluster_.leader(); leader && random_.chance(7, 8)) n = *leader;
    if (!cluster_.alive(n)) return;
    Configuration next = cluster_.replica(n).configuration();
    if (!next.known()) return;
    auto drop = [&](std::vector<ReplicaId>& list) {
      if (list.empty()) return ReplicaId();
      auto at = list.begin() + static_cast<ptrdiff_t>(random_.below(list.size()));
      ReplicaId dropped = *at;
      list.erase(at);
      return dropped;
    };
    size_t added = 0;
    const uint64_t what = random_.below(6);
    if (what <= 1) {
      size_t m = any_node();
      if (!cluster_.node(m).present) cluster_.add_empty(m);
      if (!cluster_.alive(m) || cluster_.node(m).asked_in) return;
      next.learners.push_back(cluster_.id(added = m));
    }
    if (what == 2 || what == 3 || what == 4) {
      if (what >= 3) drop(next.voters);
      if (what <= 3) {
        if (ReplicaId promoted = drop(next.learners)) next.voters.push_back(promoted);
      }
    }
    if (what == 5) drop(next.learners);
    if (!cluster_.change(n, next.voters, next.learners)) return;
    ++result_.changes;
    if (added != 0) cluster_.node(added).asked_in = true;
  }

  void destroy() {
    size_t n = any_node();
    if (!cluster_.node(n).present || !cluster_.node(n).removed) return;
    if (cluster_.alive(n)) granted_ += cluster_.node(n).granted.size();
    cluster_.destroy(n);
  }

  void heal() { std::fill(cut_.begin(), cut_.end(), false); }

  void disconnect() {
    size_t n = any_node(), peer = any_node();
    if (!cluster_.alive(n) || n == peer) return;
    std::erase_if(cluster_.network, [&](const Message& m) {
      return m.from == cluster_.id(peer) && m.to == cluster_.id(n);
    });
    cluster_.disconnect(n, peer);
  }

  // Everything healed, in order, nothing lost: a leader, a commit and equal states within bounded
  // virtual time.
  bool recovers() {
    heal();
    if (retired_ != 0 && cluster_.alive(retired_)) cluster_.crash(retired_, 0);
    for (size_t n = 1; n <= plan_.nodes; ++n)
      if (retired_ != 0 && n != retired_ && cluster_.alive(n)) cluster_.disconnect(n, retired_);
    for (size_t n = 1; n <= plan_.nodes; ++n)
      if (cluster_.node(n).present && !cluster_.alive(n)) cluster_.restart(n);
    cluster_.pump_at_once = true;
    for (size_t n = 1; n <= plan_.nodes; ++n) cluster_.pump(n);
    Time limit = cluster_.now() + Duration::seconds(20);
    bool proposed = false;
    while (cluster_.now() < limit && cluster_.violation().empty()) {
      cluster_.settle();
      auto leader = cluster_.leader();
      if (leader && cluster_.replica(*leader).can_serve() && !proposed)
        proposed = cluster_.propose(*leader, "last").has_value();
      cluster_.settle();
      if (proposed && cluster_.leader() && converged()) return true;
      if (!fire_earliest_timer()) return false;
    }
    return false;
  }

  bool converged() {
    size_t leader = *cluster_.leader();
    if (!cluster_.replica(leader).settled()) return false;
    for (size_t n = 1; n <= plan_.nodes; ++n) {
      granted_ += cluster_.node(n).granted.size();
      cluster_.node(n).granted.clear();
      if (!cluster_.replica(leader).configuration().contains(cluster_.id(n))) continue;
      if (cluster_.node(n).applied.index != cluster_.committed()) return false;
      if (cluster_.node(n).state != cluster_.node(leader).state) return false;
      if (cluster_.node(n).configuration != cluster_.node(leader).configuration) return false;
      if (cluster_.replica(n).status().last.index != cluster_.committed()) return false;
    }
    return true;
  }

  RandomStream random_;
  Plan plan_;
  Cluster cluster_;
  std::vector<bool> cut_;
  uint64_t proposals_ = 0, reads_ = 0, granted_ = 0, rotten_ = 0;
  Term last_leader_term_;
  size_t retired_ = 0;  // 0 = none
  RunResult result_;
};

}  // namespace

RunResult run_seed(uint64_t seed) {
  return Run(seed).result();
}

}  // namespace kahuna::raft::testing
