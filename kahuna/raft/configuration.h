// Who belongs to a group: a value of its own, and the arithmetic of quorums over it.
//
//   C1 the lists are sorted and name nobody twice; no learner votes;
//   C2 joint = `outgoing` is not empty: a quorum is then a majority of `voters` and one of
//   `outgoing`; C3 from one configuration to the next (may_follow) voters change through a joint
//   one only, so that
//      any quorum of one meets any quorum of the other; whoever comes to vote was a learner before.
//
// Source: Ongaro & Ousterhout 2014 §6 (joint consensus), Ongaro's thesis §4.2.1 (learners).
//
// Members gives each replica of a configuration a slot, its place among all of them in order: a set
// of replicas is then a word of bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/ids.h"

namespace kahuna::raft {

inline constexpr size_t kVotersMax = 9;
inline constexpr size_t kLearnersMax = 9;
inline constexpr size_t kMembersMax = 2 * kVotersMax + kLearnersMax;
static_assert(kMembersMax <= 32, "a set of members is a word of bits");

struct Configuration {
  std::vector<ReplicaId> voters;    // 1..kVotersMax; none: not known (an empty replica)
  std::vector<ReplicaId> outgoing;  // those who voted before, while joint
  std::vector<ReplicaId> learners;  // get everything, count for nothing

  bool known() const { return !voters.empty(); }
  bool joint() const { return !outgoing.empty(); }
  bool votes(ReplicaId replica) const;  // in either half
  bool contains(ReplicaId replica) const;
  // C1, and the numbers are within their limits. True of the unknown one, too.
  bool well_formed() const;
  // C3. Both are well formed and known.
  bool may_follow(const Configuration& before) const;
  // What a joint configuration leads to.
  Configuration left() const { return {voters, {}, learners}; }

  friend bool operator==(const Configuration&, const Configuration&) = default;
};

// How entries and engine rows hold it:
//   shape u8 (1) · voters u8 · outgoing u8 · learners u8 · each: node u64 · incarnation u64
// little endian. Reading is strict: nullopt for anything encode() does not write, the unknown one
// included.
Payload encode(const Configuration& configuration);
std::optional<Configuration> decode_configuration(ByteView bytes);

// A set of members, by slot.
using MemberSet = uint32_t;

class Members {
 public:
  Members() = default;
  // CHECKs that the configuration is well formed.
  explicit Members(const Configuration& configuration);

  size_t size() const { return members_.size(); }
  // size() when it is none.
  size_t slot_of(ReplicaId replica) const {
    size_t slot = 0;
    while (slot < members_.size() && members_[slot] != replica) ++slot;
    return slot;
  }
  ReplicaId operator[](size_t slot) const { return members_[slot]; }
  // Who votes, in either half.
  MemberSet voters() const { return voters_ | outgoing_; }
  bool votes(size_t slot) const { return (voters() >> slot & 1) != 0; }

  // Whether these are a majority of every configuration there is.
  bool is_quorum(MemberSet set) const;
  // Whether no quorum does without all of these: none of this configuration, and none of the one to
  // which a joint one leads or which one that is not joint leads to.
  bool blocks(MemberSet set) const;
  // The largest value that a quorum reaches; values by slot. There must be voters.
  uint64_t quorum_value(const std::array<uint64_t, kMembersMax>& values) const;

 private:
  std::vector<ReplicaId> members_;  // sorted
  MemberSet voters_ = 0;
  MemberSet outgoing_ = 0;
};

}  // namespace kahuna::raft
