#include "kahuna/partition/state_machine.h"

#include <algorithm>
#include <tuple>

#include "kahuna/partition/command.h"
#include "kahuna/partition/head_cache.h"
#include "kahuna/partition/operation_table.h"
#include "kahuna/partition/position.h"
#include "kahuna/partition/rows.h"
#include "kahuna/partition/scan.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::partition {

using engine::RowKind;
using engine::WriteBatch;

struct StateMachine::State {
  State(engine::Engine& e, Descriptor d, Limits l)
      : engine(e), descriptor(std::move(d)), limits(l), state_row(make_state_row(descriptor.id)) {}

  engine::Engine& engine;
  Descriptor descriptor;
  Limits limits;
  std::string state_row;
  HeadCache heads{HeadCache::Limits()};
  OperationTable operations;
  Watermark last,
      floor;      // highest stamp drawn; highest stamp whose record was evicted; floor <= last
  Index applied;  // 0 = the engine has no mark of this group
  std::string row, value;  // scratch, to spare allocations

  Result<> load();
  Result<> load_operations();
  Result<const Head*> head(std::string_view position);
  Result<Reply> execute(const CommandView& command, const raft::Entry& entry, WriteBatch& batch);
  Reply evaluate(const CommandView& command, const Head& head) const;
  void write_record(const CommandView& command, std::string_view position, const raft::Entry& entry,
                    const Reply& reply, WriteBatch& batch);
  void remember(const CommandView& command, std::string position, Watermark stamp,
                const Reply& reply, WriteBatch& batch);
};

namespace {

std::unexpected<Error> damaged(std::string_view what, const Descriptor& descriptor) {
  return fail(ErrorCode::kDamaged, "partition " + std::to_string(descriptor.id.value()) +
                                       ": malformed " + std::string(what) + " row");
}

bool conditions_hold(const CommandView& command, const Head& head) {
  bool present = head.alive;
  if (MUTANT(nx_ignores_tombstone)) present = head.revision.value() >= 0;
  if (command.if_exists && !head.alive) return false;
  if (command.if_absent && present) return false;
  if (command.if_value) {
    // An empty comparand matches a missing key as well as an empty value.
    std::string_view found = head.alive ? head.value : std::string_view();
    if (*command.if_value != found) return false;
  }
  if (command.if_revision && *command.if_revision != head.revision) return false;
  return true;
}

}  // namespace

// --- loading ---

Result<> StateMachine::State::load() {
  ASSIGN_OR_RETURN(bool found, engine.get(state_row, value));
  if (found) {
    auto state = read_state_value(value);
    if (!state || state->floor > state->last) return damaged("state", descriptor);
    last = state->last;
    floor = state->floor;
  }
  auto mark = engine.applied().find(descriptor.id);
  if (mark != engine.applied().end()) applied = mark->second.index;
  return load_operations();
}

Result<> StateMachine::State::load_operations() {
  std::vector<OperationRow> rows;
  bool malformed = false;
  RETURN_IF_ERROR(engine.scan(rows_from(RowKind::kOperation, descriptor.start),
                              rows_until(RowKind::kOperation, descriptor.end),
                              [&](std::string_view found_row, std::string_view found_value) {
                                auto read = read_operation_row(found_row, found_value);
                                malformed = !read;
                                if (read) rows.push_back(std::move(*read));
                                return !malformed;
                              }));
  if (malformed) return damaged("operation", descriptor);
  std::sort(rows.begin(), rows.end(), [](const OperationRow& a, const OperationRow& b) {
    return std::tie(a.stamp, a.client, a.sequence) < std::tie(b.stamp, b.client, b.sequence);
  });
  for (OperationRow& read : rows) {
    if (read.stamp > last || read.stamp <= floor) {
      if (!MUTANT(stamp_ignores_last)) return damaged("operation", descriptor);
    }
    operations.append(std::move(read));
  }
  return {};
}

// --- applying ---

Result<const Head*> StateMachine::State::head(std::string_view position) {
  if (const Head* cached = heads.find(position)) return cached;
  Head loaded;
  ASSIGN_OR_RETURN(bool found, engine.first(rows_from(RowKind::kRecord, position),
                                            rows_after(RowKind::kRecord, position), row, value));
  if (found) {
    Payload holder{std::string_view(value)};
    auto record = read_record_row(row, holder.text());
    if (!record) return damaged("record", descriptor);
    loaded.alive = !record->tombstone;
    loaded.revision = record->revision;
    loaded.stamp = record->stamp;
    loaded.value = record->value;
    if (loaded.alive) loaded.holder = std::move(holder);
  }
  return heads.add(position, std::move(loaded));
}

Result<Reply> StateMachine::State::execute(const CommandView& command, const raft::Entry& entry,
                                           WriteBatch& batch) {
  std::string position = position_of(command.key);
  if (!descriptor.contains(position) && !MUTANT(range_not_checked)) {
    SOMETIMES(partition_refuses_out_of_range);
    return Reply{.outcome = Outcome::kOutOfRange};
  }
  const OperationId& id = command.operation;
  const Reply* known = operations.find(id.client, id.sequence);
  if (known && !MUTANT(dedup_ignored)) {
    SOMETIMES(partition_replays_operation);
    Reply reply = *known;
    reply.replayed = true;
    return reply;
  }
  if (id.birth < floor && !MUTANT(floor_ignored)) {
    SOMETIMES(partition_refuses_too_old);
    return Reply{.outcome = Outcome::kTooOld, .stamp = last};
  }
  ASSIGN_OR_RETURN(const Head* found, head(position));
  Watermark stamp = std::max({last, id.birth, command.watermark}).next();
  if (MUTANT(stamp_ignores_last)) stamp = std::max(id.birth, command.watermark).next();
  Reply reply = evaluate(command, *found);
  if (reply.outcome == Outcome::kDone) {
    reply.stamp = stamp;
    write_record(command, position, entry, reply, batch);
  }
  last = std::max(last, stamp);
  remember(command, std::move(position), stamp, reply, batch);
  return reply;
}

