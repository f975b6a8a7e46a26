// Asks a cluster to take this node in, as a client would: the leader of meta records it in the
// roster (roster.h), then its members come and bring the founding (node_peers.cc). Goes on asking
// until they have: whoever answered may have lost it again.
//
// A node that belongs to a cluster already only makes sure that it is that one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kahuna/node/wire.h"
#include "net/codec/frame.h"
#include "runtime/host.h"

namespace kahuna::node {

class Joiner final : public codec::FrameConnection::Owner {
 public:
  class Hooks {
   public:
    virtual ~Hooks() = default;
    virtual Watermark watermark() const = 0;
    virtual void hear(Watermark watermark) = 0;
    // The cluster will not have this node; the text says what to do.
    virtual void on_join_refused(Error error) = 0;
  };
  static constexpr Duration kConnectTimeout = Duration::seconds(1);
  static constexpr Duration kAnswerTimeout = Duration::seconds(5);
  static constexpr Duration kBackOffMin = Duration::millis(100);
  static constexpr Duration kBackOffMax = Duration::seconds(2);
  // Between a wish that was granted and the next.
  static constexpr Duration kPatience = Duration::seconds(3);

  // `wish`: roster.h; empty: only the cluster is looked at. `cluster`: none when not known.
  Joiner(Host& host, Hooks& hooks, std::vector<Address> addresses, ClusterId cluster,
         std::string wish);
  ~Joiner() override;

  // What came of asking each address last, for people: "HOST:PORT: …; HOST:PORT: …".
  std::string outcomes() const;

  void on_frame(codec::FrameConnection& connection, codec::FrameKind kind,
                ByteView payload) override;
  void on_disconnect(codec::FrameConnection& connection, Error reason) override;

 private:
  void connect();
  void on_hello(ByteView payload);
  void on_response(ByteView payload);
  void again(Duration wait);
  void try_another(std::string why);

  Host& host_;
  Hooks& hooks_;
  const std::vector<Address> addresses_;
  const ClusterId cluster_;
  const std::string wish_;
  RandomStream random_;
  const uint64_t client_;
  uint64_t sequence_ = 0;
  size_t next_ = 0;                    // of addresses_
  std::vector<std::string> outcomes_;  // of as many; "": not asked yet
  Duration back_off_ = kBackOffMin;
  std::unique_ptr<codec::FrameConnection> connection_;
  bool greeted_ = false;
  TimerId timer_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace kahuna::node
