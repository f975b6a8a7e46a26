// Random command sequences against a plain model; and the equivalences that replication rests on.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>

#include "tests/partition/replica.h"

namespace kahuna::partition {
namespace {

// What the contract says, without caches, rows or batches.
class Model {
 public:
  explicit Model(size_t records_max) : records_max_(records_max) {}

  Reply apply(const Command& command) {
    auto id = std::pair(command.operation.client, command.operation.sequence);
    if (auto known = records_.find(id); known != records_.end()) {
      Reply reply = known->second.second;
      reply.replayed = true;
      return reply;
    }
    if (command.operation.birth < floor) return {.outcome = Outcome::kTooOld, .stamp = last};
    Key& key = keys_[command.key];
    const Conditions& c = command.conditions;
    Reply reply{.revision = key.revision, .stamp = key.stamp};
    bool holds = (!c.if_exists || key.value) && (!c.if_absent || !key.value) &&
                 (!c.if_value || *c.if_value == key.value.value_or("")) &&
                 (!c.if_revision || *c.if_revision == key.revision);
    last = std::max({last, command.operation.birth, command.watermark}).next();
    if (command.kind == CommandKind::kDelete && !key.value) {
      reply.outcome = Outcome::kNotFound;
    } else if (!holds) {
      reply.outcome = Outcome::kNotSet;
    } else {
      key.revision = reply.revision = key.revision.next();
      key.stamp = reply.stamp = last;
      key.value.reset();
      if (command.kind == CommandKind::kSet) key.value = command.value;
    }
    records_[id] = {last, reply};
    order_[last] = id;
    if (records_.size() > records_max_) {
      floor = order_.begin()->first;
      records_.erase(order_.begin()->second);
      order_.erase(order_.begin());
    }
    return reply;
  }

  struct Key {
    std::optional<std::string> value;
    Revision revision;
    Watermark stamp;
  };
  const std::map<std::string, Key>& keys() const { return keys_; }
  Watermark last, floor;

