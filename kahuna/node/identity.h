// What a data directory says about itself: file "identity", guarded by the file "lock".
//
// 1. The lock is held for the life of the object: a second server on the directory gets kInUse.
// 2. The file is replaced atomically (temporary file, sync, rename, sync of the directory).
// 3. It says which journals count: the number of loops that the directory's logs are laid out for,
//    and the boot that laid them out. A journal of any other layout counts for nothing, whatever it
//    holds; so storing a new layout moves all logs at once, and nothing but that does.
// 4. The roster is a copy of what meta records, for a start without meta; it only ever gets newer.
// 5. Once marked as removed the directory is never served from again.
// 6. The boot counter is raised and durable before load() returns: no two boots share a number.
// 7. It says which boots it has been through, from the latest that it knows to be recorded by meta:
// a
//    directory that was rolled back cannot name the one that the cluster knows, however often it
//    boots.
// 8. The longest lease promise ever made is in it before any as long is made: a later boot with
// shorter
//    ones keeps it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/fiber.h"
#include "runtime/host.h"
#include "runtime/ids.h"

namespace kahuna::node {

// One life of a node's process. Numbers count up in the directory; the nonce tells apart two boots
// of which one began from a copy of the directory.
struct Boot {
  uint64_t number = 0, nonce = 0;  // nonce 0, in an older directory: not known any more
};
// A boot at the end, and before it those the directory went through since one that meta has on
// record.
using Boots = std::vector<Boot>;
// So many boots without a word from meta, and further ones count as the same.
inline constexpr size_t kBootsMax = 256;
// Whether the directory of those boots can have been `known`: it was one of them, or is older than
// all.
bool can_have_been(const Boots& boots, Boot known);

inline constexpr size_t kPartitionsMax = 16'384;  // of users

struct FoundingMember {
  NodeId node;
  std::string name;
  Address address;
  uint64_t incarnation = 1;
};

// The one-time act that made the cluster; the same on every founder.
struct Founding {
  ClusterId cluster;
  std::vector<FoundingMember> members;  // in the founders' listed order
  size_t partitions = 0;
  SemanticLevel level = kCurrentSemanticLevel;
};

// Who belongs to the cluster now: roster.h.
enum class MemberState : uint8_t {
  kVoter = 1,    // votes in every partition, or will
  kLearner = 2,  // holds everything, and counts for nothing until it is promoted
  kRemoved = 3,  // holds nothing that counts, or soon will not; for good
};
struct RosterMember {
  NodeId node;
  std::string name;
  Address address;
  uint64_t incarnation = 1;
  MemberState state = MemberState::kVoter;
};
struct Roster {
  std::vector<RosterMember> members;  // in the order in which they came
  Revision revision;                  // of meta's record; below 0: as founded
};

// One journal per event loop, and which partition's log is in which (id % loops).
struct Layout {
  size_t loops = 1;
  uint64_t made =
      0;  // the boot that made it, so that no two have a journal in common; 0 = the first
  friend bool operator==(const Layout&, const Layout&) = default;
  size_t loop_of(PartitionId partition) const { return partition.value() % loops; }
  // "journal" or "journal-2" in the first layout, "journal-2.17" in one made in boot 17.
  std::string journal_dir(const std::string& base, size_t loop) const;
};

// schemas/meta.fbs; decode refuses what the verifier or the limits do not accept.
std::string encode_founding(const Founding& founding);
Result<Founding> decode_founding(ByteView bytes);

class Identity {
 public:
  // Locks the directory, reads the identity or formats an empty directory, for `loops` event loops,
  // and notes that lease promises of `promise` will be made (zero: none will). Suspends. kInUse:
  // another server; kVersion: other layout; kDamaged: bad checksum, or data without identity;
  // kInvalid: the directory belongs to a node of another name.
  static Result<std::unique_ptr<Identity>> load(Suspend suspend, Host& host,
                                                const std::string& name, size_t loops,
                                                Duration promise = {});

  NodeId node() const { return node_; }
  Boot boot() const { return boot_; }  // the number is of this boot alone
  const Boots& boots() const { return boots_; }
  // By what this node's own replica of meta has on record of it. Suspends.
  Result<> settle_boots(Suspend suspend, Host& host, Boot recorded);
  const std::optional<Founding>& founding() const { return founding_; }
  // Of all boots up to this one; 0: no promise was ever made.
  Duration longest_promise() const { return longest_promise_; }
  // Makes the founding durable, and the roster if there is a later one. CHECKs that there was none.
  // Suspends.
  Result<> found(Suspend suspend, Host& host, Founding founding, std::optional<Roster> roster = {});

  // As last stored; of the founding when never. Nothing before that.
  const Roster& roster() const { return roster_; }
  bool removed() const { return removed_; }
  // Make it durable. One at a time. Suspend.
  Result<> remember(Suspend suspend, Host& host, Roster roster);
  Result<> mark_removed(Suspend suspend, Host& host);

  const Layout& layout() const { return layout_; }
  // Journals that are not of the layout may be in the directory.
  bool journals_left() const { return journals_left_; }
  // Makes both durable. Suspends.
  Result<> lay_out(Suspend suspend, Host& host, Layout layout, bool journals_left);

 private:
  Result<> store(Suspend suspend, Host& host);

  std::unique_ptr<File> lock_;
  NodeId node_;
  Boot boot_;
  Boots boots_;
  Duration longest_promise_;
  std::string name_;
  std::optional<Founding> founding_;
  Layout layout_;
  bool journals_left_ = false;
  Roster roster_;
  bool removed_ = false;
};

}  // namespace kahuna::node
