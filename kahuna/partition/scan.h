// Reading one bucket: the engine's rows, overlaid with heads that are applied but not yet written.
#pragma once

#include <string_view>

#include "kahuna/partition/head_cache.h"
#include "kahuna/partition/state_machine.h"

namespace kahuna::partition {

struct ScanRequest {
  std::string_view bucket, cursor;
  size_t limit;
};

// Contract: StateMachine::scan.
Result<ScanPage> scan_bucket(engine::Engine& engine, const HeadCache& heads,
                             const Descriptor& descriptor, const ScanRequest& request);

}  // namespace kahuna::partition
