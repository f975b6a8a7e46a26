#include "kahuna/node/joiner.h"

#include <gtest/gtest.h>

#include "manual_host.h"

namespace kahuna::node {
namespace {

using node_test::ManualHost;

// Takes what it is given; its other end is the test.
class OpenStream final : public Stream {
 public:
  explicit OpenStream(StreamHandler** handler) : handler_(handler) {}
  ~OpenStream() override { *handler_ = nullptr; }
  void set_handler(StreamHandler* handler) override { *handler_ = handler; }
  size_t write(ByteView bytes) override { return bytes.size(); }
  void pause_reading() override {}
  void resume_reading() override {}
  Address peer() const override { return {}; }

 private:
  StreamHandler** handler_;
};

class JoinerTest : public testing::Test, public Network, public Joiner::Hooks {
 protected:
  void begin(ClusterId cluster) {
    Host& host = manual_.host();
    host.network = this;
    joiner_ = std::make_unique<Joiner>(host, *this, std::vector<Address>{{"n1", 1}, {"n2", 1}},
                                       cluster, "");
    manual_.settle();
  }
  // Its peer greets it.
  void greet(ClusterId cluster) {
    Hello hello;
    hello.role = wire::Role::Node;
    hello.node = NodeId(7);
    hello.boots = {{1, 1}};
    hello.founded = true;
    hello.cluster = cluster;
    std::string frame;
    codec::append_frame(frame, codec::FrameKind::kHello, as_bytes(encode_hello(hello)));
    ASSERT_NE(peer_, nullptr);
    peer_->on_data(as_bytes(frame));
    manual_.advance(Duration::seconds(60));
  }

  Result<std::unique_ptr<Listener>> listen(const Address&,
                                           Callback<void(std::unique_ptr<Stream>)>) override {
    return fail(ErrorCode::kInUse, "not here");
  }
  void connect(const Address& address, Duration,
               Callback<void(Result<std::unique_ptr<Stream>>)> done) override {
    asked_.push_back(address.host);
    done(std::make_unique<OpenStream>(&peer_));
  }
  Watermark watermark() const override { return {}; }
  void hear(Watermark) override {}
  void on_join_refused(Error error) override { refused_ = std::move(error); }

  ManualHost manual_;
  StreamHandler* peer_ = nullptr;
  std::vector<std::string> asked_;
  std::optional<Error> refused_;
  std::unique_ptr<Joiner> joiner_;
};

TEST_F(JoinerTest, ADirectoryOfAnotherClusterIsRefused) {
  begin(ClusterId(5));
  greet(ClusterId(6));
  ASSERT_TRUE(refused_);
  EXPECT_EQ(refused_->code, ErrorCode::kWrongCluster);
  EXPECT_EQ(asked_, std::vector<std::string>{"n1"});
}

TEST_F(JoinerTest, AMemberAsksNoFurther) {
  begin(ClusterId(5));
  greet(ClusterId(5));
  EXPECT_FALSE(refused_);
  EXPECT_EQ(asked_, std::vector<std::string>{"n1"});
}

TEST_F(JoinerTest, WhoIsInNoClusterIsNoJudge) {
  begin(ClusterId(5));
  greet(ClusterId());
  EXPECT_FALSE(refused_);
  EXPECT_GT(asked_.size(), 1u);
}

}  // namespace
}  // namespace kahuna::node
