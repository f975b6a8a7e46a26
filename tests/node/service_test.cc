#include "kahuna/node/service.h"

#include <gtest/gtest.h>

#include <functional>

#include "kahuna/partition/position.h"
#include "tests/node/manual_host.h"

namespace kahuna::node {
namespace {

using node_test::ManualHost;

class ServiceTest : public testing::Test, protected Service::Hooks {
 protected:
  ServiceTest() { service_.open(partition::founding_descriptors(1), NodeId(1), Watermark(1000)); }

  void set(uint64_t birth, uint64_t watermark) { ask(wire::RequestKind::Set, birth, watermark); }
  void ask(wire::RequestKind kind, uint64_t birth, uint64_t watermark) {
    flatbuffers::FlatBufferBuilder b;
    auto key = b.CreateVector(reinterpret_cast<const uint8_t*>("k"), 1);
    wire::RequestBuilder request(b);
    request.add_id(++id_);
    request.add_kind(kind);
    request.add_key(key);
    request.add_client(7);
    request.add_sequence(id_);
    request.add_birth(birth);
    request.add_watermark(watermark);
    b.Finish(request.Finish());
    error_ = ErrorCode::kOk;
    service_.on_request(1, *flatbuffers::GetRoot<wire::Request>(b.GetBufferPointer()));
  }

  bool takes_answers(uint64_t) const override { return takes_answers_; }
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
  Result<std::optional<partition::Command>> members_command(std::string_view) override {
    return std::nullopt;
  }
  Result<> read(const ReadRequest&, Token token) override {
    reads_.push_back(token);
    return {};
  }
  Result<> transfer(PartitionId, NodeId, Token) override { return {}; }

  ManualHost turns_;
  Options options_;
  Service service_{turns_.host(), *this, options_};
  std::vector<partition::Command> proposed_;
  ErrorCode error_ = ErrorCode::kOk;
  uint64_t id_ = 0;
  bool takes_answers_ = true;
  std::vector<Token> reads_;
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

// A client that pushes on and on: true when those go on who know what it brought about.
bool push(uint64_t& stamp, const std::function<bool(uint64_t)>& ask) {
  for (uint64_t far = stamp; ask(far); far += Service::kLeadMax) stamp = far;
  return ask(stamp + 1);
}

TEST_F(ServiceTest, NobodyWalksTheWatermarkOutOfReach) {
  uint64_t stamp = (uint64_t{1} << 60) - 100 * Service::kLeadMax;
  service_.hear(Watermark(stamp));
  auto named = [&](uint64_t watermark) {
    set(watermark, watermark);
    return error_ == ErrorCode::kOk;
  };
  push(stamp, named);
  EXPECT_GT(stamp, Service::kNamedMax - Service::kLeadMax);
  EXPECT_LE(stamp, Service::kNamedMax);
  // What is written there comes later, and those who wrote it know a little more than this node.
  for (int i = 0; i < 10; ++i) {
    service_.hear(Watermark(stamp += 1000));
    EXPECT_TRUE(named(stamp + 100));
    EXPECT_FALSE(named(stamp + Service::kLeadMax));
  }
}

TEST_F(ServiceTest, RequestsThatHaveEndedAreForgottenBeforeTheirDeadlines) {
  for (int i = 0; i < 300'000; ++i) {
    ask(wire::RequestKind::Get, 0, 0);
    service_.on_read(reads_.back(), ReadAnswer());
    reads_.clear();
  }
  EXPECT_EQ(service_.in_flight(), 0u);
  EXPECT_LT(service_.deadlines(), 100'000u);
}

TEST_F(ServiceTest, AnAnswerThatIsTooLongIsSaidToBe) {
  service_.answer_status(1, 1, std::string(9'000'000, 'x'));
  EXPECT_EQ(error_, ErrorCode::kTooLarge);
}

// What is read for one who does not take it is not read, and what was read is not sent.
TEST_F(ServiceTest, ReadsEndForOneWhoDoesNotTakeThem) {
  ask(wire::RequestKind::Get, 0, 0);
  ask(wire::RequestKind::Get, 0, 0);
  ASSERT_EQ(reads_.size(), 2u);
  EXPECT_NE(service_.reading(reads_[0]), nullptr);
  takes_answers_ = false;
  EXPECT_EQ(service_.reading(reads_[0]), nullptr);
  EXPECT_EQ(error_, ErrorCode::kOverloaded);
  error_ = ErrorCode::kOk;
  service_.on_read(reads_[1], ReadAnswer());
  EXPECT_EQ(error_, ErrorCode::kOverloaded);
  EXPECT_EQ(service_.in_flight(), 0u);
  set(1000, 1000);
  EXPECT_EQ(error_, ErrorCode::kOk) << "writes go on";
}

}  // namespace
}  // namespace kahuna::node
