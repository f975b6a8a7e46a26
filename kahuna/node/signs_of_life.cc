#include "kahuna/node/signs_of_life.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {

void SignsOfLife::begin(Duration interval) {
  CHECK(timer_ == 0);
  CHECK_GT(interval, Duration());
  interval_ = interval;
  arm();
}

void SignsOfLife::arm() {
  timer_ = clock_.call_at(clock_.now() + interval_, [this] { look(); });
}

void SignsOfLife::heard(NodeId peer) {
  auto found =
      std::find_if(peers_.begin(), peers_.end(), [&](const Peer& p) { return p.node == peer; });
  if (found == peers_.end())
    peers_.push_back({peer});
  else
    found->silent = 0;
}

void SignsOfLife::look() {
  arm();
  if (MUTANT(silence_not_noticed)) return;
  std::vector<NodeId> lost;
  for (Peer& peer : peers_)
    if (++peer.silent == kSilentMax) lost.push_back(peer.node);
  for (NodeId node : lost) {
    SOMETIMES(peer_gives_no_sign_of_life);
    hooks_.on_silent(node);
  }
  hooks_.probe_peers();
}

}  // namespace kahuna::node
