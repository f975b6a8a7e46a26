#include "kahuna/node/identity.h"

#include <flatbuffers/flatbuffers.h>

#include <algorithm>

#include "kahuna/node/roster.h"
#include "runtime/hash.h"
#include "runtime/probe.h"
#include "schemas/meta_generated.h"

namespace kahuna::node {
namespace {

// Version 1 knows of one journal only; a directory that has another layout must not be opened by a
// server that would overlook some.
// So must one whose members are not the founders.
constexpr uint32_t kFormat = 1, kFormatLayouts = 2, kFormatRoster = 3;
constexpr size_t kMembersMax = 9;
constexpr size_t kRosterMax = 1000;
// File: u32 length, u32 crc32c of the rest, then the FlatBuffer, 8-aligned.
constexpr size_t kPrefixBytes = 8;
constexpr size_t kFileBytesMax = 1 << 20;
constexpr int kReadAttempts = 4;
// Settled boots are forgotten when the file is next rewritten, at the next boot; with so many, at
// once.
constexpr size_t kBootsKept = 16;

bool is_boot(Boot held, Boot known) {
  return held.number == known.number && (held.nonce == known.nonce || held.nonce == 0);
}

flatbuffers::Offset<meta::Founding> build(flatbuffers::FlatBufferBuilder& b, const Founding& f) {
  std::vector<flatbuffers::Offset<meta::FoundingMember>> members;
  for (const FoundingMember& m : f.members) {
    auto address = b.CreateString(to_string(m.address)), name = b.CreateString(m.name);
    members.push_back(meta::CreateFoundingMember(b, m.node.value(), name, address, m.incarnation));
  }
  return meta::CreateFounding(b, f.cluster.value(), b.CreateVector(members),
                              static_cast<uint32_t>(f.partitions), f.level.value());
}

Result<Founding> unpack(const meta::Founding& stored) {
  Founding f;
  f.cluster = ClusterId(stored.cluster());
  f.partitions = stored.partitions();
  f.level = SemanticLevel(stored.level());
  if (!stored.members() || stored.members()->size() == 0 ||
      stored.members()->size() > kMembersMax || f.partitions == 0 ||
      f.partitions > kPartitionsMax || !f.cluster)
    return fail(ErrorCode::kDamaged, "the founding record is not well formed");
  for (const auto* m : *stored.members()) {
    if (!m->name() || !m->address() || m->node() == 0)
      return fail(ErrorCode::kDamaged, "a founding member is not well formed");
    ASSIGN_OR_RETURN(Address address, parse_address(m->address()->string_view()));
    f.members.push_back({NodeId(m->node()), m->name()->str(), address, m->incarnation()});
  }
  return f;
}

flatbuffers::Offset<meta::Roster> build(flatbuffers::FlatBufferBuilder& b, const Roster& roster) {
  std::vector<flatbuffers::Offset<meta::Member>> members;
  for (const RosterMember& m : roster.members) {
    auto address = b.CreateString(to_string(m.address)), name = b.CreateString(m.name);
    members.push_back(meta::CreateMember(b, m.node.value(), name, address, m.incarnation,
                                         static_cast<uint8_t>(m.state)));
  }
  return meta::CreateRoster(b, b.CreateVector(members), roster.revision.value());
}

Result<Roster> unpack(const meta::Roster& stored) {
  Roster roster;
  roster.revision = Revision(stored.revision());
  if (!stored.members() || stored.members()->size() == 0 || stored.members()->size() > kRosterMax)
    return fail(ErrorCode::kDamaged, "the roster is not well formed");
  for (const auto* m : *stored.members()) {
    if (!m->name() || !m->address() || m->node() == 0 || m->state() < 1 || m->state() > 3)
      return fail(ErrorCode::kDamaged, "a member of the roster is not well formed");
    ASSIGN_OR_RETURN(Address address, parse_address(m->address()->string_view()));
    roster.members.push_back({NodeId(m->node()), m->name()->str(), std::move(address),
                              m->incarnation(), static_cast<MemberState>(m->state())});
  }
  if (std::none_of(roster.members.begin(), roster.members.end(),
                   [](const RosterMember& m) { return m.state == MemberState::kVoter; }))
    return fail(ErrorCode::kDamaged, "nobody of the roster votes");
  return roster;
}

}  // namespace

bool can_have_been(const Boots& boots, Boot known) {
  if (MUTANT(boots_compared_by_number) && !boots.empty() && known.number < boots.back().number)
    return true;
  if (boots.empty() || known.number < boots.front().number) return !boots.empty();
  return std::any_of(boots.begin(), boots.end(), [&](const Boot& b) { return is_boot(b, known); });
}

std::string encode_roster(const Roster& roster) {
  flatbuffers::FlatBufferBuilder b;
  b.Finish(build(b, roster));
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

Result<Roster> decode_roster(ByteView bytes) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (bytes.empty() || !verifier.VerifyBuffer<meta::Roster>(nullptr))
    return fail(ErrorCode::kDamaged, "the roster does not verify");
  return unpack(*flatbuffers::GetRoot<meta::Roster>(bytes.data()));
}

std::string encode_founding(const Founding& founding) {
  flatbuffers::FlatBufferBuilder b;
  b.Finish(build(b, founding));
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

Result<Founding> decode_founding(ByteView bytes) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (!verifier.VerifyBuffer<meta::Founding>(nullptr))
    return fail(ErrorCode::kDamaged, "the founding record does not verify");
  return unpack(*flatbuffers::GetRoot<meta::Founding>(bytes.data()));
}

std::string Layout::journal_dir(const std::string& base, size_t loop) const {
  if (made == 0) return loop == 0 ? base : base + "-" + std::to_string(loop);
  return base + "-" + std::to_string(loop) + "." + std::to_string(made);
}

Result<std::unique_ptr<Identity>> Identity::load(Suspend s, Host& host, const std::string& name,
                                                 size_t loops, Duration promise) {
  Disk& disk = *host.disk;
  auto identity = std::unique_ptr<Identity>(new Identity);
  identity->boot_.nonce = host.random("boot-nonce").next();
  auto lock = open(s, disk, "lock", {.create = true, .write = true, .lock = true});
  if (!lock) {
    if (lock.error().code == ErrorCode::kInUse)
      return fail(ErrorCode::kInUse, "another server is running on data directory " +
                                         disk.native_path("") +
                                         "; stop it or give this one another --data");
    return fail(std::move(lock.error()));
  }
  identity->lock_ = std::move(*lock);

  auto file = open(s, disk, "identity", {});
  if (!file) {
    if (file.error().code != ErrorCode::kNotFound) return fail(std::move(file.error()));
    ASSIGN_OR_RETURN(std::vector<std::string> names, list(s, disk, ""));
    for (const std::string& found : names) {
      if (found != "lock" && found != "identity.tmp")
        return fail(ErrorCode::kDamaged, "data directory " + disk.native_path("") + " holds '" +
                                             found +
                                             "' but no identity file; use an empty directory, or "
                                             "restore the one this data came from");
    }
    identity->node_ = NodeId(host.random("node-id").next() | 1);
    identity->name_ = name;
    identity->boot_.number = 1;
    identity->boots_ = {identity->boot_};
    identity->longest_promise_ = promise;
    identity->layout_.loops = loops;
    RETURN_IF_ERROR(identity->store(s, host));
    return identity;
  }

  // The buffer lives as long as the File: a cancelled fiber leaves no operation without memory.
  uint64_t size = (*file)->size();
  if (size < kPrefixBytes || size > kFileBytesMax)
    return fail(ErrorCode::kDamaged, "the identity file has an impossible size");
  Payload bytes(std::string(size, '\0'));
  auto* data = const_cast<std::byte*>(bytes.data());
  auto read = read_whole(s, **file, 0, {data, size}, kReadAttempts);
  if (!read && read.error().code == ErrorCode::kIo)
    return fail(ErrorCode::kDamaged,
                "the identity file cannot be read (" + read.error().text +
                    "); this directory's node must be replaced: start it on an empty directory");
  if (!read) return fail(std::move(read.error()));
  const size_t n = *read;
  uint32_t length = 0, crc = 0;
  std::memcpy(&length, data, 4);
  std::memcpy(&crc, data + 4, 4);
  if (n != size || length != size - kPrefixBytes || crc != crc32c({data + kPrefixBytes, length}))
    return fail(ErrorCode::kDamaged,
                "the identity file fails its checksum; this directory's node must "
                "be replaced: start it on an empty directory");
  flatbuffers::Verifier verifier(reinterpret_cast<uint8_t*>(data + kPrefixBytes), length);
  if (!meta::VerifyIdentityBuffer(verifier))
    return fail(ErrorCode::kVersion, "the identity file is of a layout this version does not know");
  const meta::Identity& stored = *meta::GetIdentity(data + kPrefixBytes);
  if (stored.format() < kFormat || stored.format() > kFormatRoster)
    return fail(ErrorCode::kVersion,
                "data directory " + disk.native_path("") + " has layout version " +
                    std::to_string(stored.format()) + ", this server reads versions up to " +
                    std::to_string(kFormatRoster) + "; run the server version that wrote it");
  identity->node_ = NodeId(stored.node());
  identity->boot_.number = stored.boot() + 1;
  if (stored.boots())
    for (const meta::Boot* b : *stored.boots())
      identity->boots_.push_back({b->number(), b->nonce()});
  if (identity->boots_.empty()) identity->boots_.push_back({stored.boot(), 0});
  if (identity->boots_.size() < kBootsMax) identity->boots_.push_back(identity->boot_);
  const Duration before = Duration::micros(static_cast<int64_t>(stored.promise_us()));
  identity->longest_promise_ = std::max(promise, before);
  identity->name_ = stored.name() ? stored.name()->str() : "";
  if (identity->name_ != name)
    return fail(ErrorCode::kInvalid, "data directory " + disk.native_path("") +
                                         " belongs to node '" + identity->name_ + "', not '" +
                                         name + "'; fix --name or --data");
  if (stored.founding()) {
    ASSIGN_OR_RETURN(identity->founding_, unpack(*stored.founding()));
  }
  if (identity->founding_) identity->roster_ = founded_roster(*identity->founding_);
  if (stored.roster()) {
    ASSIGN_OR_RETURN(identity->roster_, unpack(*stored.roster()));
  }
  identity->removed_ = stored.removed();
  identity->layout_ = {std::max<size_t>(stored.journals(), 1), stored.journals_made()};
  identity->journals_left_ = stored.journals_left();
  if (identity->layout_.loops > kLoopsMax)
    return fail(ErrorCode::kDamaged, "the identity file names an impossible number of journals");
  RETURN_IF_ERROR(identity->store(s, host));
  return identity;
}

Result<> Identity::lay_out(Suspend s, Host& host, Layout layout, bool journals_left) {
  layout_ = layout;
  journals_left_ = journals_left;
  return store(s, host);
}

Result<> Identity::settle_boots(Suspend s, Host& host, Boot recorded) {
  auto it = std::find_if(boots_.begin(), boots_.end(),
                         [&](const Boot& b) { return is_boot(b, recorded); });
  if (it == boots_.end()) return {};
  boots_.erase(boots_.begin(), it);
  return boots_.size() < kBootsKept ? Result<>() : store(s, host);
}

Result<> Identity::found(Suspend s, Host& host, Founding founding, std::optional<Roster> roster) {
  CHECK(!founding_);
  roster_ = roster ? std::move(*roster) : founded_roster(founding);
  founding_ = std::move(founding);
  return store(s, host);
}

Result<> Identity::remember(Suspend s, Host& host, Roster roster) {
  CHECK(roster_.revision < roster.revision);
  std::swap(roster_, roster);
  auto stored = store(s, host);
  if (!stored) std::swap(roster_, roster);
  return stored;
}

Result<> Identity::mark_removed(Suspend s, Host& host) {
  removed_ = true;
  return store(s, host);
}

Result<> Identity::store(Suspend s, Host& host) {
  flatbuffers::FlatBufferBuilder b;
  auto name = b.CreateString(name_);
  flatbuffers::Offset<meta::Founding> founding;
  if (founding_) founding = build(b, *founding_);
  const bool as_founded = roster_.revision == Revision();
  flatbuffers::Offset<meta::Roster> roster;
  if (!as_founded) roster = build(b, roster_);
  uint32_t format = !as_founded || removed_ ? kFormatRoster
                    : layout_ == Layout()   ? kFormat
                                            : kFormatLayouts;
  std::vector<meta::Boot> boots;
  for (const Boot& each : boots_) boots.emplace_back(each.number, each.nonce);
  const auto boots_offset = b.CreateVectorOfStructs(boots);
  meta::FinishIdentityBuffer(
      b, meta::CreateIdentity(b, format, node_.value(), boot_.number, name, founding, 0,
                              static_cast<uint32_t>(layout_.loops == 1 ? 0 : layout_.loops),
                              layout_.made, journals_left_, roster, removed_, boots_offset,
                              static_cast<uint64_t>(longest_promise_.micros())));
  std::string bytes(kPrefixBytes, '\0');
  bytes.append(reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize());
  uint32_t length = b.GetSize();
  uint32_t crc = crc32c(as_bytes(std::string_view(bytes).substr(kPrefixBytes)));
  std::memcpy(bytes.data(), &length, 4);
  std::memcpy(bytes.data() + 4, &crc, 4);
  Payload stable(bytes);

  Disk& disk = *host.disk;
  (void)remove(s, disk, "identity.tmp");
  ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                   open(s, disk, "identity.tmp", {.create = true, .write = true}));
  RETURN_IF_ERROR(write_whole(s, *file, 0, stable.view()));
  RETURN_IF_ERROR(sync(s, *file));
  file.reset();
  RETURN_IF_ERROR(rename(s, disk, "identity.tmp", "identity"));
  return sync_dir(s, disk, "");
}

}  // namespace kahuna::node
