// What a node refuses before it touches its directory.
#include <gtest/gtest.h>

#include "kahuna/node/node.h"
#include "tests/node/manual_host.h"

namespace kahuna::node {
namespace {

// The error of a node started with these options; its host has no disk.
Error refusal(Options options) {
  node_test::ManualHost host;
  options.name = "n1";
  options.founders = {{"n1", {"127.0.0.1", 1}}};
  Error error(ErrorCode::kOk, "");
  auto node = Node::start(host.host(), std::move(options), [&](Error e) { error = std::move(e); });
  host.settle();
  return error;
}

TEST(NodeOptions, SegmentsMustHoldTheLargestCommand) {
  Options options;
  options.journal.segment_bytes = size_t{2} << 20;
  const Error error = refusal(options);
  EXPECT_EQ(error.code, ErrorCode::kInvalid);
  EXPECT_NE(error.text.find("make segments larger"), std::string::npos) << error.text;
  EXPECT_GE(journal::entry_bytes_max(Options().journal),
            partition::command_bytes_max(Options().value_bytes_max));
}

TEST(NodeOptions, TheNumberOfPartitionsIsBounded) {
  Options options;
  options.partitions = 0;
  EXPECT_EQ(refusal(options).code, ErrorCode::kInvalid);
}

// Else a log that is kept for a replica that is away would take no more.
TEST(NodeOptions, ALogTakesMoreThanWhatIsKeptOfIt) {
  EXPECT_EQ(fitted(Options()).raft.log_bytes_max, Options().raft.log_bytes_max);
  Options options;
  options.log_keep_bytes = size_t{4} << 30;
  EXPECT_GE(fitted(options).raft.log_bytes_max, 2 * options.log_keep_bytes);
  options.log_keep_bytes = 0;
  options.flush_bytes = size_t{2} << 30;
  EXPECT_GE(fitted(options).raft.log_bytes_max, 2 * options.flush_bytes);
}

}  // namespace
}  // namespace kahuna::node
