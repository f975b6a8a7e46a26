#include "tests/client/memory_host.h"

#include "runtime/check.h"

namespace kahuna::testing {

struct MemoryHost::Pipe {
  Address address;
  bool dead = false;
  StreamHandler* handlers[2] = {nullptr, nullptr};  // 0: who connected
  bool open[2] = {true, true};
};

class MemoryHost::End final : public Stream {
 public:
  End(MemoryHost& host, std::shared_ptr<Pipe> pipe, int side)
      : host_(host), pipe_(std::move(pipe)), side_(side) {}
  ~End() override {
    pipe_->handlers[side_] = nullptr;
    pipe_->open[side_] = false;
    if (pipe_->dead || host_.fault(pipe_->address).mute) return;
    host_.post([pipe = pipe_, other = 1 - side_] {
      if (StreamHandler* handler = std::exchange(pipe->handlers[other], nullptr)) {
        handler->on_closed(Error(ErrorCode::kClosed, "the peer closed the connection"));
      }
    });
  }
  void set_handler(StreamHandler* handler) override { pipe_->handlers[side_] = handler; }
  size_t write(ByteView bytes) override {
    if (!pipe_->dead && !host_.fault(pipe_->address).mute) {
      host_.post([pipe = pipe_, other = 1 - side_, text = std::string(as_text(bytes))] {
        if (pipe->handlers[other]) pipe->handlers[other]->on_data(as_bytes(text));
      });
    }
    return bytes.size();
  }
  void pause_reading() override {}
  void resume_reading() override {}
  Address peer() const override { return pipe_->address; }

 private:
  MemoryHost& host_;
  std::shared_ptr<Pipe> pipe_;
  int side_;
};

class MemoryHost::Door final : public Listener {
 public:
  Door(MemoryHost& host, Address address, Callback<void(std::unique_ptr<Stream>)> on_accept)
      : host_(host), address_(std::move(address)), on_accept_(std::move(on_accept)) {
    host_.doors_[address_] = &on_accept_;
  }
  ~Door() override { host_.doors_.erase(address_); }
  Address address() const override { return address_; }

 private:
  MemoryHost& host_;
  Address address_;
  Callback<void(std::unique_ptr<Stream>)> on_accept_;
};

TimerId MemoryHost::call_at(Time deadline, Callback<void()> task) {
  const TimerId id = ++last_timer_;
  timers_[{deadline, id}] = std::move(task);
  deadlines_[id] = deadline;
  return id;
}

void MemoryHost::cancel(TimerId id) {
  const auto it = deadlines_.find(id);
  if (it == deadlines_.end()) return;
  timers_.erase({it->second, id});
  deadlines_.erase(it);
}

bool MemoryHost::turn() {
  bool worked = false;
  while (!timers_.empty() && timers_.begin()->first.first <= now_) {
    auto node = timers_.extract(timers_.begin());
    deadlines_.erase(node.key().second);
    node.mapped()();
    worked = true;
  }
  for (size_t ready = posted_.size(); ready > 0; --ready) {
    Callback<void()> task = std::move(posted_.front());
    posted_.pop_front();
    task();
    worked = true;
  }
  while (!deferred_.empty()) {
    Callback<void()> task = std::move(deferred_.front());
    deferred_.pop_front();
    task();
    worked = true;
  }
  return worked;
}

void MemoryHost::settle() {
  size_t turns = 0;
  while (turn()) CHECK_LT(++turns, size_t{100'000});
}

void MemoryHost::advance(Duration by) {
  const Time end = now_ + by;
  settle();
  while (!timers_.empty() && timers_.begin()->first.first <= end) {
    now_ = std::max(now_, timers_.begin()->first.first);
    settle();
  }
  now_ = end;
  settle();
}

Result<std::unique_ptr<Listener>> MemoryHost::listen(
    const Address& address, Callback<void(std::unique_ptr<Stream>)> on_accept) {
  if (doors_.contains(address)) return fail(ErrorCode::kInUse, "address in use");
  return std::make_unique<Door>(*this, address, std::move(on_accept));
}

void MemoryHost::connect(const Address& address, Duration timeout,
                         Callback<void(Result<std::unique_ptr<Stream>>)> done) {
  Counts& counts = counts_[address];
  ++counts.asked;
  counts.most = std::max(counts.most, ++counts.now);
  if (faults_[address].black_hole) {
    call_at(now_ + timeout, [this, address, done = std::move(done)]() mutable {
      --counts_[address].now;
      done(fail(ErrorCode::kTimeout, "no answer"));
    });
    return;
  }
  post([this, address, done = std::move(done)]() mutable {
    --counts_[address].now;
    const auto door = doors_.find(address);
    if (door == doors_.end() || faults_[address].refuse) {
      return done(fail(ErrorCode::kUnavailable, "connection refused"));
    }
    auto pipe = std::make_shared<Pipe>();
    pipe->address = address;
    pipes_.push_back(pipe);
    (*door->second)(std::make_unique<End>(*this, pipe, 1));
    done(std::make_unique<End>(*this, pipe, 0));
  });
}

void MemoryHost::cut(const Address& address) {
  for (const auto& weak : pipes_) {
    const auto pipe = weak.lock();
    if (!pipe || pipe->address != address || pipe->dead) continue;
    pipe->dead = true;
    post([pipe] {
      for (StreamHandler*& side : pipe->handlers) {
        if (StreamHandler* handler = std::exchange(side, nullptr)) {
          handler->on_closed(Error(ErrorCode::kClosed, "connection reset"));
        }
      }
    });
  }
}

size_t MemoryHost::connects(const Address& address) const {
  const auto it = counts_.find(address);
  return it == counts_.end() ? 0 : it->second.asked;
}

size_t MemoryHost::connecting_max(const Address& address) const {
  const auto it = counts_.find(address);
  return it == counts_.end() ? 0 : it->second.most;
}

}  // namespace kahuna::testing
