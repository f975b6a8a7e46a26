#include "kahuna/node/wire.h"

#include <algorithm>

#include "runtime/check.h"

namespace kahuna::node {
namespace {

constexpr size_t kTablesMax = 1'000'000;
// wire::Heartbeat::flags.
constexpr int kPromiseShift = 32;  // microseconds, above
constexpr uint64_t kRejected = 1, kUnanswered = 2, kNeedsSnapshot = 4, kQuiesce = 8;

template <class Table>
const Table* verified(ByteView bytes) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
                                 /*max_depth=*/16, kTablesMax);
  if (bytes.empty() || !verifier.VerifyBuffer<Table>(nullptr)) return nullptr;
  return flatbuffers::GetRoot<Table>(bytes.data());
}

std::string str(const flatbuffers::String* s) {
  return s ? s->str() : std::string();
}

}  // namespace

std::string encode_hello(const Hello& h) {
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<wire::Member>> members;
  for (const HelloMember& m : h.members) {
    auto address = b.CreateString(m.address), name = b.CreateString(m.name);
    members.push_back(wire::CreateMember(b, m.node.value(), name, address));
  }
  auto name = b.CreateString(h.name), refused = b.CreateString(h.refused),
       address = b.CreateString(h.address);
  auto list = b.CreateVector(members);
  std::vector<wire::Boot> line;
  for (const Boot& boot : h.boots) line.emplace_back(boot.number, boot.nonce);
  auto boots = b.CreateVectorOfStructs(line);
  const Boot boot = h.boots.empty() ? Boot() : h.boots.back();
  b.Finish(wire::CreateHello(b, kProtocolVersion, h.role, h.cluster.value(), h.node.value(),
                             boot.number, kCurrentSemanticLevel.value(), h.watermark.value(), name,
                             refused, address, list, h.founded, boot.nonce,
                             static_cast<uint8_t>(h.refused_code), h.roster_revision.value(), boots,
                             h.hears_members));
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

Result<Hello> decode_hello(ByteView bytes) {
  const wire::Hello* w = verified<wire::Hello>(bytes);
  if (!w) return fail(ErrorCode::kDamaged, "the greeting does not verify");
  if (w->protocol() != kProtocolVersion)
    return fail(ErrorCode::kVersion, "the other side speaks protocol " +
                                         std::to_string(w->protocol()) + ", this one speaks " +
                                         std::to_string(kProtocolVersion));
  if (w->role() > wire::Role::MAX)
    return fail(ErrorCode::kVersion, "the other side is in a role that this one does not know");
  Hello h;
  h.role = w->role();
  h.cluster = ClusterId(w->cluster());
  h.node = NodeId(w->node());
  if (w->boots() && w->boots()->size() > kBootsMax)
    return fail(ErrorCode::kDamaged, "the greeting names too many boots");
  if (w->boots())
    for (const wire::Boot* boot : *w->boots()) h.boots.push_back({boot->number(), boot->nonce()});
  if (h.boots.empty()) h.boots.push_back({w->boot(), w->boot_nonce()});
  h.watermark = Watermark(w->watermark());
  h.name = str(w->name());
  h.address = str(w->address());
  h.refused = str(w->refused());
  h.refused_code = static_cast<ErrorCode>(w->refused_code());
  h.founded = w->founded();
  h.roster_revision = Revision(w->roster_revision());
  h.hears_members = w->hears_members();
  if (w->members())
    for (const auto* m : *w->members())
      h.members.push_back({NodeId(m->node()), str(m->name()), str(m->address())});
  return h;
}

void PeerBatchBuilder::add(const raft::Message& m) {
  if (m.kind == raft::MessageKind::kHeartbeat || m.kind == raft::MessageKind::kHeartbeatReply) {
    auto& list = m.kind == raft::MessageKind::kHeartbeat ? heartbeats_ : replies_;
    list.emplace_back(m.group.value(), m.term.value(), m.commit.value(), m.trim.value(), m.round,
                      m.match.index.value(), m.match.term.value(), m.from.incarnation,
                      m.to.incarnation,
                      (m.rejected ? kRejected : 0) | (m.unanswered ? kUnanswered : 0) |
                          (m.needs_snapshot ? kNeedsSnapshot : 0) | (m.quiesce ? kQuiesce : 0) |
                          static_cast<uint64_t>(std::min<int64_t>(m.promise.micros(), UINT32_MAX))
                              << kPromiseShift);
    return;
  }
  std::vector<flatbuffers::Offset<wire::Entry>> entries;
  entries.reserve(m.entries.size());
  for (const raft::Entry& e : m.entries) {
    auto payload = builder_.CreateVector(reinterpret_cast<const uint8_t*>(e.payload.view().data()),
                                         e.payload.size());
    entries.push_back(wire::CreateEntry(builder_, e.index.value(), e.term.value(),
                                        static_cast<uint8_t>(e.kind), e.level.value(), payload));
  }
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<wire::Entry>>> list;
  if (!entries.empty()) list = builder_.CreateVector(entries);
  messages_.push_back(wire::CreateRaftMessage(
      builder_, static_cast<uint8_t>(m.kind), m.group.value(), m.from.incarnation, m.to.incarnation,
      m.term.value(), m.prev.index.value(), m.prev.term.value(), m.commit.value(), m.trim.value(),
      m.match.index.value(), m.match.term.value(), m.rejected, list, m.needs_snapshot, m.transfer));
}

static flatbuffers::Offset<flatbuffers::Vector<uint8_t>> bytes_in(flatbuffers::FlatBufferBuilder& b,
                                                                  std::string_view bytes) {
  return b.CreateVector(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

void PeerBatchBuilder::add(const SnapshotPart& p) {
  auto rows = bytes_in(builder_, p.rows), after = bytes_in(builder_, p.after);
  parts_.push_back(wire::CreateSnapshotPart(builder_, p.group.value(), p.from.incarnation,
                                            p.to.incarnation, p.term.value(), p.stream,
                                            p.position.index.value(), p.position.term.value(),
                                            p.number, p.last, rows, p.checksum, after));
}

void PeerBatchBuilder::add(const SnapshotReply& r) {
  auto row = bytes_in(builder_, r.last_row);
  part_replies_.push_back(
      wire::CreateSnapshotReply(builder_, r.group.value(), r.from.incarnation, r.to.incarnation,
                                r.stream, static_cast<uint8_t>(r.answer), r.parts, row,
                                r.position.index.value(), r.position.term.value()));
}

void PeerBatchBuilder::set_founding(std::string encoded, bool accepted) {
  founding_ = std::move(encoded);
  founding_accepted_ = accepted;
}

void PeerBatchBuilder::set_roster(std::string encoded) {
  roster_ = std::move(encoded);
}

void PeerBatchBuilder::set_roster_revision(Revision revision) {
  roster_revision_ = revision;
}

void PeerBatchBuilder::set_leaving() {
  leaving_ = true;
}

void PeerBatchBuilder::set_gone(const std::vector<PartitionId>& partitions) {
  for (PartitionId id : partitions) gone_.push_back(id.value());
}

bool PeerBatchBuilder::empty() const {
  return messages_.empty() && heartbeats_.empty() && replies_.empty() && parts_.empty() &&
         part_replies_.empty() && founding_.empty() && !founding_accepted_ && roster_.empty() &&
         roster_revision_ == Revision() && !leaving_ && gone_.empty();
}

ByteView PeerBatchBuilder::finish(NodeId from, NodeId to, Watermark watermark) {
  auto& b = builder_;
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<wire::RaftMessage>>> messages;
  flatbuffers::Offset<flatbuffers::Vector<const wire::Heartbeat*>> heartbeats, replies;
  flatbuffers::Offset<flatbuffers::Vector<uint8_t>> founding;
  if (!messages_.empty()) messages = b.CreateVector(messages_);
  if (!heartbeats_.empty()) heartbeats = b.CreateVectorOfStructs(heartbeats_);
  if (!replies_.empty()) replies = b.CreateVectorOfStructs(replies_);
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<wire::SnapshotPart>>> parts;
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<wire::SnapshotReply>>> part_replies;
  if (!parts_.empty()) parts = b.CreateVector(parts_);
  if (!part_replies_.empty()) part_replies = b.CreateVector(part_replies_);
  flatbuffers::Offset<flatbuffers::Vector<uint8_t>> roster;
  flatbuffers::Offset<flatbuffers::Vector<uint64_t>> gone;
  if (!roster_.empty()) roster = bytes_in(b, roster_);
  if (!gone_.empty()) gone = b.CreateVector(gone_);
  if (!founding_.empty())
    founding = b.CreateVector(reinterpret_cast<const uint8_t*>(founding_.data()), founding_.size());
  b.Finish(wire::CreatePeerBatch(b, from.value(), to.value(), watermark.value(), messages,
                                 heartbeats, replies, founding, founding_accepted_, parts,
                                 part_replies, roster, leaving_, gone, roster_revision_.value()));
  messages_.clear();
  heartbeats_.clear();
  replies_.clear();
  parts_.clear();
  part_replies_.clear();
  founding_.clear();
  founding_accepted_ = false;
  roster_.clear();
  roster_revision_ = Revision();
  leaving_ = false;
  gone_.clear();
  return {reinterpret_cast<const std::byte*>(b.GetBufferPointer()), b.GetSize()};
}

void PeerBatchBuilder::clear() {
  builder_.Clear();
  messages_.clear();
  heartbeats_.clear();
  replies_.clear();
  parts_.clear();
  part_replies_.clear();
  founding_.clear();
  founding_accepted_ = false;
  roster_.clear();
  roster_revision_ = Revision();
  leaving_ = false;
  gone_.clear();
}

// The verifier does not look at the alignment of structs in a vector.
static bool aligned(const flatbuffers::Vector<const wire::Heartbeat*>* list) {
  return !list || reinterpret_cast<uintptr_t>(list->Data()) % alignof(wire::Heartbeat) == 0;
}

const wire::PeerBatch* decode_peer_batch(ByteView bytes) {
  const wire::PeerBatch* batch = verified<wire::PeerBatch>(bytes);
  if (!batch || !aligned(batch->heartbeats()) || !aligned(batch->heartbeat_replies()))
    return nullptr;
  return batch;
}
const wire::Request* decode_request(ByteView bytes) {
  return verified<wire::Request>(bytes);
}
const wire::Response* decode_response(ByteView bytes) {
  return verified<wire::Response>(bytes);
}

raft::Message to_message(const wire::RaftMessage& w, NodeId from, NodeId to) {
  raft::Message m;
  m.kind = static_cast<raft::MessageKind>(w.kind());
  m.group = PartitionId(w.group());
  m.from = {from, w.from_incarnation()};
  m.to = {to, w.to_incarnation()};
  m.term = Term(w.term());
  m.prev = {Index(w.prev_index()), Term(w.prev_term())};
  m.commit = Index(w.commit());
  m.trim = Index(w.trim());
  m.match = {Index(w.match_index()), Term(w.match_term())};
  m.rejected = w.rejected();
  m.needs_snapshot = w.needs_snapshot();
  m.transfer = w.transfer();
  if (w.entries()) {
    m.entries.reserve(w.entries()->size());
    for (const auto* e : *w.entries())
      m.entries.push_back({Index(e->index()), Term(e->term()),
                           static_cast<raft::EntryKind>(e->kind()), SemanticLevel(e->level()),
                           Payload(text_of(e->payload()))});
  }
  return m;
}

raft::Message to_message(const wire::Heartbeat& w, bool reply, NodeId from, NodeId to) {
  raft::Message m;
  m.kind = reply ? raft::MessageKind::kHeartbeatReply : raft::MessageKind::kHeartbeat;
  m.group = PartitionId(w.group());
  m.from = {from, w.from_incarnation()};
  m.to = {to, w.to_incarnation()};
  m.term = Term(w.term());
  m.commit = Index(w.commit());
  m.trim = Index(w.trim());
  m.round = w.round();
  m.match = {Index(w.match_index()), Term(w.match_term())};
  m.rejected = (w.flags() & kRejected) != 0;
  m.unanswered = (w.flags() & kUnanswered) != 0;
  m.needs_snapshot = (w.flags() & kNeedsSnapshot) != 0;
  m.quiesce = (w.flags() & kQuiesce) != 0;
  if (reply) m.promise = Duration::micros(static_cast<int64_t>(w.flags() >> kPromiseShift));
  return m;
}

SnapshotPart to_part(const wire::SnapshotPart& w, NodeId from, NodeId to) {
  SnapshotPart p;
  p.group = PartitionId(w.group());
  p.from = {from, w.from_incarnation()};
  p.to = {to, w.to_incarnation()};
  p.term = Term(w.term());
  p.stream = w.stream();
  p.position = {Index(w.index()), Term(w.index_term())};
  p.number = w.number();
  p.last = w.last();
  p.after = text_of(w.after());
  p.rows = text_of(w.rows());
  p.checksum = w.checksum();
  return p;
}

SnapshotReply to_reply(const wire::SnapshotReply& w, NodeId from, NodeId to) {
  SnapshotReply r;
  r.group = PartitionId(w.group());
  r.from = {from, w.from_incarnation()};
  r.to = {to, w.to_incarnation()};
  r.stream = w.stream();
  r.answer = static_cast<SnapshotAnswer>(w.answer());
  r.parts = w.parts();
  r.position = {Index(w.index()), Term(w.index_term())};
  r.last_row = text_of(w.last_row());
  return r;
}

}  // namespace kahuna::node
