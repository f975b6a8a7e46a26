// Replacing the state of a replica by that of its leader (G6), and the log beside it.
#include <algorithm>

#include "kahuna/node/groups_group.h"
#include "kahuna/partition/rows.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {

// Whether the part's rows are puts into the partition's ranges, ascending from behind `after`. Then
// the last of them is in `last`.
bool read_rows(const SnapshotPart& part, const partition::Descriptor& descriptor,
               std::string_view after, std::string& last) {
  const std::vector<engine::RowRange> ranges = partition::rows_of(descriptor);
  last = after;
  bool good = true;
  bool whole = engine::WriteBatch::for_each_in(
      part.rows, [&](const engine::WriteBatch::Operation& operation) {
        const bool inside =
            std::any_of(ranges.begin(), ranges.end(), [&](const engine::RowRange& range) {
              return operation.row >= range.first && operation.row < range.second;
            });
        good = good && operation.kind == engine::WriteBatch::kPut && inside && operation.row > last;
        last = operation.row;
      });
  return good && whole;
}

}  // namespace

// --- leading ---

void Groups::stream_ended(PartitionId id, ReplicaId to, Term term) {
  Group* group = find(id);
  group->replica.snapshot_ended(to, term);
  touch(*group);
}

void Groups::was_committed(PartitionId id, raft::LogPosition position) {
  Group* group = find(id);
  group->replica.heard_committed(position);
  touch(*group);
}

// Nobody else may ever read what cannot be read.
void Groups::read_failed(const Error& error) {
  host_.scheduler->post(guarded([this, error] {
    if (!stopped_) engine_failed(error);
  }));
}

uint64_t Groups::log_bytes(PartitionId id) const {
  const Group* group = find(id);
  return group ? group->replica.log_bytes() : 0;
}

void Groups::receive(const SnapshotReply& reply) {
  Group* group = find(reply.group);
  if (group && !stopped_ && reply.to == group->replica.status().self) streams_.on_reply(reply);
}

// --- following ---

// What an engine says of an install that a crash cut short.
Result<> Groups::recover_install(const partition::Descriptor& descriptor,
                                 std::optional<Install>& install) {
  std::string value;
  ASSIGN_OR_RETURN(bool found, engine_.get(partition::make_install_row(descriptor.id), value));
  if (!found) return {};
  auto row = partition::read_install_value(value);
  if (!row)
    return fail(ErrorCode::kDamaged,
                "partition " + std::to_string(descriptor.id.value()) + ": malformed install row");
  SOMETIMES(snapshot_install_was_cut_short);
  install.emplace();
  install->stream = row->stream;
  install->position = row->position;
  install->written = install->accepted = row->parts;
  install->written_row = install->accepted_row = row->last_row;
  install->begins = row->parts == 0;
  return {};
}

void Groups::answer(Group& group, const SnapshotPart& part, SnapshotAnswer answer, uint64_t parts,
                    const std::string& row, raft::LogPosition position) {
  hooks_.send(SnapshotReply{group.id, group.replica.status().self, part.from, part.stream, answer,
                            parts, row, position});
  schedule();  // ends the turn's messages
}

