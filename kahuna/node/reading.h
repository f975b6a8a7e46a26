// A read of applied state, as a value: asked on one event loop, carried out on the one whose
// partition it is, answered on the first.
#pragma once

#include <optional>
#include <string>

#include "kahuna/partition/state_machine.h"
#include "schemas/wire_generated.h"

namespace kahuna::node {

struct ReadRequest {
  PartitionId partition;
  wire::RequestKind kind = wire::RequestKind::None;  // Get, Exists or Scan
  std::string key, cursor;                           // Scan: the bucket
  uint32_t limit = 0;                                // 0 = as many as is usual
};

struct ReadAnswer {
  std::optional<partition::Record> record;  // Get, Exists; none = no such key
  partition::ScanPage page;                 // Scan
};

// Of keys and values.
size_t bytes_of(const ReadAnswer& answer);

// Reads what is applied; the caller has made sure that it is recent enough.
Result<ReadAnswer> read_applied(partition::StateMachine& state, const ReadRequest& request);

}  // namespace kahuna::node
