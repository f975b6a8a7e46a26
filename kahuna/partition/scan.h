// Reading many records: the engine's rows, overlaid with the heads that it does not hold yet.
#pragma once

#include <functional>
#include <string_view>

#include "kahuna/partition/head_cache.h"
#include "kahuna/partition/position.h"
#include "kahuna/partition/state_machine.h"

namespace kahuna::partition {

struct Newest {
  std::string_view position;
  bool alive;  // false: a tombstone; `value` is empty
  Revision revision;
  Watermark stamp;
  std::string_view value;
};

// The newest record of each position in the range (end empty: up to the last), ascending, until the
// visitor returns false. kDamaged: a malformed row.
Result<> visit_newest(engine::Engine& engine, const HeadCache& heads, const PositionRange& range,
                      const std::function<bool(const Newest&)>& visit);

struct ScanRequest {
  std::string_view bucket, cursor;
  size_t limit;
};

// Contract: StateMachine::scan.
Result<ScanPage> scan_bucket(engine::Engine& engine, const HeadCache& heads,
                             const Descriptor& descriptor, const ScanRequest& request);

}  // namespace kahuna::partition