void Groups::receive(SnapshotPart part) {
  Group* group = find(part.group);
  if (!group || stopped_ || part.to != group->replica.status().self) return;
  if (checksum_of(part) != part.checksum && !MUTANT(snapshot_checksum_ignored)) {
    SOMETIMES(snapshot_part_was_damaged);
    return;  // as if lost
  }
  if (part.stream == 0 || part.position.term < Term(1)) return;
  raft::Offer offer =
      group->replica.snapshot_offered(host_.clock->now(), part.from, part.term, part.position);
  touch(*group);
  if (offer == raft::Offer::kStale) {
    SOMETIMES(snapshot_refused_as_stale);
    return answer(*group, part, SnapshotAnswer::kStale, 0, {});
  }
  if (offer == raft::Offer::kHave && !MUTANT(install_over_newer_state))
    return answer(*group, part, SnapshotAnswer::kHave, 0, {});
  std::optional<Install>& install = group->install;
  if (!install || install->stream != part.stream || install->position != part.position) {
    // One that is all here is finished first.
    if (install && install->last) return answer(*group, part, SnapshotAnswer::kBusy, 0, {});
    // Nor does one give way to an older state: the engine would not miss what that holds of the
    // same keys (E7). A new leader's applied state may be older for a moment.
    if (install && part.position.index < install->position.index &&
        !MUTANT(older_state_installed)) {
      SOMETIMES(snapshot_refused_as_older);
      return answer(*group, part, SnapshotAnswer::kBusy, 0, {}, install->position);
    }
    if (part.number != 0) return answer(*group, part, SnapshotAnswer::kResend, 0, {});
    if (!begin_install(*group, part)) {
      SOMETIMES(snapshot_refused_for_others);
      return answer(*group, part, SnapshotAnswer::kBusy, 0, {});
    }
  }
  install->from = part.from;
  install->heard = host_.clock->now();
  if (install->last || part.number < install->accepted)
    return answer(*group, part, SnapshotAnswer::kParts, install->written, install->written_row);
  const bool gap = part.number > install->accepted && !MUTANT(snapshot_gap_ignored);
  const bool made_again = part.number == install->accepted && part.after != install->accepted_row;
  if (made_again) SOMETIMES(snapshot_part_follows_another_row);
  if (gap || (made_again && !MUTANT(snapshot_parts_not_joined)))
    return answer(*group, part, SnapshotAnswer::kResend, install->accepted, install->accepted_row);
  accept_part(*group, std::move(part));
}

// False: as many as may be are under way.
bool Groups::begin_install(Group& group, const SnapshotPart& part) {
  const Time now = host_.clock->now();
  const Duration patience = options_.raft.election_timeout_max * kSnapshotPatience;
  auto busy = std::count_if(groups_.begin(), groups_.end(), [&](const auto& other) {
    return other.get() != &group && other->install && other->install->from &&
           now - other->install->heard < patience;
  });
  if (size_t(busy) >= kSnapshotStreamsMax) return false;
  if (group.install) {
    SOMETIMES(snapshot_install_begins_anew);
  } else {
    SOMETIMES(snapshot_install_begins);
    discard(group);
  }
  group.install.emplace();
  group.install->stream = part.stream;
  group.install->position = part.position;
  release_reads(group);
  return true;
}

// In the turn of the offer that was taken.
void Groups::discard(Group& group) {
  group.replica.discard_state(host_.clock->now());
  group.stalled_entries.clear();
  forget_unsaved(group);
}

void Groups::accept_part(Group& group, SnapshotPart part) {
  Install& install = *group.install;
  std::string last_row;
  if (!read_rows(part, group.state.descriptor(), install.accepted_row, last_row))
    return;  // its sender is at fault
  install.waiting.push_back(std::move(part.rows));
  install.accepted = part.number + 1;
  install.accepted_row = std::move(last_row);
  install.last = part.last;
  if (!std::exchange(group.install_due, true)) installs_due_.push_back(&group);
  consider_save();
  if (FAULT_POINT(snapshot_part_is_flushed)) start_flush();
}

Result<> Groups::reseed(PartitionId id) {
  Group* group = find(id);
  if (!group) return fail(ErrorCode::kWrongPartition, "this node does not host the partition");
  if (group->replica.configuration().voters.size() < 2)
    return fail(ErrorCode::kUnavailable, "no other replica of the partition has its state");
  if (group->install) return {};
  group->replica.resign(host_.clock->now());
  discard(*group);
  group->install.emplace();
  release_reads(*group);
  group->install_due = true;
  installs_due_.push_back(group);
  touch(*group);
  return {};
}

// --- in the engine ---

void Groups::collect_installs() {
  for (Group* group : installs_due_) {
    group->install_due = false;
    Install& install = *group->install;
    const std::string row = partition::make_install_row(group->id);
    std::vector<std::string> parts;
    parts.swap(install.waiting);
    if (!parts.empty() && std::exchange(install.begins, false))
      for (const auto& [from, to] : partition::rows_of(group->state.descriptor()))
        batch_->remove_range(from, to);
    for (const std::string& rows : parts)
      engine::WriteBatch::for_each_in(rows, [&](const engine::WriteBatch::Operation& operation) {
        batch_->put(operation.row, operation.value);
      });
    if (install.last) {
      batch_->remove(row);
      batch_->set_applied({group->id, install.position});
    } else if (!MUTANT(install_row_not_written)) {
      std::string value;
      partition::make_install_value(
          {install.stream, install.position, install.accepted, install.accepted_row}, value);
      batch_->put(row, value);
    }
    installs_saving_.push_back(
        {group, install.stream, install.accepted, install.accepted_row, install.last});
  }
  installs_due_.clear();
}

