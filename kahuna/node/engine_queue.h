// One engine for the replicas of several loops: their writes go one at a time, in the order in
// which they came; a flush covers what was written before it was asked for. Lives on the home loop,
// whose own replicas use it like the engine itself. With one loop there is none.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "kahuna/engine/engine.h"
#include "kahuna/node/shard_batches.h"

namespace kahuna::node {

class EngineQueue final : public engine::Engine {
 public:
  // `on_flushed` runs after every flush that ended well, before those who asked for it hear.
  EngineQueue(engine::Engine& engine, Callback<void()> on_flushed)
      : engine_(engine), on_flushed_(std::move(on_flushed)) {}

  Result<> write(const engine::WriteBatch& batch) override { return engine_.write(batch); }
  void start_write(std::shared_ptr<const engine::WriteBatch> batch,
                   Callback<void(Result<>)> done) override;
  Result<bool> first(std::string_view from, std::string_view to, std::string& row,
                     std::string& value) override {
    return engine_.first(from, to, row, value);
  }
  Result<bool> get(std::string_view row, std::string& value) override {
    return engine_.get(row, value);
  }
  Result<> scan(std::string_view from, std::string_view to,
                const engine::RowVisitor& visit) override {
    return engine_.scan(from, to, visit);
  }
  std::unique_ptr<engine::View> view(std::vector<engine::RowRange> ranges) override {
    return engine_.view(std::move(ranges));
  }
  const Marks& applied() const override { return engine_.applied(); }
  const Marks& flushed() const override { return engine_.flushed(); }
  size_t unflushed_bytes() const override { return engine_.unflushed_bytes(); }
  // Never refused: while a flush is under way, the next one begins after it.
  void flush(Callback<void(Result<>)> done) override;

 private:
  using Done = Callback<void(Result<>)>;
  struct Write {
    std::shared_ptr<const engine::WriteBatch> batch;
    Done done;
  };
  void next_write();
  void begin_flush();

  engine::Engine& engine_;  // whose completions end with it, so this goes first
  Callback<void()> on_flushed_;
  std::deque<Write> writes_;         // one of each loop at most
  bool writing_ = false;             // the first of writes_ is under way
  std::vector<Done> flush_waiters_;  // for the next flush
  bool flushing_ = false;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace kahuna::node
