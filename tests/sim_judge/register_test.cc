#include <gtest/gtest.h>

#include "sim/checker.h"
#include "sim/checker_key.h"
#include "sim/checker_search.h"
#include "tests/sim_judge/history_builder.h"

namespace kahuna::sim {
namespace {

// Both opinions on a history of one key.
void expect(const History& history, Finding finding) {
  Judgement judgement = check_registers(history);
  EXPECT_EQ(judgement.finding, finding) << judgement.text << "\n" << history.to_json_lines();
  for (const KeyHistory& key : split_by_key(history)) {
    Finding second = search_key(history, key, 1'000'000);
    if (finding == Finding::kOk) {
      EXPECT_EQ(second, finding) << history.to_json_lines();
    }
    EXPECT_EQ(check_key(history, key, {}).finding, second) << history.to_json_lines();
  }
}

TEST(Registers, AcceptsWritesAndReadsInOrder) {
  HistoryBuilder h;
  h.read("k", kNothing);
  h.set("k", 1, 0);
  h.read("k", 1, 0);
  h.remove("k", 1);
  h.read("k", kNothing);
  h.set("k", kBlank, 2);
  h.read("k", kBlank, 2);
  expect(h.history, Finding::kOk);
}

TEST(Registers, RejectsStaleRead) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.set("k", 2, 1);
  h.read("k", 1, 0);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, AcceptsReadOfEitherWhileAWriteRuns) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  auto w = h.begin_set("k", 2);
  h.read("k", 1, 0);
  h.read("k", 2, 1);
  h.done(w, 1);
  expect(h.history, Finding::kOk);
}

TEST(Registers, RejectsNewThenOldWhileAWriteRuns) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  auto w = h.begin_set("k", 2);
  h.read("k", 2, 1);
  h.read("k", 1, 0);
  h.done(w, 1);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, RejectsBlankForNothing) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.remove("k", 1);
  h.read("k", kBlank, 1);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, RejectsNothingAfterAWrite) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.read("k", kNothing);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, RejectsReadFromTheFuture) {
  HistoryBuilder h;
  h.read("k", 1, 0);
  h.set("k", 1, 0);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, RejectsLostWrite) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.set("k", 2, 1);
  h.set("k", 3, 1);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, RejectsGarbage) {
  HistoryBuilder h;
  auto w = h.begin_set("k", 1);
  h.unknown(w);
  h.read("k", kGarbage, 0);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, AcceptsUnknownWriteThatNeverHappened) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.unknown(h.begin_set("k", 2));
  h.read("k", 1, 0);
  h.set("k", 3, 1);
  expect(h.history, Finding::kOk);
}

TEST(Registers, AcceptsUnknownWriteThatHappensMuchLater) {
  HistoryBuilder h;
  h.unknown(h.begin_set("k", 2));
  h.set("k", 1, 0);
  h.read("k", 1, 0);
  h.read("k", 2, 1);
  h.set("k", 3, 2);
  expect(h.history, Finding::kOk);
}

TEST(Registers, RejectsUnknownWriteThatHappensTwice) {
  HistoryBuilder h;
  h.unknown(h.begin_set("k", 2));
  h.read("k", 2, 0);
  h.set("k", 1, 1);
  h.read("k", 2, 2);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, RejectsFailedWriteThatIsSeen) {
  HistoryBuilder h;
  h.failed(h.begin_set("k", 2));
  h.read("k", 2, 0);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, RejectsARevisionTooMany) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.unknown(h.begin_set("k", 2));
  h.set("k", 3, 3);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, FillsHolesThatNobodySaw) {
  HistoryBuilder h;
  h.unknown(h.begin_set("k", 2));
  h.unknown(h.begin(Function::kDelete, "k"));
  h.set("k", 3, 2);
  expect(h.history, Finding::kOk);
}

TEST(Registers, RejectsHoleThatOnlyALaterWriteCouldFill) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.set("k", 3, 2);
  h.unknown(h.begin_set("k", 2));
  expect(h.history, Finding::kViolation);
}

