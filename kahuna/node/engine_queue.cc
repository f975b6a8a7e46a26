#include "kahuna/node/engine_queue.h"

#include "runtime/probe.h"

namespace kahuna::node {

void EngineQueue::start_write(std::shared_ptr<const engine::WriteBatch> batch, Done done) {
  writes_.push_back({std::move(batch), std::move(done)});
  if (writes_.size() > 1) SOMETIMES(engine_write_waits_for_another_loops);
  next_write();
}

void EngineQueue::next_write() {
  if (writing_ || writes_.empty()) return;
  writing_ = true;
  auto batch = std::move(writes_.front().batch);
  engine_.start_write(std::move(batch),
                      [this, alive = std::weak_ptr<char>(alive_)](Result<> result) {
                        if (alive.expired()) return;
                        writing_ = false;
                        Done done = std::move(writes_.front().done);
                        writes_.pop_front();
                        done(std::move(result));
                        if (!alive.expired()) next_write();
                      });
}

void EngineQueue::flush(Done done) {
  flush_waiters_.push_back(std::move(done));
  if (!flushing_) begin_flush();
}

void EngineQueue::begin_flush() {
  flushing_ = true;
  auto waiters = std::make_shared<std::vector<Done>>(std::exchange(flush_waiters_, {}));
  engine_.flush([this, alive = std::weak_ptr<char>(alive_), waiters](Result<> result) {
    if (alive.expired()) return;
    flushing_ = false;
    if (!flush_waiters_.empty()) begin_flush();
    if (result) on_flushed_();
    for (Done& waiter : *waiters) {
      waiter(result);
      if (alive.expired()) return;
    }
  });
}

}  // namespace kahuna::node
