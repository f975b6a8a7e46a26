// The schemas of the wire and of the identity file against arbitrary bytes: what a verifier lets
// through can be read to its last field, and reading never goes outside the input.
//
// The first byte names the decoder; the rest is its input, at an aligned address as frames have it.
#include <cstdint>
#include <cstring>
#include <vector>

#include "kahuna/node/identity.h"
#include "kahuna/node/wire.h"
#include "runtime/check.h"

namespace kahuna::node {
namespace {

volatile uint64_t sink;

void touch(std::string_view text) {
  for (char c : text) sink = sink + static_cast<uint8_t>(c);
}
void touch(const flatbuffers::Vector<uint8_t>* bytes) {
  if (bytes) touch(text_of(bytes));
}

void read_hello(ByteView input) {
  auto hello = decode_hello(input);
  if (!hello) return touch(hello.error().text);
  auto again = decode_hello(as_bytes(encode_hello(*hello)));
  CHECK(again.has_value());
  CHECK(again->name == hello->name);
  CHECK_EQ(again->members.size(), hello->members.size());
  CHECK_EQ(again->boots.size(), hello->boots.size());
  CHECK_EQ(again->boots.back().number, hello->boots.back().number);
  CHECK_EQ(again->boots.back().nonce, hello->boots.back().nonce);
}

void read_request(ByteView input) {
  const wire::Request* request = decode_request(input);
  if (!request) return;
  touch(request->key());
  touch(request->value());
  touch(request->compare_value());
  touch(request->cursor());
  sink = sink + request->id() + request->sequence() + request->limit();
}

void read_response(ByteView input) {
  const wire::Response* response = decode_response(input);
  if (!response) return;
  touch(response->value());
  touch(response->cursor());
  if (response->text()) touch(response->text()->string_view());
  if (response->status()) touch(response->status()->string_view());
  if (response->route() && response->route()->address())
    touch(response->route()->address()->string_view());
  if (!response->items()) return;
  for (const auto* item : *response->items()) {
    touch(item->key());
    touch(item->value());
  }
}

void read_peer_batch(ByteView input) {
  const wire::PeerBatch* batch = decode_peer_batch(input);
  if (!batch) return;
  touch(batch->founding());
  if (batch->messages()) {
    for (const auto* m : *batch->messages()) {
      raft::Message message = to_message(*m, NodeId(1), NodeId(2));
      for (const raft::Entry& entry : message.entries)
        touch(std::string_view(reinterpret_cast<const char*>(entry.payload.view().data()),
                               entry.payload.size()));
    }
  }
  if (batch->heartbeats())
    for (const auto* h : *batch->heartbeats())
      sink = sink + to_message(*h, false, NodeId(1), NodeId(2)).term.value();
}

void read_founding(ByteView input) {
  auto founding = decode_founding(input);
  if (!founding) return touch(founding.error().text);
  auto again = decode_founding(as_bytes(encode_founding(*founding)));
  CHECK(again.has_value());
  CHECK_EQ(again->members.size(), founding->members.size());
}

}  // namespace
}  // namespace kahuna::node

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kahuna;
  if (size == 0) return 0;
  std::vector<uint64_t> aligned((size + 7) / 8);
  if (size > 1) std::memcpy(aligned.data(), data + 1, size - 1);
  ByteView input(reinterpret_cast<const std::byte*>(aligned.data()), size - 1);
  switch (data[0] % 5) {
    case 0: node::read_hello(input); break;
    case 1: node::read_request(input); break;
    case 2: node::read_response(input); break;
    case 3: node::read_peer_batch(input); break;
    case 4: node::read_founding(input); break;
  }
  return 0;
}
