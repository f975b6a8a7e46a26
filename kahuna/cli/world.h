// What a verb runs in: one event loop, chosen by main.
#pragma once

#include "runtime/callback.h"
#include "runtime/host.h"

namespace kahuna::cli {

class World {
 public:
  virtual ~World() = default;
  virtual Host& host() = 0;
  // Runs the loop until stop(). May be called again.
  virtual void run() = 0;
  // From within run().
  virtual void stop() = 0;
  // SIGINT and SIGTERM call this, on the loop, from now on; without it they end the process.
  virtual void on_signal(Callback<void(int)> task) = 0;
};

}  // namespace kahuna::cli