TEST(Registers, RejectsUnknownDeleteOfNothing) {
  HistoryBuilder h;
  h.unknown(h.begin(Function::kDelete, "k"));
  h.set("k", 3, 1);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, PlacesUnknownDeleteAtTheEndForReadsOfNothing) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.unknown(h.begin(Function::kDelete, "k"));
  h.read("k", 1, 0);
  h.read("k", kNothing);
  h.read("k", kNothing);
  expect(h.history, Finding::kOk);
  h.read("k", 1, 0);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, ReadOfNothingTakesTheStateItCan) {
  HistoryBuilder h;
  auto r = h.begin(Function::kRead, "k");
  h.set("k", 1, 0);
  auto d = h.begin(Function::kDelete, "k");
  h.read("k", 1, 0);
  h.saw(r, kNothing);
  h.done(d, 1);
  expect(h.history, Finding::kOk);
}

TEST(Registers, RejectsNothingWhenItsMomentIsTaken) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  auto d = h.begin(Function::kDelete, "k");
  auto w = h.begin_set("k", 2);
  h.read("k", 2, 2);
  h.read("k", kNothing);
  h.done(d, 1);
  h.done(w, 2);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, JudgesConditionsOnTheStateBefore) {
  HistoryBuilder h;
  WriteConditions absent{.if_absent = true};
  WriteConditions present{.if_exists = true};
  h.done(h.begin_set("k", 1, absent), 0);
  h.refused(h.begin_set("k", 2, absent), 0);
  h.done(h.begin_set("k", 3, present), 1);
  h.done(h.begin_set("k", 4, {.compare_value = true, .value = 3}), 2);
  h.refused(h.begin_set("k", 5, {.compare_value = true, .value = 3}), 2);
  h.done(h.begin_set("k", 6, {.compare_revision = true, .revision = 2}), 3);
  h.refused(h.begin_set("k", 7, {.compare_revision = true, .revision = 2}), 3);
  h.remove("k", 4);
  h.refused(h.begin_set("k", 8, present), 4);
  h.done(h.begin_set("k", 9, {.compare_revision = true, .revision = 4}), 5);
  expect(h.history, Finding::kOk);
}

TEST(Registers, RejectsConditionThatDidNotHold) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.done(h.begin_set("k", 2, {.if_absent = true}), 1);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, RejectsTwoWinnersOfOneComparison) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  auto a = h.begin_set("k", 2, {.compare_value = true, .value = 1});
  auto b = h.begin_set("k", 3, {.compare_value = true, .value = 1});
  h.done(a, 1);
  h.done(b, 2);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, RejectsRefusalOfAConditionThatHeld) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.refused(h.begin_set("k", 2, {.if_exists = true}), 0);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, BlankComparisonMatchesAnAbsentKey) {
  HistoryBuilder h;
  h.done(h.begin_set("k", 2, {.compare_value = true, .value = kBlank}), 0);
  expect(h.history, Finding::kOk);
}

TEST(Registers, ExistsIsAReadOfPresence) {
  HistoryBuilder h;
  h.exists(h.begin(Function::kExists, "k"), false);
  h.set("k", 1, 0);
  h.exists(h.begin(Function::kExists, "k"), true, 0);
  expect(h.history, Finding::kOk);
  h.exists(h.begin(Function::kExists, "k"), false);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, DeleteOfNothingIsARead) {
  HistoryBuilder h;
  h.refused(h.begin(Function::kDelete, "k"), kNoRevision);
  h.set("k", 1, 0);
  expect(h.history, Finding::kOk);
  h.refused(h.begin(Function::kDelete, "k"), kNoRevision);
  expect(h.history, Finding::kViolation);
}

TEST(Registers, SaysWhichOperationsContradict) {
  HistoryBuilder h;
  h.set("k", 1, 0);
  h.set("k", 2, 1);
  h.read("k", 1, 0);
  Judgement judgement = check_registers(h.history);
  EXPECT_EQ(judgement.kind, "linearizability");
  EXPECT_NE(judgement.text.find("get k -> 1 r0"), std::string::npos) << judgement.text;
}

// --- scans ---

TEST(Scans, AcceptsPageThatShowsOneMoment) {
  HistoryBuilder h;
  h.set("b/x", 1, 0);
  auto w = h.begin_set("b/y", 2);
  h.page(h.begin(Function::kScan, "b"), {h.item("b/x", 1, 0)});
  h.page(h.begin(Function::kScan, "b"), {h.item("b/x", 1, 0), h.item("b/y", 2, 0)});
  h.done(w, 0);
  EXPECT_EQ(check_registers(h.history).finding, Finding::kOk);
}

