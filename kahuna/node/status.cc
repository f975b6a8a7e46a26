#include "kahuna/node/status.h"

#include <algorithm>

namespace kahuna::node {
namespace {

std::string number(uint64_t v) {
  return std::to_string(v);
}

const char* name_of(raft::Role role) {
  static constexpr const char* kRoles[] = {"follower", "pre-candidate", "candidate", "leader"};
  return kRoles[static_cast<int>(role)];
}

// Those who are in no roster any more by number.
std::string names_json(const NodeStatus& status, const std::vector<ReplicaId>& replicas) {
  std::string out;
  for (ReplicaId replica : replicas) {
    const RosterMember* member = find_member(status.roster, replica.node);
    out += std::string(out.empty() ? "\"" : ",\"") +
           (member ? member->name : number(replica.node.value())) + "\"";
  }
  return "[" + out + "]";
}

std::string members_json(const NodeStatus& status) {
  static constexpr const char* kStates[] = {"", "voter", "learner", "removed"};
  std::string out;
  for (const RosterMember& m : status.roster.members)
    out += std::string(out.empty() ? "" : ",") + "{\"name\":\"" + m.name + "\",\"node\":\"" +
           number(m.node.value()) + "\",\"address\":\"" + to_string(m.address) + "\",\"state\":\"" +
           kStates[static_cast<int>(m.state)] + "\"}";
  return "[" + out + "]";
}

std::string partitions_json(const NodeStatus& status) {
  std::vector<std::pair<const ReplicaStatus*, size_t>> replicas;
  for (const LoopStatus& part : status.parts)
    for (const ReplicaStatus& replica : part.replicas) replicas.emplace_back(&replica, part.loop);
  std::sort(replicas.begin(), replicas.end(),
            [](const auto& a, const auto& b) { return a.first->raft.group < b.first->raft.group; });
  std::string out;
  for (const auto& [replica, loop] : replicas) {
    const raft::Status& s = replica->raft;
    const RosterMember* leader = find_member(status.roster, s.leader.node);
    out += std::string(out.empty() ? "" : ",") + "{\"id\":" + number(s.group.value()) +
           ",\"loop\":" + number(loop) + ",\"role\":\"" + name_of(s.role) + "\",\"leader\":\"" +
           (leader ? leader->name : "") + "\",\"term\":" + number(s.hard_state.term.value()) +
           ",\"last\":" + number(s.last.index.value()) + ",\"commit\":" + number(s.commit.value()) +
           ",\"applied\":" + number(s.applied.value()) +
           ",\"log_time_ms\":" + number(replica->log_time.value()) +
           ",\"base\":" + number(s.base.index.value()) + ",\"lost\":" + number(s.lost) +
           ",\"installing\":" + (s.stateless ? "true" : "false") +
           ",\"quiet\":" + (s.quiet ? "true" : "false") +
           ",\"voters\":" + names_json(status, s.configuration->voters) +
           ",\"leaving\":" + names_json(status, s.configuration->outgoing) +
           ",\"learners\":" + names_json(status, s.configuration->learners) + "}";
  }
  return out;
}

}  // namespace

std::string to_json(const NodeStatus& status) {
  std::string out = "{\"name\":\"" + status.name + "\",\"node\":\"" + number(status.node.value()) +
                    "\",\"boot\":" + number(status.boot) +
                    ",\"serving\":" + (status.serving ? "true" : "false") +
                    ",\"waiting\":" + (status.waiting ? "true" : "false") +
                    ",\"disk_full\":" + (status.disk_full ? "true" : "false") +
                    ",\"loops\":" + number(status.loops) + ",\"cluster\":\"" +
                    number(status.cluster.value()) + "\"";
  out += ",\"watermark\":" + number(status.watermark.value()) +
         ",\"in_flight\":" + number(status.in_flight) + ",\"sessions\":" + number(status.sessions) +
         ",\"peers\":[";
  for (size_t i = 0; i < status.peers.size(); ++i) {
    const NodeStatus::Peer& p = status.peers[i];
    out += std::string(i ? "," : "") + "{\"name\":\"" + p.name + "\",\"address\":\"" +
           to_string(p.address) + "\",\"connected\":" + (p.connected ? "true" : "false") + "}";
  }
  out += "],\"members\":" + members_json(status) + ",\"partitions\":[" + partitions_json(status) +
         "],\"damaged\":[";
  bool first = true;
  journal::Statistics j;
  for (const LoopStatus& part : status.parts) {
    for (const Damage& log : part.damaged) {
      out += std::string(first ? "" : ",") + "{\"id\":" + number(log.partition.value()) +
             ",\"text\":\"" + log.text + "\",\"stopped\":" + (log.stopped ? "true" : "false") + "}";
      first = false;
    }
    j.batches += part.journal.batches;
    j.bytes += part.journal.bytes;
    j.records += part.journal.records;
    j.segments += part.journal.segments;
  }
  out += "],\"journal\":{\"batches\":" + number(j.batches) + ",\"bytes\":" + number(j.bytes) +
         ",\"records\":" + number(j.records) + ",\"segments\":" + number(j.segments) + "}";
  return out + "}";
}

}  // namespace kahuna::node
