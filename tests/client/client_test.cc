#include "kahuna/client/client.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "tests/client/fake_node.h"

namespace kahuna::client {
namespace {

using namespace literals;
using testing::Asked;
using testing::FakeNode;
using testing::MemoryHost;
using testing::Told;

Told refuse(ErrorCode code, uint64_t watermark = 0) {
  return Told{.error = code,
              .outcome = wire::Outcome::None,
              .watermark = watermark,
              .text = std::string(name_of(code))};
}

class ClientTest : public ::testing::Test {
 protected:
  static Address at(uint16_t n) { return Address{"10.0.0." + std::to_string(n), 2073}; }

  ClientTest() {
    for (uint16_t n = 1; n <= 3; ++n) nodes_.push_back(std::make_unique<FakeNode>(world_, at(n)));
  }
  FakeNode& node(size_t n) { return *nodes_[n - 1]; }
  void start(std::vector<Address> endpoints, Options options = {}) {
    options.endpoints = std::move(endpoints);
    client_ = Client::create(world_.host(), options);
  }
  void start_on_one() { start({at(1)}); }

  // Starts a set and returns where its result will be.
  std::shared_ptr<std::optional<Result<WriteReply>>> set(std::string key, std::string value = "v",
                                                         SetOptions options = {}) {
    auto slot = std::make_shared<std::optional<Result<WriteReply>>>();
    client_->set(key, value, std::move(options), [slot](Result<WriteReply> r) {
      EXPECT_FALSE(slot->has_value()) << "completed twice";
      slot->emplace(std::move(r));
    });
    return slot;
  }
  std::shared_ptr<std::optional<Result<std::optional<Value>>>> get(std::string key) {
    auto slot = std::make_shared<std::optional<Result<std::optional<Value>>>>();
    client_->get(key, std::nullopt, [slot](Result<std::optional<Value>> r) {
      EXPECT_FALSE(slot->has_value()) << "completed twice";
      slot->emplace(std::move(r));
    });
    return slot;
  }
  static ErrorCode code(const auto& slot) {
    return slot->has_value() && !(**slot).has_value() ? (**slot).error().code : ErrorCode::kOk;
  }
  size_t asked() {
    size_t n = 0;
    for (auto& node : nodes_) n += node->asked.size();
    return n;
  }

