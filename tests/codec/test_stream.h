// A scheduler that runs deferred tasks when told, and a stream that remembers what it was given.
#pragma once

#include <deque>
#include <string>

#include "runtime/host.h"

namespace kahuna::codec {

class TestScheduler final : public Scheduler {
 public:
  void post(Callback<void()> task) override { posted_.push_back(std::move(task)); }
  void defer(Callback<void()> task) override {
    ++defers;
    deferred_.push_back(std::move(task));
  }
  void end_turn() {
    while (!deferred_.empty()) {
      Callback<void()> task = std::move(deferred_.front());
      deferred_.pop_front();
      task();
    }
  }
  int defers = 0;

 private:
  std::deque<Callback<void()>> posted_, deferred_;
};

// What the stream under test did, outliving it.
struct Wire {
  std::string sent;
  int writes = 0;
  size_t room = SIZE_MAX;  // bytes the stream still takes
  bool open = true;
  bool paused = false;
  StreamHandler* handler = nullptr;
};

class TestStream final : public Stream {
 public:
  explicit TestStream(Wire& wire) : wire_(wire) {}
  ~TestStream() override { wire_.open = false; }
  void set_handler(StreamHandler* handler) override { wire_.handler = handler; }
  size_t write(ByteView bytes) override {
    ++wire_.writes;
    const size_t taken = std::min(bytes.size(), wire_.room);
    wire_.room -= taken;
    wire_.sent += as_text(bytes.first(taken));
    return taken;
  }
  void pause_reading() override { wire_.paused = true; }
  void resume_reading() override { wire_.paused = false; }
  Address peer() const override { return {"peer", 7}; }

 private:
  Wire& wire_;
};

}  // namespace kahuna::codec
