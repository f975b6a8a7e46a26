// Probes in product code, read by the simulator.
//
//   SOMETIMES(raft_truncates_tail);          // a branch that a campaign must reach
//   if (FAULT_POINT(journal_short_batch))    // a place where the contract allows something bad
//   if (MUTANT(vote_not_persisted))          // a planted bug; constant false unless KAHUNA_MUTANTS
//
// Sites register themselves on first execution in a process-wide list, by name. Counting is relaxed
// and costs one increment. FAULT_POINT is false unless an injector is installed on this thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace kahuna {

struct ProbeSite {
  const char* name;
  std::atomic<uint64_t> hits{0};
  ProbeSite* next = nullptr;
  explicit ProbeSite(const char* site_name);
};

// First of the list of sites reached so far in this process (order of first execution, newest
// first; not deterministic across refactorings: sort by name before printing).
ProbeSite* first_probe_site();
void reset_probe_hits();

// A place in the code; made at its first execution. Several places may have one name.
struct FaultSite {
  const char* name;
  uint32_t
      number;  // counts up in order of first execution: an index for caches, nothing to draw by
  explicit FaultSite(const char* site_name);
};

// Decides whether a fault point fires at this hit. Installed per thread by the simulator.
class FaultInjector {
 public:
  virtual ~FaultInjector() = default;
  virtual bool fires(const FaultSite& site) = 0;
};
void set_fault_injector(FaultInjector* injector);  // null removes it
bool fault_point_fires(const FaultSite& site);

#define SOMETIMES(probe_name)                                 \
  do {                                                        \
    static ::kahuna::ProbeSite probe_site_(#probe_name);      \
    probe_site_.hits.fetch_add(1, std::memory_order_relaxed); \
  } while (0)

#define FAULT_POINT(point_name)                                \
  ([] {                                                        \
    static const ::kahuna::FaultSite fault_site_(#point_name); \
    return ::kahuna::fault_point_fires(fault_site_);           \
  }())

#ifdef KAHUNA_MUTANTS
// The one active mutant of this process, by name ("" = none); see tests/mutants.txt.
void set_active_mutant(std::string_view name);
bool mutant_active(const char* name);
#define MUTANT(mutant_name) (::kahuna::mutant_active(#mutant_name))
#else
#define MUTANT(mutant_name) (false)
#endif

}  // namespace kahuna
