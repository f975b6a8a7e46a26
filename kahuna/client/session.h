// One node as a client sees it: its address, and at most one connection to it, with the greeting.
//
// 1. idle -> connecting -> greeting -> ready -> idle. Never two connects at once.
// 2. Requests are sent when ready only: an answer to our Hello has come, of the right cluster. So a
//    session that is lost before it was ready leaves nothing of unknown outcome behind.
// 3. A session that fails to become ready may be opened again at retry_at() only (jittered,
// growing).
// 4. Its owner hears on_session_ready and on_session_lost in turn, never inside open() or drop().
// 5. A ready session that gives no sign of life while it is used is lost (net/codec/liveness.h).
#pragma once

#include <cstdint>
#include <memory>

#include "kahuna/client/client.h"
#include "net/codec/frame.h"
#include "net/codec/liveness.h"
#include "runtime/host.h"
#include "runtime/ids.h"
#include "schemas/wire_generated.h"

namespace kahuna::client {

class Session final : public codec::FrameConnection::Owner {
 public:
  enum class State : uint8_t { kIdle, kConnecting, kGreeting, kReady };

  class Owner {
   public:
    virtual ~Owner() = default;
    // `hello` is verified; valid during the call.
    virtual void on_session_ready(Session& session, const wire::Hello& hello) = 0;
    // The members have changed; as on_session_ready.
    virtual void on_members(Session& session, const wire::Hello& hello) = 0;
    // A verified response; valid during the call. May destroy the session, last thing it does.
    virtual void on_response(Session& session, const wire::Response& response) = 0;
    // Was connecting, greeting or ready (`was`); is idle now.
    virtual void on_session_lost(Session& session, State was, const Error& reason) = 0;
    virtual ClusterId expected_cluster() const = 0;  // 0: any
    virtual Watermark watermark() const = 0;
  };

  // `index` is the owner's number for it. `host`, `owner` and `options` outlive the session.
  Session(const Host& host, Owner& owner, size_t index, Address address, const Options& options);
  ~Session() override;

  // CHECKs that it is idle. Returns at once.
  void open();
  // Closes without a word to the owner; the next open() must wait for `now` + a back-off.
  void drop();
  // As FrameConnection::send; CHECKs that it is ready.
  Result<> send(ByteView request);

  State state() const { return state_; }
  bool ready() const { return state_ == State::kReady; }
  size_t index() const { return index_; }
  const Address& address() const { return address_; }
  // When the present state was entered, and when the peer was last heard of in it.
  Time since() const { return since_; }
  Time heard() const { return heard_; }
  Time retry_at() const { return retry_at_; }
  bool resting(Time now) const { return state_ == State::kIdle && now < retry_at_; }

 private:
  void on_frame(codec::FrameConnection& connection, codec::FrameKind kind,
                ByteView payload) override;
  void on_disconnect(codec::FrameConnection& connection, Error reason) override;

  void connected(Result<std::unique_ptr<Stream>> stream);
  void on_hello(ByteView payload);
  // Of one that may be believed; else the session is lost, and it returns null.
  const wire::Hello* verified_hello(ByteView payload);
  void on_response_frame(ByteView payload);
  void enter(State state);
  // Idle from now on; tells the owner.
  void lose(const Error& reason);
  void rest();

  const Host& host_;
  Owner& owner_;
  const size_t index_;
  const Address address_;
  const Options& options_;
  RandomStream random_;

  State state_ = State::kIdle;
  std::unique_ptr<codec::FrameConnection> connection_;
  codec::Liveness liveness_;  // while ready
  TimerId greeting_timer_ = 0;
  uint32_t failures_ = 0;  // in a row, since it was last ready
  Time since_, heard_, retry_at_;
  std::shared_ptr<Session*> self_;  // cleared by the destructor; for completions that outlive us
};

}  // namespace kahuna::client