 private:
  using Operation = std::pair<uint64_t, uint64_t>;
  size_t records_max_;
  std::map<std::string, Key> keys_;
  std::map<Operation, std::pair<Watermark, Reply>> records_;
  std::map<Watermark, Operation> order_;
};

// Few keys, clients and sequences, so that retries, conflicts and floors are common.
Command any_command(Watermark known) {
  Command command;
  command.kind =
      *rc::gen::weightedElement<CommandKind>({{3, CommandKind::kSet}, {1, CommandKind::kDelete}});
  command.operation = {.client = *rc::gen::inRange<uint64_t>(1, 4),
                       .sequence = *rc::gen::inRange<uint64_t>(1, 40)};
  uint64_t back = *rc::gen::inRange<uint64_t>(0, 20);
  command.operation.birth = Watermark(known.value() > back ? known.value() - back : 0);
  command.watermark = Watermark(*rc::gen::inRange<uint64_t>(0, 60));
  command.key = *rc::gen::element<std::string>("a", "b", "b/1", "b/2", "b/2/x", "b/", "c/1", "/");
  if (command.kind == CommandKind::kSet)
    command.value = *rc::gen::element<std::string>("", "v", std::string(300, 'w'));
  Conditions& conditions = command.conditions;
  conditions.if_exists = *rc::gen::inRange(0, 6) == 0;
  conditions.if_absent = *rc::gen::inRange(0, 6) == 0;
  if (*rc::gen::inRange(0, 5) == 0) conditions.if_value = *rc::gen::element<std::string>("", "v");
  if (*rc::gen::inRange(0, 5) == 0)
    conditions.if_revision = Revision(*rc::gen::inRange<int64_t>(-1, 4));
  return command;
}

void expect_equal(const Reply& a, const Reply& b) {
  RC_ASSERT(a.outcome == b.outcome);
  RC_ASSERT(a.revision == b.revision);
  RC_ASSERT(a.stamp == b.stamp);
  RC_ASSERT(a.replayed == b.replayed);
}

void expect_reads_match(TestReplica& replica, const Model& model) {
  for (const auto& [name, key] : model.keys()) {
    auto record = replica.get(name);
    RC_ASSERT(record.has_value() == key.value.has_value());
    if (!record) continue;
    RC_ASSERT(record->value == *key.value);
    RC_ASSERT(record->revision == key.revision);
    RC_ASSERT(record->stamp == key.stamp);
  }
  for (std::string bucket : {"b", "b/2", "c", "", "a"}) {
    std::vector<std::string> expected, found;
    for (const auto& [name, key] : model.keys()) {
      size_t slash = name.rfind('/');
      if (key.value && slash != std::string::npos && name.substr(0, slash) == bucket)
        expected.push_back(name);
    }
    std::string cursor;
    do {
      ScanPage page = replica.scan(bucket, cursor, *rc::gen::inRange<size_t>(1, 4));
      for (const ScanItem& item : page.items) {
        found.push_back(item.key);
        RC_ASSERT(item.record.value == *model.keys().at(item.key).value);
        RC_ASSERT(item.record.revision == model.keys().at(item.key).revision);
      }
      cursor = page.cursor;
    } while (!cursor.empty());
    RC_ASSERT(found == expected);
  }
}

TEST(StateMachineModel, AgreesOnRepliesReadsStampsAndFloors) {
  ASSERT_TRUE(rc::check([] {
    size_t records_max = *rc::gen::inRange<size_t>(1, 12);
    TestReplica replica(whole_space(), {.operation_records_max = records_max});
    Model model(records_max);
    size_t steps = *rc::gen::inRange<size_t>(1, 120);
    for (size_t i = 0; i < steps; ++i) {
      Command command = any_command(model.last);
      expect_equal(replica.stage(command), model.apply(command));
      RC_ASSERT(replica.machine().last_stamp() == model.last);
      RC_ASSERT(replica.machine().floor() == model.floor);
      RC_ASSERT(replica.machine().operation_records() <= records_max);
      switch (*rc::gen::inRange(0, 8)) {
        case 0:
          replica.write();
          replica.reopen();
          [[fallthrough]];
        case 1: expect_reads_match(replica, model); break;
        case 2:
        case 3:
        case 4: replica.write(); break;
        default: break;
      }
    }
  }));
}

// P6: saved after each entry, or after many, or restarts between: same replies, same state.
TEST(StateMachineModel, ReplicasThatBatchDifferentlyConverge) {
  ASSERT_TRUE(rc::check([] {
    Limits limits{.operation_records_max = *rc::gen::inRange<size_t>(1, 12)};
    TestReplica single(whole_space(), limits), batched(whole_space(), limits),
        restarted(whole_space(), limits);
    size_t steps = *rc::gen::inRange<size_t>(1, 120);
    for (size_t i = 0; i < steps; ++i) {
      Command command = any_command(single.machine().last_stamp());
      const LogTime stamp(*rc::gen::inRange<uint64_t>(0, 1000));
      Payload payload = *rc::gen::inRange(0, 20) == 0 ? Payload("damaged") : encode(command, stamp);
      Reply reply = single.stage_payload(payload);
      single.write();
      expect_equal(batched.stage_payload(payload), reply);
      if (*rc::gen::inRange(0, 6) == 0) batched.write();
      expect_equal(restarted.stage_payload(payload), reply);
      restarted.write();
      if (*rc::gen::inRange(0, 6) == 0) restarted.reopen();
    }
    batched.write();
    RC_ASSERT(single.digest() == batched.digest());
    RC_ASSERT(single.digest() == restarted.digest());
    batched.reopen();
    RC_ASSERT(single.digest() == batched.digest());
    RC_ASSERT(single.engine().applied() == batched.engine().applied());
  }));
}

// Replaying a tail of the log after a crash that lost unflushed batches gives the same state.
TEST(StateMachineModel, ReplayFromAnEarlierCutConverges) {
  ASSERT_TRUE(rc::check([] {
    Limits limits{.operation_records_max = *rc::gen::inRange<size_t>(1, 12)};
    TestReplica whole(whole_space(), limits), crashed(whole_space(), limits);
    size_t steps = *rc::gen::inRange<size_t>(1, 60), cut = *rc::gen::inRange<size_t>(0, 60);
    std::vector<Payload> log;
    std::vector<Reply> replies;
    for (size_t i = 0; i < steps; ++i) {
      log.push_back(encode(any_command(whole.machine().last_stamp())));
      replies.push_back(whole.stage_payload(log.back()));
      whole.write();
      if (i < cut) {
        crashed.stage_payload(log.back());
        crashed.write();
      }
    }
    crashed.reopen();
    for (size_t i = std::min(cut, steps); i < steps; ++i) {
      expect_equal(crashed.stage_payload(log[i]), replies[i]);
      crashed.write();
    }
    RC_ASSERT(whole.digest() == crashed.digest());
  }));
}

}  // namespace
}  // namespace kahuna::partition
