// Keeps one outgoing connection to one peer: connects, greets, reconnects with back-off. Messages
// go out on it and nothing need come back, so it asks for a sign of life (net/codec/liveness.h) and
// drops a connection that gives none.
//
// A peer has two: one for what replicas say to each other, and one for requests that its clients
// asked of this node and the peer is to answer. So however much clients ask for, no vote or
// heartbeat waits behind it. The second is dropped when the first is.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kahuna/node/send_bound.h"
#include "kahuna/node/wire.h"
#include "net/codec/frame.h"
#include "net/codec/liveness.h"
#include "runtime/host.h"

namespace kahuna::node {

class Dialer final : public codec::FrameConnection::Owner {
 public:
  class Hooks {
   public:
    virtual ~Hooks() = default;
    virtual Hello greeting(const Dialer& dialer) const = 0;
    // The peer's answer to our greeting; an error closes the connection (and is tried again).
    virtual Result<> on_greeted(Dialer& dialer, const Hello& hello) = 0;
    // The peer will not talk to us, and said why; it is asked again later.
    virtual void on_refused(Dialer& dialer, const Hello& hello) = 0;
    virtual void on_response(Dialer& dialer, ByteView payload) = 0;
    virtual void on_heard(Dialer& dialer) = 0;  // a frame came, of any kind
    virtual void on_down(Dialer& dialer) = 0;   // was up; reconnecting by itself
  };
  static constexpr Duration kBackOffMin = Duration::millis(20);
  static constexpr Duration kBackOffMax = Duration::seconds(1);
  static constexpr Duration kConnectTimeout = Duration::seconds(1);
  static constexpr Duration kGreetTimeout = Duration::seconds(2);

  // `patience`: for requests; what cannot leave within it is refused.
  Dialer(Host& host, Hooks& hooks, std::string name, Address address,
         std::optional<Duration> patience = std::nullopt);
  ~Dialer() override;

  const std::string& name() const { return name_; }
  const Address& address() const { return address_; }
  bool up() const { return up_; }
  // Why it is not, as far as it was tried, for people.
  const std::string& trouble() const { return trouble_; }
  bool for_requests() const { return bound_.has_value(); }
  // kUnavailable when not up, kOverloaded when too much is unsent.
  Result<> send(codec::FrameKind kind, ByteView payload);
  // Asks the peer for a sign of life, if nothing has come for a while.
  void probe();
  // The peer is gone, as another connection tells.
  void hang_up();

  NodeId node;                       // the peer, once known
  NodeId member;                     // who it must be; none: whoever has the name
  Revision roster;                   // the peer is known to go by this one, or a later one
  PeerBatchBuilder outbox;           // this turn's messages; the owner sends it
  std::unique_ptr<Dialer> requests;  // null: it is for requests itself

  void on_frame(codec::FrameConnection& connection, codec::FrameKind kind,
                ByteView payload) override;
  void on_disconnect(codec::FrameConnection& connection, Error reason) override;

 private:
  bool admits();
  void connect();
  void retry_later();
  void drop(std::string why);

  Host& host_;
  Hooks& hooks_;
  const std::string name_;
  const Address address_;
  RandomStream random_;
  std::unique_ptr<codec::FrameConnection> connection_;
  codec::Liveness liveness_;  // while up
  bool up_ = false;
  std::string trouble_;
  std::optional<SendBound> bound_;  // of requests
  Duration back_off_ = kBackOffMin;
  TimerId timer_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace kahuna::node
