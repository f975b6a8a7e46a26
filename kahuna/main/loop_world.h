// A verb's world on the production loop.
#pragma once

#include <memory>

#include "kahuna/cli/world.h"
#include "net/loop.h"
#include "net/process.h"
#include "runtime/check.h"

namespace kahuna {

class LoopWorld final : public cli::World {
 public:
  // CHECKs nothing: the loop was created by the caller.
  explicit LoopWorld(std::unique_ptr<net::Loop> loop) : loop_(std::move(loop)) {}

  Host& host() override { return loop_->host(); }
  void run() override { loop_->run(); }
  void stop() override { loop_->stop(); }
  void on_signal(Callback<void(int)> task) override;
  net::Loop& loop() { return *loop_; }

 private:
  std::unique_ptr<net::Loop> loop_;
  std::unique_ptr<net::TerminationSignals> signals_;
};

}  // namespace kahuna
