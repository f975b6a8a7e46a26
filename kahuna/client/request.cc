#include "kahuna/client/request.h"

namespace kahuna::client {
namespace {

using Bytes = flatbuffers::Vector<uint8_t>;

constexpr uint8_t kIfExists = 1, kIfAbsent = 2, kIfValue = 4, kIfRevision = 8;

flatbuffers::Offset<Bytes> put_bytes(flatbuffers::FlatBufferBuilder& builder,
                                     std::string_view text) {
  if (text.empty()) return 0;
  return builder.CreateVector(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::string text_of(const Bytes* bytes) {
  if (!bytes) return {};
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

uint8_t flags_of(const SetOptions& options) {
  return static_cast<uint8_t>(
      (options.if_exists ? kIfExists : 0) | (options.if_absent ? kIfAbsent : 0) |
      (options.if_value ? kIfValue : 0) | (options.if_revision ? kIfRevision : 0));
}

WriteReply write_reply(const wire::Response& response) {
  return WriteReply{.done = response.outcome() == wire::Outcome::Done,
                    .revision = Revision(response.revision()),
                    .stamp = Watermark(response.stamp()),
                    .replayed = response.replayed()};
}

std::optional<Value> value(const wire::Response& response) {
  if (response.outcome() != wire::Outcome::Found) return std::nullopt;
  return Value{.value = text_of(response.value()),
               .revision = Revision(response.revision()),
               .stamp = Watermark(response.stamp())};
}

Page page(const wire::Response& response) {
  Page page;
  page.cursor = text_of(response.cursor());
  if (!response.items()) return page;
  page.items.reserve(response.items()->size());
  for (const wire::Item* item : *response.items()) {
    page.items.push_back(Item{.key = text_of(item->key()),
                              .value = Value{.value = text_of(item->value()),
                                             .revision = Revision(item->revision()),
                                             .stamp = Watermark(item->stamp())}});
  }
  return page;
}

}  // namespace

ByteView encode_request(flatbuffers::FlatBufferBuilder& builder, const Operation& operation,
                        uint64_t id, uint64_t client, Watermark watermark, Duration time_left) {
  builder.Clear();
  const auto key = put_bytes(builder, operation.key);
  const auto value = put_bytes(builder, operation.value);
  const auto cursor = put_bytes(builder, operation.cursor);
  const auto compare = operation.options.if_value ? put_bytes(builder, *operation.options.if_value)
                                                  : flatbuffers::Offset<Bytes>();
  wire::RequestBuilder request(builder);
  request.add_id(id);
  request.add_kind(operation.kind);
  request.add_key(key);
  request.add_value(value);
  request.add_watermark(watermark.value());
  request.add_timeout_us(static_cast<uint64_t>(std::max<int64_t>(time_left.micros(), 1)));
  if (operation.writes()) {
    request.add_client(client);
    request.add_sequence(operation.sequence);
    request.add_birth(operation.birth->value());
    request.add_flags(flags_of(operation.options));
    request.add_compare_value(compare);
    if (operation.options.if_revision) {
      request.add_compare_revision(operation.options.if_revision->value());
    }
  }
  request.add_limit(operation.limit);
  request.add_cursor(cursor);
  request.add_partition(operation.partition.value());
  builder.Finish(request.Finish());
  return ByteView(reinterpret_cast<const std::byte*>(builder.GetBufferPointer()),
                  builder.GetSize());
}

bool well_formed(wire::RequestKind kind, const wire::Response& response) {
  const wire::Outcome outcome = response.outcome();
  switch (kind) {
    case wire::RequestKind::Set:
      return outcome == wire::Outcome::Done || outcome == wire::Outcome::NotSet;
    case wire::RequestKind::Delete:
      return outcome == wire::Outcome::Done || outcome == wire::Outcome::NotSet ||
             outcome == wire::Outcome::NotFound;
    case wire::RequestKind::Members:
      return outcome == wire::Outcome::Done || outcome == wire::Outcome::NotSet;
    case wire::RequestKind::Get:
    case wire::RequestKind::Exists:
      return outcome == wire::Outcome::Found || outcome == wire::Outcome::NotFound;
    case wire::RequestKind::MoveLeader: return outcome == wire::Outcome::Done;
    case wire::RequestKind::Scan:
    case wire::RequestKind::Status:
    case wire::RequestKind::Scrub: return true;
    case wire::RequestKind::None: return false;
  }
  return false;
}

void complete_with_response(Completion done, const wire::Response& response) {
  if (auto* write = std::get_if<Callback<void(Result<WriteReply>)>>(&done)) {
    (*write)(write_reply(response));
  } else if (auto* read = std::get_if<Callback<void(Result<std::optional<Value>>)>>(&done)) {
    (*read)(value(response));
  } else if (auto* exists = std::get_if<Callback<void(Result<ExistsReply>)>>(&done)) {
    (*exists)(ExistsReply{.exists = response.outcome() == wire::Outcome::Found,
                          .revision = Revision(response.revision())});
  } else if (auto* scan = std::get_if<Callback<void(Result<Page>)>>(&done)) {
    (*scan)(page(response));
  } else if (auto* status = std::get_if<Callback<void(Result<std::string>)>>(&done)) {
    (*status)(response.status() ? response.status()->str() : std::string());
  } else if (auto* plain = std::get_if<Callback<void(Result<>)>>(&done)) {
    (*plain)({});
  }
}

}  // namespace kahuna::client
