#include "kahuna/node/membership.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {

// Of so many one may fail.
constexpr size_t kVotersFloor = 3;

bool has(const std::vector<ReplicaId>& list, ReplicaId replica) {
  return std::binary_search(list.begin(), list.end(), replica);
}

// A leader's view of its group, and of the way it is to go.
class Way {
 public:
  Way(const raft::Replica& leader, const Wanted& wanted, Time now, Duration patience)
      : leader_(leader),
        wanted_(wanted),
        now_(now),
        patience_(patience),
        self_(leader.status().self),
        commit_(leader.status().commit),
        is_(leader.configuration()) {}

  std::optional<MemberStep> next() const {
    MemberStep step{is_.voters, learners(), {}};
    if (step.learners != is_.learners) {
      SOMETIMES(members_come_to_learn);
      return step;
    }
    step.voters = voters();
    if (step.voters == is_.voters || step.voters.empty()) return std::nullopt;
    std::erase_if(step.learners, [&](ReplicaId learner) { return has(step.voters, learner); });
    if (!majority_answers(step.voters) && !MUTANT(members_step_into_the_dead)) {
      SOMETIMES(members_wait_for_a_majority);
      return std::nullopt;
    }
    if (!enough_can_lead(step.voters) && !MUTANT(members_step_into_the_stateless)) {
      SOMETIMES(members_wait_for_a_state);
      return std::nullopt;
    }
    if (!has(step.voters, self_)) step.successor = successor(step.voters);
    if (!step.learners.empty() || step.voters.size() > is_.voters.size())
      SOMETIMES(members_come_to_vote);
    if (step.voters.size() < is_.voters.size()) SOMETIMES(members_leave);
    return step;
  }

 private:
  bool answers(ReplicaId replica) const {
    if (replica == self_) return true;
    auto follower = leader_.follower(replica);
    return follower && now_ - follower->heard <= patience_;
  }
  bool is_near(ReplicaId replica) const {
    auto follower = leader_.follower(replica);
    return follower && follower->has_state &&
           follower->match.value() + kPromotionLagMax >= commit_.value();
  }

  // Whoever is to come begins by learning; whoever learns and is not to, goes.
  std::vector<ReplicaId> learners() const {
    std::vector<ReplicaId> list;
    for (ReplicaId learner : is_.learners)
      if (has(wanted_.voters, learner) || has(wanted_.learners, learner)) list.push_back(learner);
    for (const auto* coming : {&wanted_.voters, &wanted_.learners})
      for (ReplicaId replica : *coming)
        if (!is_.contains(replica) && list.size() < raft::kLearnersMax) list.push_back(replica);
    std::sort(list.begin(), list.end());
    return list;
  }

  // Those who leave stay while those who come and answer are not ready: together they may be what
  // makes a quorum; and while there would be so few without them that any failure counts. They take
  // nobody's place. The dead wait for nobody.
  std::vector<ReplicaId> voters() const {
    std::vector<ReplicaId> list;
    bool somebody_comes = false;
    for (ReplicaId replica : wanted_.voters) {
      if (is_.votes(replica)) continue;
      const bool ready = answers(replica) && is_near(replica);
      if (ready || MUTANT(members_promoted_unready)) list.push_back(replica);
      somebody_comes = somebody_comes || (answers(replica) && !ready);
    }
    for (ReplicaId replica : is_.voters)
      if (has(wanted_.voters, replica) && list.size() < raft::kVotersMax) list.push_back(replica);
    const size_t floor = std::min(kVotersFloor, wanted_.voters.size());
    for (ReplicaId replica : is_.voters) {
      if (has(wanted_.voters, replica) || !answers(replica)) continue;
      if ((somebody_comes || list.size() < floor) && list.size() < raft::kVotersMax)
        list.push_back(replica);
    }
    std::sort(list.begin(), list.end());
    return list;
  }

  bool majority_answers(const std::vector<ReplicaId>& voters) const {
    const auto count =
        std::count_if(voters.begin(), voters.end(), [&](ReplicaId r) { return answers(r); });
    return 2 * static_cast<size_t>(count) > voters.size();
  }

