#include "kahuna/partition/state_machine.h"

#include <algorithm>
#include <deque>
#include <utility>

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
  State(engine::Engine& e, Descriptor d, Limits l, uint64_t seed)
      : engine(e),
        descriptor(std::move(d)),
        limits(l),
        state_row(make_state_row(descriptor.id)),
        members_row(make_members_row(descriptor.id)),
        heads({.entries = l.heads_max}, seed),
        operations(seed) {}

  engine::Engine& engine;
  Descriptor descriptor;
  Limits limits;
  std::string state_row, members_row;
  HeadCache heads;
  OperationTable operations;
  Watermark last,
      floor;  // highest stamp drawn; highest stamp whose record was evicted; floor <= last
  LogTime log_time;
  StateRow saved_state;
  raft::LogPosition applied;              // index 0 = the engine has no mark of this group
  std::deque<Watermark> operations_rows;  // stamps of the rows collected, ascending
  size_t unsaved_operations = 0;          // newest of `operations` that no row holds
  std::string members;                    // as in the header
  bool members_unsaved = false;
  size_t unsaved_entries = 0, unsaved_bytes = 0;
  std::string row, value;  // scratch, to spare allocations

  Result<> load();
  Result<> load_operations();
  Result<const Head*> head(std::string_view position);
  Result<Reply> execute(const CommandView& command, const raft::Entry& entry);
  Reply evaluate(const CommandView& command, const Head& head) const;
  void write_record(const CommandView& command, std::string_view position, const raft::Entry& entry,
                    const Reply& reply);
  void remember(const CommandView& command, Watermark stamp, const Reply& reply);
  void collect_operations(WriteBatch& batch);
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
    if (is_newer_state_value(value))
      return fail(ErrorCode::kVersion, "partition " + std::to_string(descriptor.id.value()) +
                                           ": its state needs a newer version of this program");
    auto state = read_state_value(value);
    if (!state || state->floor > state->last || state->log_time.value() >= kLogTimeMax)
      return damaged("state", descriptor);
    saved_state = *state;
    last = state->last;
    floor = state->floor;
    log_time = state->log_time;
  }
  ASSIGN_OR_RETURN(found, engine.get(members_row, members));
  if (!found) members.clear();
  auto mark = engine.applied().find(descriptor.id);
  if (mark != engine.applied().end()) applied = mark->second;
  return load_operations();
}

