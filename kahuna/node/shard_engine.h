// The node's engine as the replicas of a loop other than its home use it: they read it directly
// (E6); writes and flushes are carried out by the home loop (engine_queue.h).
#pragma once

#include <memory>

#include "kahuna/engine/engine.h"
#include "kahuna/node/shard_batches.h"

namespace kahuna::node {

class ShardEngine final : public engine::Engine {
 public:
  // Asks the home loop, which answers by written() and flush_ended().
  class Hooks {
   public:
    virtual ~Hooks() = default;
    virtual void ask_write(std::shared_ptr<const engine::WriteBatch> batch) = 0;
    virtual void ask_flush() = 0;
  };
  // `applied`: the engine's marks before any replica runs.
  ShardEngine(engine::Engine& shared, Marks applied, Hooks& hooks)
      : shared_(shared), hooks_(hooks), applied_(std::move(applied)) {}

  Result<> write(const engine::WriteBatch& batch) override;  // CHECKs: only start_write() here
  void start_write(std::shared_ptr<const engine::WriteBatch> batch,
                   Callback<void(Result<>)> done) override;
  Result<bool> first(std::string_view from, std::string_view to, std::string& row,
                     std::string& value) override {
    return shared_.first(from, to, row, value);
  }
  Result<bool> get(std::string_view row, std::string& value) override {
    return shared_.get(row, value);
  }
  Result<> scan(std::string_view from, std::string_view to,
                const engine::RowVisitor& visit) override {
    return shared_.scan(from, to, visit);
  }
  std::unique_ptr<engine::View> view(std::vector<engine::RowRange> ranges) override {
    return shared_.view(std::move(ranges));
  }
  // Of this loop's groups; of others, as of the start.
  const Marks& applied() const override { return applied_; }
  const Marks& flushed() const override { return flushed_; }
  // Written from here.
  size_t unflushed_bytes() const override { return unflushed_bytes_; }
  void flush(Callback<void(Result<>)> done) override;

  // From the home loop.
  void written(Result<> result);
  void set_flushed(Marks marks);
  void flush_ended(Result<> result);

 private:
  engine::Engine& shared_;
  Hooks& hooks_;
  Marks applied_, flushed_;
  Marks own_;  // written from here
  size_t unflushed_bytes_ = 0;
  std::shared_ptr<const engine::WriteBatch> writing_;
  Callback<void(Result<>)> write_done_, flush_done_;
};

}  // namespace kahuna::node
