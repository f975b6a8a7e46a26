// Who belongs to the group, while it runs: what a change is, and what follows when another
// configuration comes into force (configuration.h has the rules).
#include <algorithm>
#include <utility>

#include "kahuna/raft/replica.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {

Result<LogPosition> Replica::change(Time now, std::vector<ReplicaId> voters,
                                    std::vector<ReplicaId> learners) {
  if (role_ != Role::kLeader) return fail(ErrorCode::kNotLeader, "this replica does not lead");
  // Until an entry of this term is committed a change of an earlier leader may still come to light,
  // and quorums of the two need not meet.
  if (!can_serve() && !MUTANT(change_before_own_term))
    return fail(ErrorCode::kUnavailable, "this replica leads only since now; try again");
  if (transfer_.stage >= Transfer::Stage::kHold) return fail_handing_over();
  const Configuration& before = configuration();
  if (before.joint() || (configurations_.index() > commit_ && !MUTANT(second_change_at_once)))
    return fail(ErrorCode::kUnavailable, "another change of members is on its way; try again");
  Configuration next{std::move(voters), {}, std::move(learners)};
  std::sort(next.voters.begin(), next.voters.end());
  std::sort(next.learners.begin(), next.learners.end());
  if (next.voters != before.voters) next.outgoing = before.voters;
  if (!next.known() || !next.well_formed() || !next.may_follow(before))
    return fail(ErrorCode::kInvalid,
                "no such change in one step: voters are made of learners, at most " +
                    std::to_string(kVotersMax) + " of them, and at most " +
                    std::to_string(kLearnersMax) + " learners");
  if (next == before) return log_.position(std::max(configurations_.index(), log_.base().index));
  // The last who can lead must not be outvoted by those who cannot, nor leave them to themselves.
  bool somebody_leads = MUTANT(members_step_into_the_stateless);
  for (ReplicaId voter : next.voters) {
    const bool has_state = voter == self_ || progress_[slot_of(voter)].has_state();
    if (!before.votes(voter) && !has_state)
      return fail(ErrorCode::kUnavailable, "a new voter has no state yet; try again");
    somebody_leads = somebody_leads || has_state;
  }
  if (!somebody_leads)
    return fail(ErrorCode::kUnavailable, "none of those who are to vote has a state; try again");
  if (next.joint()) SOMETIMES(raft_enters_joint);
  return append_configuration(now, std::move(next));
}

LogPosition Replica::append_configuration(Time now, Configuration next) {
  Entry entry;
  entry.index = log_.last().index.next();
  entry.term = hard_state_.term;
  entry.kind = EntryKind::kConfiguration;
  entry.payload = encode(next);
  log_.append(std::move(entry));
  configurations_.append(log_.last().index, std::move(next));
  if (!MUTANT(configuration_from_commit)) adopt_configuration(now);
  appends_due_ = true;
  stir(now);
  return log_.last();
}

// Leader: the rest of a change, as soon as what it waits for is committed.
void Replica::settle_configuration(Time now) {
  if (configurations_.index() > commit_) return;
  if (MUTANT(configuration_from_commit)) adopt_configuration(now);
  if (configuration().joint()) {
    if (!can_serve() || has_told()) return;
    SOMETIMES(raft_leaves_joint);
    append_configuration(now, configuration().left());
    if (members_.votes(self_slot_)) return;
    SOMETIMES(raft_leads_a_group_without_itself);
    return;
  }
  if (members_.votes(self_slot_)) return;
  bool has_heir = MUTANT(members_step_into_the_stateless);
  for (size_t slot = 0; slot < members_.size(); ++slot) {
    const Progress& peer = progress_[slot];
    has_heir = has_heir || (members_.votes(slot) && peer.has_state() &&
                            peer.match() >= configurations_.index());
  }
  if (!has_heir) return;  // whoever hands over first, as nodes do, hardly ever gets here
  SOMETIMES(raft_removed_leader_steps_down);
  become_follower(now, hard_state_.term, ReplicaId());
}

// Another configuration may be in force: what is known by slot finds its new place.
void Replica::adopt_configuration(Time now) {
  const Members before = std::exchange(members_, Members(configuration()));
  self_slot_ = members_.slot_of(self_);
  if (role_ != Role::kLeader) {
    votes_ = 0;  // only a leader's word brings a follower here
    answers_ = {};
    return;
  }
  quiescence_.since = 0;
  std::vector<Progress> progress;
  std::vector<bool> streaming;
  for (size_t slot = 0; slot < members_.size(); ++slot) {
    const size_t old = before.slot_of(members_[slot]);
    const bool known = old < before.size();
    progress.push_back(known ? progress_[old] : Progress(log_.last().index, now, flight_limit()));
    streaming.push_back(known && streaming_[old]);
  }
  progress_ = std::move(progress);
  streaming_ = std::move(streaming);
  std::erase_if(snapshots_due_,
                [&](ReplicaId to) { return members_.slot_of(to) == members_.size(); });
  if (timer_ == Time::max() && has_others()) rearm_heartbeat_timer(now);
}

// Whoever does not lead: the log has grown behind `after`.
void Replica::follow_configurations(Index after) {
  bool changed = false;
  for (Index i = after.next(); i <= log_.last().index; i = i.next()) {
    const Entry* entry = log_.at(i);
    if (entry->kind != EntryKind::kConfiguration) continue;
    configurations_.append(i, *decode_configuration(entry->payload.view()));
    changed = true;
  }
  if (changed) adopt_configuration(Time());
}

std::optional<Follower> Replica::follower(ReplicaId replica) const {
  const size_t slot = slot_of(replica);
  if (role_ != Role::kLeader || slot == members_.size() || slot == self_slot_) return std::nullopt;
  return Follower{progress_[slot].match(), progress_[slot].heard(), progress_[slot].has_state()};
}

}  // namespace kahuna::raft
