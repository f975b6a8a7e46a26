#include "tests/client/fake_node.h"

#include "runtime/check.h"

namespace kahuna::testing {
namespace {

std::string text_of(const flatbuffers::Vector<uint8_t>* bytes) {
  return bytes ? std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()) : "";
}

ByteView finished(const flatbuffers::FlatBufferBuilder& builder) {
  return {reinterpret_cast<const std::byte*>(builder.GetBufferPointer()), builder.GetSize()};
}

}  // namespace

FakeNode::FakeNode(MemoryHost& host, Address address)
    : script([](const Asked&) { return Told(); }), host_(host), address_(std::move(address)) {
  listener_ = *host.listen(address_, [this](std::unique_ptr<Stream> stream) {
    auto connection = std::make_unique<codec::FrameConnection>(host_, std::move(stream), *this,
                                                               codec::FrameConnection::Options());
    connection->tag = ++last_connection_;
    connections_[last_connection_] = std::move(connection);
  });
}

FakeNode::~FakeNode() = default;

void FakeNode::greet(codec::FrameConnection& connection, ByteView payload) {
  greeted_cluster.push_back(flatbuffers::GetRoot<wire::Hello>(payload.data())->cluster());
  if (greets) say_hello(connection);
}

void FakeNode::tell_members() {
  for (auto& [id, connection] : connections_) say_hello(*connection);
}

void FakeNode::say_hello(codec::FrameConnection& connection) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<wire::Member>> list;
  for (const Address& member : members) {
    list.push_back(wire::CreateMemberDirect(builder, 1, "n", to_string(member).c_str()));
  }
  builder.Finish(wire::CreateHelloDirect(builder, 1, wire::Role::Node, cluster, 1, 1, 1, watermark,
                                         "n", refused.empty() ? nullptr : refused.c_str(),
                                         to_string(address_).c_str(), &list, true, 0, 0,
                                         roster_revision));
  CHECK(connection.send(codec::FrameKind::kHello, finished(builder)).has_value());
}

void FakeNode::on_frame(codec::FrameConnection& connection, codec::FrameKind kind,
                        ByteView payload) {
  if (kind == codec::FrameKind::kHello) return greet(connection, payload);
  if (kind == codec::FrameKind::kPing) {
    (void)connection.send(codec::FrameKind::kPong, {});
    return;
  }
  CHECK_EQ(kind, codec::FrameKind::kRequest);
  const auto& r = *flatbuffers::GetRoot<wire::Request>(payload.data());
  Asked request{.connection = connection.tag,
                .id = r.id(),
                .kind = r.kind(),
                .key = text_of(r.key()),
                .value = text_of(r.value()),
                .compare = text_of(r.compare_value()),
                .cursor = text_of(r.cursor()),
                .operation = {r.client(), r.sequence(), Watermark(r.birth())},
                .watermark = r.watermark(),
                .flags = r.flags(),
                .compare_revision = r.compare_revision(),
                .limit = r.limit(),
                .timeout_us = r.timeout_us()};
  asked.push_back(request);
  std::optional<Told> told = script(request);
  if (!told) return;
  const bool reads =
      request.kind == wire::RequestKind::Get || request.kind == wire::RequestKind::Exists;
  if (reads && told->outcome == wire::Outcome::Done) told->outcome = wire::Outcome::Found;
  answer(request, *told);
}

void FakeNode::on_disconnect(codec::FrameConnection& connection, Error) {
  connections_.erase(connection.tag);
}

void FakeNode::answer(const Asked& to, const Told& told) {
  const auto connection = connections_.find(to.connection);
  if (connection == connections_.end()) return;
  flatbuffers::FlatBufferBuilder b;
  const auto bytes = [&](const std::string& text) {
    return b.CreateVector(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  flatbuffers::Offset<wire::Route> route;
  if (told.leader) {
    route = wire::CreateRouteDirect(b, 1, told.generation, told.hash_first, told.hash_last, 9,
                                    to_string(*told.leader).c_str());
  }
  std::vector<flatbuffers::Offset<wire::Item>> list;
  for (const auto& [key, value] : told.items) {
    const auto k = bytes(key), v = bytes(value);
    list.push_back(wire::CreateItem(b, k, v, 3, 4));
  }
  const auto items = b.CreateVector(list);
  const auto value = bytes(told.value), cursor = bytes(told.cursor);
  const auto text = b.CreateString(told.text), status = b.CreateString(told.status);
  b.Finish(wire::CreateResponse(b, to.id, static_cast<uint8_t>(told.error), text, told.outcome,
                                told.revision, value, 5, told.watermark, told.replayed, route,
                                items, cursor, status));
  (void)connection->second->send(codec::FrameKind::kResponse, finished(b));
}

void FakeNode::send_garbage() {
  for (auto& [id, connection] : connections_) {
    CHECK(connection->send(codec::FrameKind::kResponse, as_bytes("not a flatbuffer")).has_value());
  }
}

}  // namespace kahuna::testing
