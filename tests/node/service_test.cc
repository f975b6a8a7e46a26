#include "kahuna/node/service.h"

#include <gtest/gtest.h>

#include "kahuna/partition/position.h"
#include "tests/node/manual_host.h"

namespace kahuna::node {
namespace {

using node_test::ManualHost;

class ServiceTest : public testing::Test, protected Service::Hooks {
 protected:
  ServiceTest() { service_.open(partition::founding_descriptors(1), NodeId(1), Watermark(1000)); }

  void set(uint64_t birth, uint64_t watermark) {
    flatbuffers::FlatBufferBuilder b;
    auto key = b.CreateVector(reinterpret_cast<const uint8_t*>("k"), 1);
    wire::RequestBuilder request(b);
    request.add_id(++id_);
    request.add_kind(wire::RequestKind::Set);
    request.add_key(key);
    request.add_client(7);
    request.add_sequence(id_);
    request.add_birth(birth);
    request.add_watermark(watermark);
    b.Finish(request.Finish());
    error_ = ErrorCode::kOk;
    service_.on_request(1, *flatbuffers::GetRoot<wire::Request>(b.GetBufferPointer()));
  }

  void respond(uint64_t, ByteView response) override {
    error_ = static_cast<ErrorCode>(flatbuffers::GetRoot<wire::Response>(response.data())->error());
  }
  Result<> forward(NodeId, ByteView) override { return {}; }
  std::string address_of(NodeId) const override { return ""; }
  NodeId node_named(std::string_view) const override { return NodeId(); }
  void collect_status(uint64_t, uint64_t) override {}
  std::string scrub(std::string_view) override { return "{}"; }
  NodeId leader_of(PartitionId) const override { return NodeId(1); }
  void wake(PartitionId) override {}
  Result<> propose(PartitionId, partition::Command command, Token) override {
    proposed_.push_back(std::move(command));
    return {};
  }
  Result<std::optional<partition::Command>> members_command(std::string_view) override { return std::nullopt; }
  Result<> read(const ReadRequest&, Token) override { return {}; }
  Result<> transfer(PartitionId, NodeId, Token) override { return {}; }

  ManualHost turns_;
  Options options_;
  Service service_{turns_.host(), *this, options_};
  std::vector<partition::Command> proposed_;
  ErrorCode error_ = ErrorCode::kOk;
  uint64_t id_ = 0;
};

TEST_F(ServiceTest, ABirthFromNowhereMovesNothing) {
  for (uint64_t far : {uint64_t{1} << 41, (uint64_t{1} << 62) - 1, UINT64_MAX}) {
    set(far, 0);
    EXPECT_EQ(error_, ErrorCode::kInvalid) << far;
    set(0, far);
    EXPECT_EQ(error_, ErrorCode::kInvalid) << far;
  }
  EXPECT_TRUE(proposed_.empty());
  EXPECT_EQ(service_.watermark(), Watermark(1000));
}

TEST_F(ServiceTest, AClientMayKnowMoreThanThisNode) {
  set(5000, 6000);
  ASSERT_EQ(proposed_.size(), 1u);
  EXPECT_EQ(proposed_[0].operation.birth, Watermark(5000));
  EXPECT_EQ(service_.watermark(), Watermark(6000));
  set(6000 + Service::kLeadMax, 0);
  EXPECT_EQ(proposed_.size(), 2u);
}

}  // namespace
}  // namespace kahuna::node