void Groups::installs_saved() {
  std::vector<InstallSaving> saved;
  saved.swap(installs_saving_);
  for (InstallSaving& each : saved) {
    std::optional<Install>& install = each.group->install;
    if (!install || install->stream != each.stream) continue;
    install->written = each.parts;
    install->written_row = std::move(each.row);
    install->whole = each.whole;
    if (install->whole) start_flush();
    if (!install->from) continue;
    hooks_.send(SnapshotReply{each.group->id, each.group->replica.status().self, install->from,
                              install->stream, SnapshotAnswer::kParts, install->written,
                              install->written_row});
    schedule();
  }
}

void Groups::finish_installs() {
  for (auto& group : groups_) {
    if (!group->install || !group->install->whole) continue;
    auto mark = engine_.flushed().find(group->id);
    if (mark == engine_.flushed().end() || mark->second != group->install->position) continue;
    finish_install(*group);
    if (stopped_) return;
  }
}

void Groups::finish_install(Group& group) {
  const Install install = std::move(*group.install);
  auto state = open_state(group.state.descriptor());
  if (!state) return engine_failed(state.error());
  SOMETIMES(snapshot_installed);
  if (std::exchange(group.state_lost, false)) group.stop_told = false;
  process_group(group);  // what the log has to tell the journal goes first
  if (stopped_) return;
  const raft::LogPosition position = install.position;
  const bool held = group.replica.term_at(position.index) == position.term;
  const raft::FaultyTail& tail = group.replica.tail();
  // What is lost behind the position was promised; the journal must go on saying so.
  const bool in_place = tail.term_at(position.index) == position.term || (held && !tail.empty());
  group.replica.restore(position, configuration_of(*state, false));
  if (!MUTANT(restore_without_journal_cut)) cut_journal(group, position, held, in_place);
  if (stopped_) return;
  group.install.reset();
  if (!MUTANT(state_kept_after_install)) group.state = std::move(*state);
  group.applied = position.index;
  group.released = std::max(group.released, position.index);
  stamp_seen_ = std::max(stamp_seen_, group.state.last_stamp());
  hooks_.on_applied(group.id);
  if (observer_) observer_->on_state(self_, group.id, group.state);
  if (install.from)
    hooks_.send(SnapshotReply{group.id,
                              group.replica.status().self,
                              install.from,
                              install.stream,
                              SnapshotAnswer::kHave,
                              0,
                              {}});
  touch(group);
}

// Makes the journal hold `position`, and nothing of before that was not true of it, before anything
// is appended behind it. `held`: the log holds it, so the journal may. `in_place`: what the journal
// has behind it stays, and the position takes the place of an entry.
void Groups::cut_journal(Group& group, raft::LogPosition position, bool held, bool in_place) {
  bool journaled = held && position.index <= group.journaled;
  for (const raft::Persist& stalled : group.stalled_persists)
    if (!stalled.entries.empty() && stalled.entries.front().index <= position.index)
      journaled = false;
  journal_.release(group.id, position.index.prev());
  if (journaled) return;
  SOMETIMES(snapshot_cuts_the_journal);
  raft::Persist cut;  // completes nothing of the replica's
  cut.hard_state = group.journaled_hard_state;
  raft::Entry base;
  base.index = position.index;
  base.term = position.term;
  base.kind = raft::EntryKind::kBase;
  cut.entries.push_back(std::move(base));
  group.replica.copy_log(position.index, group.replica.status().last.index, cut.entries);
  if (in_place) {
    SOMETIMES(snapshot_joins_a_faulty_log);
    cut.restored = cut.entries.back().index;
  }
  if (group.stalled_persists.empty()) return persist(group, cut);
  for (raft::Persist& stalled : group.stalled_persists) stalled.entries.clear();
  group.stalled_persists.push_front(std::move(cut));
}

}  // namespace kahuna::node
