// A state machine over a volatile engine, driven by hand.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "kahuna/engine/memory_engine.h"
#include "kahuna/partition/position.h"
#include "kahuna/partition/state_machine.h"
#include "runtime/check.h"

namespace kahuna::partition {

class QueueScheduler final : public Scheduler {
 public:
  void post(Callback<void()> task) override { tasks_.push_back(std::move(task)); }
  void defer(Callback<void()> task) override { tasks_.push_back(std::move(task)); }
  void run() {
    while (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }

 private:
  std::deque<Callback<void()>> tasks_;
};

inline Command set_command(std::string key, std::string value, uint64_t sequence,
                           Conditions conditions = {}) {
  return {.kind = CommandKind::kSet,
          .operation = {.client = 7, .sequence = sequence},
          .key = std::move(key),
          .value = std::move(value),
          .conditions = std::move(conditions)};
}
inline Command delete_command(std::string key, uint64_t sequence, Conditions conditions = {}) {
  return {.kind = CommandKind::kDelete,
          .operation = {.client = 7, .sequence = sequence},
          .key = std::move(key),
          .conditions = std::move(conditions)};
}

inline Descriptor whole_space() {
  return founding_descriptors(1)[1];
}

class TestReplica {
 public:
  explicit TestReplica(Descriptor descriptor = whole_space(), Limits limits = Limits())
      : descriptor_(std::move(descriptor)),
        limits_(limits),
        engine_(engine::make_volatile_engine(scheduler_)) {
    reopen();
  }

  // Forgets everything but the engine.
  void reopen() {
    auto opened = StateMachine::open(*engine_, descriptor_, limits_);
    CHECK(opened.has_value());
    machine_ = std::make_unique<StateMachine>(std::move(*opened));
  }
  // Applies without saving.
  Reply stage(const Command& command, LogTime stamp = LogTime()) {
    return stage_payload(encode(command, stamp));
  }
  Reply stage_payload(Payload payload) {
    raft::Entry entry{.index = next_,
                      .term = Term(1),
                      .kind = raft::EntryKind::kCommand,
                      .payload = std::move(payload)};
    next_ = next_.next();
    auto reply = machine_->apply(entry);
    CHECK(reply.has_value());
    return *reply;
  }
  void collect() { machine_->collect(batch_); }
  void save_collected() {
    CHECK(engine_->write(batch_).has_value());
    batch_.clear();
    machine_->saved();
  }
  void write() {
    collect();
    save_collected();
  }
  Hash128 digest() {
    auto digest = machine_->digest();
    CHECK(digest.has_value());
    return *digest;
  }
  Reply apply(const Command& command) {
    Reply reply = stage(command);
    write();
    return reply;
  }
  std::optional<Record> get(std::string_view key) {
    auto record = machine_->get(key);
    CHECK(record.has_value());
    return *record;
  }
  ScanPage scan(std::string_view bucket, std::string_view cursor = "", size_t limit = 1000) {
    auto page = machine_->scan(bucket, cursor, limit);
    CHECK(page.has_value());
    return std::move(*page);
  }
  // Every row of the engine, for comparing replicas.
  std::vector<std::pair<std::string, std::string>> rows() {
    std::vector<std::pair<std::string, std::string>> all;
    CHECK(engine_
              ->scan("", "\xff",
                     [&](std::string_view row, std::string_view value) {
                       all.emplace_back(row, value);
                       return true;
                     })
              .has_value());
    return all;
  }
  StateMachine& machine() { return *machine_; }
  engine::Engine& engine() { return *engine_; }
  Index next_index() const { return next_; }

 private:
  QueueScheduler scheduler_;
  Descriptor descriptor_;
  Limits limits_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<StateMachine> machine_;
  engine::WriteBatch batch_;
  Index next_ = raft::kFoundingBase.index.next();
};

}  // namespace kahuna::partition
