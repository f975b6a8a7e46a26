#include "sim/sim_network.h"

#include <algorithm>

#include "runtime/hash.h"
#include "sim/sim_network_stream.h"

namespace kahuna::sim {
namespace {
constexpr Duration kLoopback = Duration::micros(10);
constexpr size_t kKeptCapacity = 256 * 1024;  // larger buffers are not kept for reuse
}  // namespace

SimNetwork::SimNetwork(Kernel& kernel, NetworkProfile profile)
    : kernel_(kernel), profile_(profile) {
  segments_.emplace_back();  // segment 0 means "release what is held"
}

SimNetwork::~SimNetwork() = default;

void SimNetwork::add_node(std::string host, bool client) {
  uint32_t number = static_cast<uint32_t>(nodes_.size());
  CHECK(by_host_.emplace(host, number).second);
  nodes_.emplace_back();
  nodes_.back().host = std::move(host);
  nodes_.back().client = client;
  links_.resize(nodes_.size());
  for (uint32_t from = 0; from < nodes_.size(); ++from) {
    for (uint32_t to = static_cast<uint32_t>(links_[from].size()); to < nodes_.size(); ++to) {
      Link link;
      link.random = RandomStream(kernel_.seed, "net.link", uint64_t{from} << 32 | to);
      link.base = draw(link.random, profile_.latency_min, profile_.latency_max);
      if (from == to) link.base = kLoopback;
      links_[from].push_back(std::move(link));
    }
  }
}

std::optional<uint32_t> SimNetwork::resolve(const std::string& host, uint32_t own) const {
  if (auto found = by_host_.find(host); found != by_host_.end()) return found->second;
  if (host == "127.0.0.1" || host == "localhost" || host == "::1" || host == "0.0.0.0") return own;
  return std::nullopt;
}

Duration SimNetwork::latency(uint32_t from, uint32_t to, size_t bytes) {
  Link& link = links_[from][to];
  int64_t base = link.base.nanos();
  int64_t taken = base + static_cast<int64_t>(bytes) * profile_.ns_per_kib / 1024;
  if (profile_.jitter_percent > 0)
    taken += static_cast<int64_t>(
        link.random.below(static_cast<uint64_t>(base) * profile_.jitter_percent / 100 + 1));
  if (happens(link.random, profile_.tail)) {
    ++counters_.tails;
    taken *= profile_.tail_factor;
  }
  return std::min(Duration::nanos(taken * link.slowness), NetworkProfile::kLatencyMax);
}

SimNetwork::Connection* SimNetwork::find(uint64_t end) {
  uint64_t slot = slot_of(end);
  if (slot >= connections_.size()) return nullptr;
  Connection* c = connections_[slot].get();
  return c->used && c->generation == end >> 32 ? c : nullptr;
}

size_t SimNetwork::open_connections() const {
  return connections_.size() - free_connections_.size();
}

uint32_t SimNetwork::new_segment(Segment::Kind kind) {
  if (free_segments_.empty()) {
    segments_.emplace_back();
    segments_.back().kind = kind;
    return static_cast<uint32_t>(segments_.size() - 1);
  }
  uint32_t segment = free_segments_.back();
  free_segments_.pop_back();
  segments_[segment].kind = kind;
  return segment;
}

void SimNetwork::free_segment(uint32_t segment) {
  Segment& s = segments_[segment];
  s.read = 0;
  if (s.bytes.capacity() > kKeptCapacity) s.bytes = std::string();
  s.bytes.clear();
  free_segments_.push_back(segment);
}

void SimNetwork::drop_segments(std::vector<uint32_t>& segments) {
  for (uint32_t segment : segments) free_segment(segment);
  segments.clear();
}

// --- Sending -----------------------------------------------------------------------------------

size_t SimNetwork::write(uint64_t end, ByteView bytes) {
  Connection* c = find(end);
  if (!c) return bytes.size();
  Side& side = c->sides[side_of(end)];
  if (side.closed || side.gone || dead(side.node, side.incarnation)) return bytes.size();
  uint64_t space = side.unread < profile_.window_bytes ? profile_.window_bytes - side.unread : 0;
  size_t take = std::min<uint64_t>(bytes.size(), space);
  RandomStream& random = links_[side.node][c->sides[side_of(other(end))].node].random;
  if (take > 1 && happens(random, profile_.short_write)) {
    ++counters_.short_transfers;
    take = random.between(1, take - 1);
  }
  if (take < bytes.size()) side.wants_writable = true;
  side.out.append(as_text(bytes.first(take)));
  side.unread += take;
  if (!side.dirty) {
    side.dirty = true;
    nodes_[side.node].dirty.push_back(end);
    kernel_.want_turn(side.node);
  }
  return take;
}

void SimNetwork::flush(uint32_t node) {
  std::vector<uint64_t>& dirty = nodes_[node].dirty;
  // Sending makes nothing dirty.
  for (uint64_t end : dirty) {
    Connection* c = find(end);
    if (!c) continue;
    Side& side = c->sides[side_of(end)];
    side.dirty = false;
    if (side.gone) continue;
    if (!side.out.empty()) send(end, Segment::Kind::kData, side.out);
    offer_writable(end);
  }
  dirty.clear();
}

void SimNetwork::send(uint64_t end, Segment::Kind kind, std::string& bytes) {
  Connection& c = *find(end);
  Side& side = c.sides[side_of(end)];
  if (!side.tap) {
    transmit(end, kind, bytes);
    return;
  }
  uint32_t to = c.sides[side_of(other(end))].node;
  std::string passed = side.tap->pass(
      bytes, profile_.frames, links_[side.node][to].random, counters_.frames,
      [&](uint64_t id, Duration delay) {
        kernel_.schedule(kernel_.now + delay, {EventKind::kFrameRelease, side.node, end, id});
      });
  if (kind != Segment::Kind::kData) passed += side.tap->rest();
  side.unread = side.unread - bytes.size() + passed.size();
  bytes.clear();
  if (!passed.empty()) transmit(end, Segment::Kind::kData, passed);
  if (kind != Segment::Kind::kData) transmit(end, kind, bytes);
}

void SimNetwork::release_frame(const Event& event) {
  Connection* c = find(event.a);
  if (!c) return;
  Side& side = c->sides[side_of(event.a)];
  if (side.gone || side.closed || !side.tap) return;
  std::string frame = side.tap->release(event.b);
  side.unread += frame.size();
  if (!frame.empty()) transmit(event.a, Segment::Kind::kData, frame);
}

// Sends `bytes` away (and empties it), or an end or reset.
void SimNetwork::transmit(uint64_t end, Segment::Kind kind, std::string& bytes) {
  Connection& c = *find(end);
  Side& side = c.sides[side_of(end)];
  Side& peer = c.sides[side_of(other(end))];
  size_t length = bytes.size();
  uint64_t digest = hash64(as_bytes(bytes), static_cast<uint64_t>(kind));
  uint32_t segment = new_segment(kind);
  segments_[segment].bytes.swap(bytes);
  bytes.clear();
  ++counters_.segments;
  counters_.bytes += length;
  TrueTime at = kernel_.now + latency(side.node, peer.node, length);
  // A reset overtakes; everything else keeps its order.
  if (kind != Segment::Kind::kReset) {
    at = std::max(at, side.last_arrival);
    side.last_arrival = at;
  }
  kernel_.schedule(at, {EventKind::kSegment, peer.node, end, segment, digest});
  if (profile_.random_reset > 0 && kind == Segment::Kind::kData && side.node != peer.node &&
      happens(links_[side.node][peer.node].random, profile_.random_reset)) {
    ++counters_.random_resets;
    break_side(end);
    break_side(other(end));
  }
}

void SimNetwork::send_reset(uint64_t to_end, uint32_t from) {
  Connection* c = find(to_end);
  if (!c || from != c->sides[side_of(other(to_end))].node) return;
  ++counters_.resets;
  std::string nothing;
  transmit(other(to_end), Segment::Kind::kReset, nothing);
}

void SimNetwork::close_stream(uint64_t end, SimStream* stream) {
  Connection* c = find(end);
  if (!c) return;
  Side& side = c->sides[side_of(end)];
  if (side.stream != stream) return;
  side.stream = nullptr;
  if (side.gone || dead(side.node, side.incarnation)) return;
  side.gone = true;
  disarm_give_up(side);
  if (!side.closed) {
    if (!side.waiting.empty()) {
      // Closing with unread bytes is a reset, as with TCP.
      std::string nothing;
      transmit(end, Segment::Kind::kReset, nothing);
    } else {
      if (!side.out.empty()) send(end, Segment::Kind::kData, side.out);
      std::string nothing;
      send(end, Segment::Kind::kEnd, nothing);
    }
  }
  drop_segments(side.waiting);
  maybe_free(end);
}

// --- Arriving ----------------------------------------------------------------------------------

void SimNetwork::on_event(const Event& event) {
  switch (event.kind) {
    case EventKind::kSyn: on_syn(event); break;
    case EventKind::kSynAck: on_syn_ack(event); break;
    case EventKind::kSegment: on_segment(event); break;
    case EventKind::kFrameRelease: release_frame(event); break;
    case EventKind::kGiveUp: on_give_up(event); break;
    case EventKind::kConnectTimeout:
    case EventKind::kWritable:
      if (Connection* c = find(event.a))
        kernel_.deliver(event.node, c->sides[side_of(event.a)].incarnation, event);
      break;
    default: UNREACHABLE("not a network event");
  }
}

// `event.a` is the sender's end.
void SimNetwork::on_segment(const Event& event) {
  uint32_t segment = static_cast<uint32_t>(event.b);
  Connection* c = find(event.a);
  if (!c) {
    if (segment != 0) free_segment(segment);
    return;
  }
  if (segment == 0) {
    release_held(event.a);
    return;
  }
  Side& sender = c->sides[side_of(event.a)];
  Side& receiver = c->sides[side_of(other(event.a))];
  if (sender.swallowed) {
    ++counters_.vanished;
    free_segment(segment);
    return;
  }
  bool is_blocked = blocked(sender.node, receiver.node);
  if (segments_[segment].kind == Segment::Kind::kReset) {
    if (is_blocked) {
      ++counters_.half_open;
      free_segment(segment);
      // What it answered stays unacknowledged, and nobody answers again.
      if (receiver.unread > 0) arm_give_up(other(event.a));
    } else {
      arrive(event.a, segment);
    }
  } else if (is_blocked || !sender.held.empty() || (!receiver.established && !receiver.gone)) {
    ++counters_.held;
    sender.held.push_back(segment);
    if (is_blocked) arm_give_up(event.a);
  } else {
    arrive(event.a, segment);
    // Nothing acknowledges it while the way back is blocked.
    if (find(event.a) && blocked(receiver.node, sender.node)) arm_give_up(event.a);
  }
}

void SimNetwork::release_held(uint64_t sender_end) {
  Connection* c = find(sender_end);
  if (!c) return;
  Side& sender = c->sides[side_of(sender_end)];
  Side& receiver = c->sides[side_of(other(sender_end))];
  if (blocked(sender.node, receiver.node) || (!receiver.established && !receiver.gone)) return;
  std::vector<uint32_t> held = std::move(sender.held);
  sender.held.clear();
  for (size_t i = 0; i < held.size(); ++i) {
    if (find(sender_end))
      arrive(sender_end, held[i]);
    else
      free_segment(held[i]);
  }
}

// The segment is at the receiver's machine.
void SimNetwork::arrive(uint64_t sender_end, uint32_t segment) {
  Connection& c = *find(sender_end);
  Side& sender = c.sides[side_of(sender_end)];
  Side& receiver = c.sides[side_of(other(sender_end))];
  if (receiver.gone || receiver.closed) {
    bool is_data = segments_[segment].kind == Segment::Kind::kData;
    free_segment(segment);
    if (!is_data || sender.gone || sender.closed) return;
    if (kernel_.node_up(receiver.node))
      send_reset(sender_end, receiver.node);
    else
      arm_give_up(sender_end);
    return;
  }
  kernel_.deliver(receiver.node, receiver.incarnation,
                  {EventKind::kSegment, receiver.node, other(sender_end), segment});
}

void SimNetwork::run_input(const Event& input) {
  switch (input.kind) {
    case EventKind::kSegment: run_segment(input.a, static_cast<uint32_t>(input.b)); break;
    case EventKind::kAccept: accept(input.a); break;
    case EventKind::kGiveUp:
      tell_closed(input.a, ErrorCode::kIo,
                  input.b ? "connection reset" : "no answer from the peer");
      break;
    case EventKind::kConnected: {
      Connection* c = find(input.a);
      if (!c || !c->done) break;
      if (input.b) {
        ++counters_.refused;
        finish_connect(input.a, fail(ErrorCode::kUnavailable, "connection refused"));
        break;
      }
      Side& side = c->sides[0];
      auto stream = std::make_unique<SimStream>(*this, input.a, side.remote);
      side.stream = stream.get();
      finish_connect(input.a, std::move(stream));
      break;
    }
    case EventKind::kConnectTimeout:
      if (Connection* c = find(input.a); c && c->done)
        finish_connect(
            input.a, fail(ErrorCode::kTimeout, "no answer from " + to_string(c->sides[0].remote)));
      break;
    case EventKind::kWritable: {
      if (input.b) {
        drain(input.a);
        break;
      }
      Connection* c = find(input.a);
      if (!c) break;
      Side& side = c->sides[side_of(input.a)];
      side.writable_sent = false;
      if (!side.stream || side.closed || !side.wants_writable) break;
      side.wants_writable = false;
      side.stream->handler().on_writable();
      break;
    }
    default: UNREACHABLE("not a network input");
  }
}

void SimNetwork::drop_input(const Event& input) {
  if (input.kind == EventKind::kSegment && input.b != 0)
    free_segment(static_cast<uint32_t>(input.b));
}

void SimNetwork::run_segment(uint64_t end, uint32_t segment) {
  Connection* c = find(end);
  if (!c || c->sides[side_of(end)].gone || c->sides[side_of(end)].closed) {
    free_segment(segment);
    return;
  }
  Side& side = c->sides[side_of(end)];
  bool is_reset = segments_[segment].kind == Segment::Kind::kReset;
  if (!is_reset && (!side.reading || !side.waiting.empty()))
    side.waiting.push_back(segment);
  else
    hand_over(end, segment);
}

void SimNetwork::hand_over(uint64_t end, uint32_t segment) {
  switch (segments_[segment].kind) {
    case Segment::Kind::kData: hand_over_data(end, segment); break;
    case Segment::Kind::kEnd:
      free_segment(segment);
      tell_closed(end, ErrorCode::kClosed, "closed by the peer");
      break;
    case Segment::Kind::kReset:
      free_segment(segment);
      tell_closed(end, ErrorCode::kIo, "connection reset by the peer");
      break;
  }
}

void SimNetwork::hand_over_data(uint64_t end, uint32_t segment) {
  // The handler may send, which moves segments_: the bytes are held here meanwhile.
  std::string bytes = std::move(segments_[segment].bytes);
  size_t read = segments_[segment].read;
  for (;;) {
    Connection* c = find(end);
    Side* side = c ? &c->sides[side_of(end)] : nullptr;
    if (!side || !side->stream || side->closed) break;
    if (!side->reading) {
      segments_[segment].bytes = std::move(bytes);
      segments_[segment].read = read;
      side->waiting.insert(side->waiting.begin(), segment);
      return;
    }
    size_t step = bytes.size() - read;
    RandomStream& random = links_[c->sides[side_of(other(end))].node][side->node].random;
    if (step > 1 && happens(random, profile_.split_read)) step = random.between(1, step - 1);
    read += step;
    consumed(end, step);
    side->stream->handler().on_data(as_bytes(bytes).subspan(read - step, step));
    if (read == bytes.size()) break;
  }
  segments_[segment].bytes = std::move(bytes);
  free_segment(segment);
}

void SimNetwork::set_reading(uint64_t end, bool reading) {
  Connection* c = find(end);
  if (!c) return;
  Side& side = c->sides[side_of(end)];
  bool resumes = reading && !side.reading;
  side.reading = reading;
  if (resumes && !side.waiting.empty() && !side.gone && !dead(side.node, side.incarnation))
    kernel_.schedule(kernel_.now, {EventKind::kWritable, side.node, end, 1});
}

void SimNetwork::drain(uint64_t end) {
  for (;;) {
    Connection* c = find(end);
    if (!c) return;
    Side& side = c->sides[side_of(end)];
    if (!side.reading || side.waiting.empty() || side.gone || side.closed) return;
    uint32_t segment = side.waiting.front();
    side.waiting.erase(side.waiting.begin());
    hand_over(end, segment);
  }
}

void SimNetwork::tell_closed(uint64_t end, ErrorCode code, const char* why) {
  Connection* c = find(end);
  if (!c) return;
  Side& side = c->sides[side_of(end)];
  if (side.closed) return;
  side.closed = true;
  disarm_give_up(side);
  drop_segments(side.waiting);
  drop_segments(side.held);
  if (side.stream) side.stream->handler().on_closed(Error(code, why));
}

void SimNetwork::consumed(uint64_t reader_end, size_t bytes) {
  Connection& c = *find(reader_end);
  Side& sender = c.sides[side_of(other(reader_end))];
  sender.unread -= std::min<uint64_t>(bytes, sender.unread);
  offer_writable(other(reader_end));
}

void SimNetwork::offer_writable(uint64_t end) {
  Connection& c = *find(end);
  Side& side = c.sides[side_of(end)];
  if (!side.wants_writable || side.writable_sent || side.gone || side.closed ||
      side.unread > profile_.window_bytes / 2)
    return;
  side.writable_sent = true;
  kernel_.schedule(kernel_.now + latency(c.sides[side_of(other(end))].node, side.node, 0),
                   {EventKind::kWritable, side.node, end});
}

}  // namespace kahuna::sim
