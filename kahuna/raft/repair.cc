#include "kahuna/raft/repair.h"

#include <algorithm>

#include "kahuna/raft/replica.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::raft {

FaultyTail::FaultyTail(std::vector<TailEntry> entries) {
  if (entries.empty()) return;
  CHECK(entries.front().lost);
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i > 0) {
      CHECK_EQ(entries[i].entry.index, entries[i - 1].entry.index.next());
      CHECK_GE(entries[i].entry.term, entries[i - 1].entry.term);
    }
    lost_ += entries[i].lost;
    entries_.push_back(std::move(entries[i]));
  }
}

std::optional<Term> FaultyTail::term_at(Index index) const {
  if (empty() || index < first().index || index > last().index) return std::nullopt;
  return entries_[index.value() - first().index.value()].entry.term;
}

const Entry* FaultyTail::intact_at(Index index) const {
  if (empty() || index < first().index || index > last().index) return nullptr;
  const TailEntry& found = entries_[index.value() - first().index.value()];
  return found.lost ? nullptr : &found.entry;
}

LogPosition FaultyTail::first_run_end() const {
  size_t run = 1;
  while (run < entries_.size() && entries_[run].lost) ++run;
  return entries_[run - 1].position();
}

bool FaultyTail::fill(const Entry& entry) {
  std::optional<Term> term = term_at(entry.index);
  if (!term || (*term != entry.term && !MUTANT(repair_ignores_term))) return false;
  TailEntry& found = entries_[entry.index.value() - first().index.value()];
  if (!found.lost) return false;
  found = {entry, false};
  --lost_;
  return true;
}

bool FaultyTail::take_place(LogPosition of) {
  CHECK_EQ(of.index, first().index);
  if (of.term == first().term) {
    pop_front();
    return true;
  }
  SOMETIMES(raft_leader_discards_lost_entries);
  clear();
  return false;
}

void FaultyTail::join(Log& log) {
  while (!empty() && !entries_.front().lost) {
    Entry entry = std::move(entries_.front().entry);
    entries_.pop_front();
    log.append(std::move(entry));
  }
}

void FaultyTail::drop_through(Index index) {
  while (!empty() && first().index <= index) pop_front();
}

void FaultyTail::clear() {
  entries_.clear();
  lost_ = 0;
}

void FaultyTail::pop_front() {
  lost_ -= entries_.front().lost;
  entries_.pop_front();
}

// --- a replica with a tail, and those who help it ---

// What votes are judged by: the end of the log as it was before the damage.
LogPosition Replica::promised() const {
  return tail_.empty() || MUTANT(faulty_counts_as_never_had) ? log_.last() : tail_.last();
}

std::optional<Term> Replica::promised_term_at(Index index) const {
  std::optional<Term> term = log_.term_at(index);
  return term ? term : tail_.term_at(index);
}

const Entry* Replica::intact_at(Index index) const {
  const Entry* entry = log_.at(index);
  return entry ? entry : tail_.intact_at(index);
}

std::optional<Entry> Replica::durable_entry(Index index) const {
  if (const Entry* intact = tail_.intact_at(index)) return *intact;
  if (index == log_.base().index)
    return Entry{.index = index, .term = log_.base().term, .kind = EntryKind::kBase};
  const Entry* entry = index <= durability_.index() ? log_.at(index) : nullptr;
  return entry ? std::optional<Entry>(*entry) : std::nullopt;
}

// The log may have reached the tail, or what was lost at its front is there again.
void Replica::join_tail() {
  Index before = log_.last().index;
  tail_.join(log_);
  if (log_.last().index > before) restored_ = log_.last().index;
  follow_configurations(before);
}

// Asks every member: who has it is not known, and most answer with little.
void Replica::ask_for_lost(Time now) {
  start_over_if_moved();
  // By what was said so far it was never committed; to be sure, they must say so in a later term.
  bool lacked = members_.blocks(answers_.never_had);
  if (lacked && hard_state_.term == tail_term_ && members_.votes(self_slot_))
    become_follower(now, hard_state_.term.next(), ReplicaId());
  for (size_t slot = 0; slot < members_.size(); ++slot)
    if (slot != self_slot_) send_fetch(members_[slot]);
}

// Answers are about the first entry of the tail.
void Replica::start_over_if_moved() {
  if (answers_.about != tail_.first()) answers_ = {tail_.first()};
}

void Replica::send_fetch(ReplicaId to) {
  Message& message = send(MessageKind::kFetch, to);
  message.prev = {tail_.first().index.prev(), tail_.first().term};
  message.match = tail_.first_run_end();
}

// Whether this log, as it was before any damage here, never had that entry, for all that is known.
bool Replica::never_had(LogPosition position) const {
  if (position.index <= log_.base().index) return MUTANT(compacted_counts_as_never_had);
  if (MUTANT(lost_counts_as_never_had)) return log_.term_at(position.index) != position.term;
  return promised_term_at(position.index) != position.term;
}

