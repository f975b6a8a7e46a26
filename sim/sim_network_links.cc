// Connections and links: how they come up, break and are forgotten.
#include <algorithm>

#include "sim/sim_network.h"
#include "sim/sim_network_stream.h"

namespace kahuna::sim {
namespace {
constexpr uint16_t kInitiatorPort = 50'000;
constexpr Duration kSynRetryMax = Duration::seconds(4);
}  // namespace

Result<std::unique_ptr<Listener>> SimNetworkHost::listen(
    const Address& address, Callback<void(std::unique_ptr<Stream>)> on_accept) {
  if (network_.dead(node_, incarnation_)) return fail(ErrorCode::kClosed, "this process has ended");
  SimNetwork::Node& node = network_.nodes_[node_];
  Address bound = address;
  if (bound.port == 0) {
    while (node.listeners.contains(node.next_port)) ++node.next_port;
    bound.port = node.next_port++;
  }
  if (node.listeners.contains(bound.port))
    return fail(ErrorCode::kInUse, "address in use: " + to_string(bound));
  auto listener =
      std::make_unique<SimListener>(network_, node_, incarnation_, bound, std::move(on_accept));
  node.listeners[bound.port] = listener.get();
  return listener;
}

void SimNetworkHost::connect(const Address& address, Duration timeout,
                             Callback<void(Result<std::unique_ptr<Stream>>)> done) {
  network_.connect(node_, incarnation_, address, timeout, std::move(done));
}

void SimNetwork::stop_listening(uint32_t node, uint64_t incarnation, uint16_t port) {
  if (!dead(node, incarnation)) nodes_[node].listeners.erase(port);
}

void SimNetwork::connect(uint32_t node, uint64_t incarnation, const Address& address,
                         Duration timeout, Callback<void(Result<std::unique_ptr<Stream>>)> done) {
  if (dead(node, incarnation)) return;
  uint64_t slot;
  if (free_connections_.empty()) {
    slot = connections_.size();
    connections_.push_back(std::make_unique<Connection>());
  } else {
    slot = free_connections_.back();
    free_connections_.pop_back();
  }
  Connection& c = *connections_[slot];
  c.used = true;
  ++c.generation;
  c.port = address.port;
  c.syn_wait = profile_.syn_retry;
  c.done = std::move(done);
  uint64_t end = end_of(c, slot, 0);
  Side& from = c.sides[0];
  from.node = node;
  from.incarnation = incarnation;
  from.remote = address;
  c.timeout = kernel_.schedule(kernel_.now + timeout, {EventKind::kConnectTimeout, node, end});
  std::optional<uint32_t> target = resolve(address.host, node);
  if (!target) {
    c.sides[1].gone = true;
    kernel_.schedule(kernel_.now + Duration::micros(50), {EventKind::kSynAck, node, end, 1});
    return;
  }
  c.sides[1].node = *target;
  c.syn_in_flight = true;
  kernel_.schedule(kernel_.now + latency(node, *target, 0), {EventKind::kSyn, *target, other(end)});
}

void SimNetwork::retry_syn(Connection& c, const Event& event) {
  if (c.sides[0].gone) {
    c.syn_in_flight = false;
    c.sides[1].gone = true;
    maybe_free(event.a);
    return;
  }
  Event again = event;
  again.b = 1;
  kernel_.schedule(kernel_.now + c.syn_wait, again);
  c.syn_wait = std::min(c.syn_wait * 2, kSynRetryMax);
}

// `event.a` is the acceptor's end.
void SimNetwork::on_syn(const Event& event) {
  Connection* c = find(event.a);
  if (!c) return;
  Side& from = c->sides[0];
  Side& to = c->sides[1];
  // A first attempt arrives even from the dead; nobody repeats one for them.
  if (blocked(from.node, to.node) || (from.gone && event.b)) return retry_syn(*c, event);
  Link& link = links_[from.node][to.node];
  bool up = kernel_.node_up(to.node) && nodes_[to.node].listeners.contains(c->port);
  Duration back = latency(to.node, from.node, 0);
  if (!up) {
    if (from.node != to.node && happens(link.random, profile_.silent_refuse))
      return retry_syn(*c, event);
    if (blocked(to.node, from.node)) return retry_syn(*c, event);
    c->syn_in_flight = false;
    to.gone = true;
    kernel_.schedule(kernel_.now + back, {EventKind::kSynAck, from.node, other(event.a), 1});
    return;
  }
  c->syn_in_flight = false;
  to.incarnation = kernel_.incarnation_of(to.node);
  to.established = true;
  to.remote = {nodes_[from.node].host,
               static_cast<uint16_t>(kInitiatorPort + counters_.connections % 10'000)};
  ++counters_.connections;
  bool tapped = profile_.frames.any() && from.node != to.node && !nodes_[from.node].client &&
                !nodes_[to.node].client;
  if (tapped)
    for (Side& side : c->sides) side.tap = std::make_unique<FrameTap>();
  to.last_arrival = kernel_.now + back;
  kernel_.schedule(to.last_arrival, {EventKind::kSynAck, from.node, other(event.a), 0});
  kernel_.deliver(to.node, to.incarnation, {EventKind::kAccept, to.node, event.a});
}

void SimNetwork::on_syn_ack(const Event& event) {
  Connection* c = find(event.a);
  if (!c) return;
  Side& from = c->sides[0];
  Side& to = c->sides[1];
  bool refused = event.b != 0;
  if (!refused && blocked(to.node, from.node)) {
    c->syn_ack_held = true;
    return;
  }
  if (from.gone) {
    // The attempt was given up, or its process died: the acceptor learns that nobody is there.
    if (!refused && kernel_.node_up(from.node)) send_reset(other(event.a), from.node);
    maybe_free(event.a);
    return;
  }
  if (refused && to.node != from.node && blocked(to.node, from.node)) return;
  if (!refused) from.established = true;
  kernel_.deliver(from.node, from.incarnation,
                  {EventKind::kConnected, from.node, event.a, event.b});
  if (!to.held.empty())
    kernel_.schedule(kernel_.now, {EventKind::kSegment, from.node, other(event.a), 0});
}

void SimNetwork::finish_connect(uint64_t end, Result<std::unique_ptr<Stream>> result) {
  Connection* c = find(end);
  kernel_.queue.cancel(std::exchange(c->timeout, 0));
  auto done = std::move(c->done);
  c->done.reset();
  if (!result) {
    Side& side = c->sides[0];
    side.gone = true;
    if (side.established) send_reset(other(end), side.node);
    maybe_free(end);
  }
  done(std::move(result));
}

void SimNetwork::accept(uint64_t end) {
  Connection* c = find(end);
  if (!c) return;
  Side& side = c->sides[1];
  auto listener = nodes_[side.node].listeners.find(c->port);
  auto stream = std::make_unique<SimStream>(*this, end, side.remote);
  side.stream = stream.get();
  // Nobody listens any more: the stream is closed at once.
  if (listener == nodes_[side.node].listeners.end()) return;
  listener->second->accept(std::move(stream));
}

void SimNetwork::arm_give_up(uint64_t end) {
  Connection& c = *find(end);
  Side& side = c.sides[side_of(end)];
  if (side.give_up || side.gone || side.closed) return;
  Link& link = links_[side.node][c.sides[side_of(other(end))].node];
  Duration after = draw(link.random, profile_.give_up_min, profile_.give_up_max);
  side.give_up = kernel_.schedule(kernel_.now + after, {EventKind::kGiveUp, side.node, end});
}

void SimNetwork::disarm_give_up(Side& side) {
  if (side.give_up) kernel_.queue.cancel(std::exchange(side.give_up, 0));
}

void SimNetwork::on_give_up(const Event& event) {
  Connection* c = find(event.a);
  if (!c) return;
  Side& side = c->sides[side_of(event.a)];
  if (event.b == 0) {
    side.give_up = 0;
    ++counters_.gave_up;
  }
  if (!side.gone && !side.closed) kernel_.deliver(side.node, side.incarnation, event);
}

// The side learns of a reset that nobody sent.
void SimNetwork::break_side(uint64_t end) {
  Side& side = find(end)->sides[side_of(end)];
  drop_segments(side.held);
  kernel_.schedule(kernel_.now, {EventKind::kGiveUp, side.node, end, 1});
}

std::optional<uint64_t> SimNetwork::draw_open_end(uint32_t node) {
  std::vector<uint64_t> ends;
  for (uint64_t slot = 0; slot < connections_.size(); ++slot) {
    Connection& c = *connections_[slot];
    if (!c.used) continue;
    for (int side = 0; side < 2; ++side)
      if (c.sides[side].node == node && c.sides[side].stream && !c.sides[side].closed)
        ends.push_back(end_of(c, slot, side));
  }
  if (ends.empty()) return std::nullopt;
  return ends[links_[node][node].random.below(ends.size())];
}

bool SimNetwork::reset_one(uint32_t node, bool half_open) {
  std::optional<uint64_t> drawn = draw_open_end(node);
  if (!drawn) return false;
  uint64_t end = *drawn;
  if (half_open) {
    ++counters_.half_open;
    if (links_[node][node].random.chance(1, 2)) end = other(end);
    break_side(end);
  } else {
    break_side(end);
    break_side(other(end));
  }
  ++counters_.resets;
  return true;
}

bool SimNetwork::swallow_one(uint32_t node, uint32_t& peer) {
  std::optional<uint64_t> end = draw_open_end(node);
  if (!end) return false;
  Connection& c = *find(*end);
  uint64_t way = links_[node][node].random.below(3);  // outwards, inwards, both
  Side& near = c.sides[side_of(*end)];
  Side& far = c.sides[side_of(other(*end))];
  near.swallowed |= way != 1;
  far.swallowed |= way != 0;
  peer = far.node;
  return true;
}

void SimNetwork::block(uint32_t from, uint32_t to) {
  ++links_[from][to].blocks;
}

void SimNetwork::unblock(uint32_t from, uint32_t to) {
  CHECK_GT(links_[from][to].blocks, 0u);
  if (--links_[from][to].blocks > 0) return;
  for (uint64_t slot = 0; slot < connections_.size(); ++slot) {
    Connection& c = *connections_[slot];
    if (!c.used) continue;
    for (int side = 0; side < 2; ++side) {
      if (c.sides[side].node != from || c.sides[1 - side].node != to) continue;
      uint64_t end = end_of(c, slot, side);
      if (side == 1 && std::exchange(c.syn_ack_held, false))
        kernel_.schedule(kernel_.now + latency(from, to, 0),
                         {EventKind::kSynAck, to, other(end), 0});
      if (!c.sides[side].held.empty())
        kernel_.schedule(kernel_.now + latency(from, to, 0), {EventKind::kSegment, to, end, 0});
      if (blocked(to, from)) continue;
      // A sender whose peer's process is gone waits for an answer that never comes.
      for (int i = 0; i < 2; ++i)
        if (!c.sides[1 - i].gone) disarm_give_up(c.sides[i]);
    }
  }
}

void SimNetwork::kill(uint32_t node, uint64_t incarnation) {
  nodes_[node].dead_through = std::max(nodes_[node].dead_through, incarnation);
  nodes_[node].listeners.clear();
  nodes_[node].dirty.clear();
}

void SimNetwork::settle(uint32_t node, uint64_t incarnation, bool told) {
  CHECK(dead(node, incarnation));
  std::vector<Callback<void(Result<std::unique_ptr<Stream>>)>> dropped;
  for (uint64_t slot = 0; slot < connections_.size(); ++slot) {
    Connection& c = *connections_[slot];
    if (!c.used) continue;
    for (int i = 0; i < 2; ++i) {
      Side& side = c.sides[i];
      if (side.node != node || side.incarnation != incarnation || side.gone) continue;
      Side& peer = c.sides[1 - i];
      uint64_t end = end_of(c, slot, i);
      side.gone = true;
      side.stream = nullptr;
      side.out.clear();
      disarm_give_up(side);
      drop_segments(side.waiting);
      if (i == 0 && c.done) dropped.push_back(std::move(c.done));
      if (i == 0) c.done.reset();
      if (peer.gone || !peer.established || peer.closed) continue;
      bool silent = !told || happens(links_[node][peer.node].random, profile_.silent_crash);
      if (!silent) {
        send_reset(other(end), node);
        continue;
      }
      ++counters_.half_open;
      // What the process had not read stays unacknowledged, and may fill the window for good.
      if (peer.unread > 0) arm_give_up(other(end));
    }
    if (c.sides[0].gone) maybe_free(end_of(c, slot, 0));
  }
}

void SimNetwork::maybe_free(uint64_t end) {
  Connection* c = find(end);
  if (c && c->sides[0].gone && c->sides[1].gone && !c->syn_in_flight) free_connection(slot_of(end));
  // An attempt that never reached its target has no second side.
}

void SimNetwork::free_connection(uint64_t slot) {
  Connection& c = *connections_[slot];
  kernel_.queue.cancel(c.timeout);
  for (Side& side : c.sides) {
    disarm_give_up(side);
    drop_segments(side.held);
    drop_segments(side.waiting);
    side = Side();
  }
  uint32_t generation = c.generation;
  c = Connection();
  c.generation = generation;
  free_connections_.push_back(static_cast<uint32_t>(slot));
}

}  // namespace kahuna::sim
