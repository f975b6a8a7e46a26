#include "model.h"

#include <algorithm>

namespace kahuna::journal_test {

using journal::Journal;

journal::Options Harness::small_options() {
  journal::Options options;
  options.segment_bytes = 64 * 1024;
  options.batch_bytes_max = 8 * 1024;
  options.pending_bytes_max = 256 * 1024;
  return options;
}

Harness::Harness(uint64_t seed, journal::Options o)
    : options(std::move(o)), random(seed, "journal-test") {}

Harness::~Harness() {
  journal.reset();
  machine.reset();
}

static void join_tail(ModelGroup& group) {
  while (!group.tail.empty() && !group.tail.begin()->second.lost) {
    group.log[group.tail.begin()->first] = group.tail.begin()->second.entry;
    group.tail.erase(group.tail.begin());
  }
}

static void drop_released(ModelGroup& group) {
  group.log.erase(group.log.begin(), group.log.upper_bound(group.released));
  group.tail.erase(group.tail.begin(), group.tail.upper_bound(group.released));
  join_tail(group);
}

// Log and tail above `released`.
static std::vector<raft::TailEntry> all_of(const ModelGroup& group, uint64_t released) {
  std::vector<raft::TailEntry> all;
  for (auto at = group.log.upper_bound(released); at != group.log.end(); ++at)
    all.push_back({at->second, false});
  for (auto at = group.tail.upper_bound(released); at != group.tail.end(); ++at)
    all.push_back(at->second);
  return all;
}

static std::vector<raft::TailEntry> all_of(const journal::RecoveredGroup& group) {
  std::vector<raft::TailEntry> all;
  for (const raft::Entry& entry : group.entries) all.push_back({entry, false});
  all.insert(all.end(), group.faulty.begin(), group.faulty.end());
  return all;
}

void Harness::apply(ModelState& state, const Step& step) {
  ModelGroup& group = state[step.group];
  if (step.hard_state) group.hard_state = *step.hard_state;
  if (!step.entry) return;
  uint64_t index = step.entry->index.value();
  if (step.restored) {
    auto at = group.tail.find(index);
    if (at != group.tail.end()) at->second.lost = false;
    join_tail(group);
    return;
  }
  if (group.log.empty()) group.released = std::max(group.released, index - 1);
  group.log.erase(group.log.lower_bound(index), group.log.end());
  group.tail.clear();
  group.log[index] = *step.entry;
}

std::string Harness::open() {
  machine = std::make_unique<Machine>(disk, random.split("machine", crashes++));
  open_error.reset();
  fatal.reset();
  bool ended = machine->run([this](Suspend s) {
    auto opened = Journal::open(s, machine->host(), machine->fibers(), options,
                                [this](Error error) { fatal = std::move(error); });
    if (opened)
      journal = std::move(*opened);
    else
      open_error = opened.error();
  });
  if (!ended) return "open did not end";
  if (open_error) return "open failed: " + open_error->text;
  if (remembers) journal->set_memory(memory());
  return check_recovered(journal->take_recovered());
}

journal::Memory Harness::memory() {
  return [this](PartitionId id, Index index) -> std::optional<raft::Entry> {
    const auto& now = live[id.value()].log;
    const auto& durable = acked[id.value()].log;
    auto entry = now.find(index.value()), before = durable.find(index.value());
    if (entry == now.end() || before == durable.end() || entry->second.term != before->second.term)
      return std::nullopt;
    return entry->second;
  };
}

bool Harness::open_partly(size_t steps) {
  machine = std::make_unique<Machine>(disk, random.split("machine", crashes++));
  bool ended = machine->run(
      [this](Suspend s) {
        auto opened = Journal::open(s, machine->host(), machine->fibers(), options, nullptr);
        if (opened) journal = std::move(*opened);
      },
      steps);
  return ended;
}

std::string Harness::check_recovered(std::map<PartitionId, journal::RecoveredGroup> found) {
  ++recovered;
  auto differs = [&](const ModelState& state) -> std::string {
    for (const auto& [id, group] : found)
      if (!state.contains(id.value()) && (!group.entries.empty() || group.hard_state.term))
        return "unknown group " + std::to_string(id.value());
    for (const auto& [id, group] : state) {
      std::string name = "group " + std::to_string(id) + ": ";
      auto it = found.find(PartitionId(id));
      if (it == found.end()) {
        if (group.hard_state.term || !group.log.empty()) return name + "missing";
        continue;
      }
      const journal::RecoveredGroup& got = it->second;
      if (got.hard_state != group.hard_state) return name + "hard state differs";
      uint64_t expected = got.released.value() + 1;
      std::vector<raft::TailEntry> should = all_of(group, got.released.value()), is = all_of(got);
      if (!got.faulty.empty() && !got.faulty.front().lost) return name + "tail begins intact";
      for (size_t i = 0; i < should.size(); ++i, ++expected) {
        const raft::Entry& entry = should[i].entry;
        std::string which = name + "entry " + std::to_string(entry.index.value());
        if (entry.index.value() != expected) return name + "released is in a hole";
        if (i >= is.size()) return which + " is missing";
        const raft::Entry& found_here = is[i].entry;
        if (found_here.index != entry.index || found_here.term != entry.term)
          return which + " is another";
        if (is[i].lost) continue;
        if (should[i].lost) return which + " was lost before";
        if (found_here.kind != entry.kind || found_here.level != entry.level ||
            !(found_here.payload == entry.payload))
          return which + " differs";
      }
      if (is.size() > should.size()) return name + "has more entries";
    }
    return "";
  };
  for (const auto& [id, group] : found) {
    if (!group.faulty.empty() && !expect_faulty)
      return "group " + std::to_string(id.value()) + " faulty: " + group.damage;
    for (const raft::TailEntry& lost : group.faulty) {
      auto at = acked[id.value()].log.find(lost.entry.index.value());
      if (lost.lost && !lost_acknowledged && at != acked[id.value()].log.end() &&
          at->second.term == lost.entry.term)
        return "group " + std::to_string(id.value()) + " lost what was acknowledged";
    }
    uint64_t& seen = released_seen[id.value()];
    if (group.released.value() < seen) return "released went back";
    seen = group.released.value();
    if (group.released.value() > live[id.value()].released) return "released never asked for";
    if (group.commit.value() > live[id.value()].commit) return "commit never noted";
  }
  ModelState state = acked;
  std::string first = differs(state);
  size_t used = 0;
  std::string verdict = first;
  while (!verdict.empty() && used < pending.size()) {
    apply(state, pending[used++]);
    verdict = differs(state);
  }
  if (!verdict.empty()) return "matches no prefix; against what was acknowledged: " + first;
  // From here on, what was recovered is the truth.
  for (const auto& [id, got] : found) {
    ModelGroup& group = state[id.value()];
    group.released = got.released.value();
    group.commit = got.commit.value();
    std::vector<raft::TailEntry> all = all_of(group, group.released);
    group.log.clear();
    group.tail.clear();
    for (size_t i = 0; i < all.size(); ++i) {
      all[i].lost = i >= got.entries.size() && got.faulty[i - got.entries.size()].lost;
      group.tail.emplace(all[i].entry.index.value(), all[i]);
    }
    join_tail(group);
  }
  acked = live = std::move(state);
  pending.clear();
  last_done = next_write - 1;
  return "";
}

void Harness::submit(uint64_t id, raft::Persist persist) {
  ModelGroup& group = live[id];
  uint64_t write = next_write;
  std::vector<Step> steps;
  // A persist that changes nothing but the commit index is no step.
  if (!persist.entries.empty() || persist.hard_state != group.hard_state)
    steps.push_back({id, persist.hard_state, std::nullopt, false, write});
  for (const raft::Entry& entry : persist.entries)
    steps.push_back({id, std::nullopt, entry, entry.index <= persist.restored, write});
  uint64_t commit = persist.commit.value();
  auto result = journal->append(PartitionId(id), std::move(persist), [this, write] {
    if (write != last_done + 1) failure = "completions out of order";
    last_done = write;
    size_t n = 0;
    while (n < pending.size() && pending[n].write <= write) apply(acked, pending[n++]);
    pending.erase(pending.begin(), pending.begin() + static_cast<ptrdiff_t>(n));
  });
  if (!result) return;
  ++next_write;
  group.commit = std::max(group.commit, commit);
  ModelState one;
  std::swap(one[id], group);
  for (const Step& step : steps) {
    apply(one, step);
    pending.push_back(step);
  }
  std::swap(one[id], group);
}

void Harness::append(uint64_t id, uint64_t first, size_t count, size_t bytes, bool bump_term) {
  ModelGroup& group = live[id];
  raft::Persist persist;
  persist.hard_state = group.hard_state;
  if (bump_term || !persist.hard_state.term)
    persist.hard_state = {persist.hard_state.term.next(), ReplicaId()};
  for (size_t i = 0; i < count; ++i) {
    raft::Entry entry;
    entry.index = Index(first + i);
    entry.term = persist.hard_state.term;
    entry.kind = random.chance(1, 5) ? raft::EntryKind::kNoop : raft::EntryKind::kCommand;
    size_t length = random.below(bytes + 1);
    std::string text(length, static_cast<char>('a' + random.below(26)));
    if (!text.empty()) text[0] = static_cast<char>(random.next());
    entry.payload = Payload(text);
    persist.entries.push_back(entry);
  }
  persist.commit = Index(std::max(group.commit, random.below(first + count)));
  submit(id, std::move(persist));
}

void Harness::restore(uint64_t id, size_t count) {
  ModelGroup& group = live[id];
  raft::Persist persist;
  persist.hard_state = group.hard_state;
  for (auto at = group.tail.begin(); at != group.tail.end() && count > 0; ++at, --count) {
    persist.entries.push_back(at->second.entry);
    persist.restored = at->second.entry.index;
  }
  if (!persist.entries.empty()) submit(id, std::move(persist));
}

void Harness::vote(uint64_t id) {
  raft::Persist persist;
  persist.hard_state = {live[id].hard_state.term.next(), {NodeId(1 + random.below(3)), 1}};
  persist.commit = Index(live[id].commit);
  submit(id, std::move(persist));
}

void Harness::release(uint64_t id, uint64_t index) {
  ModelGroup& group = live[id];
  if (index <= group.released) return;  // as the journal does
  journal->release(PartitionId(id), Index(index));
  group.released = index;
  drop_released(group);
}

void Harness::crash() {
  if (machine) machine->abandon();
  journal.reset();
  machine.reset();
  disk.crash(random);
}

void Harness::kill() {
  if (machine) machine->abandon();
  journal.reset();
  machine.reset();
}

std::string Harness::execute(const Command& c) {
  uint64_t id = 1 + c.a % 5;
  ModelGroup& group = live[id];
  uint64_t last = group.log.empty() ? group.released : group.log.rbegin()->first;
  switch (c.kind % 17) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      if (!group.tail.empty() && c.b % 3 > 0) {
        restore(id, 1 + c.b % 7);
        break;
      }
      append(id, std::max<uint64_t>(last + 1, 2), 1 + c.b % 4, 40 << (c.b % 6), false);
      break;
    case 5: append(id, std::max<uint64_t>(last + 1, 2), 1 + c.b % 30, 900, false); break;
    case 6:
    case 7: {
      uint64_t size = group.log.size();
      uint64_t back = size == 0 ? 0 : c.b % (size + 1) % 40;
      append(id, std::max<uint64_t>(last + 1 - back, 2), 1 + c.b % 5, 200, true);
      break;
    }
    case 8: vote(id); break;
    case 9:
    case 10:
      if (last > group.released) release(id, group.released + 1 + c.b % (last - group.released));
      break;
    case 11:
      release(id, last);
      if (c.b % 8 == 0) release(id, last + c.b % 9);
      break;
    case 12:
      machine->settle();
      machine->advance(Duration::millis(200));
      machine->settle();
      break;
    case 13:
    case 14:
      for (uint32_t i = 0; i <= c.b % 12; ++i) {
        machine->turn();
        machine->complete_one();
      }
      machine->turn();
      break;
    case 15:
      if (c.b % 3 == 0) {  // and crash again while recovering
        crash();
        for (uint32_t i = 0; i < c.a % 3; ++i) {
          open_partly((c.b / 3) % 60);
          crash();
        }
      } else if (c.b % 3 == 1) {
        kill();
      } else {
        crash();
      }
      if (std::string error = reopen(); !error.empty()) return error;
      break;
    case 16:
      if (disk.syncs_until_error < 0) disk.syncs_until_error = static_cast<int>(c.b % 9);
      break;
  }
  if (fatal) {
    if (disk.syncs_until_error >= 0) return "fatal: " + fatal->text;
    c.a % 3 == 0 ? crash() : kill();
    return reopen();
  }
  return failure;
}

// Opens, again if a sync fails meanwhile.
std::string Harness::reopen() {
  std::string error = open();
  while (open_error && open_error->code == ErrorCode::kIo) {
    random.chance(1, 3) ? crash() : kill();
    error = open();
  }
  return error;
}

std::string Harness::run(const std::vector<Command>& commands) {
  if (!journal)
    if (std::string error = open(); !error.empty()) return error;
  for (size_t i = 0; i < commands.size(); ++i)
    if (std::string error = execute(commands[i]); !error.empty())
      return "command " + std::to_string(i) + ": " + error;
  crash();
  return reopen();
}

std::vector<Command> random_commands(RandomStream random, size_t count, bool long_lives) {
  std::vector<Command> out(count);
  for (Command& command : out) {
    command = {static_cast<uint8_t>(random.below(17)), static_cast<uint32_t>(random.below(1000)),
               static_cast<uint32_t>(random.below(100000))};
    // Rarer crashes and failing syncs, more released: segments are recycled.
    if (long_lives && command.kind >= 15 && !random.chance(1, 12)) command.kind = 11;
  }
  return out;
}

}  // namespace kahuna::journal_test