void Replica::handle_fetch(Time now, const Message& message) {
  if (message.term > hard_state_.term && role_ != Role::kLeader && !leader_is_fresh(now)) {
    SOMETIMES(raft_follows_the_term_of_a_fetch);
    become_follower(now, message.term, ReplicaId());
  }
  Index first = message.prev.index.next(), last = message.match.index;
  LogPosition wanted{first, message.prev.term};
  Message& reply = send(MessageKind::kFetchReply, message.from);
  reply.match = message.match;
  if (never_had(wanted)) {
    reply.prev = message.prev;
    reply.rejected = durability_.hard_state().term == hard_state_.term;
    return;
  }
  first = std::max(first, log_.base().index.next());
  last = std::min(last, promised().index);
  while (first <= last && !intact_at(first)) first = first.next();
  reply.prev.index = first.prev();
  copy_intact(first, last, reply.entries);
}

// As many as one message takes, up to the first that is not whole.
void Replica::copy_intact(Index first, Index last, std::vector<Entry>& out) const {
  size_t bytes = 0;
  for (; first <= last; first = first.next()) {
    const Entry* entry = intact_at(first);
    if (!entry) break;
    bytes += cost_of(*entry);
    if (!out.empty() && bytes > options_.append_bytes_max) break;
    out.push_back(*entry);
  }
}

// To one whose log ends too early for a vote, by one who cannot campaign with what it has more.
void Replica::offer_log(const Message& candidacy) {
  if ((tail_.empty() && !stateless_) || up_to_date(candidacy.prev)) return;
  LogPosition after = candidacy.prev;
  if (promised_term_at(after.index) != after.term) {
    // It ends with something else: what both have ends here, or before.
    const Index limit = std::min(after.index.prev(), log_.last().index);
    if (limit < log_.base().index) return;
    after = log_.last_with_term_at_most(limit, after.term);
  }
  std::vector<Entry> entries;
  copy_intact(after.index.next(), promised().index, entries);
  if (entries.empty()) return;
  Message& offer = send(MessageKind::kFetchReply, candidacy.from);
  offer.prev = after;
  offer.match = promised();
  offer.entries = std::move(entries);
}

bool Replica::take_offer(Time now, const Message& message) {
  if (!message.prev.term || message.rejected || message.entries.empty()) return false;
  const bool campaigns = role_ == Role::kFollower || role_ == Role::kPreCandidate;
  if (!campaigns || leader_is_fresh(now) || !tail_.empty()) return true;
  if (message.prev != log_.last() && !drop_overruled(now, message)) return true;
  SOMETIMES(raft_takes_the_log_of_one_who_cannot_campaign);
  Term newest = message.entries.back().term;
  if (newest > hard_state_.term) become_follower(now, newest, ReplicaId());
  const Index before = log_.last().index;
  for (const Entry& entry : message.entries)
    if (entry.index > before) log_.append(entry);
  follow_configurations(before);
  // There may be more: asks again at once.
  if (role_ == Role::kPreCandidate && !MUTANT(offers_once_a_timeout)) timer_ = now;
  return true;
}

// Drops the end of the log that an offer proves to be overruled. True: what is offered goes on
// behind the rest.
bool Replica::drop_overruled(Time now, const Message& offer) {
  // What is offered is the beginning of what the leader of this term had.
  const Term of = MUTANT(offer_judged_by_what_it_brings) ? Term() : offer.match.term;
  if (std::max(of, offer.entries.back().term) <= log_.last().term) return false;
  if (offer.prev.index < log_.base().index || offer.prev.index > log_.last().index) return false;
  const bool joins = log_.holds(offer.prev);
  Index kept = joins ? offer.prev.index : offer.prev.index.prev();
  for (const Entry& entry : offer.entries) {
    if (!joins || !log_.holds({entry.index, entry.term})) break;
    kept = entry.index;
  }
  if (kept < commit_ || kept >= log_.last().index) return false;
  if (joins && kept >= offer.entries.back().index)
    return false;  // nothing that is offered contradicts the rest
  SOMETIMES(raft_drops_an_overruled_end);
  // Whatever was acknowledged in this term is not said any more.
  become_follower(now, hard_state_.term.next(), ReplicaId());
  log_.truncate_after(kept);
  durability_.truncated(kept);
  unwritten_ = std::min(unwritten_, kept.next());
  restored_ = std::min(restored_, kept);
  if (configurations_.truncate_after(kept)) adopt_configuration(now);
  return joins;
}

void Replica::handle_fetch_reply(Time now, Message& message) {
  if (take_offer(now, message) || tail_.empty()) return;
  start_over_if_moved();
  bool filled = false;
  for (const Entry& entry : message.entries) filled |= tail_.fill(entry);
  if (filled) {
    SOMETIMES(raft_repairs_from_a_peer);
    join_tail();
    if (!tail_.empty()) send_fetch(message.from);
    return;
  }
  if (message.match != tail_.first_run_end()) return;  // about something else
  MemberSet who = MemberSet{1} << slot_of(message.from);
  answers_.of_no_help |= who;
  LogPosition about{answers_.about.index.prev(), answers_.about.term};
  if (!message.rejected || message.prev != about) return;
  answers_.never_had |= who;
  if (message.term > tail_term_ || MUTANT(never_had_in_the_same_term))
    answers_.never_had_later |= who;
  consider_discarding();
}

void Replica::consider_discarding() {
  const bool one = MUTANT(lost_entries_discarded_by_one) && answers_.never_had_later != 0;
  if (!members_.blocks(answers_.never_had_later) && !one) return;
  SOMETIMES(raft_discards_what_no_quorum_had);
  tail_.clear();
}

}  // namespace kahuna::raft
