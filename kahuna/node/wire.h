// Between the product's values and schemas/wire.fbs. Decoders accept nothing the verifier rejects;
// what they hand out is valid for the duration of the call only.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <string>
#include <vector>

#include "kahuna/node/identity.h"
#include "kahuna/node/snapshot.h"
#include "kahuna/raft/types.h"
#include "runtime/error.h"
#include "runtime/host.h"
#include "schemas/wire_generated.h"

namespace kahuna::node {

inline constexpr uint32_t kProtocolVersion = 1;
// What people are told of a peer that does not speak it.
inline constexpr const char* kStrangeAnswer =
    "its answer is not understood; is a kahuna server there?";

struct HelloMember {
  NodeId node;
  std::string name;
  std::string address;
};

struct Hello {
  wire::Role role = wire::Role::Client;
  ClusterId cluster;
  NodeId node;
  Boots boots;  // never empty from a node
  Watermark watermark;
  std::string name;
  std::string address;
  std::string refused;
  ErrorCode refused_code = ErrorCode::kOk;
  bool founded = false;
  Revision roster_revision;
  bool hears_members = false;
  std::vector<HelloMember> members;
};

std::string encode_hello(const Hello& hello);
Result<Hello> decode_hello(ByteView bytes);

// Collects one turn's messages to one peer.
class PeerBatchBuilder {
 public:
  void add(const raft::Message& message);
  void add(const SnapshotPart& part);
  void add(const SnapshotReply& reply);
  void set_founding(std::string encoded, bool accepted);
  void set_roster(std::string encoded);
  void set_roster_revision(Revision revision);
  void set_leaving();
  void set_gone(const std::vector<PartitionId>& partitions);
  bool empty() const;
  size_t bytes() const { return builder_.GetSize(); }
  // The encoded batch; valid until clear(), which must come before the next add().
  ByteView finish(NodeId from, NodeId to, Watermark watermark);
  void clear();

 private:
  flatbuffers::FlatBufferBuilder builder_{1024};
  std::vector<flatbuffers::Offset<wire::RaftMessage>> messages_;
  std::vector<wire::Heartbeat> heartbeats_, replies_;
  std::vector<flatbuffers::Offset<wire::SnapshotPart>> parts_;
  std::vector<flatbuffers::Offset<wire::SnapshotReply>> part_replies_;
  std::string founding_;
  bool founding_accepted_ = false;
  std::string roster_;
  Revision roster_revision_;
  bool leaving_ = false;
  std::vector<uint64_t> gone_;
};

// Null when the bytes do not verify.
const wire::PeerBatch* decode_peer_batch(ByteView bytes);
const wire::Request* decode_request(ByteView bytes);
const wire::Response* decode_response(ByteView bytes);

raft::Message to_message(const wire::RaftMessage& stored, NodeId from, NodeId to);
raft::Message to_message(const wire::Heartbeat& stored, bool reply, NodeId from, NodeId to);
SnapshotPart to_part(const wire::SnapshotPart& stored, NodeId from, NodeId to);
SnapshotReply to_reply(const wire::SnapshotReply& stored, NodeId from, NodeId to);

inline std::string_view text_of(const flatbuffers::Vector<uint8_t>* bytes) {
  return bytes ? std::string_view(reinterpret_cast<const char*>(bytes->data()), bytes->size())
               : std::string_view();
}

}  // namespace kahuna::node
