#include "kahuna/client/session.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::client {
namespace {

constexpr uint32_t kProtocol = 1;
constexpr Duration kRestMin = Duration::millis(10);
constexpr Duration kRestMax = Duration::millis(250);
constexpr uint32_t kRestDoublingsMax = 5;
static_assert(kRestMin.nanos() << kRestDoublingsMax >= kRestMax.nanos());

}  // namespace

Session::Session(const Host& host, Owner& owner, size_t index, Address address,
                 const Options& options)
    : host_(host),
      owner_(owner),
      index_(index),
      address_(std::move(address)),
      options_(options),
      random_(host.random("client-session", index)),
      liveness_(*host.clock,
                [this] {
                  SOMETIMES(client_session_dead);
                  lose(Error(ErrorCode::kTimeout, to_string(address_) + " gives no sign of life"));
                }),
      self_(std::make_shared<Session*>(this)) {}

Session::~Session() {
  *self_ = nullptr;
  host_.clock->cancel(greeting_timer_);
}

void Session::enter(State state) {
  state_ = state;
  since_ = heard_ = host_.clock->now();
}

void Session::open() {
  CHECK_EQ(state_, State::kIdle);
  enter(State::kConnecting);
  host_.network->connect(address_, options_.connect_timeout,
                         [self = self_](Result<std::unique_ptr<Stream>> stream) {
                           if (*self) (*self)->connected(std::move(stream));
                         });
}

void Session::connected(Result<std::unique_ptr<Stream>> stream) {
  CHECK_EQ(state_, State::kConnecting);
  if (!stream) return lose(stream.error());
  enter(State::kGreeting);
  connection_ = std::make_unique<codec::FrameConnection>(
      *host_.scheduler, std::move(*stream), *this,
      codec::FrameConnection::Options{options_.unsent_bytes_max});
  flatbuffers::FlatBufferBuilder builder(128);
  wire::HelloBuilder greeting(builder);
  greeting.add_protocol(kProtocol);
  greeting.add_role(wire::Role::Client);
  greeting.add_cluster(owner_.expected_cluster().value());
  greeting.add_level(kCurrentSemanticLevel.value());
  greeting.add_watermark(owner_.watermark().value());
  greeting.add_hears_members(true);
  builder.Finish(greeting.Finish());
  const ByteView hello(reinterpret_cast<const std::byte*>(builder.GetBufferPointer()),
                       builder.GetSize());
  if (Result<> sent = connection_->send(codec::FrameKind::kHello, hello); !sent) {
    return lose(sent.error());
  }
  greeting_timer_ = host_.clock->call_at(host_.clock->now() + options_.connect_timeout, [this] {
    greeting_timer_ = 0;
    SOMETIMES(client_greeting_unanswered);
    lose(Error(ErrorCode::kTimeout, to_string(address_) + " accepted but did not answer"));
  });
}

void Session::drop() {
  if (state_ == State::kIdle || state_ == State::kConnecting) return;
  liveness_.end();
  connection_.reset();
  host_.clock->cancel(std::exchange(greeting_timer_, 0));
  enter(State::kIdle);
  rest();
}

void Session::rest() {
  const uint32_t doublings = std::min(failures_++, kRestDoublingsMax);
  const Duration longest = std::min(Duration::nanos(kRestMin.nanos() << doublings), kRestMax);
  const auto half = static_cast<uint64_t>(longest.nanos() / 2);
  retry_at_ =
      host_.clock->now() + Duration::nanos(static_cast<int64_t>(half + random_.below(half + 1)));
}

void Session::lose(const Error& reason) {
  const State was = state_;
  liveness_.end();
  connection_.reset();
  host_.clock->cancel(std::exchange(greeting_timer_, 0));
  enter(State::kIdle);
  rest();
  owner_.on_session_lost(*this, was, reason);
}

Result<> Session::send(ByteView request) {
  CHECK_EQ(state_, State::kReady);
  Result<> sent = connection_->send(codec::FrameKind::kRequest, request);
  if (!MUTANT(client_never_probes)) liveness_.on_use();
  return sent;
}

void Session::on_frame(codec::FrameConnection&, codec::FrameKind kind, ByteView payload) {
  heard_ = host_.clock->now();
  liveness_.on_heard();
  if (state_ == State::kGreeting && kind == codec::FrameKind::kHello) return on_hello(payload);
  if (state_ == State::kReady && kind == codec::FrameKind::kResponse) {
    return on_response_frame(payload);
  }
  if (state_ == State::kReady && kind == codec::FrameKind::kPong) return;
  if (state_ == State::kReady && kind == codec::FrameKind::kHello) {
    const wire::Hello* hello = verified_hello(payload);
    return hello ? owner_.on_members(*this, *hello) : void();
  }
  lose(Error(ErrorCode::kDamaged, to_string(address_) + " sent a frame that does not belong here"));
}

void Session::on_disconnect(codec::FrameConnection&, Error reason) {
  lose(reason);
}

const wire::Hello* Session::verified_hello(ByteView payload) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
  if (!verifier.VerifyBuffer<wire::Hello>()) {
    lose(Error(ErrorCode::kDamaged, to_string(address_) + " sent a malformed greeting"));
    return nullptr;
  }
  const auto& hello = *flatbuffers::GetRoot<wire::Hello>(payload.data());
  if (hello.refused() && hello.refused()->size() > 0) {
    lose(Error(ErrorCode::kWrongCluster,
               to_string(address_) + " refused us: " + hello.refused()->str()));
    return nullptr;
  }
  if (hello.protocol() != kProtocol || hello.role() != wire::Role::Node) {
    lose(Error(ErrorCode::kVersion, to_string(address_) + " speaks protocol " +
                                        std::to_string(hello.protocol()) + ", we speak 1"));
    return nullptr;
  }
  const ClusterId expected = owner_.expected_cluster();
  if (expected && hello.cluster() != 0 && hello.cluster() != expected.value()) {
    lose(Error(ErrorCode::kWrongCluster,
               to_string(address_) + " belongs to another cluster; check the endpoints"));
    return nullptr;
  }
  return &hello;
}

void Session::on_hello(ByteView payload) {
  const wire::Hello* hello = verified_hello(payload);
  if (!hello) return;
  host_.clock->cancel(std::exchange(greeting_timer_, 0));
  failures_ = 0;
  enter(State::kReady);
  liveness_.begin(*connection_);
  owner_.on_session_ready(*this, *hello);
}

void Session::on_response_frame(ByteView payload) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
  if (!verifier.VerifyBuffer<wire::Response>()) {
    return lose(Error(ErrorCode::kDamaged, to_string(address_) + " sent a malformed response"));
  }
  owner_.on_response(*this, *flatbuffers::GetRoot<wire::Response>(payload.data()));
}

}  // namespace kahuna::client
