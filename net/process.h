// What main() sets up once per process, before any Loop runs or thread starts.
#pragma once

#include <memory>

#include "net/loop.h"
#include "runtime/callback.h"
#include "runtime/error.h"

namespace kahuna::net {

// Writing to a closed socket or pipe is an error, not a signal.
void ignore_broken_pipes();

// Raises the limit of open descriptors to the hard limit; returns the limit in force.
uint64_t raise_descriptor_limit();

// While it lives, SIGINT and SIGTERM run a callback on a loop. At most one per process; create it
// before threads start, so that all of them leave these signals to it.
class TerminationSignals {
 public:
  // `on_signal(number)` runs on `loop` for each signal. The loop must outlive this.
  static Result<std::unique_ptr<TerminationSignals>> create(Loop& loop,
                                                            Callback<void(int)> on_signal);
  ~TerminationSignals();
  TerminationSignals(const TerminationSignals&) = delete;

 private:
  struct State;
  explicit TerminationSignals(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace kahuna::net
