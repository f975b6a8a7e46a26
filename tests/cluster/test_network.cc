#include "tests/cluster/test_network.h"

#include "runtime/check.h"
#include "tests/cluster/process.h"

namespace kahuna::testing {
namespace {

class Loopback final : public TestNetwork {
 public:
  explicit Loopback(size_t nodes) : ports_(free_ports(nodes)) {}
  std::string_view name() const override { return "loopback"; }
  Address listen(size_t node) const override { return {"127.0.0.1", ports_[node]}; }
  Address address(size_t, size_t to) const override { return listen(to); }
  int namespace_of(size_t) const override { return -1; }
  bool cuts() const override { return false; }
  void cut(size_t, size_t) override { CHECK(cuts()); }
  void heal_all() override {}

 private:
  const std::vector<uint16_t> ports_;
};

}  // namespace

std::unique_ptr<TestNetwork> TestNetwork::loopback(size_t nodes) {
  return std::make_unique<Loopback>(nodes);
}

}  // namespace kahuna::testing