Reply StateMachine::State::evaluate(const CommandView& command, const Head& found) const {
  Reply reply{.outcome = Outcome::kDone, .revision = found.revision, .stamp = found.stamp};
  if (command.kind == CommandKind::kDelete && !found.alive) {
    reply.outcome = Outcome::kNotFound;
  } else if (!conditions_hold(command, found)) {
    SOMETIMES(partition_condition_fails);
    reply.outcome = Outcome::kNotSet;
  } else {
    bool keeps = command.kind == CommandKind::kDelete && MUTANT(revision_not_consumed_by_delete);
    if (!keeps) reply.revision = found.revision.next();
  }
  return reply;
}

void StateMachine::State::write_record(const CommandView& command, std::string_view position,
                                       const raft::Entry& entry, const Reply& reply,
                                       WriteBatch& batch) {
  bool tombstone = command.kind == CommandKind::kDelete;
  make_record_row(position, reply.stamp, entry.index, /*ordinal=*/0, row);
  make_record_value(tombstone, reply.revision, command.value, value);
  batch.put(row, value);
  Head written{.alive = !tombstone, .revision = reply.revision, .stamp = reply.stamp};
  if (!tombstone) {
    written.holder = entry.payload;  // command.value points into it
    written.value = command.value;
  }
  heads.write(position, std::move(written));
}

void StateMachine::State::remember(const CommandView& command, std::string position,
                                   Watermark stamp, const Reply& reply, WriteBatch& batch) {
  const OperationId& id = command.operation;
  make_operation_row(position, id.client, id.sequence, row);
  make_operation_value(stamp, reply, value);
  batch.put(row, value);
  operations.append({.position = std::move(position),
                     .client = id.client,
                     .sequence = id.sequence,
                     .stamp = stamp,
                     .reply = reply});
  while (operations.size() > limits.operation_records_max) {
    SOMETIMES(partition_floor_rises);
    const OperationRow& oldest = operations.oldest();
    floor = std::max(floor, oldest.stamp);
    make_operation_row(oldest.position, oldest.client, oldest.sequence, row);
    batch.remove(row);
    operations.evict_oldest();
  }
  CHECK_LE(floor, last);
  make_state_value({.last = last, .floor = floor}, value);
  batch.put_state(descriptor.id, state_row, value);
}

// --- the public face ---

StateMachine::StateMachine(std::unique_ptr<State> state) : state_(std::move(state)) {}
StateMachine::StateMachine(StateMachine&&) noexcept = default;
StateMachine& StateMachine::operator=(StateMachine&&) noexcept = default;
StateMachine::~StateMachine() = default;

Result<StateMachine> StateMachine::open(engine::Engine& engine, Descriptor descriptor,
                                        Limits limits) {
  CHECK_GE(limits.operation_records_max, 1u);
  CHECK_LE(limits.operation_records_max, kOperationRecordsMax);
  auto state = std::make_unique<State>(engine, std::move(descriptor), limits);
  RETURN_IF_ERROR(state->load());
  return StateMachine(std::move(state));
}

Result<Reply> StateMachine::apply(const raft::Entry& entry, WriteBatch& batch) {
  State& state = *state_;
  if (state.applied && !MUTANT(apply_out_of_order)) CHECK_EQ(entry.index, state.applied.next());
  if (entry.level > kCurrentSemanticLevel)
    return fail(ErrorCode::kVersion, "an entry needs a newer version of this program");
  Reply reply;
  if (entry.kind == raft::EntryKind::kCommand) {
    if (auto command = read_command(entry.payload.view())) {
      ASSIGN_OR_RETURN(reply, state.execute(*command, entry, batch));
    } else {
      SOMETIMES(partition_refuses_undecodable_entry);
      reply.outcome = Outcome::kRefused;
    }
  } else if (entry.kind != raft::EntryKind::kNoop) {
    return fail(ErrorCode::kVersion, "an entry is of a kind this version does not know");
  }
  state.applied = entry.index;
  batch.set_applied({state.descriptor.id, {entry.index, entry.term}});
  return reply;
}

void StateMachine::written() {
  state_->heads.unpin_all();
}

Result<std::optional<Record>> StateMachine::get(std::string_view key) {
  std::string position = position_of(key);
  if (!state_->descriptor.contains(position))
    return fail(ErrorCode::kWrongPartition, "the key belongs to another partition");
  ASSIGN_OR_RETURN(const Head* head, state_->head(position));
  if (!head->alive) return std::optional<Record>();
  return Record{
      .value = std::string(head->value), .revision = head->revision, .stamp = head->stamp};
}

Result<ScanPage> StateMachine::scan(std::string_view bucket, std::string_view cursor,
                                    size_t limit) {
  return scan_bucket(state_->engine, state_->heads, state_->descriptor, {bucket, cursor, limit});
}

const Descriptor& StateMachine::descriptor() const {
  return state_->descriptor;
}
Watermark StateMachine::last_stamp() const {
  return state_->last;
}
Watermark StateMachine::floor() const {
  return state_->floor;
}
size_t StateMachine::operation_records() const {
  return state_->operations.size();
}

}  // namespace kahuna::partition
