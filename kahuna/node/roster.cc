#include "kahuna/node/roster.h"

#include <algorithm>
#include <charconv>

#include "runtime/probe.h"

namespace kahuna::node {
namespace {

constexpr size_t kWordsMax = 5;

// The words of a wish; empty when there are too many.
std::vector<std::string> words_of(std::string_view wish) {
  std::vector<std::string> words;
  while (!wish.empty()) {
    const size_t end = std::min(wish.find(' '), wish.size());
    words.emplace_back(wish.substr(0, end));
    wish.remove_prefix(std::min(end + 1, wish.size()));
  }
  if (words.size() > kWordsMax) words.clear();
  return words;
}

std::optional<NodeId> node_in(const std::string& word) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return NodeId(value);
}

size_t count(const Roster& roster, MemberState state) {
  return static_cast<size_t>(
      std::count_if(roster.members.begin(), roster.members.end(),
                    [&](const RosterMember& m) { return m.state == state; }));
}

// Of those who have or had the name: the member, or else the one removed last.
const RosterMember* find_wished(const Roster& roster, std::string_view name) {
  const RosterMember* member = find_member(roster, name);
  for (const RosterMember& m : roster.members)
    if (m.name == name && (!member || member->state == MemberState::kRemoved)) member = &m;
  return member;
}

Error no_such_wish() {
  return {ErrorCode::kInvalid,
          "members join, are removed and are promoted; this server is older than its client"};
}

Result<std::optional<Roster>> join(const Roster& roster, const std::vector<std::string>& words) {
  if (words.size() != 5 || (words[4] != "voter" && words[4] != "learner"))
    return fail(no_such_wish());
  const auto node = node_in(words[1]);
  auto address = parse_address(words[3]);
  if (!node || !*node || !valid_name(words[2]) || !address)
    return fail(ErrorCode::kInvalid, "a node that joins needs a name and an address");
  if (const RosterMember* member = find_member(roster, *node)) {
    if (member->state == MemberState::kRemoved) return fail(was_removed(member->name));
    return std::nullopt;
  }
  if (const RosterMember* other = find_member(roster, words[2]))
    return fail(ErrorCode::kInvalid,
                "this cluster has a member '" + words[2] + "' at " + to_string(other->address) +
                    " with another data directory: to replace it, 'kahuna members remove " +
                    words[2] + "' first; otherwise choose another --name");
  for (const RosterMember& other : roster.members)
    if (other.state != MemberState::kRemoved && other.address == *address)
      return fail(ErrorCode::kInvalid, "member '" + other.name + "' has the address " + words[3] +
                                           "; remove it first, or choose another --listen");
  const size_t present = count(roster, MemberState::kVoter) + count(roster, MemberState::kLearner);
  if (present >= raft::kVotersMax)
    return fail(ErrorCode::kInvalid,
                "this cluster has " + std::to_string(present) + " members, and may have no more");
  Roster next = roster;
  next.members.push_back({*node, words[2], std::move(*address), 1,
                          words[4] == "voter" ? MemberState::kVoter : MemberState::kLearner});
  return next;
}

}  // namespace

Error was_removed(std::string_view name) {
  return {ErrorCode::kRemoved,
          "node '" + std::string(name) +
              "' was removed from the cluster; its data directory is of no use any more: to come "
              "back, start it on an empty one with --join"};
}

const RosterMember* find_member(const Roster& roster, NodeId node) {
  for (const RosterMember& m : roster.members)
    if (m.node == node) return &m;
  return nullptr;
}

const RosterMember* find_member(const Roster& roster, std::string_view name) {
  for (const RosterMember& m : roster.members)
    if (m.state != MemberState::kRemoved && m.name == name) return &m;
  return nullptr;
}

Roster founded_roster(const Founding& founding) {
  Roster roster;
  for (const FoundingMember& m : founding.members)
    roster.members.push_back({m.node, m.name, m.address, m.incarnation, MemberState::kVoter});
  return roster;
}

Wanted wanted_by(const Roster& roster) {
  Wanted wanted;
  for (const RosterMember& m : roster.members) {
    const bool learns = m.state == MemberState::kLearner && !MUTANT(learners_are_promoted_unasked);
    if (m.state != MemberState::kRemoved && !learns)
      wanted.voters.push_back({m.node, m.incarnation});
    if (learns) wanted.learners.push_back({m.node, m.incarnation});
  }
  std::sort(wanted.voters.begin(), wanted.voters.end());
  std::sort(wanted.learners.begin(), wanted.learners.end());
  return wanted;
}

Result<std::optional<Roster>> fulfil(const Roster& roster, std::string_view wish) {
  const std::vector<std::string> words = words_of(wish);
  if (words.empty()) return fail(no_such_wish());
  if (words[0] == "join") return join(roster, words);
  const auto node = words.size() == 3 ? node_in(words[2]) : std::nullopt;
  if (!node || (words[0] != "remove" && words[0] != "promote")) return fail(no_such_wish());
  const RosterMember* member = *node ? find_member(roster, *node) : find_wished(roster, words[1]);
  if (!member || member->name != words[1])
    return fail(ErrorCode::kInvalid,
                "this cluster has no such member '" + words[1] + "'; see 'kahuna members list'");
  const MemberState state = words[0] == "remove" ? MemberState::kRemoved : MemberState::kVoter;
  if (member->state == state) return std::nullopt;
  if (member->state == MemberState::kRemoved) return fail(was_removed(member->name));
  if (member->state == MemberState::kVoter && count(roster, MemberState::kVoter) == 1)
    return fail(ErrorCode::kInvalid,
                "'" + words[1] + "' is the last member that votes; nobody would hold the data");
  Roster next = roster;
  next.members[static_cast<size_t>(member - roster.members.data())].state = state;
  while (count(next, MemberState::kRemoved) > kRemovedMax)
    next.members.erase(
        std::find_if(next.members.begin(), next.members.end(),
                     [](const RosterMember& m) { return m.state == MemberState::kRemoved; }));
  return next;
}

}  // namespace kahuna::node