  MemoryHost world_;
  std::vector<std::unique_ptr<FakeNode>> nodes_;
  std::unique_ptr<Client> client_;
};

TEST_F(ClientTest, CompletesAWriteWithWhatTheNodeSaid) {
  node(1).script = [](const Asked&) {
    return Told{.revision = 4, .watermark = 120, .replayed = true};
  };
  start_on_one();
  auto done = set("k", "value");
  EXPECT_FALSE(done->has_value()) << "completed inside the call";
  world_.settle();
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  EXPECT_TRUE((**done)->done);
  EXPECT_TRUE((**done)->replayed);
  EXPECT_EQ((**done)->revision, Revision(4));
  EXPECT_EQ((**done)->stamp, Watermark(5));
  ASSERT_EQ(node(1).asked.size(), 1u);
  EXPECT_EQ(node(1).asked[0].key, "k");
  EXPECT_EQ(node(1).asked[0].value, "value");
  EXPECT_EQ(node(1).asked[0].operation.sequence, 1u);
  EXPECT_NE(node(1).asked[0].operation.client, 0u);
}

TEST_F(ClientTest, BirthAndWatermarkFollowWhatWasHeard) {
  node(1).script = [](const Asked&) { return Told{.watermark = 150}; };
  start_on_one();
  set("a");
  world_.settle();
  EXPECT_EQ(node(1).asked[0].operation.birth, Watermark(100)) << "from the greeting";
  set("b");
  world_.settle();
  EXPECT_EQ(node(1).asked[1].operation.birth, Watermark(150));
  EXPECT_EQ(node(1).asked[1].watermark, 150u);
  EXPECT_EQ(client_->watermark(), Watermark(150));
}

TEST_F(ClientTest, TheVersionOfAValueCountsAsHeard) {
  node(1).script = [](const Asked&) { return Told{.watermark = 3}; };
  node(1).watermark = 1;
  start_on_one();
  get("a");  // stamp 5
  world_.settle();
  set("b");
  world_.settle();
  EXPECT_EQ(node(1).asked[1].operation.birth, Watermark(5));
}

TEST_F(ClientTest, SendsConditions) {
  start_on_one();
  node(1).script = [](const Asked&) {
    return Told{.outcome = wire::Outcome::NotSet, .revision = 2};
  };
  SetOptions options;
  options.if_absent = true;
  options.if_value = "";
  options.if_revision = Revision(-1);
  auto done = set("k", "v", options);
  world_.settle();
  EXPECT_EQ(node(1).asked[0].flags, 2 | 4 | 8);
  EXPECT_EQ(node(1).asked[0].compare_revision, -1);
  ASSERT_TRUE((**done).has_value());
  EXPECT_FALSE((**done)->done);
  EXPECT_EQ((**done)->revision, Revision(2));
}

TEST_F(ClientTest, ReadsDistinguishEmptyFromAbsent) {
  node(1).script = [](const Asked& asked) {
    return Told{.outcome = asked.key == "there" ? wire::Outcome::Found : wire::Outcome::NotFound};
  };
  start_on_one();
  auto there = get("there"), absent = get("absent");
  world_.settle();
  ASSERT_TRUE((**there).has_value() && (***there).has_value());
  EXPECT_EQ((***there)->value, "");
  ASSERT_TRUE((**absent).has_value());
  EXPECT_FALSE((***absent).has_value());
}

TEST_F(ClientTest, ScansAPage) {
  node(1).script = [](const Asked& asked) {
    EXPECT_EQ(asked.key, "bucket");
    EXPECT_EQ(asked.limit, 2u);
    EXPECT_EQ(asked.cursor, "from");
    return Told{.items = {{"bucket/a", "1"}, {"bucket/b", ""}}, .cursor = "next"};
  };
  start_on_one();
  std::optional<Result<Page>> page;
  client_->scan("bucket", "from", 2, std::nullopt, [&](Result<Page> r) { page = std::move(r); });
  world_.settle();
  ASSERT_TRUE(page && page->has_value());
  ASSERT_EQ((*page)->items.size(), 2u);
  EXPECT_EQ((*page)->items[0].key, "bucket/a");
  EXPECT_EQ((*page)->items[0].value.value, "1");
  EXPECT_EQ((*page)->cursor, "next");
}

TEST_F(ClientTest, FollowsARouteAndRemembersIt) {
  node(1).script = [](const Asked&) { return Told{.leader = at(2)}; };
  start_on_one();
  set("k");
  world_.settle();
  EXPECT_EQ(node(1).asked.size(), 1u);
  set("k");
  set("other");
  world_.settle();
  EXPECT_EQ(node(1).asked.size(), 1u);
  EXPECT_EQ(node(2).asked.size(), 2u);
}

TEST_F(ClientTest, GoesToTheLeaderThatARefusalNames) {
  node(1).script = [](const Asked&) {
    Told told = refuse(ErrorCode::kNotLeader);
    told.leader = at(3);
    return told;
  };
  start_on_one();
  auto done = set("k");
  world_.settle();
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  ASSERT_EQ(node(3).asked.size(), 1u);
  EXPECT_EQ(node(3).asked[0].operation, node(1).asked[0].operation);
}

TEST_F(ClientTest, RetriesALostConnectionUnderTheSameOperationId) {
  start({at(1), at(2), at(3)});
  for (size_t n = 1; n <= 3; ++n) {
    node(n).script = [this, n](const Asked&) -> std::optional<Told> {
      if (asked() > 1) return Told();
      node(n).close_all();
      return std::nullopt;
    };
  }
  auto done = set("k");
  world_.advance(100_ms);
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  std::vector<OperationId> ids;
  for (auto& n : nodes_) {
    for (const Asked& a : n->asked) ids.push_back(a.operation);
  }
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids[0], ids[1]);
}

TEST_F(ClientTest, AWriteThatNobodyAnswersIsUnknown) {
  node(1).script = [](const Asked&) { return std::nullopt; };
  start_on_one();
  auto done = set("k");
  world_.advance(11_s);
  EXPECT_EQ(code(done), ErrorCode::kUnknown);
}

TEST_F(ClientTest, AReadThatNobodyAnswersIsATimeout) {
  node(1).script = [](const Asked&) { return std::nullopt; };
  start_on_one();
  auto done = get("k");
  world_.advance(11_s);
  ASSERT_TRUE(done->has_value());
  EXPECT_EQ(did_it_happen(code(done)), Happened::kNo);
  EXPECT_GT(node(1).asked.size(), 2u) << "reads retry freely";
}

TEST_F(ClientTest, AWriteThatNeverLeftIsProvablyNotDone) {
  world_.fault(at(1)).refuse = true;
  start_on_one();
  auto done = set("k");
  world_.advance(11_s);
  EXPECT_EQ(code(done), ErrorCode::kUnavailable);
  EXPECT_TRUE(node(1).asked.empty());
}

TEST_F(ClientTest, AnUnavailableClusterIsProvablyNotDone) {
  node(1).script = [](const Asked&) { return refuse(ErrorCode::kUnavailable); };
  start_on_one();
  auto done = set("k");
  world_.advance(11_s);
  EXPECT_EQ(code(done), ErrorCode::kUnavailable);
  EXPECT_GT(node(1).asked.size(), 10u);
  EXPECT_LT(node(1).asked.size(), 500u) << "backs off";
}

TEST_F(ClientTest, NodesOfNoUseDoNotKeepItFromOthersBecauseTheyAreConnected) {
  for (size_t n : {1, 2})
    node(n).script = [](const Asked&) { return refuse(ErrorCode::kUnavailable); };
  start({at(1), at(2), at(3)});
  auto done = set("k");
  world_.advance(2_s);
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  EXPECT_EQ(node(3).asked.size(), 1u);
}

TEST_F(ClientTest, OneUnknownAttemptMakesTheEndUnknown) {
  node(1).script = [this](const Asked&) {
    return refuse(asked() == 1 ? ErrorCode::kUnknown : ErrorCode::kUnavailable);
  };
  start_on_one();
  auto done = set("k");
  world_.advance(11_s);
  EXPECT_EQ(code(done), ErrorCode::kUnknown);
}

TEST_F(ClientTest, AnUnknownAttemptIsAskedAgainUnderTheSameId) {
  node(1).script = [this](const Asked&) {
    return asked() == 1 ? refuse(ErrorCode::kUnknown) : Told{.replayed = true};
  };
  start_on_one();
  auto done = set("k");
  world_.advance(1_s);
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  EXPECT_TRUE((**done)->replayed);
  EXPECT_EQ(node(1).asked[0].operation, node(1).asked[1].operation);
}

TEST_F(ClientTest, TooOldAtFirstStartsAfreshWithANewBirth) {
  node(1).script = [this](const Asked&) {
    return asked() == 1 ? refuse(ErrorCode::kTooOld, 500) : Told();
  };
  start_on_one();
  auto done = set("k");
  world_.advance(1_s);
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  ASSERT_EQ(node(1).asked.size(), 2u);
  EXPECT_NE(node(1).asked[0].operation.sequence, node(1).asked[1].operation.sequence);
  EXPECT_EQ(node(1).asked[1].operation.birth, Watermark(500));
}

TEST_F(ClientTest, TooOldAfterAnUnknownAttemptIsUnknown) {
  node(1).script = [this](const Asked&) {
    return asked() == 1 ? refuse(ErrorCode::kUnknown) : refuse(ErrorCode::kTooOld, 500);
  };
  start_on_one();
  auto done = set("k");
  world_.advance(1_s);
  EXPECT_EQ(code(done), ErrorCode::kUnknown);
  EXPECT_EQ(node(1).asked.size(), 2u);
}

TEST_F(ClientTest, AnInvalidRequestIsNotRetried) {
  node(1).script = [](const Asked&) { return refuse(ErrorCode::kInvalid); };
  start_on_one();
  auto done = set("k");
  world_.advance(1_s);
  EXPECT_EQ(code(done), ErrorCode::kInvalid);
  EXPECT_EQ(node(1).asked.size(), 1u);
}

TEST_F(ClientTest, AnErrorOfTheFutureIsUnknownForWritesOnly) {
  node(1).script = [](const Asked&) { return refuse(static_cast<ErrorCode>(99)); };
  start_on_one();
  auto write = set("k");
  auto read = get("k");
  world_.advance(1_s);
  EXPECT_EQ(code(write), ErrorCode::kUnknown);
  EXPECT_EQ(code(read), ErrorCode::kInvalid);
}

TEST_F(ClientTest, ASilentNodeIsLeftForAnotherAfterOneAttempt) {
  start({at(1), at(2)});
  get("warm-up");
  world_.settle();
  const size_t home = node(1).asked.empty() ? 2 : 1;
  world_.fault(at(static_cast<uint16_t>(home))).mute = true;
  auto done = set("k");
  world_.advance(1'900_ms);
  EXPECT_FALSE(done->has_value());
  world_.advance(200_ms);
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  EXPECT_EQ(node(3 - home).asked.size(), 1u);
}

// No attempt ever outlives its time here: only the connection itself can tell that it is dead.
TEST_F(ClientTest, HurriedOperationsLeaveADeadConnectionToo) {
  Options options;
  options.timeout = 500_ms;
  start({at(1), at(2)}, options);
  get("warm-up");
  world_.settle();
  const size_t home = node(1).asked.empty() ? 2 : 1;
  world_.fault(at(static_cast<uint16_t>(home))).mute = true;
  int failed = 0;
  for (int i = 0; i < 10; ++i) {
    auto done = get("k");
    world_.advance(500_ms);
    failed += code(done) == ErrorCode::kTimeout;
  }
  EXPECT_GE(failed, 4);
  EXPECT_LE(failed, 8);
  EXPECT_FALSE(node(3 - home).asked.empty());
  auto done = get("k");
  world_.settle();
  EXPECT_TRUE(done->has_value() && (**done).has_value());
}

TEST_F(ClientTest, ASlowNodeThatLivesKeepsItsConnection) {
  node(1).script = [](const Asked& asked) -> std::optional<Told> {
    if (asked.key == "slow") return std::nullopt;
    return Told();
  };
  start({at(1)});
  get("warm-up");
  world_.advance(5_s);
  auto slow = get("slow");
  for (int i = 0; i < 40; ++i) {
    auto done = get("quick");
    world_.advance(200_ms);
    EXPECT_TRUE(done->has_value() && (**done).has_value());
  }
  EXPECT_EQ(world_.connects(at(1)), 1u);
  EXPECT_FALSE(slow->has_value());
}

TEST_F(ClientTest, AMuteGreetingIsLeftForAnotherNode) {
  node(1).greets = node(2).greets = false;
  start({at(1), at(2), at(3)});
  auto done = set("k");
  world_.advance(3_s);
  ASSERT_TRUE(done->has_value() && (**done).has_value());
}

TEST_F(ClientTest, ALateAnswerOfAnEarlierAttemptCounts) {
  Options options;
  options.attempt_timeout = 100_ms;
  start({at(1)}, options);
  node(1).script = [](const Asked& asked) -> std::optional<Told> {
    if (asked.key == "chat") return Told();
    return std::nullopt;
  };
  auto done = set("k");
  for (int i = 0; i < 4; ++i) {  // keeps the session alive
    world_.advance(40_ms);
    get("chat");
  }
  world_.settle();
  ASSERT_FALSE(done->has_value());
  Asked first;
  for (const Asked& a : node(1).asked) {
    if (a.key == "k") {
      first = a;
      break;
    }
  }
  EXPECT_EQ(node(1).connections(), 1u);
  node(1).answer(first, Told{.revision = 7});
  world_.settle();
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  EXPECT_EQ((**done)->revision, Revision(7));
}

TEST_F(ClientTest, AnEarlierAttemptsRefusalDecidesNothing) {
  Options options;
  options.attempt_timeout = 100_ms;
  start({at(1)}, options);
  node(1).script = [](const Asked& asked) -> std::optional<Told> {
    if (asked.key == "chat") return Told();
    return std::nullopt;
  };
  auto done = set("k");
  for (int i = 0; i < 4; ++i) {
    world_.advance(40_ms);
    get("chat");
  }
  world_.settle();
  node(1).answer(node(1).asked.front(), refuse(ErrorCode::kInvalid));
  world_.settle();
  EXPECT_FALSE(done->has_value());
}

TEST_F(ClientTest, LearnsTheRosterFromTheGreeting) {
  node(1).members = {at(1), at(2), at(3)};
  start_on_one();
  EXPECT_EQ(client_->known_nodes(), std::vector<Address>({at(1)}));
  set("k");
  world_.settle();
  EXPECT_EQ(client_->known_nodes(), std::vector<Address>({at(1), at(2), at(3)}));
  world_.fault(at(1)).refuse = true;
  world_.cut(at(1));
  auto done = set("k");
  world_.advance(100_ms);
  ASSERT_TRUE(done->has_value() && (**done).has_value());
}

TEST_F(ClientTest, NeverConnectsTwiceAtOnceToOneNode) {
  world_.fault(at(1)).black_hole = true;
  start_on_one();
  for (int i = 0; i < 50; ++i) {
    set("k" + std::to_string(i));
    world_.advance(50_ms);
  }
  world_.advance(20_s);
  EXPECT_EQ(world_.connecting_max(at(1)), 1u);
  EXPECT_GT(world_.connects(at(1)), 5u);
}

TEST_F(ClientTest, PipelinesOnOneConnection) {
  node(1).script = [](const Asked&) { return std::nullopt; };
  start_on_one();
  std::vector<std::shared_ptr<std::optional<Result<WriteReply>>>> all;
  for (int i = 0; i < 100; ++i) all.push_back(set("k" + std::to_string(i)));
  world_.settle();
  ASSERT_EQ(node(1).asked.size(), 100u);
  EXPECT_EQ(world_.connects(at(1)), 1u);
  for (size_t i = 100; i-- > 0;) node(1).answer(node(1).asked[i], Told());
  world_.settle();
  for (auto& done : all) EXPECT_TRUE(done->has_value() && (**done).has_value());
}

TEST_F(ClientTest, RefusesMoreThanInFlightMax) {
  node(1).script = [](const Asked&) { return std::nullopt; };
  Options options;
  options.in_flight_max = 2;
  start({at(1)}, options);
  auto a = set("a"), b = set("b"), c = set("c");
  EXPECT_FALSE(c->has_value()) << "completed inside the call";
  world_.settle();
  EXPECT_EQ(code(c), ErrorCode::kOverloaded);
  node(1).answer(node(1).asked[0], Told());
  world_.settle();
  set("d");
  world_.settle();
  EXPECT_EQ(node(1).asked.size(), 3u);
}

TEST_F(ClientTest, RefusesWhatDoesNotFitAFrame) {
  start_on_one();
  auto done = set("k", std::string(9 * 1024 * 1024, 'x'));
  world_.settle();
  EXPECT_EQ(code(done), ErrorCode::kTooLarge);
}

TEST_F(ClientTest, ARefusedGreetingSaysWhy) {
  node(1).refused = "this is not the cluster you look for";
  start_on_one();
  auto done = set("k");
  world_.advance(11_s);
  ASSERT_TRUE(done->has_value());
  EXPECT_EQ(did_it_happen(code(done)), Happened::kNo);
  EXPECT_NE((**done).error().text.find("not the cluster you look for"), std::string::npos);
}

TEST_F(ClientTest, ANodeOfAnotherClusterIsNotUsed) {
  start({at(1), at(2)});
  node(1).cluster = 7;
  node(2).cluster = 8;
  for (int i = 0; i < 3; ++i) set("k");
  world_.settle();
  const size_t home = node(1).asked.empty() ? 2 : 1;
  world_.cut(at(static_cast<uint16_t>(home)));
  auto done = set("k");
  world_.advance(5_s);
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  EXPECT_TRUE(node(3 - home).asked.empty());
}

TEST_F(ClientTest, GarbageClosesTheSessionAndIsRetried) {
  node(1).script = [this](const Asked&) -> std::optional<Told> {
    if (asked() > 1) return Told();
    node(1).send_garbage();
    return std::nullopt;
  };
  start_on_one();
  auto done = set("k");
  world_.advance(1_s);
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  EXPECT_EQ(world_.connects(at(1)), 2u);
}

TEST_F(ClientTest, AnAnswerOfTheWrongShapeIsNoAnswer) {
  node(1).script = [this](const Asked&) {
    return Told{.outcome = asked() == 1 ? wire::Outcome::Found : wire::Outcome::Done};
  };
  start_on_one();
  auto done = set("k");
  world_.advance(1_s);
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  EXPECT_EQ(node(1).asked.size(), 2u);
}

TEST_F(ClientTest, CloseTellsSentWritesFromTheRest) {
  node(1).script = [](const Asked&) { return std::nullopt; };
  world_.fault(at(1)).black_hole = false;
  start_on_one();
  auto sent = set("k");
  auto read = get("k");
  world_.settle();
  client_->close();
  EXPECT_EQ(code(sent), ErrorCode::kUnknown);
  EXPECT_EQ(code(read), ErrorCode::kClosed);
  auto late = set("k");
  world_.settle();
  EXPECT_EQ(code(late), ErrorCode::kClosed);
  EXPECT_EQ(node(1).connections(), 0u);
}

TEST_F(ClientTest, CloseBeforeAnythingWasSentIsNotDone) {
  world_.fault(at(1)).black_hole = true;
  start_on_one();
  auto done = set("k");
  world_.settle();
  client_->close();
  EXPECT_EQ(code(done), ErrorCode::kClosed);
}

TEST_F(ClientTest, MayBeDestroyedInsideACallback) {
  start_on_one();
  bool called = false;
  client_->set("k", "v", {}, [&](Result<WriteReply>) {
    called = true;
    client_.reset();
  });
  set("dropped");
  world_.settle();
  EXPECT_TRUE(called);
  world_.advance(20_s);
}

TEST_F(ClientTest, MayBeDestroyedInsideATimeoutCallback) {
  node(1).script = [](const Asked&) { return std::nullopt; };
  start_on_one();
  client_->set("k", "v", {}, [&](Result<WriteReply>) { client_.reset(); });
  auto other = set("other");
  world_.advance(20_s);
  EXPECT_EQ(client_, nullptr);
  EXPECT_FALSE(other->has_value());
}

TEST_F(ClientTest, ACallbackMayStartTheNextOperation) {
  start_on_one();
  int left = 100;
  std::function<void()> next = [&] {
    client_->set("k", "v", {}, [&](Result<WriteReply> r) {
      EXPECT_TRUE(r.has_value());
      if (--left > 0) next();
    });
  };
  next();
  world_.settle();
  EXPECT_EQ(left, 0);
}

TEST_F(ClientTest, AnIdleClientArmsNoTimer) {
  start_on_one();
  set("k");
  world_.advance(30_s);
  EXPECT_EQ(world_.timers(), 0u);
}

TEST_F(ClientTest, StatusAsksTheNamedNodeOnce) {
  node(2).script = [](const Asked& asked) {
    EXPECT_EQ(asked.kind, wire::RequestKind::Status);
    return Told{.outcome = wire::Outcome::None, .status = "{}"};
  };
  start_on_one();
  std::optional<Result<std::string>> up, down;
  client_->status(at(2), [&](Result<std::string> r) { up = std::move(r); });
  world_.fault(at(3)).refuse = true;
  client_->status(at(3), [&](Result<std::string> r) { down = std::move(r); });
  world_.advance(10_ms);
  ASSERT_TRUE(up && up->has_value());
  EXPECT_EQ(**up, "{}");
  ASSERT_TRUE(down && !down->has_value());
  EXPECT_EQ(down->error().code, ErrorCode::kUnavailable);
}

TEST_F(ClientTest, TwoClientsOfOneHostHaveTheirOwnIds) {
  Options options;
  start({at(1)}, options);
  set("a");
  options.endpoints = {at(1)};
  options.entity = 1;
  auto other = Client::create(world_.host(), options);
  other->set("b", "v", {}, [](Result<WriteReply>) {});
  world_.settle();
  ASSERT_EQ(node(1).asked.size(), 2u);
  EXPECT_NE(node(1).asked[0].operation.client, node(1).asked[1].operation.client);
}

// Nodes that answer, refuse, hang, and cut at random: every operation ends exactly once, a write
// that some node executed never fails with an error that denies it, and none is executed under two
// ids.
TEST_F(ClientTest, KeepsItsPromisesUnderRandomFaults) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    RandomStream random(seed, "client-test");
    MemoryHost world(seed);
    std::vector<std::unique_ptr<FakeNode>> nodes;
    std::map<std::string, std::set<uint64_t>> executed;  // key -> sequences
    for (uint16_t n = 1; n <= 3; ++n) {
      nodes.push_back(std::make_unique<FakeNode>(world, at(n)));
      FakeNode& node = *nodes.back();
      node.members = {at(1), at(2), at(3)};
      node.script = [&](const Asked& asked) -> std::optional<Told> {
        const auto execute = [&] { executed[asked.key].insert(asked.operation.sequence); };
        switch (random.below(12)) {
          case 0: return refuse(ErrorCode::kNotLeader);
          case 1: return refuse(ErrorCode::kUnavailable);
          case 2: execute(); return refuse(ErrorCode::kUnknown);
          case 3: return std::nullopt;
          case 4: execute(); return std::nullopt;
          case 5:
            execute();
            world.cut(node.address());
            return std::nullopt;
          case 6: return refuse(ErrorCode::kOverloaded);
          case 7: return refuse(ErrorCode::kTooOld, random.below(1'000'000));
          default: {
            execute();
            Told told;
            if (random.chance(1, 2)) told.leader = at(static_cast<uint16_t>(random.between(1, 3)));
            return told;
          }
        }
      };
    }
    Options options;
    options.endpoints = {at(1), at(2), at(3)};
    options.attempt_timeout = 300_ms;
    options.timeout = 3_s;
    auto client = Client::create(world.host(), options);
    size_t ended = 0;
    const size_t total = 60;
    for (size_t i = 0; i < total; ++i) {
      const std::string key = "k" + std::to_string(i);
      client->set(key, "v", {}, [&, key](Result<WriteReply> r) {
        ++ended;
        if (r.has_value()) {
          EXPECT_EQ(executed[key].size(), 1u) << key << " seed " << seed;
        } else if (did_it_happen(r.error().code) == Happened::kNo) {
          EXPECT_EQ(executed[key].size(), 0u) << key << " " << r.error().text << " seed " << seed;
        } else {
          EXPECT_LE(executed[key].size(), 1u) << key << " seed " << seed;
        }
      });
      world.fault(at(static_cast<uint16_t>(random.between(1, 3)))).mute = random.chance(1, 8);
      world.fault(at(static_cast<uint16_t>(random.between(1, 3)))).refuse = random.chance(1, 8);
      world.advance(Duration::millis(static_cast<int64_t>(random.below(100))));
    }
    world.advance(20_s);
    EXPECT_EQ(ended, total) << "seed " << seed;
    for (uint16_t n = 1; n <= 3; ++n) EXPECT_LE(world.connecting_max(at(n)), 1u);
  }
}

