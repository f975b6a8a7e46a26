#include "kahuna/raft/configuration.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <string>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {
namespace {

constexpr char kShape = 1;
constexpr size_t kHeaderBytes = 4;
constexpr size_t kReplicaBytes = 16;

bool holds(const std::vector<ReplicaId>& list, ReplicaId replica) {
  return std::binary_search(list.begin(), list.end(), replica);
}

bool sorted(const std::vector<ReplicaId>& list, size_t max) {
  return list.size() <= max &&
         std::all_of(list.begin(), list.end(), [](ReplicaId r) { return bool(r); }) &&
         std::adjacent_find(list.begin(), list.end(), std::greater_equal<>()) == list.end();
}

bool disjoint(const std::vector<ReplicaId>& a, const std::vector<ReplicaId>& b) {
  return std::none_of(a.begin(), a.end(), [&](ReplicaId replica) { return holds(b, replica); });
}

void put(std::string& out, uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

uint64_t take(std::string_view bytes, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value |= uint64_t(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  return value;
}

bool is_majority(MemberSet set, MemberSet of) {
  return 2 * std::popcount(set & of) > std::popcount(of);
}

uint64_t majority_value(const std::array<uint64_t, kMembersMax>& values, MemberSet of) {
  std::array<uint64_t, kMembersMax> reached;
  size_t count = 0;
  for (size_t slot = 0; slot < kMembersMax; ++slot)
    if (of >> slot & 1) reached[count++] = values[slot];
  std::sort(reached.begin(), reached.begin() + static_cast<ptrdiff_t>(count), std::greater<>());
  return reached[count / 2];
}

}  // namespace

bool Configuration::votes(ReplicaId replica) const {
  return holds(voters, replica) || holds(outgoing, replica);
}

bool Configuration::contains(ReplicaId replica) const {
  return votes(replica) || holds(learners, replica);
}

bool Configuration::well_formed() const {
  if (!known()) return outgoing.empty() && learners.empty();
  return sorted(voters, kVotersMax) && sorted(outgoing, kVotersMax) &&
         sorted(learners, kLearnersMax) && disjoint(learners, voters) &&
         disjoint(learners, outgoing);
}

bool Configuration::may_follow(const Configuration& before) const {
  if (before.joint()) return *this == before.left();
  if (!joint()) return voters == before.voters;
  return outgoing == before.voters && voters != before.voters &&
         std::all_of(voters.begin(), voters.end(),
                     [&](ReplicaId r) { return before.contains(r); }) &&
         std::all_of(learners.begin(), learners.end(),
                     [&](ReplicaId r) { return holds(before.learners, r); });
}

Payload encode(const Configuration& configuration) {
  CHECK(configuration.known());
  CHECK(configuration.well_formed());
  std::string out{kShape};
  const auto lists = {&configuration.voters, &configuration.outgoing, &configuration.learners};
  for (const auto* list : lists) out.push_back(static_cast<char>(list->size()));
  for (const auto* list : lists) {
    for (ReplicaId replica : *list) {
      put(out, replica.node.value());
      put(out, replica.incarnation);
    }
  }
  return Payload(std::string_view(out));
}

std::optional<Configuration> decode_configuration(ByteView view) {
  std::string_view bytes = as_text(view);
  if (bytes.size() < kHeaderBytes || bytes[0] != kShape) return std::nullopt;
  Configuration configuration;
  auto lists = {&configuration.voters, &configuration.outgoing, &configuration.learners};
  size_t at = kHeaderBytes, which = 1;
  for (auto* list : lists) {
    const size_t count = static_cast<uint8_t>(bytes[which++]);
    if (count > (bytes.size() - at) / kReplicaBytes) return std::nullopt;
    for (size_t i = 0; i < count; ++i, at += kReplicaBytes)
      list->push_back({NodeId(take(bytes, at)), take(bytes, at + 8)});
  }
  if (at != bytes.size() || !configuration.known() || !configuration.well_formed())
    return std::nullopt;
  return configuration;
}

Members::Members(const Configuration& configuration) {
  CHECK(configuration.well_formed());
  for (const auto* list : {&configuration.voters, &configuration.outgoing, &configuration.learners})
    members_.insert(members_.end(), list->begin(), list->end());
  std::sort(members_.begin(), members_.end());
  members_.erase(std::unique(members_.begin(), members_.end()), members_.end());
  for (ReplicaId replica : configuration.voters) voters_ |= MemberSet{1} << slot_of(replica);
  for (ReplicaId replica : configuration.outgoing) outgoing_ |= MemberSet{1} << slot_of(replica);
  if (MUTANT(learner_counts))
    for (ReplicaId replica : configuration.learners) voters_ |= MemberSet{1} << slot_of(replica);
  if (MUTANT(joint_asks_only_the_new)) outgoing_ = 0;
}

bool Members::is_quorum(MemberSet set) const {
  return is_majority(set, voters_) && (outgoing_ == 0 || is_majority(set, outgoing_));
}

// While joint a quorum takes a majority of `voters`, as later without `outgoing`. Before it is
// joint, its voters are those that go out next, of whom a joint quorum takes a majority.
bool Members::blocks(MemberSet set) const {
  return voters_ != 0 && !is_majority(voters_ & ~set, voters_);
}

uint64_t Members::quorum_value(const std::array<uint64_t, kMembersMax>& values) const {
  CHECK_NE(voters_, 0u);
  uint64_t value = majority_value(values, voters_);
  return outgoing_ == 0 ? value : std::min(value, majority_value(values, outgoing_));
}

}  // namespace kahuna::raft
