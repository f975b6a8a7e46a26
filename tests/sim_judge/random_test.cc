// The checkers against histories made by a model that is linearizable, and against the same
// histories with one lie in them; and the two register checkers against each other.
#include "runtime/random.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <map>

#include "sim/checker.h"
#include "sim/checker_key.h"
#include "sim/checker_search.h"

namespace kahuna::sim {
namespace {

struct ModelState {
  bool present = false;
  ValueId value = kNothing;
  int64_t revision = -1;
};

struct Shape {
  int operations = 30;
  int processes = 4;
  int keys = 1;
  int scans = 0;      // percent
  int doubtful = 20;  // percent of mutations whose reply is lost
  bool lies = false;  // one reply in the history is wrong
};

// Runs a model whose operations take effect at one instant inside their span.
class Generator {
 public:
  Generator(uint64_t seed, Shape shape) : random_(seed, "generator"), shape_(shape) {}

  History run() {
    std::vector<Running> running;
    int lie_at = shape_.lies ? int(random_.below(uint64_t(shape_.operations))) : -1;
    int started = 0;
    while (started < shape_.operations || !running.empty()) {
      bool start = started < shape_.operations && int(running.size()) < shape_.processes &&
                   (running.empty() || random_.chance(1, 2));
      if (start) {
        running.push_back(invoke(started == lie_at));
        ++started;
        continue;
      }
      size_t i = random_.below(running.size());
      const Operation& op = history_.operations()[running[i].number];
      if (!running[i].acted && op.mutates() && int(random_.below(100)) < shape_.doubtful / 2) {
        history_.complete_error(running[i].number, ErrorCode::kUnknown, tick());
        if (random_.chance(1, 2)) ghosts_.push_back(running[i]);
        running.erase(running.begin() + long(i));
      } else if (!running[i].acted) {
        act(running[i]);
      } else {
        complete(running[i]);
        running.erase(running.begin() + long(i));
      }
      // Effects of lost requests come at any time, or never.
      if (!ghosts_.empty() && random_.chance(1, 4)) {
        size_t g = random_.below(ghosts_.size());
        act(ghosts_[g]);
        ghosts_.erase(ghosts_.begin() + long(g));
      }
    }
    return std::move(history_);
  }

 private:
  struct Running {
    OperationNumber number;
    bool acted = false;
    bool lies = false;
    Reply reply;
    SeenPage page;
  };

  Time tick() { return Time::from_nanos(++now_); }
  std::string key_name(uint64_t i) { return "b/k" + std::to_string(i); }

  Running invoke(bool lies) {
    Operation op;
    uint64_t dice = random_.below(100);
    if (int(dice) < shape_.scans)
      op.function = Function::kScan;
    else if (dice < 45 + uint64_t(shape_.scans) / 2)
      op.function = Function::kWrite;
    else if (dice < 60)
      op.function = Function::kDelete;
    else if (dice < 90)
      op.function = Function::kRead;
    else
      op.function = Function::kExists;
    op.process = history_.next_process();
    op.client = op.process;
    op.key = history_.name(
        op.function == Function::kScan ? "b" : key_name(random_.below(uint64_t(shape_.keys))));
    if (op.function == Function::kWrite) {
      op.value = random_.chance(1, 10) ? kBlank : ++values_;
      const ModelState& now = states_[op.key];
      switch (random_.below(10)) {
        case 0: op.conditions.if_absent = true; break;
        case 1: op.conditions.if_exists = true; break;
        case 2:
          op.conditions.compare_value = true;
          op.conditions.value = now.present ? now.value : kBlank;
          break;
        case 3:
          op.conditions.compare_revision = true;
          op.conditions.revision = now.revision;
          break;
        default: break;
      }
    }
    Running running;
    running.number = history_.invoke(op, tick());
    running.lies = lies;
    return running;
  }

  void act(Running& running) {
    running.acted = true;
    const Operation op = history_.operations()[running.number];
    if (op.function == Function::kScan) return act_scan(running);
    ModelState& state = states_[op.key];
    Reply& reply = running.reply;
    switch (op.function) {
      case Function::kWrite:
        reply.done = conditions_hold(op.conditions, state.present, state.value, state.revision);
        if (reply.done) state = {true, op.value, state.revision + 1};
        reply.revision = state.revision;
        break;
      case Function::kDelete:
        reply.done = state.present;
        if (reply.done) state = {false, kNothing, state.revision + 1};
        if (reply.done || random_.chance(1, 2)) reply.revision = state.revision;
        break;
      case Function::kRead:
        reply.value = state.present ? state.value : kNothing;
        if (state.present) reply.revision = state.revision;
        break;
      default:
        reply.done = state.present;
        if (state.present || random_.chance(1, 2)) reply.revision = state.revision;
        break;
    }
  }

  void act_scan(Running& running) {
    for (int i = 0; i < shape_.keys; ++i) {
      NameId key = history_.name(key_name(uint64_t(i)));
      const ModelState& state = states_[key];
      if (state.present) running.page.items.push_back({key, state.value, state.revision, kNoStamp});
    }
  }

