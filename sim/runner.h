// One run: a cluster, a workload and a fault plan drawn from a seed; safety phase, liveness phase,
// judgement. A pure function of its options.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/error.h"
#include "runtime/hash.h"
#include "runtime/time.h"
#include "sim/fault_plan.h"
#include "sim/history.h"
#include "sim/recording.h"
#include "sim/trace.h"

namespace kahuna::sim {

struct RunOptions {
  uint64_t seed = 0;
  std::vector<std::pair<std::string, std::string>> pins;  // see Spec
  std::string faults;    // "" = drawn, "on", "off", or a list of kinds that may happen
  std::string workload;  // "" = drawn, or a list of operation kinds (workload.h)
  std::string mutant;    // of a KAHUNA_MUTANTS build; "" = none
  std::string scenario;  // scenario.h; "" = none
  uint64_t until = 0;    // stop before the event after this one; 0 = run to the end
  uint64_t record_from = 0, record_to = 0;  // keep the records of these events
  bool record = false;                      // keep what a report shows
};

enum class Verdict : uint8_t { kPass, kFail, kUnknown };
const char* name_of(Verdict verdict);

struct FaultCount {
  std::string kind;
  bool declared = false;  // the plan allows it in this run
  uint64_t fired = 0;
};

struct RunReport {
  Verdict verdict = Verdict::kPass;
  std::string reason;                  // of a failure or of not knowing: one line
  std::string details;                 // more of it, for people
  std::string spec;                    // every choice, as KEY=VALUE
  std::string plan;                    // the fault plan, for people: which kinds, how often
  std::vector<FaultRecord> fault_log;  // what struck, in order of time
  bool fault_log_whole = true;         // ... all of it
  TrueTime faults_from;                // when the plan began; 0 when it never did
  TrueTime healed_from;                // when the second phase began; 0 when it never did
  bool stopped = false;                // at `until`
  Hash128 hash;
  uint64_t events = 0;
  Duration simulated;
  double wall_s = 0;
  std::vector<FaultCount> faults;
  std::vector<std::pair<std::string, uint64_t>> probes;  // hits by name, sorted
  std::vector<TraceCheckpoint> checkpoints;
  std::vector<EventRecord> records;
  History history;
  Recording recording;  // when asked for; scenarios' steps always

  uint64_t faults_fired() const;
  // Faults of the time line that struck; arrivals that became operations (Workload::only).
  Selection struck() const;
  Selection issued() const;
  // "PASS seed=… hash=… sim=…s wall=…s events=… ops=… faults=…"
  std::string last_line(uint64_t seed) const;
};

// Errors are the user's: an option that does not parse, a mutant that is not compiled in.
Result<RunReport> run_seed(const RunOptions& options);

}  // namespace kahuna::sim
