// What a node says about itself to people, as JSON; kahuna/cli/README.md says what of it is meant
// for scripts.
#pragma once

#include <string>
#include <vector>

#include "kahuna/node/roster.h"
#include "kahuna/node/shard_batches.h"

namespace kahuna::node {

struct NodeStatus {
  struct Peer {
    std::string name;
    Address address;
    bool connected = false;
  };
  std::string name;
  NodeId node;
  uint64_t boot = 0;
  bool serving = false;
  bool waiting = false;  // of no cluster yet, and to be let into one
  size_t loops = 1;
  bool disk_full = false;
  ClusterId cluster;
  Roster roster;
  Watermark watermark;
  size_t in_flight = 0, sessions = 0;
  std::vector<Peer> peers;
  std::vector<LoopStatus> parts;  // of each loop that answered
};

std::string to_json(const NodeStatus& status);

}  // namespace kahuna::node
