#include "kahuna/raft/invariants.h"

#include <algorithm>
#include <set>

#include "runtime/hash.h"

namespace kahuna::raft {
namespace {

std::string text(Index index) {
  return std::to_string(index.value());
}
std::string text(Term term) {
  return std::to_string(term.value());
}
std::string text(ReplicaId id) {
  return id ? std::to_string(id.node.value()) + "/" + std::to_string(id.incarnation) : "nobody";
}
std::string text(LogPosition position) {
  return text(position.index) + "@" + text(position.term);
}

std::string violation(const char* rule, const Status& status, std::string what) {
  return std::string(rule) + " violated in group " + std::to_string(status.group.value()) +
         " by replica " + text(status.self) + " in term " + text(status.hard_state.term) + ": " +
         what;
}

uint64_t content_of(const Entry& entry) {
  uint64_t seed = static_cast<uint64_t>(entry.kind) | entry.level.value() << 8;
  return hash64(entry.payload.view(), seed);
}

// Counted by itself: what replicas count with may be wrong.
bool is_quorum(const std::set<ReplicaId>& of, const Configuration& configuration) {
  auto majority = [&](const std::vector<ReplicaId>& voters) {
    auto in = std::count_if(voters.begin(), voters.end(),
                            [&](ReplicaId voter) { return of.contains(voter); });
    return 2 * size_t(in) > voters.size();
  };
  return majority(configuration.voters) &&
         (!configuration.joint() || majority(configuration.outgoing));
}

bool same(const Status& a, const Status& b) {
  return a.role == b.role && a.hard_state == b.hard_state && a.base == b.base && a.last == b.last &&
         a.commit == b.commit && a.applied == b.applied && a.durable == b.durable &&
         a.stateless == b.stateless && a.quiet == b.quiet && a.promised == b.promised &&
         a.lost == b.lost && a.configuration == b.configuration;
}

}  // namespace

InvariantChecker::Group& InvariantChecker::group_of(PartitionId id) {
  constexpr size_t kSmall = 4096;
  if (id.value() < by_id_.size() && by_id_[id.value()]) return *by_id_[id.value()];
  Group& group = groups_[id];
  if (id.value() >= kSmall) return group;
  if (id.value() >= by_id_.size()) by_id_.resize(id.value() + 1);
  by_id_[id.value()] = &group;
  return group;
}

InvariantChecker::Violation InvariantChecker::observe(const Replica& replica, bool node_alive) {
  if (!node_alive) return std::nullopt;  // its shadow stands for its disk
  Status now = replica.status();
  Group& group = group_of(now.group);
  Shadow& shadow = group.shadows[now.self];
  if (shadow.known && same(shadow.status, now)) return std::nullopt;
  return check(replica, group, shadow, false);
}

InvariantChecker::Violation InvariantChecker::restarted(const Replica& replica) {
  Status now = replica.status();
  Group& group = group_of(now.group);
  Shadow& shadow = group.shadows[now.self];
  shadow.reads.clear();
  return check(replica, group, shadow, true);
}

InvariantChecker::Violation InvariantChecker::check(const Replica& replica, Group& group,
                                                    Shadow& shadow, bool restarted) {
  Status now = replica.status();
  bool first_look = !shadow.known;
  if (first_look && now.base.index.value() >= group.first.value() + group.committed.size()) {
    // A group whose beginning was never seen.
    group.first = now.base.index.next();
    group.committed.clear();
    group.seen.clear();
  }
  if (now.applied > now.commit || now.commit > now.last.index || now.durable > now.last.index ||
      now.base.index > now.applied || now.base.index > now.durable)
    return violation("order of base, applied, commit, durable, last", now,
                     text(now.base.index) + " " + text(now.applied) + " " + text(now.commit) + " " +
                         text(now.durable) + " " + text(now.last.index));
  if (now.stateless && now.role == Role::kLeader)
    return violation("R10", now, "leads without a state");
  if (now.lost > 0 && now.role == Role::kLeader)
    return violation("R10", now, "leads with a faulty log");
  if (auto bad = check_handed_over(shadow, now)) return bad;
  if (!first_look) {
    if (auto bad = check_hard_state(shadow, now, restarted)) return bad;
    if (restarted) {
      if (auto bad = check_survived(shadow, replica)) return bad;
    } else if (now.commit < shadow.status.commit) {
      return violation(
          "R5", now, "commit fell to " + text(now.commit) + " from " + text(shadow.status.commit));
    }
  }
  Index commit_before = first_look || restarted ? now.base.index : shadow.status.commit;
  bool was_leader = !first_look && !restarted && shadow.status.role == Role::kLeader &&
                    shadow.status.hard_state.term == now.hard_state.term;
  const Status before = shadow.status;
  if (auto bad = check_log(replica, group, shadow, now, first_look || restarted)) return bad;
  shadow.known = true;
  shadow.status = now;
  if (restarted) {
    shadow.lost.clear();
    for (Index i = now.last.index.next(); i <= now.promised.index; i = i.next())
      shadow.lost.emplace(i, *replica.promised_term_at(i));
  }
  std::erase_if(shadow.lost, [&](const auto& lost) {
    return lost.first <= now.durable || replica.promised_term_at(lost.first) != lost.second;
  });
  if (now.role == Role::kLeader && !was_leader) {
    if (auto bad = check_new_leader(replica, group, now)) return bad;
    if (!first_look)
      if (auto bad = check_elected(group, now)) return bad;
  }
  if (auto bad = check_quiet(group, now)) return bad;
  if (now.commit <= commit_before) return std::nullopt;
  Index known_to(group.first.value() + group.committed.size() - 1);
  if (auto bad = check_committed(replica, group, now, commit_before)) return bad;
  // What was committed before anybody looked was counted by somebody unseen.
  if (now.commit > known_to && !first_look) return check_counting(replica, group, before, now);
  return std::nullopt;
}

InvariantChecker::Violation InvariantChecker::check_hard_state(const Shadow& shadow,
                                                               const Status& now,
                                                               bool restarted) const {
  HardState before = shadow.status.hard_state;
  if (!restarted) {
    if (now.hard_state.term < before.term)
      return violation("R6", now, "term fell from " + text(before.term));
    if (now.hard_state.term == before.term && before.vote && now.hard_state.vote != before.vote)
      return violation(
          "R6", now, "vote changed from " + text(before.vote) + " to " + text(now.hard_state.vote));
    return std::nullopt;
  }
  if (now.hard_state.term < shadow.term_told)
    return violation("R6", now,
                     "after a restart it forgot term " + text(shadow.term_told) +
                         ", in which it had voted or acknowledged");
  auto vote = shadow.votes_told.find(now.hard_state.term);
  if (vote != shadow.votes_told.end() && now.hard_state.vote != vote->second)
    return violation("R6", now, "after a restart it forgot its vote for " + text(vote->second));
  return std::nullopt;
}

InvariantChecker::Violation InvariantChecker::check_handed_over(const Shadow& shadow,
                                                                const Status& now) const {
  if (now.role != Role::kLeader || now.hard_state.term != shadow.handed_over.term ||
      now.last.index == shadow.handed_over.index)
    return std::nullopt;
  return violation("R11", now,
                   "appended " + text(now.last) + " after it had told another to take over");
}

InvariantChecker::Violation InvariantChecker::check_quiet(const Group& group, const Status& now) {
  if (!now.quiet) return std::nullopt;
  const Index last = now.last.index;
  if (now.stateless || now.lost > 0 || now.commit != last || now.applied != last ||
      now.durable != last)
    return violation("R14", now,
                     "is quiet at " + text(now.last) + ", commit " + text(now.commit) +
                         ", applied " + text(now.applied) + ", durable " + text(now.durable));
  auto leader = group.leaders.find(now.hard_state.term);
  if (leader == group.leaders.end() || leader->second != now.leader)
    return violation("R14", now, "is quiet under " + text(now.leader) + ", who does not lead");
  if (now.role != Role::kLeader) return std::nullopt;
  for (const auto& [id, shadow] : group.shadows) {
    if (!shadow.known || !now.configuration->contains(id) || shadow.status.promised.index >= last)
      continue;
    return violation("R14", now,
                     "is quiet at " + text(now.last) + " though the log of " + text(id) +
                         " ends at " + text(shadow.status.promised));
  }
  return std::nullopt;
}

// What was durable before the crash is there after it.
InvariantChecker::Violation InvariantChecker::check_survived(const Shadow& shadow,
                                                             const Replica& replica) const {
  Status now = replica.status();
  bool faulty = !shadow.lost.empty();
  Index durable = faulty ? shadow.lost.rbegin()->first : shadow.status.durable;
  if (durable <= now.base.index || durable <= shadow.status.base.index) return std::nullopt;
  Term term = faulty ? shadow.lost.rbegin()->second
                     : shadow.terms[durable.value() - shadow.status.base.index.value() - 1];
  std::optional<Term> found = replica.promised_term_at(durable);
  // Something newer may have replaced it in a write whose completion was never seen.
  if (found && *found >= term) return std::nullopt;
  if (!found && now.promised.term > term) return std::nullopt;
  return violation("R6", now,
                   "after a restart its log ends at " + text(now.promised) + " though " +
                       text(LogPosition{durable, term}) + " was durable");
}

InvariantChecker::Violation InvariantChecker::check_log(const Replica& replica, Group& group,
                                                        Shadow& shadow, const Status& now,
                                                        bool from_scratch) {
  LogPosition base = now.base;
  std::deque<Term>& terms = shadow.terms;
  const Status before = shadow.status;
  if (from_scratch) {
    terms.clear();
  } else {
    if (base.index < before.base.index) return violation("R7", now, "the base moved back");
    Index kept = std::min(base.index, before.last.index);
    for (Index i = before.base.index; i < kept; i = i.next()) terms.pop_front();
  }
  // Walk down from the end to the first entry that was there before.
  Index index = now.last.index;
  for (; index > base.index; index = index.prev()) {
    size_t at = index.value() - base.index.value() - 1;
    if (at < terms.size() && terms[at] == *replica.term_at(index)) break;
  }
  Index changed = index.next();
  if (!from_scratch && changed <= before.last.index) {
    if (changed <= before.commit && changed > base.index)
      return violation("R7", now, "committed index " + text(changed) + " was truncated");
    if (before.role == Role::kLeader && now.role == Role::kLeader &&
        before.hard_state.term == now.hard_state.term)
      return violation("R2", now, "the leader overwrote its index " + text(changed));
  }
  terms.resize(index.value() - base.index.value());
  for (Index i = changed; i <= now.last.index; i = i.next()) {
    const Entry* entry = replica.entry(i);
    Seen seen{entry->term, *replica.term_at(i.prev()), content_of(*entry)};
    terms.push_back(seen.term);
    if (entry->kind == EntryKind::kConfiguration && i > now.configuration_index)
      return violation("R12", now,
                       "does not go by its configuration " + text(LogPosition{i, seen.term}));
    if (i < group.first) continue;
    size_t at = i.value() - group.first.value();
    if (group.seen.size() <= at) group.seen.resize(at + 1);
    std::vector<Seen>& column = group.seen[at];
    auto known = std::find_if(column.begin(), column.end(),
                              [&](const Seen& other) { return other.term == seen.term; });
    if (known == column.end()) {
      column.push_back(seen);
    } else if (known->previous_term != seen.previous_term || known->content != seen.content) {
      return violation("R3", now,
                       "its entry " + text(LogPosition{i, seen.term}) +
                           " differs from another replica's, or follows another entry");
    }
  }
  if (from_scratch || now.role != Role::kLeader) return std::nullopt;
  return check_changes(replica, before, now, changed);
}

// What a leader appended from `from` on.
InvariantChecker::Violation InvariantChecker::check_changes(const Replica& replica,
                                                            const Status& before, const Status& now,
                                                            Index from) {
  Index last = before.configuration_index;
  std::shared_ptr<const Configuration> known;
  if (last < from) known = before.configuration;
  for (Index i = std::max(from, now.base.index.next()); i <= now.last.index; i = i.next()) {
    const Entry* entry = replica.entry(i);
    if (entry->kind != EntryKind::kConfiguration) continue;
    auto next = decode_configuration(entry->payload.view());
    if (!next)
      return violation("R12", now, "appended a configuration that cannot be read, at " + text(i));
    if (entry->term == now.hard_state.term) {
      if (known && last > now.commit)
        return violation("R12", now,
                         "changed members at " + text(i) + " before the change at " + text(last) +
                             " was committed");
      if (replica.term_at(now.commit) != now.hard_state.term)
        return violation("R12", now,
                         "changed members at " + text(i) + " before it had committed anything");
      if (known && !next->may_follow(*known))
        return violation("R12", now, "changed members at " + text(i) + " by more than a step");
    }
    last = i;
    known = std::make_shared<const Configuration>(std::move(*next));
  }
  return std::nullopt;
}

// R13, by the votes that were told.
InvariantChecker::Violation InvariantChecker::check_elected(const Group& group, const Status& now) {
  const Configuration& configuration = *now.configuration;
  if (!configuration.votes(now.self) && now.configuration_index <= now.commit)
    return violation("R13", now, "leads a group in which it has no vote");
  std::set<ReplicaId> votes{now.self};
  for (const auto& [id, shadow] : group.shadows) {
    auto told = shadow.votes_told.find(now.hard_state.term);
    if (told != shadow.votes_told.end() && told->second == now.self) votes.insert(id);
  }
  if (!is_quorum(votes, configuration))
    return violation("R13", now, "leads without the votes of a quorum");
  return std::nullopt;
}

InvariantChecker::Violation InvariantChecker::check_new_leader(const Replica& replica, Group& group,
                                                               const Status& now) {
  auto [leader, is_new] = group.leaders.emplace(now.hard_state.term, now.self);
  if (!is_new && leader->second != now.self)
    return violation("R1", now, "leads beside replica " + text(leader->second));
  for (size_t at = group.committed.size(); at-- > 0;) {
    const Committed& committed = group.committed[at];
    Index index(group.first.value() + at);
    if (index <= now.base.index) break;
    if (committed.by < now.hard_state.term && committed.term != replica.term_at(index))
      return violation("R4", now,
                       "leads without committed entry " + text(LogPosition{index, committed.term}));
  }
  return std::nullopt;
}

bool InvariantChecker::durable_on_quorum(const Group& group, LogPosition position,
                                         const Configuration& configuration) {
  std::set<ReplicaId> copies;
  for (const auto& [id, shadow] : group.shadows) {
    const Status& status = shadow.status;
    if (!shadow.known) continue;
    // What it acknowledged before the damage was durable when it did.
    auto lost = shadow.lost.find(position.index);
    if (lost != shadow.lost.end() && lost->second == position.term) copies.insert(id);
    if (status.durable < position.index) continue;
    if (position.index <= status.base.index ||
        shadow.terms[position.index.value() - status.base.index.value() - 1] == position.term)
      copies.insert(id);
  }
  return is_quorum(copies, configuration);
}

// What this replica commits is what the others commit there.
InvariantChecker::Violation InvariantChecker::check_committed(const Replica& replica, Group& group,
                                                              const Status& now, Index from) {
  for (Index i = std::max(from.next(), group.first); i <= now.commit; i = i.next()) {
    const Entry* entry = replica.entry(i);
    size_t at = i.value() - group.first.value();
    if (at < group.committed.size()) {
      const Committed& committed = group.committed[at];
      if (entry && (committed.term != entry->term || committed.content != content_of(*entry)))
        return violation("R5", now,
                         "committed " + text(LogPosition{i, entry->term}) + " where " +
                             text(LogPosition{i, committed.term}) +
                             " is committed, or the same with other content");
      continue;
    }
    if (!entry) return violation("R5", now, "released " + text(i) + " before it was committed");
    group.committed.push_back({entry->term, content_of(*entry), now.hard_state.term});
  }
  return std::nullopt;
}

// The first to commit had the right to.
InvariantChecker::Violation InvariantChecker::check_counting(const Replica& replica, Group& group,
                                                             const Status& before,
                                                             const Status& now) {
  LogPosition position{now.commit, *replica.term_at(now.commit)};
  // A turn may have brought another configuration before it counted, or after. But a change is
  // counted under itself.
  const Configuration& one = *before.configuration;
  bool counted = durable_on_quorum(group, position, one) ||
                 (now.configuration != before.configuration &&
                  durable_on_quorum(group, position, *now.configuration));
  const Index change = before.configuration_index;
  if (now.role == Role::kLeader && before.commit < change && change < now.commit &&
      replica.term_at(change))
    counted = counted && durable_on_quorum(group, {change, *replica.term_at(change)}, one);
  if (!counted)
    return violation("R5", now, "committed " + text(position) + ", which is durable on no quorum");
  if (now.role == Role::kLeader && position.term != now.hard_state.term)
    return violation("R8", now, "committed " + text(position) + " of an earlier term by counting");
  prune(group, *now.configuration);
  return std::nullopt;
}

// Forgets what no replica holds any more.
void InvariantChecker::prune(Group& group, const Configuration& configuration) {
  constexpr size_t kPruneAbove = 4096;
  if (group.committed.size() < kPruneAbove) return;
  Index base(group.first.value() + group.committed.size() - 1);
  for (const auto* list :
       {&configuration.voters, &configuration.outgoing, &configuration.learners}) {
    for (ReplicaId id : *list) {
      auto shadow = group.shadows.find(id);
      if (shadow == group.shadows.end()) return;
      base = std::min(base, shadow->second.status.base.index);
    }
  }
  while (group.first <= base && group.committed.size() > kPruneAbove / 2) {
    group.first = group.first.next();
    group.committed.pop_front();
    if (!group.seen.empty()) group.seen.pop_front();
  }
}

InvariantChecker::Violation InvariantChecker::sent(const Message& message) {
  bool vote = message.kind == MessageKind::kVoteReply && !message.rejected;
  bool acknowledgement = message.kind == MessageKind::kAppendReply && !message.rejected;
  bool candidacy = message.kind == MessageKind::kVote;
  if (message.kind == MessageKind::kTimeoutNow)
    group_of(message.group).shadows[message.from].handed_over = {message.prev.index, message.term};
  if (!vote && !acknowledgement && !candidacy) return std::nullopt;
  Group& group = group_of(message.group);
  Shadow& shadow = group.shadows[message.from];
  shadow.term_told = std::max(shadow.term_told, message.term);
  if (acknowledgement) {
    if (message.match.index > shadow.status.durable)
      return violation("R5", shadow.status,
                       "acknowledged " + text(message.match) + " before it was durable");
    return std::nullopt;
  }
  ReplicaId candidate = vote ? message.to : message.from;
  auto [told, is_new] = shadow.votes_told.emplace(message.term, candidate);
  if (!is_new && told->second != candidate)
    return violation("R6", shadow.status,
                     "voted in term " + text(message.term) + " for " + text(told->second) +
                         " and for " + text(candidate));
  return std::nullopt;
}

void InvariantChecker::read_asked(const Replica& replica, ReadToken token) {
  Status now = replica.status();
  groups_[now.group].shadows[now.self].reads[token] = committed(now.group);
}

InvariantChecker::Violation InvariantChecker::read_granted(const Replica& replica,
                                                           ReadGrant grant) {
  Status now = replica.status();
  std::map<ReadToken, Index>& reads = groups_[now.group].shadows[now.self].reads;
  auto read = reads.find(grant.token);
  if (read == reads.end())
    return violation("R9", now, "granted read " + std::to_string(grant.token) + " nobody asked");
  Index needed = read->second;
  reads.erase(read);
  if (groups_[now.group].shadows[now.self].handed_over.term == now.hard_state.term)
    return violation("R11", now, "granted a read after it had told another to take over");
  if (grant.index < needed)
    return violation("R9", now,
                     "granted a read at " + text(grant.index) + " though " + text(needed) +
                         " was committed when it was asked");
  return std::nullopt;
}

void InvariantChecker::read_refused(const Replica& replica, ReadToken token) {
  Status now = replica.status();
  groups_[now.group].shadows[now.self].reads.erase(token);
}

Index InvariantChecker::committed(PartitionId group) const {
  auto found = groups_.find(group);
  if (found == groups_.end()) return Index();
  return Index(found->second.first.value() + found->second.committed.size() - 1);
}

}  // namespace kahuna::raft
