#include "kahuna/main/loop_world.h"

namespace kahuna {

void LoopWorld::on_signal(Callback<void(int)> task) {
  signals_.reset();
  Result<std::unique_ptr<net::TerminationSignals>> signals =
      net::TerminationSignals::create(*loop_, std::move(task));
  if (signals) signals_ = std::move(*signals);
}

}  // namespace kahuna
