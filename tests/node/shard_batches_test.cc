// What peers' messages have to go through on their way from one event loop to another.
#include "kahuna/node/shard_batches.h"

#include <gtest/gtest.h>

namespace kahuna::node {
namespace {

TEST(PeerFrames, OneOfEachPeerIsTakenWhateverCameBefore) {
  PeerFrames frames;
  const std::string large(100, 'x');
  EXPECT_TRUE(frames.add(NodeId(1), large, 150));
  EXPECT_FALSE(frames.add(NodeId(1), large, 150));
  EXPECT_TRUE(frames.add(NodeId(1), "few", 150));
  EXPECT_TRUE(frames.add(NodeId(2), large, 150));
  EXPECT_TRUE(frames.add(NodeId(3), large, 150));
  EXPECT_FALSE(frames.add(NodeId(2), "few", 150));
  std::vector<uint64_t> peers;
  for (const PeerFrame& frame : frames) peers.push_back(frame.peer.value());
  EXPECT_EQ(peers, (std::vector<uint64_t>{1, 1, 2, 3}));
}

TEST(PeerFrames, OneIsTakenHoweverLarge) {
  PeerFrames frames;
  EXPECT_TRUE(frames.add(NodeId(1), std::string(100, 'x'), 1));
  EXPECT_FALSE(frames.add(NodeId(1), "x", 1));
}

}  // namespace
}  // namespace kahuna::node
