#include "kahuna/node/snapshot_streams.h"

#include <algorithm>

#include "kahuna/engine/ordered_rows.h"
#include "kahuna/partition/rows.h"
#include "runtime/check.h"
#include "runtime/hash.h"
#include "runtime/probe.h"

namespace kahuna::node {

uint64_t checksum_of(const SnapshotPart& part) {
  Hash128 hash;
  hash.add(part.group.value());
  hash.add(part.stream);
  hash.add(part.position.index.value());
  hash.add(part.position.term.value());
  hash.add(part.number);
  hash.add(part.last);
  hash.add(part.after.size());
  hash.add(as_bytes(part.after));
  hash.add(as_bytes(part.rows));
  return hash.low();
}

SnapshotStreams::SnapshotStreams(Host& host, Hooks& hooks, engine::Engine& engine,
                                 const Options& options)
    : clock_(*host.clock),
      hooks_(hooks),
      engine_(engine),
      options_(options),
      random_(host.random("snapshots")) {}

void SnapshotStreams::want(Wanted wanted) {
  auto stream = std::make_unique<Stream>();
  stream->wanted = std::move(wanted);
  stream->heard = clock_.now();
  stream->flight_limit = {options_.snapshot_part_bytes * kSnapshotPartsInFlight,
                          options_.raft.election_timeout_min / 2};
  streams_.push_back(std::move(stream));
  begin_due();
}

void SnapshotStreams::leadership_lost(PartitionId group) {
  std::erase_if(streams_, [&](const auto& s) { return s->wanted.descriptor.id == group; });
  std::erase_if(receivers_, [&](const Receiver& receiver) { return receiver.group == group; });
  begin_due();
}

void SnapshotStreams::keep_members(const raft::Replica& leader) {
  if (streams_.empty() || MUTANT(snapshots_go_on_to_strangers)) return;
  const size_t gone = std::erase_if(streams_, [&](const auto& s) {
    return s->wanted.descriptor.id == leader.group() &&
           !leader.configuration().contains(s->wanted.to);
  });
  if (gone == 0) return;
  SOMETIMES(snapshot_stream_to_one_who_left);
  begin_due();
}

void SnapshotStreams::saved() {
  begin_due();
}

size_t SnapshotStreams::active() const {
  return size_t(std::count_if(streams_.begin(), streams_.end(),
                              [](const auto& s) { return s->view != nullptr; }));
}

Index SnapshotStreams::saved_index(PartitionId group) const {
  auto mark = engine_.applied().find(group);
  return mark == engine_.applied().end() ? raft::kFoundingBase.index : mark->second.index;
}

bool SnapshotStreams::may_begin(const Stream& stream) const {
  return saved_index(stream.wanted.descriptor.id) >= stream.wanted.applied;
}

bool SnapshotStreams::wants_save() const {
  return std::any_of(streams_.begin(), streams_.end(),
                     [&](const auto& s) { return !s->view && !may_begin(*s); });
}

std::optional<Index> SnapshotStreams::held(const raft::Replica& leader) {
  std::optional<Index> lowest;
  auto hold = [&](Index index) { lowest = std::min(lowest.value_or(index), index); };
  for (const auto& stream : streams_)
    if (stream->view && stream->wanted.descriptor.id == leader.group())
      hold(stream->position.index);
  const Time now = clock_.now();
  std::erase_if(receivers_, [&](Receiver& receiver) {
    if (receiver.group != leader.group()) return false;
    const Index matched = leader.matched(receiver.replica);
    if (matched > receiver.has) {
      receiver.has = matched;
      receiver.progressed = now;
    }
    return receiver.has >= receiver.goal ||
           now - receiver.progressed > options_.raft.election_timeout_max * kSnapshotPatience;
  });
  for (const Receiver& receiver : receivers_)
    if (receiver.group == leader.group()) hold(receiver.has);
  return lowest;
}

// --- beginning and ending ---

void SnapshotStreams::begin_due() {
  const Time now = clock_.now();
  size_t open = active();
  for (size_t at = 0; at < streams_.size() && open < kSnapshotStreamsMax;) {
    Stream& stream = *streams_[at];
    if (stream.view || now < stream.not_before || !may_begin(stream)) {
      ++at;
      continue;
    }
    if (auto begun = begin(stream); !begun) {
      hooks_.read_failed(begun.error());
      end(at);
      continue;
    }
    ++open;
    ++at;
  }
  if (open > 0) hooks_.parts_due();
  arm();
}

Result<> SnapshotStreams::begin(Stream& stream) {
  const PartitionId group = stream.wanted.descriptor.id;
  stream.ranges = partition::rows_of(stream.wanted.descriptor);
  auto view = engine_.view(stream.ranges);
  ASSIGN_OR_RETURN(auto marks, view->applied());
  auto mark = marks.find(group);
  stream.position = mark == marks.end() ? raft::kFoundingBase : mark->second;
  if (MUTANT(snapshot_one_too_early) && stream.position.index > raft::kFoundingBase.index.next())
    stream.position.index = stream.position.index.prev();
  stream.view = std::move(view);
  stream.id = random_.next() | 1;
  stream.written = stream.sent_most = 0;
  stream.written_row.clear();
  stream.heard = clock_.now();
  stream.again = false;
  go_on(stream, 0, {});
  SOMETIMES(snapshot_stream_begins);
  return {};
}

void SnapshotStreams::end(size_t at) {
  Wanted wanted = std::move(streams_[at]->wanted);
  streams_.erase(streams_.begin() + static_cast<ptrdiff_t>(at));
  hooks_.stream_ended(wanted.descriptor.id, wanted.to, wanted.term);
}

// Anew, from a later view.
void SnapshotStreams::put_off(Stream& stream) {
  stream.view.reset();
  stream.not_before = clock_.now() + options_.raft.election_timeout_max;
}

// --- sending ---

void SnapshotStreams::go_on(Stream& stream, uint64_t parts, const std::string& last_row) {
  stream.sent = parts;
  stream.timed.reset();
  stream.all_sent = false;
  stream.last_row = last_row;
  stream.resend_at = clock_.now() + options_.raft.election_timeout_max;
}

// An older version of what the row before it is the newest of: the engine may leave it out.
static bool superseded(std::string_view row, std::string_view before) {
  const std::string_view position = engine::record_position(row);
  return !position.empty() && position == engine::record_position(before);
}

// For a planted bug.
static std::string_view without_log_time(std::string_view row, std::string_view value,
                                         std::string& scratch) {
  auto state = partition::read_state_value(value);
  if (!state || row.front() != char(engine::RowKind::kState)) return value;
  partition::make_state_value({state->last, state->floor, LogTime()}, scratch);
  return scratch;
}

Result<SnapshotPart> SnapshotStreams::next_part(Stream& stream) {
  const size_t bytes_max = MUTANT(snapshot_parts_as_set)
                               ? options_.snapshot_part_bytes
                               : stream.flight_limit.bytes() / kSnapshotPartsInFlight;
  engine::WriteBatch rows;
  std::string scratch, after = stream.last_row;
  bool full = false;
  for (const auto& [from, to] : stream.ranges) {
    if (full || to <= stream.last_row) continue;
    const std::string behind = stream.last_row < from ? from : stream.last_row + '\0';
    RETURN_IF_ERROR(
        stream.view->scan(behind, to, [&](std::string_view row, std::string_view value) {
          if (rows.size_bytes() >= bytes_max) full = true;
          if (full) return false;
          if (superseded(row, stream.last_row) && FAULT_POINT(view_leaves_out_superseded_rows))
            return true;
          rows.put(row, MUTANT(snapshot_without_log_time) ? without_log_time(row, value, scratch)
                                                          : value);
          stream.last_row.assign(row);
          return true;
        }));
  }
  SnapshotPart part;
  part.group = stream.wanted.descriptor.id;
  part.from = stream.wanted.from;
  part.to = stream.wanted.to;
  part.term = stream.wanted.term;
  part.stream = stream.id;
  part.position = stream.position;
  part.number = stream.sent++;
  part.last = stream.all_sent = !full;
  part.after = std::move(after);
  part.rows = std::string(rows.bytes());
  part.checksum = checksum_of(part);
  if (!part.rows.empty() && FAULT_POINT(snapshot_part_rots)) {
    const size_t at = random_.below(part.rows.size());
    part.rows[at] = static_cast<char>(part.rows[at] ^ 1);
  }
  return part;
}

bool SnapshotStreams::may_send(const Stream& stream) {
  return stream.view && !stream.all_sent && stream.sent - stream.written < kSnapshotPartsInFlight;
}

// Patience begins with what is sent first, not anew with every attempt.
void SnapshotStreams::wait_for_reply(Stream& stream) {
  if (!stream.again) stream.heard = clock_.now();
  stream.resend_at = clock_.now() + options_.raft.election_timeout_max;
}

uint64_t SnapshotStreams::bytes_per_second(PartitionId group) const {
  const uint64_t most = options_.raft.log_bytes_max / kLogShareKept;
  const uint64_t usual = options_.log_keep_bytes + options_.flush_bytes;
  CHECK_LT(usual, most);  // fitted()
  const uint64_t log = std::clamp(hooks_.log_bytes(group), usual, most);
  if (log == usual || MUTANT(snapshots_do_not_hurry)) return options_.snapshot_bytes_per_second;
  SOMETIMES(snapshot_hurries);
  const uint64_t percent = 100 + (kHurryMax - 1) * 100 * (log - usual) / (most - usual);
  return std::max<uint64_t>(options_.snapshot_bytes_per_second * percent / 100, 1);
}

void SnapshotStreams::pace(PartitionId group, size_t bytes) {
  const auto each = static_cast<int64_t>(1'000'000'000 * uint64_t{bytes} / bytes_per_second(group));
  send_from_ = std::max(send_from_, clock_.now()) + Duration::nanos(each);
}

bool SnapshotStreams::waits_for_pace() {
  if (clock_.now() >= send_from_) return false;
  if (!pace_timer_)
    pace_timer_ = clock_.call_at(send_from_, [this] {
      pace_timer_ = 0;
      hooks_.parts_due();
    });
  return true;
}

void SnapshotStreams::send_due() {
  const size_t before = streams_.size();
  for (size_t at = 0; at < streams_.size();) {
    Stream& stream = *streams_[at];
    bool broken = stream.view && FAULT_POINT(snapshot_stream_is_given_up);
    while (!broken && may_send(stream) && !waits_for_pace()) {
      if (stream.sent == stream.written) wait_for_reply(stream);  // not while it waits for its turn
      auto part = next_part(stream);
      if (!part) hooks_.read_failed(part.error());
      broken = !part;
      if (broken) continue;
      const bool sent_before =
          part->number < std::exchange(stream.sent_most, std::max(stream.sent_most, stream.sent));
      if (!stream.timed && !sent_before) {
        stream.timed = part->number;
        stream.flight_limit.asked(clock_.now(), true);
      }
      pace(part->group, part->rows.size());
      if (!FAULT_POINT(snapshot_part_is_lost)) hooks_.send(*part);
    }
    if (broken)
      end(at);
    else
      ++at;
  }
  if (streams_.size() < before) begin_due();
}

void SnapshotStreams::on_reply(const SnapshotReply& reply) {
  auto found = std::find_if(streams_.begin(), streams_.end(), [&](const auto& s) {
    return s->view && s->id == reply.stream && s->wanted.descriptor.id == reply.group &&
           s->wanted.to == reply.from;
  });
  if (found == streams_.end()) return;
  Stream& stream = **found;
  stream.heard = clock_.now();
  stream.again = false;
  switch (reply.answer) {
    case SnapshotAnswer::kParts:
      if (reply.parts <= stream.written) break;
      if (stream.timed && reply.parts > *stream.timed) {
        stream.timed.reset();
        stream.flight_limit.answered(clock_.now());
      }
      stream.written = reply.parts;
      stream.written_row = reply.last_row;
      stream.resend_at = clock_.now() + options_.raft.election_timeout_max;
      if (reply.parts > stream.sent) go_on(stream, reply.parts, reply.last_row);
      break;
    case SnapshotAnswer::kResend:
      SOMETIMES(snapshot_stream_resumes);
      stream.written = reply.parts;
      stream.written_row = reply.last_row;
      go_on(stream, reply.parts, reply.last_row);
      break;
    case SnapshotAnswer::kBusy:
      stream.wanted.applied = std::max(stream.wanted.applied, reply.position.index);
      hooks_.was_committed(reply.group, reply.position);
      put_off(stream);
      break;
    case SnapshotAnswer::kHave:
      if (Index goal = saved_index(reply.group); goal > stream.position.index) {
        SOMETIMES(snapshot_delivered_while_writes_went_on);
        std::erase_if(receivers_, [&](const Receiver& receiver) {
          return receiver.group == reply.group && receiver.replica == reply.from;
        });
        receivers_.push_back({reply.group, reply.from, stream.position.index, goal, clock_.now()});
      }
      [[fallthrough]];
    case SnapshotAnswer::kStale: end(static_cast<size_t>(found - streams_.begin())); break;
    default: break;
  }
  begin_due();
}

// --- time ---

void SnapshotStreams::arm() {
  Time next = Time::max();
  for (const auto& stream : streams_) {
    if (stream->view)
      next = std::min(next, stream->resend_at);
    else if (stream->not_before > clock_.now())
      next = std::min(next, stream->not_before);
  }
  clock_.cancel(timer_);
  timer_ = 0;
  if (next != Time::max()) timer_ = clock_.call_at(next, [this] { on_timer(); });
}

void SnapshotStreams::on_timer() {
  timer_ = 0;
  const Time now = clock_.now();
  for (size_t at = 0; at < streams_.size();) {
    Stream& stream = *streams_[at];
    if (!stream.view || now < stream.resend_at) {
      ++at;
      continue;
    }
    const bool waits = stream.sent > stream.written || stream.all_sent;
    if (waits && now - stream.heard > options_.raft.election_timeout_max * kSnapshotPatience) {
      SOMETIMES(snapshot_stream_given_up);
      end(at);
      continue;
    }
    if (stream.timed) stream.flight_limit.waits(now);
    if (stream.written > 0 && stream.sent > stream.written) SOMETIMES(snapshot_stream_resumes);
    go_on(stream, stream.written, stream.written_row);
    stream.again |= waits && !MUTANT(snapshot_patience_begins_anew);
    ++at;
  }
  begin_due();
}

}  // namespace kahuna::node
