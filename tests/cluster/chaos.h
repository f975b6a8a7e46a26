// Goes at a cluster under load: kills, freezes and cuts, one at a time or two overlapping, all
// drawn from a seed. Every kind comes once before any comes again.
//
// Counts what really happened, so that a test can refuse to pass when nothing did.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/random.h"
#include "tests/cluster/chaos_load.h"
#include "tests/cluster/cluster.h"

namespace kahuna::testing {

class Chaos {
 public:
  enum class Kind : uint8_t {
    kKill,     // kill -9 of one node, then a restart
    kKillAll,  // ... of all
    kFreeze,   // SIGSTOP, then SIGCONT
    kIsolate,  // one node and the others do not reach each other; the test reaches all
    kMute,     // ... the others are not reached by it
    kDeafen,   // ... it is not reached by them
    kBridge,   // two nodes do not reach each other; the third reaches both
    kLimbo,    // isolated and frozen at once; thaws first, and does not know that it was deposed
  };
  static constexpr size_t kKinds = 8;
  static std::string_view name(Kind kind);

  Chaos(Cluster& cluster, TestNetwork& network, ChaosLoad& load, uint64_t seed);

  // Rounds until this much time passed, every kind happened, and a leader that was cut off was
  // replaced. Each round ends with all nodes running and reachable.
  void run(Duration length);

  // Notes nodes that ended by themselves, and starts them again.
  void count_dead();

  uint64_t happened(Kind kind) const { return happened_[static_cast<size_t>(kind)]; }
  // Partitions that the node in trouble led before, and another one when the trouble ended: cuts
  // cut. Counted in rounds without a second trouble.
  uint64_t led_on(Kind kind) const { return led_on_[static_cast<size_t>(kind)]; }
  uint64_t led_on_by_cuts() const;
  uint64_t gave_up() const { return gave_up_; }
  // What was done, a line each.
  const std::string& diary() const { return diary_; }

 private:
  void round(Kind kind, size_t node);
  void begin(Kind kind, size_t node);
  void end(Kind kind, size_t node);
  void cut(size_t from, size_t to) { network_.cut(from, to); }
  size_t busiest();
  size_t led_by(size_t node);
  size_t led_by_others(size_t node);
  void note(const std::string& text);

  Cluster& cluster_;
  TestNetwork& network_;
  ChaosLoad& load_;
  RandomStream random_;
  Time began_;
  std::array<uint64_t, kKinds> happened_{}, led_on_{};
  uint64_t gave_up_ = 0;
  std::string diary_;
};

}  // namespace kahuna::testing
