#include "kahuna/node/signs_of_life.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/node/manual_host.h"

namespace kahuna::node {
namespace {

constexpr Duration kInterval = Duration::seconds(2);
const NodeId kPeer(7), kOther(8);

class SignsOfLifeTest : public ::testing::Test, private SignsOfLife::Hooks {
 protected:
  void SetUp() override {
    signs_.begin(kInterval);
    signs_.heard(kPeer);
    signs_.heard(kOther);
  }
  void pass(int intervals, bool other_talks = true) {
    for (int i = 0; i < intervals; ++i) {
      host_.advance(kInterval);
      if (other_talks) signs_.heard(kOther);
    }
  }

  node_test::ManualHost host_;
  SignsOfLife signs_{host_, *this};
  int probes_ = 0;
  std::vector<NodeId> silent_;

 private:
  void probe_peers() override { ++probes_; }
  void on_silent(NodeId peer) override { silent_.push_back(peer); }
};

TEST_F(SignsOfLifeTest, ProbesEveryInterval) {
  pass(5);
  EXPECT_EQ(probes_, 5);
}

TEST_F(SignsOfLifeTest, TellsOfASilenceOnce) {
  pass(SignsOfLife::kSilentMax - 1);
  EXPECT_TRUE(silent_.empty());
  pass(1);
  EXPECT_EQ(silent_, std::vector{kPeer});
  pass(10);
  EXPECT_EQ(silent_.size(), 1u);
  signs_.heard(kPeer);
  pass(SignsOfLife::kSilentMax);
  EXPECT_EQ(silent_.size(), 2u);
}

}  // namespace
}  // namespace kahuna::node
