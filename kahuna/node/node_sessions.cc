// Accepted connections, of clients and of nodes.
#include "kahuna/node/node_impl.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {

// Connections beyond Options::sessions_max, for nodes and for those that have not said who they
// are.
constexpr size_t kSessionsSpare = 32;
// A connection that was silent for so long may be dead without our knowing: nothing is asked of
// those who dialed, for they ask. Not greeted for so long, it has no business here.
constexpr Duration kSilentMax = Duration::seconds(30);
constexpr Duration kUngreetedMax = Duration::seconds(2);
// Unsent bytes of a connection, above what reads may have left there: one page, and answers that
// hold no values.
constexpr size_t kSmallAnswers = 16 * 1024 * 1024;

}  // namespace

// --- accepted connections ---

void NodeImpl::accept(std::unique_ptr<Stream> stream) {
  if (sessions_.size() >= options_.sessions_max) make_room();
  if (sessions_.size() >= options_.sessions_max + kSessionsSpare) return;  // closes it
  uint64_t id = next_session_++;
  Session session;
  session.heard = host_.clock->now();
  session.connection = std::make_unique<codec::FrameConnection>(
      *host_.scheduler, std::move(stream), *this,
      codec::FrameConnection::Options{options_.answer_bytes_max + kSmallAnswers});
  session.connection->tag = id;
  sessions_.emplace(id, std::move(session));
}

void NodeImpl::make_room() {
  auto victim = sessions_.end();
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
    const Session& s = it->second;
    const Duration silent = host_.clock->now() - s.heard;
    if (s.role != wire::Role::Client || silent < (s.greeted ? kSilentMax : kUngreetedMax)) continue;
    if (victim == sessions_.end() || s.heard < victim->second.heard) victim = it;
  }
  if (victim == sessions_.end() || MUTANT(silent_sessions_kept)) return;
  SOMETIMES(silent_session_makes_room);
  sessions_.erase(victim);
}

void NodeImpl::on_frame(codec::FrameConnection& connection, codec::FrameKind kind,
                        ByteView payload) {
  uint64_t id = connection.tag;
  Session& session = sessions_.find(id)->second;
  session.heard = host_.clock->now();
  if (session.is_peer()) signs_.heard(session.node);
  if (!session.greeted) {
    if (kind != codec::FrameKind::kHello) {
      sessions_.erase(id);
      return;
    }
    return greet(session, id, payload);
  }
  if (kind == codec::FrameKind::kRequest) {
    const wire::Request* request = decode_request(payload);
    if (!request || (request->forwarded() && session.role == wire::Role::Client)) {
      sessions_.erase(id);
      return;
    }
    return service_.on_request(id, *request);
  }
  if (kind == codec::FrameKind::kPing) {
    if (!connection.send(codec::FrameKind::kPong, {})) close_soon(id);
    return;
  }
  if (kind == codec::FrameKind::kPeer && session.role == wire::Role::Node) {
    if (const wire::PeerBatch* batch = decode_peer_batch(payload)) {
      if (!session.node) {
        take_news(*batch);
        // It comes again, as a member. The news may have been lost, and have come from others.
        const bool known = member(NodeId(batch->from())) && !MUTANT(strangers_stay_strangers);
        if (known && !batch->roster()) SOMETIMES(stranger_is_a_member_by_now);
        if (known || batch->roster()) sessions_.erase(id);
        return;
      }
      on_peer_batch(session, *batch, payload);
      // The peer takes us for founded, so its offer was lost: it offers again after it greeted
      // again.
      if (identity_->founding() || founding_now_ || batch->founding()) return;
      SOMETIMES(founding_offer_lost);
      sessions_.erase(id);
      return;
    }
  }
  sessions_.erase(id);
}

void NodeImpl::greet(Session& session, uint64_t id, ByteView payload) {
  auto hello = decode_hello(payload);
  Hello answer = greeting();
  Result<> accepted;
  const bool news = hello && brings_news(*hello);
  if (!hello) {
    accepted = fail(hello.error());
  } else if (hello->role != wire::Role::Client) {
    if (!news) accepted = judge_peer(*hello);
  } else if (hello->cluster && answer.cluster && hello->cluster != answer.cluster) {
    accepted =
        fail(ErrorCode::kWrongCluster,
             "this node belongs to another cluster than the one this client talked to before; "
             "check --endpoints");
  } else if (sessions_.size() > options_.sessions_max) {
    SOMETIMES(client_refused_for_room);
    accepted = fail(ErrorCode::kOverloaded,
                    "this node has as many connections as it may have; try another, or later");
  }
  if (!accepted) {
    answer.refused = accepted.error().text;
    answer.refused_code = accepted.error().code;
  }
  (void)session.connection->send(codec::FrameKind::kHello, as_bytes(encode_hello(answer)));
  if (!accepted) return close_soon(id);
  session.greeted = true;
  session.role = hello->role;
  session.hears_members = hello->hears_members && hello->role == wire::Role::Client;
  if (!answer.members.empty()) session.told = answer.roster_revision;
  if (hello->role != wire::Role::Client || service_.credible(hello->watermark.value()))
    service_.hear(hello->watermark);
  if (hello->role == wire::Role::Client || news) return;
  if (hello->role == wire::Role::Node) greeted_by(*hello);
  session.node = hello->node;
  session.boot = hello->boots.back().number;
  // A new boot is heard of on the connection whose end says that the earlier one is over.
  if (session.is_peer()) registry_.heard(hello->node, hello->boots);
  // A node dials anew only when its earlier connection was lost to it, or it is from an earlier
  // boot: that one speaks for nobody any more, whether or not we were told.
  bool restarted = false;
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    bool stale =
        it->first != id && it->second.node == hello->node && it->second.role == hello->role;
    if (stale) SOMETIMES(stale_peer_connection_closed);
    restarted |= stale && it->second.boot != hello->boots.back().number;
    it = stale ? sessions_.erase(it) : std::next(it);
  }
  if (restarted && session.is_peer()) peer_disconnected(hello->node);  // what it led
}

void NodeImpl::on_disconnect(codec::FrameConnection& connection, Error) {
  auto it = sessions_.find(connection.tag);
  NodeId node = it->second.is_peer() ? it->second.node : NodeId();
  uint64_t boot = it->second.boot;
  sessions_.erase(it);
  // Of a later boot there are other connections.
  if (node && registry_.met(node).number == boot) peer_disconnected(node);
}

void NodeImpl::close_soon(uint64_t session) {
  // Not at once: what was just queued is sent at the end of this turn.
  host_.clock->call_at(host_.clock->now() + Duration::millis(100),
                       [this, session, alive = std::weak_ptr<char>(alive_)] {
                         if (!alive.expired()) sessions_.erase(session);
                       });
}

}  // namespace kahuna::node
