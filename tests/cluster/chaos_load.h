// The simulator's own clients (sim/workload.h) on a real loop, against a real cluster: sets with
// and without conditions, deletes, gets, exists and scans over few keys, recorded in real-time
// order.
//
// Several client library instances, each asking another node first; they are thrown away and
// replaced now and then. What they do is drawn from a seed; when, is up to the machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kahuna/cli/json.h"
#include "net/loop.h"
#include "sim/history.h"
#include "sim/workload.h"

namespace kahuna::testing {

class ChaosLoad {
 public:
  ChaosLoad(std::vector<Address> nodes, uint64_t seed);
  ~ChaosLoad();

  // Real time passes; operations run.
  void run_for(Duration duration);
  // Starts nothing new and waits until everything in flight has ended.
  void drain();
  // Gets every key through every client, after drain(), until all succeed; false when they do not
  // within `patience`.
  bool read_all(Duration patience);
  // What a node says of itself; null when it does not answer. Operations run meanwhile.
  cli::Json status(size_t node);

  Time now() const { return host_.clock->now(); }
  const sim::History& history() const { return state_.history; }
  // Completed ok, of one function.
  uint64_t succeeded(sim::Function function) const;

 private:
  void turn();

  const std::vector<Address> nodes_;
  std::unique_ptr<net::Loop> loop_;
  Host host_;  // the loop's, but for the seed
  sim::WorkloadState state_;
  std::vector<std::unique_ptr<sim::ClientDriver>> clients_;
  std::unique_ptr<client::Client> asker_;  // of status
};

}  // namespace kahuna::testing