  void complete(Running& running) {
    const Operation& op = history_.operations()[running.number];
    if (op.mutates() && int(random_.below(100)) < shape_.doubtful) {
      history_.complete_error(running.number, ErrorCode::kUnknown, tick());
      return;
    }
    if (op.function == Function::kScan) {
      history_.complete_scan(running.number, std::move(running.page), tick());
      return;
    }
    if (running.lies) tell_a_lie(running.reply);
    history_.complete_ok(running.number, running.reply, tick());
  }

  void tell_a_lie(Reply& reply) {
    if (reply.revision > 0 && random_.chance(1, 2))
      --reply.revision;
    else if (reply.revision != kNoRevision)
      ++reply.revision;
    else if (reply.value != kNothing)
      reply.value = kNothing;
    else
      reply.revision = 0;
  }

  RandomStream random_;
  Shape shape_;
  History history_;
  std::map<NameId, ModelState> states_;
  std::vector<Running> ghosts_;
  ValueId values_ = 0;
  int64_t now_ = 0;
};

Finding second_opinion(const History& history) {
  Finding all = Finding::kOk;
  for (const KeyHistory& key : split_by_key(history)) {
    Finding one = search_key(history, key, 200'000);
    if (one == Finding::kViolation) return one;
    if (one != Finding::kOk) all = one;
  }
  return all;
}

RC_GTEST_PROP(RandomHistories, LegalOnesAreAccepted, ()) {
  Shape shape;
  shape.operations = *rc::gen::inRange(1, 60);
  shape.processes = *rc::gen::inRange(1, 8);
  shape.keys = *rc::gen::inRange(1, 4);
  shape.scans = *rc::gen::element(0, 20, 50);
  shape.doubtful = *rc::gen::element(0, 10, 50);
  History history = Generator(*rc::gen::arbitrary<uint64_t>(), shape).run();
  Judgement judgement = check_registers(history);
  if (judgement.finding != Finding::kOk) RC_FAIL(judgement.text + "\n" + history.to_json_lines());
}

RC_GTEST_PROP(RandomHistories, BothCheckersAgreeOnLies, ()) {
  Shape shape;
  shape.operations = *rc::gen::inRange(2, 14);
  shape.processes = *rc::gen::inRange(1, 5);
  shape.doubtful = *rc::gen::element(0, 20, 50);
  shape.lies = true;
  History history = Generator(*rc::gen::arbitrary<uint64_t>(), shape).run();
  Finding first = check_registers(history).finding;
  Finding second = second_opinion(history);
  RC_PRE(second != Finding::kUndecided);
  RC_CLASSIFY(second == Finding::kViolation, "rejected");
  if (first != second) RC_FAIL("they differ\n" + history.to_json_lines());
}

RC_GTEST_PROP(RandomHistories, SurviveExportAndImport, ()) {
  Shape shape;
  shape.keys = 3;
  shape.scans = 20;
  History history = Generator(*rc::gen::arbitrary<uint64_t>(), shape).run();
  std::string text = history.to_json_lines();
  auto again = History::from_json_lines(text);
  RC_ASSERT(again.has_value());
  RC_ASSERT(again->to_json_lines() == text);
}

TEST(RandomHistories, MostLiesAreFoundAndBothAgreeOverManySeeds) {
  int rejected = 0, differing = 0;
  const char* more = std::getenv("KAHUNA_CHECKER_SEEDS");
  uint64_t seeds = more ? std::strtoull(more, nullptr, 10) : 3000;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    Shape shape;
    shape.operations = 12;
    shape.lies = true;
    shape.doubtful = seed % 2 ? 30 : 0;
    History history = Generator(seed, shape).run();
    Finding first = check_registers(history).finding;
    Finding second = second_opinion(history);
    if (second == Finding::kUndecided) continue;
    rejected += first == Finding::kViolation;
    if (first != second && ++differing < 3) ADD_FAILURE() << history.to_json_lines();
  }
  EXPECT_EQ(differing, 0);
  EXPECT_GT(rejected, int(seeds / 2));
}

TEST(RandomHistories, LegalOnesAreAcceptedOverManySeeds) {
  int undecided = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    RandomStream draw(seed, "shape");
    Shape shape;
    shape.operations = int(draw.between(1, 200));
    shape.processes = int(draw.between(1, 16));
    shape.keys = int(draw.between(1, 5));
    shape.scans = draw.chance(1, 2) ? int(draw.below(60)) : 0;
    shape.doubtful = draw.chance(1, 2) ? int(draw.below(40)) : 0;
    History history = Generator(seed, shape).run();
    Judgement judgement = check_registers(history);
    ASSERT_NE(judgement.finding, Finding::kViolation) << seed << judgement.text;
    undecided += judgement.undecided > 0;
  }
  EXPECT_LT(undecided, 100);
}

TEST(RandomHistories, LongOnesAreFast) {
  Shape shape;
  shape.operations = 60'000;
  shape.processes = 32;
  shape.keys = 8;
  shape.scans = 2;
  shape.doubtful = 2;
  History history = Generator(7, shape).run();
  Judgement judgement = check_registers(history);
  EXPECT_EQ(judgement.finding, Finding::kOk) << judgement.text;
}

}  // namespace
}  // namespace kahuna::sim