  // Somebody leads when as many fail as may. A leader that leaves leaves one who needs nothing more
  // of it.
  bool enough_can_lead(const std::vector<ReplicaId>& voters) const {
    size_t can = 0;
    bool heir = has(voters, self_);
    for (ReplicaId replica : voters) {
      auto follower = leader_.follower(replica);
      can += replica == self_ || (follower && follower->has_state && answers(replica));
      heir = heir || (answers(replica) && is_near(replica));
    }
    return heir && can > (voters.size() - 1) / 2;
  }

  // A leader that leaves hands over first, so that nobody waits for an election.
  ReplicaId successor(const std::vector<ReplicaId>& voters) const {
    for (ReplicaId replica : voters)
      if (is_.votes(replica) && answers(replica) && is_near(replica)) return replica;
    return {};
  }

  const raft::Replica& leader_;
  const Wanted& wanted_;
  const Time now_;
  const Duration patience_;
  const ReplicaId self_;
  const Index commit_;
  const raft::Configuration& is_;
};

}  // namespace

bool is_there(const raft::Replica& leader, const Wanted& wanted) {
  const raft::Configuration& is = leader.configuration();
  return is.voters == wanted.voters && is.learners == wanted.learners && leader.settled();
}

std::optional<MemberStep> next_step(const raft::Replica& leader, const Wanted& wanted, Time now,
                                    Duration patience) {
  if (!leader.can_serve() || !leader.settled() || wanted.voters.empty()) return std::nullopt;
  return Way(leader, wanted, now, patience).next();
}

void Membership::open(Roster roster) {
  adopt(std::move(roster));
  update();
}

// As this node's replica of meta has it; the revision is what the next record must replace.
Result<std::optional<Roster>> Membership::recorded(Revision& revision) {
  partition::StateMachine* meta = hooks_.meta();
  if (!meta) return std::nullopt;
  auto record = meta->get(kRosterKey);
  if (!record) {
    hooks_.meta_failed(record.error());
    if (MUTANT(failed_read_is_no_record)) return std::nullopt;
    return fail(ErrorCode::kUnavailable,
                "the record of the members cannot be read: " + record.error().text);
  }
  if (!*record) return std::nullopt;
  revision = (*record)->revision;
  auto roster = decode_roster(as_bytes((*record)->value));
  if (!roster) return std::nullopt;
  roster->revision = revision;
  return std::move(*roster);
}

void Membership::update() {
  Revision revision;
  if (roster_.members.empty()) return;
  auto roster = recorded(revision);
  if (roster && *roster && revision > roster_.revision) adopt(std::move(**roster));
}

void Membership::heard(const Roster& roster) {
  if (roster_.members.empty() || roster.revision == roster_.revision) return;
  if (roster.revision < roster_.revision && !MUTANT(roster_goes_back)) return;
  SOMETIMES(members_heard_from_a_peer);
  adopt(roster);
}

void Membership::adopt(Roster roster) {
  CHECK(roster_.members.empty() || roster_.revision < roster.revision);
  roster_ = std::move(roster);
  hooks_.on_roster();
}

Result<std::optional<partition::Command>> Membership::command(std::string_view wish) {
  if (!hooks_.leads_meta() || !hooks_.meta())
    return fail(ErrorCode::kNotLeader, "this node does not lead the meta partition");
  Revision revision;
  ASSIGN_OR_RETURN(std::optional<Roster> before, recorded(revision));
  if (!before && roster_.revision != Revision()) {
    // Its state is behind what this node has heard of.
    return fail(ErrorCode::kUnavailable,
                "the leader of meta does not know the members yet; try again");
  }
  if (!before) before = roster_;
  ASSIGN_OR_RETURN(std::optional<Roster> next, fulfil(*before, wish));
  if (!next) return std::nullopt;
  partition::Command command;
  command.kind = partition::CommandKind::kSet;
  command.key = kRosterKey;
  next->revision = Revision();  // the record's own
  command.value = encode_roster(*next);
  command.conditions.if_revision = revision;
  return command;
}

}  // namespace kahuna::node
