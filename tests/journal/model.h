// A reference model of the journal's promises, and a driver that runs commands against both.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fake_host.h"
#include "kahuna/journal/journal.h"

namespace kahuna::journal_test {

// What a group's log should be, as the newest record says.
struct ModelGroup {
  raft::HardState hard_state;
  std::map<uint64_t, raft::Entry> log;
  uint64_t released = 0, commit = 0;
  // Behind `log`, from the first entry on that was reported lost. Entries have their true content.
  std::map<uint64_t, raft::TailEntry> tail;
};
using ModelState = std::map<uint64_t, ModelGroup>;

// One record as the journal is told of it, in order.
struct Step {
  uint64_t group = 0;
  std::optional<raft::HardState> hard_state;
  std::optional<raft::Entry> entry;
  bool restored = false;  // of the tail
  uint64_t write = 0;     // the append it belongs to
};

struct Command {
  uint8_t kind = 0;
  uint32_t a = 0, b = 0;
};

class Harness {
 public:
  explicit Harness(uint64_t seed, journal::Options options = small_options());
  ~Harness();
  static journal::Options small_options();

  // "" or what went wrong. Stop at the first failure.
  std::string run(const std::vector<Command>& commands);
  std::string execute(const Command& command);

  // --- pieces, also used by direct tests ---
  std::string open();  // also checks what was recovered against the model
  std::string reopen();
  bool open_partly(size_t steps);
  void append(uint64_t group, uint64_t first, size_t count, size_t bytes, bool bump_term);
  // Puts the content of tail entries back, from the first on.
  void restore(uint64_t group, size_t count);
  void vote(uint64_t group);
  void release(uint64_t group, uint64_t index);
  void crash();  // power loss
  void kill();   // the process dies, its writes stay in the cache
  // What a replica would give: its log in memory, as far as just that is durable.
  journal::Memory memory();
  std::string check_recovered(std::map<PartitionId, journal::RecoveredGroup> found);

  FakeDisk disk;
  std::unique_ptr<Machine> machine;
  std::unique_ptr<journal::Journal> journal;
  std::optional<Error> open_error, fatal;
  journal::Options options;
  RandomStream random;
  std::string failure;
  bool remembers = true;           // the journal may have entries from memory()
  bool expect_faulty = false;      // faulty tails may be reported,
  bool lost_acknowledged = false;  // even of acknowledged entries: the test damages the disk

  ModelState acked;           // state as of the last completion
  std::vector<Step> pending;  // submitted after it
  uint64_t next_write = 1, last_done = 0;
  std::map<uint64_t, ModelGroup> live;         // as submitted
  std::map<uint64_t, uint64_t> released_seen;  // highest released index ever recovered
  uint64_t crashes = 0, recovered = 0;

 private:
  void submit(uint64_t group, raft::Persist persist);
  static void apply(ModelState& state, const Step& step);
};

std::vector<Command> random_commands(RandomStream random, size_t count, bool long_lives = false);

}  // namespace kahuna::journal_test
