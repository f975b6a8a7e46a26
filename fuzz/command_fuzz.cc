// Any bytes as a committed entry: refused or applied, the same way twice, and never a crash.
//
// The input is a list of entries, each behind two bytes of length (little endian).
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>

#include "kahuna/engine/memory_engine.h"
#include "kahuna/partition/position.h"
#include "kahuna/partition/state_machine.h"
#include "runtime/check.h"

namespace kahuna {
namespace {

class NoScheduler final : public Scheduler {
 public:
  void post(Callback<void()>) override {}
  void defer(Callback<void()>) override {}
};

struct Replica {
  NoScheduler scheduler;
  std::unique_ptr<engine::Engine> engine = engine::make_volatile_engine(scheduler);
  engine::WriteBatch batch;
  partition::StateMachine machine = open();

  partition::StateMachine open() {
    auto opened = partition::StateMachine::open(*engine, partition::founding_descriptors(1)[1],
                                                {.operation_records_max = 4});
    CHECK(opened.has_value());
    return std::move(*opened);
  }
  void write() {
    machine.collect(batch);
    CHECK(engine->write(batch).has_value());
    batch.clear();
    machine.saved();
  }
};

void check_decoded(const partition::Command& command) {
  // Clients may not write reserved keys; nodes do.
  CHECK(partition::validate(command).has_value() ||
        command.key.starts_with(partition::kReservedPrefix));
  auto again = partition::decode(partition::encode(command).view());
  CHECK(again.has_value());
  CHECK(again->key == command.key);
  CHECK(again->value == command.value);
  CHECK(again->operation == command.operation);
  CHECK(again->conditions.if_value == command.conditions.if_value);
  CHECK(partition::key_of(partition::position_of(command.key)) == command.key);
}

void run(std::string_view input) {
  Replica one, other;
  Index index(1);
  while (input.size() >= 2) {
    size_t length = std::min<size_t>(uint8_t(input[0]) | uint8_t(input[1]) << 8, input.size() - 2);
    Payload payload(input.substr(2, length));
    input.remove_prefix(2 + length);
    auto command = partition::decode(payload.view());
    if (command) check_decoded(*command);
    const LogTime before = one.machine.log_time();
    index = index.next();
    raft::Entry entry{
        .index = index, .term = Term(1), .kind = raft::EntryKind::kCommand, .payload = payload};
    auto a = one.machine.apply(entry);
    auto b = other.machine.apply(entry);
    one.write();  // the other saves everything at once
    CHECK(a.has_value());
    CHECK(b.has_value());
    CHECK(a->outcome == b->outcome);
    CHECK_EQ(a->stamp, b->stamp);
    CHECK_EQ(a->revision, b->revision);
    CHECK_EQ(one.machine.log_time(), other.machine.log_time());
    CHECK(one.machine.log_time() == before || (command && one.machine.log_time() > before));
    CHECK(command.has_value() == (a->outcome != partition::Outcome::kRefused));
  }
  other.write();
  CHECK_EQ(one.machine.last_stamp(), other.machine.last_stamp());
  one.machine = one.open();
  CHECK_EQ(one.machine.log_time(), other.machine.log_time());
  CHECK_EQ(one.machine.last_stamp(), other.machine.last_stamp());
}

}  // namespace
}  // namespace kahuna

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kahuna::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
