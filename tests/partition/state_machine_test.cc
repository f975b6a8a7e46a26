#include "kahuna/partition/state_machine.h"

#include <gtest/gtest.h>

#include "kahuna/partition/rows.h"
#include "tests/partition/replica.h"

namespace kahuna::partition {
namespace {

TEST(StateMachineRevisions, StartAtZeroAndDeleteConsumesOne) {
  TestReplica replica;
  EXPECT_FALSE(replica.get("k").has_value());
  EXPECT_EQ(replica.apply(set_command("k", "a", 1)).revision, Revision(0));
  EXPECT_EQ(replica.apply(set_command("k", "b", 2)).revision, Revision(1));
  Reply gone = replica.apply(delete_command("k", 3));
  EXPECT_EQ(gone.outcome, Outcome::kDone);
  EXPECT_EQ(gone.revision, Revision(2));
  EXPECT_FALSE(replica.get("k").has_value());
  EXPECT_EQ(replica.apply(set_command("k", "c", 4)).revision, Revision(3));
  EXPECT_EQ(replica.get("k")->value, "c");
  EXPECT_EQ(replica.get("k")->revision, Revision(3));
}

TEST(StateMachineDelete, OfAnAbsentKeyIsNotFoundAndConsumesNothing) {
  TestReplica replica;
  Reply never = replica.apply(delete_command("k", 1));
  EXPECT_EQ(never.outcome, Outcome::kNotFound);
  EXPECT_EQ(never.revision, Revision(-1));
  replica.apply(set_command("k", "a", 2));
  replica.apply(delete_command("k", 3));
  Reply again = replica.apply(delete_command("k", 4));
  EXPECT_EQ(again.outcome, Outcome::kNotFound);
  EXPECT_EQ(again.revision, Revision(1));
}

struct ConditionCase {
  const char* name;
  Conditions conditions;
  bool never, live_empty, live_value, deleted;  // holds for a key in that state
};

// States: never written; "" at revision 0; "v" at revision 0; deleted at revision 1.
TEST(StateMachineConditions, HoldAsTheReferenceSays) {
  const ConditionCase cases[] = {
      {"none", {}, true, true, true, true},
      {"exists", {.if_exists = true}, false, true, true, false},
      {"absent", {.if_absent = true}, true, false, false, true},
      {"both", {.if_exists = true, .if_absent = true}, false, false, false, false},
      {"value v", {.if_value = "v"}, false, false, true, false},
      {"value empty", {.if_value = ""}, true, true, false, true},
      {"revision -1", {.if_revision = Revision(-1)}, true, false, false, false},
      {"revision 0", {.if_revision = Revision(0)}, false, true, true, false},
      {"revision 1", {.if_revision = Revision(1)}, false, false, false, true},
      {"exists and value", {.if_exists = true, .if_value = ""}, false, true, false, false},
  };
  for (const ConditionCase& c : cases) {
    SCOPED_TRACE(c.name);
    auto attempt = [&](auto prepare, Revision current, bool holds) {
      TestReplica replica;
      prepare(replica);
      Reply reply = replica.apply(set_command("k", "new", 10, c.conditions));
      EXPECT_EQ(reply.outcome, holds ? Outcome::kDone : Outcome::kNotSet);
      EXPECT_EQ(reply.revision, holds ? current.next() : current);
    };
    attempt([](TestReplica&) {}, Revision(-1), c.never);
    attempt([](TestReplica& r) { r.apply(set_command("k", "", 1)); }, Revision(0), c.live_empty);
    attempt([](TestReplica& r) { r.apply(set_command("k", "v", 1)); }, Revision(0), c.live_value);
    attempt(
        [](TestReplica& r) {
          r.apply(set_command("k", "v", 1));
          r.apply(delete_command("k", 2));
        },
        Revision(1), c.deleted);
  }
}

TEST(StateMachineStamps, ExceedLastBirthAndWatermark) {
  TestReplica replica;
  EXPECT_EQ(replica.apply(set_command("k", "a", 1)).stamp, Watermark(1));
  Command heard = set_command("k", "b", 2);
  heard.watermark = Watermark(50);
  EXPECT_EQ(replica.apply(heard).stamp, Watermark(51));
  Command born = set_command("other", "c", 3);
  born.operation.birth = Watermark(90);
  EXPECT_EQ(replica.apply(born).stamp, Watermark(91));
  EXPECT_EQ(replica.apply(set_command("k", "d", 4)).stamp, Watermark(92));
  EXPECT_EQ(replica.machine().last_stamp(), Watermark(92));
  replica.reopen();
  EXPECT_EQ(replica.machine().last_stamp(), Watermark(92));
  EXPECT_EQ(replica.get("k")->stamp, Watermark(92));
}

TEST(StateMachineExactlyOnce, ReplaysTheFirstReplyAndChangesNothing) {
  TestReplica replica;
  Reply first = replica.apply(set_command("k", "a", 1, {.if_absent = true}));
  replica.apply(set_command("k", "b", 2));
  Reply second = replica.apply(set_command("k", "a", 1, {.if_absent = true}));
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(second.outcome, Outcome::kDone);
  EXPECT_EQ(second.revision, first.revision);
  EXPECT_EQ(second.stamp, first.stamp);
  EXPECT_EQ(replica.get("k")->value, "b");
  replica.reopen();
  EXPECT_TRUE(replica.apply(set_command("k", "a", 1, {.if_absent = true})).replayed);
}

TEST(StateMachineExactlyOnce, RemembersFailedConditions) {
  TestReplica replica;
  EXPECT_EQ(replica.apply(set_command("k", "a", 1, {.if_exists = true})).outcome, Outcome::kNotSet);
  replica.apply(set_command("k", "b", 2));
  Reply again = replica.apply(set_command("k", "a", 1, {.if_exists = true}));
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.outcome, Outcome::kNotSet);
  EXPECT_EQ(again.revision, Revision(-1));
  EXPECT_EQ(replica.get("k")->value, "b");
}

TEST(StateMachineFloor, RisesPastTheOldestAndRefusesOlderBirths) {
  TestReplica replica(whole_space(), {.operation_records_max = 2});
  replica.apply(set_command("a", "1", 1));
  replica.apply(set_command("b", "1", 2));
  EXPECT_EQ(replica.machine().floor(), Watermark(0));
  Command third = set_command("c", "1", 3);
  third.operation.birth = Watermark(2);
  replica.apply(third);
  EXPECT_EQ(replica.machine().floor(), Watermark(1));
  EXPECT_EQ(replica.machine().operation_records(), 2u);

  Reply late = replica.apply(set_command("a", "1", 1));
  EXPECT_EQ(late.outcome, Outcome::kTooOld);
  EXPECT_EQ(replica.get("a")->revision, Revision(0));
  // A record answers even when its birth has fallen below the floor.
  EXPECT_TRUE(replica.apply(set_command("b", "1", 2)).replayed);
  // Born at the floor and never seen: executes.
  Command fresh = set_command("d", "1", 4);
  fresh.operation.birth = Watermark(1);
  EXPECT_EQ(replica.apply(fresh).outcome, Outcome::kDone);
  replica.reopen();
  EXPECT_EQ(replica.machine().floor(), Watermark(2));
  EXPECT_EQ(replica.machine().operation_records(), 2u);
  EXPECT_EQ(replica.apply(set_command("a", "1", 1)).outcome, Outcome::kTooOld);
}

TEST(StateMachineRange, RefusesAtApplyWhatItDoesNotOwn) {
  auto all = founding_descriptors(2);
  std::string key = "k";
  const Descriptor& owner = find_descriptor(all, position_of(key));
  TestReplica other(all[owner.id == all[1].id ? 2 : 1]);
  Reply reply = other.apply(set_command(key, "v", 1));
  EXPECT_EQ(reply.outcome, Outcome::kOutOfRange);
  EXPECT_EQ(other.machine().operation_records(), 0u);
  EXPECT_EQ(other.machine().get(key).error().code, ErrorCode::kWrongPartition);
  EXPECT_EQ(other.machine().scan("k", "", 10).error().code, ErrorCode::kWrongPartition);
  TestReplica right(owner);
  EXPECT_EQ(right.apply(set_command(key, "v", 1)).outcome, Outcome::kDone);
}

TEST(StateMachineLogTime, IsTheGreatestStampApplied) {
  TestReplica replica;
  EXPECT_EQ(replica.machine().log_time(), LogTime(0));
  replica.stage(set_command("k", "a", 1), LogTime(1000));
  EXPECT_EQ(replica.machine().log_time(), LogTime(1000));
  // A replay, a refusal and a failed condition happened when they were proposed, too.
  replica.stage(set_command("k", "a", 1), LogTime(1001));
  EXPECT_EQ(replica.machine().log_time(), LogTime(1001));
  replica.stage(set_command("k", "b", 2, {.if_absent = true}), LogTime(1002));
  EXPECT_EQ(replica.machine().log_time(), LogTime(1002));
  replica.stage(set_command("k", "b", 3), LogTime(7));
  EXPECT_EQ(replica.machine().log_time(), LogTime(1002));
}

TEST(StateMachineLogTime, IsLeftAsItIsByWhatCarriesNone) {
  TestReplica replica;
  replica.stage(set_command("k", "a", 1), LogTime(1000));
  replica.stage_payload(Payload("garbage"));
  EXPECT_TRUE(
      replica.machine().apply({.index = replica.next_index(), .term = Term(4)}).has_value());
  EXPECT_EQ(replica.machine().log_time(), LogTime(1000));
}

TEST(StateMachineLogTime, IsSavedWithTheRows) {
  TestReplica replica;
  replica.stage(set_command("k", "a", 1), LogTime(1000));
  replica.write();
  replica.stage(set_command("k", "b", 2), LogTime(2000));
  replica.reopen();
  EXPECT_EQ(replica.machine().log_time(), LogTime(1000));
}

TEST(StateMachineLogTime, IsPartOfTheDigest) {
  TestReplica one, other;
  one.stage(set_command("k", "a", 1), LogTime(1000));
  other.stage(set_command("k", "a", 1), LogTime(1001));
  EXPECT_FALSE(one.digest() == other.digest());
}

TEST(StateMachineFormat, ReadsAStateWithoutLogTimeAndNoNewerOne) {
  auto opens = [](std::string state) {
    QueueScheduler scheduler;
    auto engine = engine::make_volatile_engine(scheduler);
    engine::WriteBatch batch;
    batch.put(make_state_row(whole_space().id), state);
    CHECK(engine->write(batch).has_value());
    auto opened = StateMachine::open(*engine, whole_space());
    return opened ? Result<LogTime>(opened->log_time()) : fail(opened.error());
  };
  std::string value;
  make_state_value({Watermark(5), Watermark(3), LogTime(77)}, value);
  EXPECT_EQ(*opens(value), LogTime(77));
  EXPECT_EQ(*opens('\1' + value.substr(1, 16)), LogTime(0));
  EXPECT_EQ(opens('\3' + value.substr(1)).error().code, ErrorCode::kVersion);
  EXPECT_EQ(opens('\1' + value.substr(1)).error().code, ErrorCode::kDamaged);
  EXPECT_EQ(opens(value.substr(0, 17)).error().code, ErrorCode::kDamaged);
  make_state_value({Watermark(5), Watermark(3), LogTime(UINT64_MAX)}, value);
  EXPECT_EQ(opens(value).error().code, ErrorCode::kDamaged);
}

TEST(StateMachineEntries, OnlyMoveTheMarkWhenTheyAreNoCommand) {
  TestReplica replica;
  EXPECT_EQ(replica.stage_payload(Payload("garbage")).outcome, Outcome::kRefused);
  EXPECT_EQ(replica.stage_payload(Payload()).outcome, Outcome::kRefused);
  raft::Entry noop{.index = replica.next_index(), .term = Term(4)};
  EXPECT_TRUE(replica.machine().apply(noop).has_value());
  replica.write();
  raft::LogPosition applied = replica.engine().applied().at(PartitionId(1));
  EXPECT_EQ(applied.index, noop.index);
  EXPECT_EQ(applied.term, Term(4));
  EXPECT_TRUE(replica.rows().empty());
}

TEST(StateMachineEntries, OfANewerLevelStopTheReplica) {
  TestReplica replica;
  raft::Entry entry{
      .index = replica.next_index(), .term = Term(1), .level = kCurrentSemanticLevel.next()};
  EXPECT_EQ(replica.machine().apply(entry).error().code, ErrorCode::kVersion);
}

std::vector<std::string> keys_of(const ScanPage& page) {
  std::vector<std::string> keys;
  for (const ScanItem& item : page.items) keys.push_back(item.key);
  return keys;
}

TEST(StateMachineScan, ReturnsExactlyTheBucket) {
  TestReplica replica;
  uint64_t sequence = 0;
  for (const char* key :
       {"svc", "svc/b", "svc/a", "svc/", "svc-old/x", "svcfoo", "svc/sub/k", "sv/c"})
    replica.apply(set_command(key, key, ++sequence));
  replica.apply(set_command("svc/gone", "", ++sequence));
  replica.apply(delete_command("svc/gone", ++sequence));
  EXPECT_EQ(keys_of(replica.scan("svc")), (std::vector<std::string>{"svc/", "svc/a", "svc/b"}));
  EXPECT_EQ(keys_of(replica.scan("svc/sub")), (std::vector<std::string>{"svc/sub/k"}));
  EXPECT_TRUE(replica.scan("svcfoo").items.empty());
  EXPECT_EQ(replica.scan("svc").items[1].record.value, "svc/a");
}

TEST(StateMachineScan, PagesByCursor) {
  TestReplica replica;
  for (uint64_t i = 0; i < 10; ++i)
    replica.apply(set_command("b/" + std::to_string(i), "v", i + 1));
  std::vector<std::string> all;
  std::string cursor;
  size_t pages = 0;
  do {
    ScanPage page = replica.scan("b", cursor, 3);
    for (auto& key : keys_of(page)) all.push_back(key);
    cursor = page.cursor;
    ++pages;
  } while (!cursor.empty());
  EXPECT_EQ(pages, 4u);
  ASSERT_EQ(all.size(), 10u);
  EXPECT_EQ(all.front(), "b/0");
  EXPECT_EQ(all.back(), "b/9");
  EXPECT_TRUE(replica.scan("b", "", 10).cursor.empty());
}

TEST(StateMachineScan, EndsAPageByBytes) {
  TestReplica replica;
  std::string large(kScanBytesMax / 2, 'v');
  for (uint64_t i = 0; i < 5; ++i)
    replica.apply(set_command("b/" + std::to_string(i), large, i + 1));
  ScanPage page = replica.scan("b");
  EXPECT_EQ(page.items.size(), 2u);
  EXPECT_EQ(page.cursor, "b/1");
}

TEST(StateMachineScan, LooksAtABoundedNumberOfDeletedKeys) {
  TestReplica replica;
  uint64_t sequence = 0;
  for (size_t i = 0; i < kScanRowsMax + 5; ++i) {
    std::string key = "b/" + std::to_string(100'000 + i);
    replica.stage(set_command(key, "v", ++sequence));
    replica.stage(delete_command(key, ++sequence));
    if (i % 100 == 0) replica.write();
  }
  replica.apply(set_command("b/z", "v", ++sequence));
  ScanPage page = replica.scan("b");
  EXPECT_TRUE(page.items.empty());
  EXPECT_EQ(page.cursor, "b/" + std::to_string(100'000 + kScanRowsMax - 1));
  EXPECT_EQ(keys_of(replica.scan("b", page.cursor)), (std::vector<std::string>{"b/z"}));
}

TEST(StateMachineScan, RefusesBadRequests) {
  TestReplica replica;
  EXPECT_EQ(replica.machine().scan("b", "", 0).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(replica.machine().scan("b", "", 1001).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(replica.machine().scan("b", "c/x", 10).error().code, ErrorCode::kInvalid);
}

TEST(StateMachineOverlay, ShowsUnwrittenEntriesToAppliesAndReads) {
  TestReplica replica;
  replica.apply(set_command("b/2", "old", 1));
  replica.stage(set_command("b/2", "new", 2));
  replica.stage(set_command("b/1", "x", 3));
  replica.stage(set_command("b/3", "y", 4));
  replica.stage(delete_command("b/3", 5));
  EXPECT_EQ(replica.stage(set_command("b/1", "z", 6, {.if_absent = true})).outcome,
            Outcome::kNotSet);
  EXPECT_EQ(replica.get("b/2")->value, "new");
  EXPECT_FALSE(replica.get("b/3").has_value());
  ScanPage page = replica.scan("b");
  EXPECT_EQ(keys_of(page), (std::vector<std::string>{"b/1", "b/2"}));
  EXPECT_EQ(page.items[1].record.value, "new");
  replica.write();
  replica.reopen();
  EXPECT_EQ(keys_of(replica.scan("b")), (std::vector<std::string>{"b/1", "b/2"}));
  EXPECT_EQ(replica.get("b/2")->value, "new");
}

}  // namespace
}  // namespace kahuna::partition
