#include "tests/host/harness.h"

#include <algorithm>

namespace kahuna::host_test {

std::vector<HarnessKind>& harness_kinds() {
  static std::vector<HarnessKind> kinds;
  return kinds;
}

HarnessRegistration::HarnessRegistration(std::string name, HarnessFactory make) {
  auto& kinds = harness_kinds();
  kinds.push_back({std::move(name), std::move(make)});
  std::sort(kinds.begin(), kinds.end(),
            [](const HarnessKind& a, const HarnessKind& b) { return a.name < b.name; });
}

}  // namespace kahuna::host_test
