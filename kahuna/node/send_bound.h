// What may wait to be sent on one connection: as much as leaves it within `patience`, by the pace
// at which it took what waited before. Whoever asks for more is told at once, and not after others
// gave up waiting.
//
// The pace is known while something waits without a pause; before that, anything may wait for as
// long as the first of it does not wait longer than `patience`. What a stream has taken counts as
// sent, though its buffers (of 1 MiB, and the kernel's) hold it: the wait there comes on top.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "runtime/time.h"

namespace kahuna::node {

class SendBound {
 public:
  // Always admitted: pauses of a process must not be taken for a slow network.
  static constexpr size_t kLeast = 64 * 1024;

  explicit SendBound(Duration patience) : patience_(patience) {}

  // `sent`: bytes that were taken from the connection, ever; `unsent`: those that wait.
  bool admits(Time now, uint64_t sent, size_t unsent);

 private:
  struct Mark {
    uint64_t sent = 0, end = 0;  // when it was set; it is passed when so many are
    Time set;
  };
  const Duration patience_;
  std::optional<Mark> mark_;
  std::optional<double> pace_;  // bytes per nanosecond
};

}  // namespace kahuna::node
