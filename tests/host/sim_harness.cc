// The simulated host: three machines of one world, without faults.
#include "runtime/check.h"
#include "sim/world.h"
#include "tests/host/harness.h"

namespace kahuna::host_test {
namespace {

class SimHarness final : public HostHarness {
 public:
  SimHarness() : world_(1) {
    host_ = world_.add_node("host");
    peer_ = world_.add_node("peer");
    silent_ = world_.add_node("silent");
    for (sim::NodeHandle node : {host_, peer_, silent_}) world_.start(node);
    for (sim::NodeHandle node : {host_, peer_}) {
      world_.block(node, silent_);
      world_.block(silent_, node);
    }
  }

  Host& host() override { return world_.host(host_); }
  Host& peer() override { return world_.host(peer_); }
  // One process at a time has a machine's disk.
  Host* rival() override { return nullptr; }
  Address host_address() override { return {"host", 0}; }
  Address refusing_address() override { return {"host", 1}; }
  Address silent_address() override { return {"silent", 1}; }

  bool run_until(const std::function<bool()>& done, Duration limit) override {
    return world_.run_until(done, world_.now() + limit);
  }

 private:
  sim::World world_;
  sim::NodeHandle host_, peer_, silent_;
};

const HarnessRegistration registration("sim", [] { return std::make_unique<SimHarness>(); });

}  // namespace
}  // namespace kahuna::host_test
