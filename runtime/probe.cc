#include "runtime/probe.h"

#include <string>

namespace kahuna {
namespace {
std::atomic<ProbeSite*> sites_{nullptr};
std::atomic<uint32_t> fault_sites_{0};
thread_local FaultInjector* injector_ = nullptr;
}  // namespace

ProbeSite::ProbeSite(const char* site_name) : name(site_name) {
  next = sites_.load(std::memory_order_relaxed);
  while (!sites_.compare_exchange_weak(next, this)) {
  }
}

ProbeSite* first_probe_site() {
  return sites_.load();
}

void reset_probe_hits() {
  for (ProbeSite* site = first_probe_site(); site; site = site->next) site->hits = 0;
}

void set_fault_injector(FaultInjector* injector) {
  injector_ = injector;
}

FaultSite::FaultSite(const char* site_name) : name(site_name), number(fault_sites_.fetch_add(1)) {}

bool fault_point_fires(const FaultSite& site) {
  return injector_ && injector_->fires(site);
}

#ifdef KAHUNA_MUTANTS
namespace {
std::string& active_mutant() {
  static std::string name;
  return name;
}
}  // namespace
void set_active_mutant(std::string_view name) {
  active_mutant() = name;
}
bool mutant_active(const char* name) {
  return active_mutant() == name;
}
#endif

}  // namespace kahuna