TEST_F(ClientTest, HearsOfMembersThatComeLater) {
  node(1).members = {at(1)};
  start_on_one();
  auto first = set("k");
  world_.settle();
  ASSERT_TRUE(first->has_value() && (**first).has_value());
  // Not connected to any of these, it connects to one.
  node(1).members = {at(2), at(3)};
  node(1).roster_revision = 1;
  node(1).tell_members();
  world_.settle();
  EXPECT_EQ(client_->known_nodes(), (std::vector<Address>{at(2), at(3)}));
  EXPECT_EQ(node(2).connections() + node(3).connections(), 1u);
  node(1).close_all();
  world_.fault(at(1)).refuse = true;
  auto second = set("k");
  world_.advance(1_s);
  ASSERT_TRUE(second->has_value() && (**second).has_value());
}

TEST_F(ClientTest, DoesNotGoBackToEarlierMembers) {
  node(1).members = {at(1), at(2), at(3)};
  node(1).roster_revision = 3;
  start_on_one();
  auto done = set("k");
  world_.settle();
  ASSERT_TRUE(done->has_value() && (**done).has_value());
  node(1).members = {at(1)};
  node(1).roster_revision = 2;
  node(1).tell_members();
  world_.settle();
  EXPECT_EQ(client_->known_nodes().size(), 3u);
}

}  // namespace
}  // namespace kahuna::client
