#include "kahuna/node/shard_engine.h"

#include <algorithm>
#include <utility>

#include "runtime/check.h"

namespace kahuna::node {

Result<> ShardEngine::write(const engine::WriteBatch&) {
  UNREACHABLE("writes of a shard are asked for");
}

void ShardEngine::start_write(std::shared_ptr<const engine::WriteBatch> batch,
                              Callback<void(Result<>)> done) {
  CHECK(!write_done_);
  writing_ = batch;
  write_done_ = std::move(done);
  hooks_.ask_write(std::move(batch));
}

void ShardEngine::written(Result<> result) {
  CHECK(static_cast<bool>(write_done_));
  auto batch = std::exchange(writing_, nullptr);
  if (result) {
    unflushed_bytes_ += batch->size_bytes();
    for (const auto& [group, mark] : batch->marks()) applied_[group] = own_[group] = mark;
  }
  std::exchange(write_done_, nullptr)(std::move(result));
}

void ShardEngine::flush(Callback<void(Result<>)> done) {
  CHECK(!flush_done_);  // Groups flushes once at a time
  flush_done_ = std::move(done);
  hooks_.ask_flush();
}

void ShardEngine::set_flushed(Marks marks) {
  flushed_ = std::move(marks);
  bool all = std::all_of(own_.begin(), own_.end(), [&](const auto& own) {
    auto at = flushed_.find(own.first);
    return at != flushed_.end() && at->second >= own.second;
  });
  if (all) unflushed_bytes_ = 0;
}

void ShardEngine::flush_ended(Result<> result) {
  CHECK(static_cast<bool>(flush_done_));
  std::exchange(flush_done_, nullptr)(std::move(result));
}

}  // namespace kahuna::node
