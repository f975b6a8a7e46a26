// Who belongs to the cluster: a value, and what people may wish of it.
//
// Meta records it under a reserved key, `__kahuna:roster` (schemas/meta.fbs, Roster); while that
// record does not exist the founders are the members. Every directory holds a copy, and nodes tell
// each other: the highest revision counts (membership.h).
//
//   M1 a node's id, minted with its directory, belongs to one member for good. A member that was
//   removed
//      never comes back: the same machine does, on an empty directory, as another member;
//   M2 no two members that are not removed have the same name;
//   M3 somebody votes.
//
// The last kRemovedMax of those who were removed stay listed, so that they can be told.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kahuna/node/identity.h"
#include "kahuna/raft/configuration.h"

namespace kahuna::node {

// Meta's record.
inline constexpr const char* kRosterKey = "__kahuna:roster";

inline constexpr size_t kRemovedMax = 32;

// The bytes of a record. kDamaged: not what encode_roster() writes.
std::string encode_roster(const Roster& roster);
Result<Roster> decode_roster(ByteView bytes);

Roster founded_roster(const Founding& founding);

// Null: there is none. A name is that of a member who was not removed.
const RosterMember* find_member(const Roster& roster, NodeId node);
const RosterMember* find_member(const Roster& roster, std::string_view name);

// Who is to vote, and to learn, in every partition; sorted.
struct Wanted {
  std::vector<ReplicaId> voters, learners;
};
Wanted wanted_by(const Roster& roster);

// "join NODE NAME ADDRESS voter|learner", "remove NAME NODE", "promote NAME NODE", where "NODE" is
// the member's id, or 0 for whoever has that name, or else had it last. Returns what follows;
// nullopt: it is so already.
// kInvalid: no such wish, no such member, or it would break M2, M3 or a limit; kRemoved: M1.
Result<std::optional<Roster>> fulfil(const Roster& roster, std::string_view wish);

// What a node is told that was removed.
Error was_removed(std::string_view name);

}  // namespace kahuna::node
