// Reading a command in place, without copying key and value out of its payload.
#pragma once

#include <optional>
#include <string_view>

#include "kahuna/partition/state_machine.h"

namespace kahuna::partition {

// Views into the payload it was read from.
struct CommandView {
  CommandKind kind = CommandKind::kSet;
  OperationId operation;
  Watermark watermark;
  LogTime log_time;  // when its leader proposed it; 0: by a leader that stamped nothing
  std::string_view key, value;
  bool if_exists = false, if_absent = false;
  std::optional<std::string_view> if_value;
  std::optional<Revision> if_revision;
};

// Stamps that clients and leaders may name; leaves the state machine 2^62 further ones, so that no
// stamp ever wraps, whatever a client claims to know.
inline constexpr uint64_t kWatermarkMax = uint64_t{1} << 62;

// Likewise of log time: 146 million years.
inline constexpr uint64_t kLogTimeMax = uint64_t{1} << 62;

// kInvalid: not a Command, or one that validate() would refuse. `payload` is 8-aligned.
Result<CommandView> read_command(ByteView payload);

}  // namespace kahuna::partition
