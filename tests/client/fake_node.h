// A node of the native protocol that answers as its test tells it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/codec/frame.h"
#include "runtime/ids.h"
#include "schemas/wire_generated.h"
#include "tests/client/memory_host.h"

namespace kahuna::testing {

struct Asked {
  uint64_t connection = 0;
  uint64_t id = 0;
  wire::RequestKind kind = wire::RequestKind::None;
  std::string key, value, compare, cursor;
  OperationId operation;
  uint64_t watermark = 0;
  uint8_t flags = 0;
  int64_t compare_revision = 0;
  uint32_t limit = 0;
  uint64_t timeout_us = 0;
};

struct Told {
  ErrorCode error = ErrorCode::kOk;
  wire::Outcome outcome = wire::Outcome::Done;
  int64_t revision = 0;
  std::string value;
  uint64_t watermark = 0;
  bool replayed = false;
  std::optional<Address> leader;  // a route for all hashes
  uint64_t generation = 1;
  uint64_t hash_first = 0, hash_last = UINT64_MAX;
  std::string text;
  std::vector<std::pair<std::string, std::string>> items;
  std::string cursor, status;
};

class FakeNode final : public codec::FrameConnection::Owner {
 public:
  FakeNode(MemoryHost& host, Address address);
  ~FakeNode() override;

  // What the greeting says.
  uint64_t cluster = 7;
  uint64_t watermark = 100;
  std::string refused;
  std::vector<Address> members;
  int64_t roster_revision = -1;
  bool greets = true;

  // Answers a request, or nothing (then it stays in `asked` only). Done to a read means Found.
  std::function<std::optional<Told>(const Asked&)> script;
  std::vector<Asked> asked;
  std::vector<uint64_t> greeted_cluster;  // per Hello received

  void answer(const Asked& to, const Told& told);
  void send_garbage();
  // A further greeting, to all who are connected.
  void tell_members();
  void close_all() { connections_.clear(); }
  const Address& address() const { return address_; }
  size_t connections() const { return connections_.size(); }

 private:
  void on_frame(codec::FrameConnection& connection, codec::FrameKind kind,
                ByteView payload) override;
  void on_disconnect(codec::FrameConnection& connection, Error reason) override;
  void greet(codec::FrameConnection& connection, ByteView payload);
  void say_hello(codec::FrameConnection& connection);

  MemoryHost& host_;
  Address address_;
  std::unique_ptr<Listener> listener_;
  uint64_t last_connection_ = 0;
  std::map<uint64_t, std::unique_ptr<codec::FrameConnection>> connections_;
};

}  // namespace kahuna::testing
