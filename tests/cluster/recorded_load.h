// Load on a real cluster whose history is recorded, in real-time order, for the simulator's judges.
//
// One loop, one client library instance, `workers` logical processes in a closed loop. Worker i
// writes key i % keys only, so that the recovery of every key can be timed; reads go everywhere.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/client/client.h"
#include "net/loop.h"
#include "sim/history.h"

namespace kahuna::testing {

class RecordedLoad {
 public:
  struct Options {
    std::vector<Address> endpoints;
    size_t workers = 32, keys = 16;
    Duration timeout = Duration::seconds(10);
  };
  explicit RecordedLoad(Options options);
  ~RecordedLoad();

  // Real time passes; operations run.
  void run_for(Duration duration);
  // Starts nothing new and waits until everything in flight has ended.
  void drain();
  // Reads every key once, after drain(); false when one read failed.
  bool read_all();

  Time now() const;
  // The longest any key had to wait for its first successful write that began after `instant`;
  // nothing when some key has had none.
  std::optional<Duration> recovery_since(Time instant) const;
  uint64_t successes() const { return successes_; }
  uint64_t unknown() const { return unknown_; }
  uint64_t failures() const { return failures_; }
  const sim::History& history() const { return history_; }

 private:
  struct Worker {
    uint32_t process = 0;
    sim::NameId key = 0;
  };
  struct Success {
    Time began, ended;
  };
  void next(size_t worker);
  void write(size_t worker, sim::Operation operation);
  void remove(size_t worker, sim::Operation operation);
  void read(size_t worker, sim::Operation operation);
  sim::OperationNumber begin(const sim::Operation& operation);
  void ended(size_t worker, sim::OperationNumber number, const Error* error);

  Options options_;
  std::unique_ptr<net::Loop> loop_;
  RandomStream random_;
  sim::History history_;
  std::unique_ptr<client::Client> client_;
  std::vector<Worker> workers_;
  std::vector<std::vector<Success>> writes_;  // per key
  sim::ValueId last_value_ = 0;
  size_t in_flight_ = 0;
  bool running_ = false;
  uint64_t successes_ = 0, unknown_ = 0, failures_ = 0;
};

}  // namespace kahuna::testing
