// What happened inside a run, for the report: who led when, which messages were sent, which
// processes lived. Kept only when asked for; changes nothing of the run.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sim/cluster.h"

namespace kahuna::sim {

struct Recording {
  // A replica's role from that time on, until the next of the same replica.
  struct Role {
    TrueTime at;
    uint32_t node = 0, group = 0;
    raft::Role role = raft::Role::kFollower;
    uint64_t term = 0;
  };
  struct Sent {
    TrueTime at;
    uint32_t from = 0, to = 0, group = 0;
    raft::MessageKind kind = raft::MessageKind::kHeartbeat;
    bool rejected = false;
    uint64_t term = 0, index = 0;  // of the last entry sent, matched or asked about
    uint32_t entries = 0;
  };
  struct Process {
    TrueTime at;
    uint32_t node = 0;
    bool up = false;
  };
  // A step of a scenario's script.
  struct Step {
    TrueTime at;
    std::string text;
  };

  static constexpr size_t kSentMax = 2'000'000;  // the latest, about

  std::vector<std::string> nodes;
  std::vector<Role> roles;
  std::vector<Sent> sent;
  std::vector<Process> processes;
  std::vector<Step> steps;
};

class Recorder final : public ClusterListener {
 public:
  // Both outlive the recorder.
  Recorder(World& world, Cluster& cluster);
  ~Recorder() override { cluster_.unlisten(this); }

  void step(size_t node, const raft::Replica& replica) override;
  void message(size_t node, const raft::Message& message) override;
  void process(size_t node, bool up) override;

  Recording take() { return std::move(recording_); }

 private:
  World& world_;
  Cluster& cluster_;
  Recording recording_;
  std::map<std::pair<size_t, uint64_t>, std::pair<raft::Role, uint64_t>> now_;  // by node, group
  std::map<ReplicaId, uint32_t> node_of_;                                       // by replica
};

}  // namespace kahuna::sim
