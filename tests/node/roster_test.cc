// Who belongs to the cluster, and what may be wished of it.
#include "kahuna/node/roster.h"

#include <gtest/gtest.h>

namespace kahuna::node {
namespace {

Roster three() {
  Roster roster;
  for (uint64_t n = 1; n <= 3; ++n)
    roster.members.push_back({NodeId(n),
                              "n" + std::to_string(n),
                              {"host" + std::to_string(n), 2073},
                              1,
                              MemberState::kVoter});
  return roster;
}

// What follows; nothing when it is refused, or so already.
std::optional<Roster> after(const Roster& roster, std::string_view wish) {
  auto next = fulfil(roster, wish);
  return next ? *next : std::nullopt;
}
ErrorCode refused(const Roster& roster, std::string_view wish) {
  auto next = fulfil(roster, wish);
  return next ? ErrorCode::kOk : next.error().code;
}

TEST(Roster, SurvivesItsEncoding) {
  Roster roster = *after(three(), "remove n2 2");
  roster.revision = Revision(7);
  auto read = decode_roster(as_bytes(encode_roster(roster)));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->revision, Revision(7));
  ASSERT_EQ(read->members.size(), 3u);
  EXPECT_EQ(read->members[1].state, MemberState::kRemoved);
  EXPECT_EQ(read->members[2].address, (Address{"host3", 2073}));
  EXPECT_FALSE(decode_roster(as_bytes(std::string_view("no roster"))));
  EXPECT_FALSE(decode_roster({}));
}

TEST(Roster, TakesInAndPromotes) {
  auto more = after(three(), "join 4 n4 host4:2073 learner");
  ASSERT_TRUE(more);
  EXPECT_EQ(wanted_by(*more).voters.size(), 3u);
  EXPECT_EQ(wanted_by(*more).learners, (std::vector<ReplicaId>{{NodeId(4), 1}}));
  auto promoted = after(*more, "promote n4 0");
  ASSERT_TRUE(promoted);
  EXPECT_EQ(wanted_by(*promoted).voters.size(), 4u);
  // So already: asked again, whether or not it was heard the first time.
  EXPECT_EQ(refused(*promoted, "join 4 n4 host4:2073 voter"), ErrorCode::kOk);
  EXPECT_FALSE(after(*promoted, "join 4 n4 host4:2073 voter"));
}

TEST(Roster, ARemovedNodeNeverComesBack) {
  auto less = after(three(), "remove n2 2");
  ASSERT_TRUE(less);
  EXPECT_EQ(wanted_by(*less).voters, (std::vector<ReplicaId>{{NodeId(1), 1}, {NodeId(3), 1}}));
  EXPECT_EQ(refused(*less, "join 2 n2 host2:2073 voter"), ErrorCode::kRemoved);
  EXPECT_EQ(refused(*less, "promote n2 2"), ErrorCode::kRemoved);
  // By its name too, and to remove it once more is to find it removed.
  EXPECT_EQ(refused(*less, "promote n2 0"), ErrorCode::kRemoved);
  EXPECT_EQ(refused(*less, "remove n2 0"), ErrorCode::kOk);
  EXPECT_FALSE(after(*less, "remove n2 0"));
  // Another directory may have its name, and a late wish for the old one does not touch it.
  auto other = after(*less, "join 9 n2 host2:2073 voter");
  ASSERT_TRUE(other);
  EXPECT_FALSE(after(*other, "remove n2 2"));
  EXPECT_EQ(find_member(*other, "n2")->node, NodeId(9));
  auto neither = after(*other, "remove n2 0");
  ASSERT_TRUE(neither);
  EXPECT_EQ(find_member(*neither, NodeId(9))->state, MemberState::kRemoved);
}

TEST(Roster, RefusesWhatWouldBreakIt) {
  EXPECT_EQ(refused(three(), "join 4 n3 host4:2073 voter"), ErrorCode::kInvalid);
  EXPECT_EQ(refused(three(), "join 4 n4 host3:2073 voter"), ErrorCode::kInvalid);
  EXPECT_EQ(refused(three(), "join 4 n4 nowhere voter"), ErrorCode::kInvalid);
  EXPECT_EQ(refused(three(), "join 0 n4 host4:2073 voter"), ErrorCode::kInvalid);
  EXPECT_EQ(refused(three(), "remove n4 0"), ErrorCode::kInvalid);
  EXPECT_EQ(refused(three(), "remove n1 2"), ErrorCode::kInvalid);
  for (const char* wish :
       {"", "remove", "remove n1", "retire n1 1", "join 4 n4 host4:2073", "remove n1 1 2 3 4 5 6"})
    EXPECT_EQ(refused(three(), wish), ErrorCode::kInvalid) << wish;
  Roster last = *after(*after(three(), "remove n1 0"), "remove n2 0");
  EXPECT_EQ(refused(last, "remove n3 0"), ErrorCode::kInvalid);
  Roster full = three();
  for (int n = 4; n <= 9; ++n)
    full = *after(full, "join " + std::to_string(n) + " n" + std::to_string(n) + " host" +
                            std::to_string(n) + ":2073 voter");
  EXPECT_EQ(refused(full, "join 10 n10 host10:2073 voter"), ErrorCode::kInvalid);
}

TEST(Roster, ForgetsThoseWhoWereRemovedLongAgo) {
  Roster roster = three();
  for (uint64_t n = 10; n < 10 + 2 * kRemovedMax; ++n) {
    const std::string node = std::to_string(n);
    roster = *after(roster, "join " + node + " guest host" + node + ":2073 voter");
    roster = *after(roster, "remove guest " + node);
  }
  EXPECT_EQ(roster.members.size(), 3 + kRemovedMax);
  EXPECT_EQ(find_member(roster, NodeId(10)), nullptr);
  EXPECT_NE(find_member(roster, NodeId(9 + 2 * kRemovedMax)), nullptr);
}

}  // namespace
}  // namespace kahuna::node
