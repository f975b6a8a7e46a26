#include "kahuna/node/joiner.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {}  // namespace

Joiner::Joiner(Host& host, Hooks& hooks, std::vector<Address> addresses, ClusterId cluster,
               std::string wish)
    : host_(host),
      hooks_(hooks),
      addresses_(std::move(addresses)),
      cluster_(cluster),
      wish_(std::move(wish)),
      random_(host.random("joiner")),
      client_(random_.next() | 1) {
  CHECK(!addresses_.empty());
  outcomes_.resize(addresses_.size());
  connect();
}

Joiner::~Joiner() {
  host_.clock->cancel(timer_);
}

std::string Joiner::outcomes() const {
  std::string all;
  for (size_t i = 0; i < addresses_.size(); ++i)
    all += (i ? "; " : "") + to_string(addresses_[i]) + ": " +
           (outcomes_[i].empty() ? "not asked yet" : outcomes_[i]);
  return all;
}

void Joiner::connect() {
  timer_ = 0;
  greeted_ = false;
  host_.network->connect(
      addresses_[next_], kConnectTimeout,
      [this, alive = std::weak_ptr<char>(alive_)](Result<std::unique_ptr<Stream>> stream) {
        if (alive.expired()) return;
        if (!stream) return try_another(stream.error().text);
        connection_ = std::make_unique<codec::FrameConnection>(
            *host_.scheduler, std::move(*stream), *this, codec::FrameConnection::Options{});
        Hello hello;
        hello.cluster = cluster_;
        hello.watermark = hooks_.watermark();
        (void)connection_->send(codec::FrameKind::kHello, as_bytes(encode_hello(hello)));
        timer_ = host_.clock->call_at(host_.clock->now() + kAnswerTimeout, [this] {
          try_another("it accepts connections, but does not answer");
        });
      });
}

void Joiner::again(Duration wait) {
  connection_.reset();
  host_.clock->cancel(timer_);
  auto half = static_cast<uint64_t>(wait.nanos() / 2);
  timer_ = host_.clock->call_at(
      host_.clock->now() + Duration::nanos(static_cast<int64_t>(half + random_.below(half + 1))),
      [this] { connect(); });
}

void Joiner::try_another(std::string why) {
  outcomes_[next_] = std::move(why);
  next_ = (next_ + 1) % addresses_.size();
  again(std::exchange(back_off_, std::min(back_off_ * 2, kBackOffMax)));
}

void Joiner::on_frame(codec::FrameConnection&, codec::FrameKind kind, ByteView payload) {
  if (!greeted_ && kind == codec::FrameKind::kHello) return on_hello(payload);
  if (greeted_ && kind == codec::FrameKind::kResponse) return on_response(payload);
  try_another(kStrangeAnswer);
}

void Joiner::on_disconnect(codec::FrameConnection&, Error reason) {
  try_another("the connection is lost: " + reason.text);
}

void Joiner::on_hello(ByteView payload) {
  auto hello = decode_hello(payload);
  if (!hello) return try_another(hello.error().text);
  hooks_.hear(hello->watermark);
  if (cluster_ && hello->cluster && hello->cluster != cluster_) {
    connection_.reset();
    host_.clock->cancel(timer_);
    return hooks_.on_join_refused(
        {ErrorCode::kWrongCluster,
         "this data directory belongs to another cluster than the node at " +
             to_string(addresses_[next_]) + "; fix --join or --data"});
  }
  if (!hello->refused.empty()) return try_another("it refuses: " + hello->refused);
  if (!hello->cluster) return try_another("the node there is in no cluster itself, or not yet");
  if (wish_.empty()) {
    connection_.reset();
    host_.clock->cancel(timer_);
    return;
  }
  greeted_ = true;
  flatbuffers::FlatBufferBuilder b;
  auto key = b.CreateVector(reinterpret_cast<const uint8_t*>(wish_.data()), wish_.size());
  wire::RequestBuilder request(b);
  request.add_id(1);
  request.add_kind(wire::RequestKind::Members);
  request.add_key(key);
  request.add_client(client_);
  request.add_sequence(++sequence_);
  request.add_birth(hooks_.watermark().value());
  request.add_watermark(hooks_.watermark().value());
  request.add_timeout_us(static_cast<uint64_t>(kAnswerTimeout.micros()));
  b.Finish(request.Finish());
  (void)connection_->send(codec::FrameKind::kRequest,
                          {reinterpret_cast<const std::byte*>(b.GetBufferPointer()), b.GetSize()});
}

void Joiner::on_response(ByteView payload) {
  const wire::Response* response = decode_response(payload);
  if (!response) return try_another(kStrangeAnswer);
  hooks_.hear(Watermark(response->watermark()));
  hooks_.hear(Watermark(response->stamp()));
  const auto code = static_cast<ErrorCode>(response->error());
  if (code == ErrorCode::kOk && response->outcome() == wire::Outcome::Done) {
    SOMETIMES(node_was_let_in);
    back_off_ = kBackOffMin;
    outcomes_[next_] = "it has let this node in; the members have not come to it yet";
    return again(kPatience);
  }
  Error error(code, response->text() ? response->text()->str() : std::string());
  if (code == ErrorCode::kOk) error.text = "somebody else changed members at that moment";
  if (code != ErrorCode::kRemoved && code != ErrorCode::kInvalid)
    return try_another(std::move(error.text));
  connection_.reset();
  host_.clock->cancel(timer_);
  hooks_.on_join_refused(std::move(error));
}

}  // namespace kahuna::node
