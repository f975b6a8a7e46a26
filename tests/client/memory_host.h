// A host in memory for tests of things that only need a clock, a scheduler and a network: one
// thread, a clock that moves when told, streams that deliver in the next turn. No disk, no offload.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "runtime/host.h"

namespace kahuna::testing {

class MemoryHost final : public Clock, public Scheduler, public Network {
 public:
  explicit MemoryHost(uint64_t seed = 1)
      : host_{.clock = this,
              .scheduler = this,
              .disk = nullptr,
              .network = this,
              .offload = nullptr,
              .random_seed = seed} {}

  Host& host() { return host_; }
  // Runs turns until nothing is ready at the present time.
  void settle();
  // Moves the clock, timer by timer.
  void advance(Duration by);
  size_t timers() const { return timers_.size(); }

  // Faults, per listening address.
  struct Fault {
    bool refuse = false;      // connects fail at once
    bool black_hole = false;  // connects time out
    bool mute = false;        // bytes vanish in both directions; nothing ever closes
  };
  Fault& fault(const Address& address) { return faults_[address]; }
  // Resets every stream to that address, in the next turn.
  void cut(const Address& address);
  size_t connects(const Address& address) const;        // ever asked for
  size_t connecting_max(const Address& address) const;  // at once

  // Clock
  Time now() const override { return now_; }
  WallTime wall() const override { return WallTime(); }
  TimerId call_at(Time deadline, Callback<void()> task) override;
  void cancel(TimerId id) override;
  // Scheduler
  void post(Callback<void()> task) override { posted_.push_back(std::move(task)); }
  void defer(Callback<void()> task) override { deferred_.push_back(std::move(task)); }
  // Network
  Result<std::unique_ptr<Listener>> listen(
      const Address& address, Callback<void(std::unique_ptr<Stream>)> on_accept) override;
  void connect(const Address& address, Duration timeout,
               Callback<void(Result<std::unique_ptr<Stream>>)> done) override;

 private:
  struct Pipe;
  class End;
  class Door;
  struct Counts {
    size_t asked = 0, now = 0, most = 0;
  };
  bool turn();

  Host host_;
  Time now_ = Time::from_nanos(1'000'000'000);
  TimerId last_timer_ = 0;
  std::map<std::pair<Time, TimerId>, Callback<void()>> timers_;
  std::map<TimerId, Time> deadlines_;
  std::deque<Callback<void()>> posted_, deferred_;
  std::map<Address, Callback<void(std::unique_ptr<Stream>)>*> doors_;
  std::map<Address, Fault> faults_;
  std::map<Address, Counts> counts_;
  std::vector<std::weak_ptr<Pipe>> pipes_;
};

}  // namespace kahuna::testing