Result<> StateMachine::State::load_operations() {
  std::vector<OperationRow> records;
  bool malformed = false;
  auto [from, to] = operations_rows_of(descriptor.id);
  RETURN_IF_ERROR(engine.scan(from, to, [&](std::string_view found_row, std::string_view found) {
    auto highest = read_operations_row(found_row, found, records);
    malformed = !highest;
    if (highest) operations_rows.push_back(*highest);
    return !malformed;
  }));
  if (malformed) return damaged("operations", descriptor);
  Watermark before;
  for (OperationRow& record : records) {
    if (record.stamp > last || record.stamp <= before) {
      if (!MUTANT(stamp_ignores_last)) return damaged("operations", descriptor);
    }
    before = record.stamp;
    if (record.stamp > floor) operations.append(record);
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

Result<Reply> StateMachine::State::execute(const CommandView& command, const raft::Entry& entry) {
  std::string position = position_of(command.key);
  if (!descriptor.contains(position) && !MUTANT(range_not_checked))
    return Reply{.outcome = Outcome::kOutOfRange};
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
    write_record(command, position, entry, reply);
  }
  last = std::max(last, stamp);
  remember(command, stamp, reply);
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
                                       const raft::Entry& entry, const Reply& reply) {
  bool tombstone = command.kind == CommandKind::kDelete;
  Head written{
      .alive = !tombstone, .revision = reply.revision, .stamp = reply.stamp, .index = entry.index};
  if (!tombstone) {
    written.holder = entry.payload;  // command.value points into it
    written.value = command.value;
  }
  heads.write(position, std::move(written));
}

void StateMachine::State::remember(const CommandView& command, Watermark stamp,
                                   const Reply& reply) {
  const OperationId& id = command.operation;
  operations.append({.client = id.client, .sequence = id.sequence, .stamp = stamp, .reply = reply});
  ++unsaved_operations;
  while (operations.size() > limits.operation_records_max) {
    SOMETIMES(partition_floor_rises);
    floor = std::max(floor, operations.oldest().stamp);
    operations.evict_oldest();
  }
  unsaved_operations = std::min(unsaved_operations, operations.size());
  CHECK_LE(floor, last);
}

// --- saving ---

void StateMachine::State::collect_operations(WriteBatch& batch) {
  size_t collected = std::exchange(unsaved_operations, 0);
  if (collected > 0 && !MUTANT(operations_not_saved)) {
    begin_operations_value(value);
    for (size_t i = operations.size() - collected; i < operations.size(); ++i)
      append_operation(operations[i], value);
    Watermark highest = operations[operations.size() - 1].stamp;
    make_operations_row(descriptor.id, highest, row);
    batch.put(row, value);
    operations_rows.push_back(highest);
  }
  while (!operations_rows.empty() && operations_rows.front() <= floor) {
    SOMETIMES(partition_operations_row_removed);
    make_operations_row(descriptor.id, operations_rows.front(), row);
    batch.remove(row);
    operations_rows.pop_front();
  }
}

// --- the public face ---

StateMachine::StateMachine(std::unique_ptr<State> state) : state_(std::move(state)) {}
StateMachine::StateMachine(StateMachine&&) noexcept = default;
StateMachine& StateMachine::operator=(StateMachine&&) noexcept = default;
StateMachine::~StateMachine() = default;

Result<StateMachine> StateMachine::open(engine::Engine& engine, Descriptor descriptor,
                                        Limits limits, uint64_t table_seed) {
  CHECK_GE(limits.operation_records_max, 1u);
  CHECK_LE(limits.operation_records_max, kOperationRecordsMax);
  auto state = std::make_unique<State>(engine, std::move(descriptor), limits, table_seed);
  RETURN_IF_ERROR(state->load());
  return StateMachine(std::move(state));
}

StateMachine StateMachine::make_empty(engine::Engine& engine, Descriptor descriptor) {
  return StateMachine(std::make_unique<State>(engine, std::move(descriptor), Limits(), 0));
}

Result<Reply> StateMachine::apply(const raft::Entry& entry) {
  State& state = *state_;
  if (state.applied.index && !MUTANT(apply_out_of_order))
    CHECK_EQ(entry.index, state.applied.index.next());
  if (entry.level > kCurrentSemanticLevel)
    return fail(ErrorCode::kVersion, "an entry needs a newer version of this program");
  Reply reply;
  if (entry.kind == raft::EntryKind::kCommand) {
    if (auto command = read_command(entry.payload.view())) {
      state.log_time = std::max(state.log_time, command->log_time);
      ASSIGN_OR_RETURN(reply, state.execute(*command, entry));
    } else {
      reply.outcome = Outcome::kRefused;
    }
  } else if (entry.kind == raft::EntryKind::kConfiguration) {
    if (!MUTANT(members_not_saved)) state.members = entry.payload.text();
    state.members_unsaved = true;
  } else if (entry.kind != raft::EntryKind::kNoop) {
    return fail(ErrorCode::kVersion, "an entry is of a kind this version does not know");
  }
  state.applied = {entry.index, entry.term};
  ++state.unsaved_entries;
  state.unsaved_bytes += entry.payload.size();
  return reply;
}

void StateMachine::collect(WriteBatch& batch) {
  State& state = *state_;
  state.heads.collect([&](std::string_view position, const Head& head) {
    make_record_row(position, head.stamp, head.index, /*ordinal=*/0, state.row);
    make_record_value(!head.alive, head.revision, head.value, state.value);
    batch.put(state.row, state.value);
  });
  state.collect_operations(batch);
  const LogTime log_time = MUTANT(log_time_not_saved) ? state.saved_state.log_time : state.log_time;
  if (StateRow now{state.last, state.floor, log_time}; now != state.saved_state) {
    make_state_value(now, state.value);
    batch.put(state.state_row, state.value);
    state.saved_state = now;
  }
  if (std::exchange(state.members_unsaved, false) && !state.members.empty())
    batch.put(state.members_row, state.members);
  if (state.applied.index) batch.set_applied({state.descriptor.id, state.applied});
  state.unsaved_entries = state.unsaved_bytes = 0;
}

void StateMachine::saved() {
  state_->heads.saved();
}
size_t StateMachine::unsaved_entries() const {
  return state_->unsaved_entries;
}
size_t StateMachine::unsaved_bytes() const {
  return state_->unsaved_bytes;
}

Result<Hash128> StateMachine::digest() {
  State& state = *state_;
  Hash128 hash;
  PositionRange all{state.descriptor.start, state.descriptor.end};
  RETURN_IF_ERROR(visit_newest(state.engine, state.heads, all, [&](const Newest& record) {
    hash.add(as_bytes(record.position));
    hash.add(record.alive);
    hash.add(uint64_t(record.revision.value()));
    hash.add(record.stamp.value());
    hash.add(as_bytes(record.value));
    return true;
  }));
  for (size_t i = 0; i < state.operations.size(); ++i) {
    const OperationRow& operation = state.operations[i];
    hash.add(operation.client);
    hash.add(operation.sequence);
    hash.add(operation.stamp.value());
    hash.add(uint64_t(operation.reply.outcome));
    hash.add(uint64_t(operation.reply.revision.value()));
    hash.add(operation.reply.stamp.value());
  }
  hash.add(as_bytes(state.members));
  hash.add(state.last.value());
  hash.add(state.floor.value());
  hash.add(state.log_time.value());
  return hash;
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
const std::string& StateMachine::members() const {
  return state_->members;
}
Watermark StateMachine::last_stamp() const {
  return state_->last;
}
Watermark StateMachine::floor() const {
  return state_->floor;
}
LogTime StateMachine::log_time() const {
  return state_->log_time;
}
raft::LogPosition StateMachine::applied() const {
  return state_->applied;
}
size_t StateMachine::operation_records() const {
  return state_->operations.size();
}

}  // namespace kahuna::partition
