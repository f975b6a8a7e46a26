#include "kahuna/node/dialer.h"

#include <algorithm>

#include "runtime/probe.h"

namespace kahuna::node {

Dialer::Dialer(Host& host, Hooks& hooks, std::string name, Address address,
               std::optional<Duration> patience)
    : host_(host),
      hooks_(hooks),
      name_(std::move(name)),
      address_(std::move(address)),
      random_(host.random((patience ? "dialer/requests/" : "dialer/") + name_)),
      liveness_(*host.clock, [this] {
        SOMETIMES(peer_connection_dead);
        drop("it gives no sign of life");
      }) {
  if (patience) bound_.emplace(*patience);
  connect();
}

Dialer::~Dialer() {
  host_.clock->cancel(timer_);
}

Result<> Dialer::send(codec::FrameKind kind, ByteView payload) {
  if (!up_) return fail(ErrorCode::kUnavailable, "no connection to node '" + name_ + "'");
  Result<> sent = admits()
                      ? connection_->send(kind, payload)
                      : fail(ErrorCode::kOverloaded, "the connection to node '" + name_ +
                                                         "' carries less than it is asked for");
  if (!MUTANT(peer_never_probed)) liveness_.on_use();  // refused too: it may be dead
  return sent;
}

bool Dialer::admits() {
  if (!bound_ ||
      bound_->admits(host_.clock->now(), connection_->sent_bytes(), connection_->unsent_bytes()))
    return true;
  SOMETIMES(forwarded_requests_would_wait);
  return MUTANT(forwarded_without_end);
}

void Dialer::probe() {
  if (up_ && !MUTANT(peer_never_probed)) liveness_.on_use();
}

void Dialer::hang_up() {
  if (up_) drop("it is gone, as another connection to it tells");
}

void Dialer::connect() {
  timer_ = 0;
  host_.network->connect(
      address_, kConnectTimeout,
      [this, alive = std::weak_ptr<char>(alive_)](Result<std::unique_ptr<Stream>> stream) {
        if (alive.expired()) return;
        if (!stream) {
          trouble_ = stream.error().text;
          return retry_later();
        }
        connection_ = std::make_unique<codec::FrameConnection>(
            *host_.scheduler, std::move(*stream), *this, codec::FrameConnection::Options{});
        std::string hello = encode_hello(hooks_.greeting(*this));
        (void)connection_->send(codec::FrameKind::kHello, as_bytes(hello));
        timer_ = host_.clock->call_at(host_.clock->now() + kGreetTimeout, [this] {
          timer_ = 0;
          SOMETIMES(peer_never_greeted);
          drop("it takes connections, and does not answer");
        });
      });
}

void Dialer::retry_later() {
  // Full jitter between half and whole, so that two nodes do not knock in step.
  auto wait = Duration::nanos(static_cast<int64_t>(random_.between(
      static_cast<uint64_t>(back_off_.nanos() / 2), static_cast<uint64_t>(back_off_.nanos()))));
  back_off_ = std::min(back_off_ * 2, kBackOffMax);
  host_.clock->cancel(timer_);
  timer_ = host_.clock->call_at(host_.clock->now() + wait, [this] { connect(); });
}

void Dialer::drop(std::string why) {
  trouble_ = std::move(why);
  liveness_.end();
  connection_.reset();
  const bool was_up = std::exchange(up_, false);
  outbox.clear();
  retry_later();
  if (was_up) hooks_.on_down(*this);
}

void Dialer::on_frame(codec::FrameConnection&, codec::FrameKind kind, ByteView payload) {
  if (up_) liveness_.on_heard();
  if (up_) hooks_.on_heard(*this);
  if (up_ && kind == codec::FrameKind::kResponse) return hooks_.on_response(*this, payload);
  if (up_ && kind == codec::FrameKind::kPong) return;
  std::string why = kStrangeAnswer;
  if (!up_ && kind == codec::FrameKind::kHello) {
    auto hello = decode_hello(payload);
    if (hello && hello->refused.empty()) {
      host_.clock->cancel(timer_);
      timer_ = 0;
      auto accepted = hooks_.on_greeted(*this, *hello);
      if (accepted) {
        up_ = true;
        trouble_.clear();
        liveness_.begin(*connection_);
        back_off_ = kBackOffMin;
        return;
      }
      why = accepted.error().text;
    }
    if (hello && !hello->refused.empty()) {
      hooks_.on_refused(*this, *hello);
      why = "it refuses: " + hello->refused;
    }
    back_off_ = kBackOffMax;  // refused: no hurry to ask again
  }
  drop(std::move(why));
}

void Dialer::on_disconnect(codec::FrameConnection&, Error reason) {
  drop("the connection is lost: " + reason.text);
}

}  // namespace kahuna::node