TEST(Scans, RejectsMissingKey) {
  HistoryBuilder h;
  h.set("b/x", 1, 0);
  h.set("b/y", 2, 0);
  h.page(h.begin(Function::kScan, "b"), {h.item("b/x", 1, 0)});
  EXPECT_EQ(check_registers(h.history).finding, Finding::kViolation);
}

TEST(Scans, SaysNothingBeyondAnIncompletePage) {
  HistoryBuilder h;
  h.set("b/x", 1, 0);
  h.set("b/y", 2, 0);
  h.page(h.begin(Function::kScan, "b"), {h.item("b/x", 1, 0)}, false);
  h.page(h.begin(Function::kScan, "b"), {h.item("b/y", 2, 0)}, true, "b/x");
  EXPECT_EQ(check_registers(h.history).finding, Finding::kOk);
  h.page(h.begin(Function::kScan, "b"), {}, true, "b/x");
  EXPECT_EQ(check_registers(h.history).finding, Finding::kViolation);
}

TEST(Scans, RejectsPageThatMixesMoments) {
  // y is written after x's second write was acknowledged: nobody may see y without it.
  HistoryBuilder h;
  h.set("b/x", 1, 0);
  auto s = h.begin(Function::kScan, "b");
  h.set("b/x", 2, 1);
  h.set("b/y", 3, 0);
  h.page(s, {h.item("b/x", 1, 0), h.item("b/y", 3, 0)});
  Judgement judgement = check_registers(h.history);
  EXPECT_EQ(judgement.finding, Finding::kViolation);
  EXPECT_EQ(judgement.kind, "snapshot");
}

TEST(Scans, RejectsPagesThatContradictEachOther) {
  HistoryBuilder h;
  auto a = h.begin_set("b/x", 1);
  auto b = h.begin_set("b/y", 2);
  auto s = h.begin(Function::kScan, "b");
  auto t = h.begin(Function::kScan, "b");
  h.page(s, {h.item("b/x", 1, 0)});
  h.page(t, {h.item("b/y", 2, 0)});
  h.done(a, 0);
  h.done(b, 0);
  EXPECT_EQ(check_registers(h.history).finding, Finding::kViolation);
}

TEST(Scans, RejectsUnsortedAndForeignItems) {
  HistoryBuilder h;
  h.set("b/x", 1, 0);
  h.set("b/y", 2, 0);
  h.set("c/z", 3, 0);
  HistoryBuilder g = h;
  h.page(h.begin(Function::kScan, "b"), {h.item("b/y", 2, 0), h.item("b/x", 1, 0)});
  g.page(g.begin(Function::kScan, "b"),
         {g.item("b/x", 1, 0), g.item("b/y", 2, 0), g.item("c/z", 3, 0)});
  EXPECT_EQ(check_registers(h.history).finding, Finding::kViolation);
  EXPECT_EQ(check_registers(g.history).finding, Finding::kViolation);
}

// --- stamps ---

TEST(Stamps, GrowWithTheRevisionAndAgree) {
  HistoryBuilder h;
  h.done(h.begin_set("k", 1), 0, 10);
  h.done(h.begin_set("k", 2), 1, 20);
  EXPECT_EQ(check_stamps(h.history).finding, Finding::kOk);
  HistoryBuilder g = h;
  g.done(g.begin_set("k", 3), 2, 20);
  EXPECT_EQ(check_stamps(g.history).finding, Finding::kViolation);
  auto r = h.begin(Function::kRead, "k");
  Reply reply{.revision = 1, .value = 2, .stamp = 21};
  h.history.complete_ok(r, reply, Time());
  EXPECT_EQ(check_stamps(h.history).finding, Finding::kViolation);
}

TEST(Stamps, FollowWhatTheClientHadHeard) {
  HistoryBuilder h;
  Operation op;
  op.function = Function::kWrite;
  op.client = 7;
  op.value = 1;
  op.key = h.history.name("a");
  auto first = h.history.invoke(op, Time());
  h.done(first, 0, 50);
  op.key = h.history.name("b");
  auto second = h.history.invoke(op, Time());
  h.done(second, 0, 40);
  EXPECT_EQ(check_stamps(h.history).finding, Finding::kViolation);
}

}  // namespace
}  // namespace kahuna::sim
