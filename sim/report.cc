// The data of the page, as JSON.
#include "sim/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

namespace kahuna::sim {
namespace {

constexpr size_t kOperationsMax = 12'000, kMessagesMax = 25'000, kFaultsMax = 6'000,
                 kRolesMax = 20'000, kTextMax = 300;
constexpr Duration kNear = Duration::seconds(2);

// Inside a script element: no "</", and whatever is not plain text escaped.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (c == '\n')
      out += "\\n";
    else if (byte < 0x20 || c == '<' || byte == 0x7f)
      out += fmt::format("\\u{:04x}", byte);
    else
      out += c;
  }
  return out + "\"";
}

const char* name_of_message(raft::MessageKind kind) {
  switch (kind) {
    case raft::MessageKind::kAppend: return "append";
    case raft::MessageKind::kAppendReply: return "append reply";
    case raft::MessageKind::kHeartbeat: return "heartbeat";
    case raft::MessageKind::kHeartbeatReply: return "heartbeat reply";
    case raft::MessageKind::kPreVote: return "pre-vote";
    case raft::MessageKind::kPreVoteReply: return "pre-vote reply";
    case raft::MessageKind::kVote: return "vote";
    case raft::MessageKind::kVoteReply: return "vote reply";
    default: return "message";
  }
}
bool is_heartbeat(raft::MessageKind kind) {
  return kind == raft::MessageKind::kHeartbeat || kind == raft::MessageKind::kHeartbeatReply;
}

// The operations that the judge names: "#12 p3 set …" in its text.
std::set<OperationNumber> witnesses(const RunReport& report) {
  std::set<OperationNumber> found;
  if (report.verdict != Verdict::kFail) return found;
  std::string text = report.reason + "\n" + report.details;
  for (size_t at = text.find('#'); at != text.npos; at = text.find('#', at + 1)) {
    size_t end = text.find_first_not_of("0123456789", at + 1);
    if (end == at + 1 || end == text.npos || text[end] != ' ') continue;
    uint64_t number = std::strtoull(text.c_str() + at + 1, nullptr, 10);
    if (number < report.history.operations().size())
      found.insert(static_cast<OperationNumber>(number));
  }
  return found;
}

// "in group 7", "partition 2", in the text of a violation; 1 when it names none.
uint64_t group_of(const RunReport& report) {
  for (std::string_view word : {"in group ", "partition "}) {
    size_t at = report.reason.find(word);
    if (at != std::string::npos)
      return std::strtoull(report.reason.c_str() + at + word.size(), nullptr, 10);
  }
  return 1;
}

// "… for 250ms …", in what was done.
Duration length_of(std::string_view text) {
  size_t at = text.rfind(" for ");
  if (at == text.npos) return {};
  std::string_view rest = text.substr(at + 5);
  auto length = parse_duration(rest.substr(0, rest.find_first_of(", ")));
  return length ? *length : Duration();
}

class Page {
 public:
  Page(const RunOptions& run, const RunReport& report) : run_(run), report_(report) {
    witnesses_ = witnesses(report);
    end_ = report.simulated.nanos();
    // Where to look first: at the end of a run that a violation stopped, or at the witness.
    from_ = to_ = end_;
    if (report.verdict != Verdict::kFail) from_ = 0;
    if (!witnesses_.empty()) to_ = 0;
    for (OperationNumber number : witnesses_) {
      const Operation& operation = report.history.operations()[number];
      from_ = std::min(from_, operation.invoked_at.nanos());
      to_ = std::max(to_, operation.completed ? operation.completed_at.nanos() : end_);
    }
    if (report.verdict == Verdict::kFail) from_ = std::max<int64_t>(from_ - kNear.nanos(), 0);
    to_ = std::min(to_ + kNear.nanos(), end_);
  }

  std::string data(std::string_view replay) {
    std::string out = "{";
    out += fmt::format("\"verdict\":{},\"reason\":{},\"details\":{},\"line\":{},\"replay\":{},",
                       quoted(name_of(report_.verdict)), quoted(report_.reason),
                       quoted(cut(report_.details, 20'000)), quoted(report_.last_line(run_.seed)),
                       quoted(replay));
    out +=
        fmt::format("\"spec\":{},\"plan\":{},\"scenario\":{},\"mutant\":{},", quoted(report_.spec),
                    quoted(report_.plan), quoted(run_.scenario), quoted(run_.mutant));
    out += fmt::format(
        "\"end\":{},\"faultsFrom\":{},\"healedFrom\":{},\"from\":{},\"to\":{},\"group\":{},", end_,
        report_.faults_from.nanos(), report_.healed_from.nanos(), from_, to_, group_of(report_));
    out += fmt::format("\"judge\":{},", judge());
    out += "\"nodes\":" + list(report_.recording.nodes, [](const auto& n) { return quoted(n); });
    out +=
        ",\n\"roles\":" + roles() + ",\n\"processes\":" + processes() + ",\n\"faults\":" + faults();
    out += ",\n\"steps\":" + list(report_.recording.steps, [](const Recording::Step& step) {
             return fmt::format("[{},{}]", step.at.nanos(), quoted(step.text));
           });
    out += ",\n\"messages\":" + messages() + ",\n\"ops\":" + operations() +
           ",\n\"checkpoints\":" + checkpoints();
    return out + "}";
  }

 private:
  static std::string cut(const std::string& text, size_t max) {
    return text.size() <= max ? text : text.substr(0, max) + "…";
  }
  template <class Items, class Write>
  static std::string list(const Items& items, Write write) {
    std::string out = "[";
    for (const auto& item : items) {
      std::string text = write(item);
      if (text.empty()) continue;
      if (out.size() > 1) out += ",";
      out += text;
    }
    return out + "]";
  }
  bool near(int64_t at) const { return at >= from_ && at <= to_; }

  // The host whose operations no arrival names.
  int64_t judge() const {
    for (const Operation& operation : report_.history.operations())
      if (operation.arrival == kNoArrival) return operation.host;
    return -1;
  }

  std::string roles() const {
    const auto& roles = report_.recording.roles;
    size_t step = roles.size() / kRolesMax + 1, i = 0;
    return list(roles, [&](const Recording::Role& role) -> std::string {
      if (i++ % step != 0 && role.role != raft::Role::kLeader) return {};
      int kind = role.role == raft::Role::kLeader ? 2 : role.role == raft::Role::kFollower ? 0 : 1;
      return fmt::format("[{},{},{},{},{}]", role.at.nanos(), role.node, role.group, kind,
                         role.term);
    });
  }

  std::string processes() const {
    return list(report_.recording.processes, [](const Recording::Process& process) {
      return fmt::format("[{},{},{}]", process.at.nanos(), process.node, int(process.up));
    });
  }

  std::string faults() const {
    size_t step = report_.fault_log.size() / kFaultsMax + 1, i = 0;
    return list(report_.fault_log, [&](const FaultRecord& fault) -> std::string {
      if (i++ % step != 0 && !near(fault.at.nanos())) return {};
      return fmt::format("[{},{},{},{},{}]", fault.at.nanos(), length_of(fault.text).nanos(),
                         quoted(name_of(fault.kind)), fault.number, quoted(fault.text));
    });
  }

  // All but heartbeats near the failure, the latest first; then a sample of the rest.
  std::string messages() const {
    const auto& sent = report_.recording.sent;
    std::vector<bool> kept(sent.size());
    size_t count = 0;
    for (size_t i = sent.size(); i-- > 0 && count < kMessagesMax * 2 / 3;)
      if (near(sent[i].at.nanos()) && !is_heartbeat(sent[i].kind)) kept[i] = true, ++count;
    size_t step = sent.size() / (kMessagesMax / 3) + 1;
    for (size_t i = 0; i < sent.size(); i += step) kept[i] = true;
    size_t i = 0;
    return list(sent, [&](const Recording::Sent& m) -> std::string {
      if (!kept[i++]) return {};
      std::string text =
          fmt::format("{}{} t{}{}{}", name_of_message(m.kind), m.rejected ? ", rejected" : "",
                      m.term, m.entries ? fmt::format(" {} entries", m.entries) : "",
                      m.index ? fmt::format(" to {}", m.index) : "");
      return fmt::format("[{},{},{},{},{},{}]", m.at.nanos(), m.from, m.to, m.group,
                         is_heartbeat(m.kind) ? 1 : 0, quoted(text));
    });
  }

  // Of the witness's keys and near the failure first; then a sample of the rest.
  std::string operations() const {
    const auto& operations = report_.history.operations();
    std::set<NameId> keys;
    for (OperationNumber number : witnesses_) keys.insert(operations[number].key);
    std::vector<bool> kept(operations.size());
    size_t count = 0;
    auto keep = [&](size_t i) {
      if (kept[i]) return;
      kept[i] = true;
      ++count;
    };
    for (OperationNumber number : witnesses_) keep(number);
    for (size_t i = operations.size(); i-- > 0 && count < kOperationsMax / 2;)
      if (keys.contains(operations[i].key)) keep(i);
    for (size_t i = operations.size(); i-- > 0 && count < kOperationsMax * 3 / 4;)
      if (near(operations[i].invoked_at.nanos())) keep(i);
    size_t step = operations.size() / (kOperationsMax / 4) + 1;
    for (size_t i = 0; i < operations.size(); i += step) keep(i);
    size_t i = 0;
    return list(operations, [&](const Operation& operation) -> std::string {
      size_t number = i++;
      if (!kept[number]) return {};
      int outcome = static_cast<int>(operation.completion);
      int64_t until = operation.completed ? operation.completed_at.nanos() : end_;
      auto text = report_.history.describe(static_cast<OperationNumber>(number));
      return fmt::format("[{},{},{},{},{},{}]", operation.invoked_at.nanos(), until, operation.host,
                         outcome, witnesses_.contains(static_cast<OperationNumber>(number)) ? 1 : 0,
                         quoted(cut(text, kTextMax)));
    });
  }

  std::string checkpoints() const {
    const auto& all = report_.checkpoints;
    size_t step = all.size() / 500 + 1, i = 0;
    return list(all, [&](const TraceCheckpoint& checkpoint) -> std::string {
      if (i++ % step != 0) return {};
      return fmt::format("[{},\"{}\"]", checkpoint.number, to_string(checkpoint.hash));
    });
  }

  const RunOptions& run_;
  const RunReport& report_;
  std::set<OperationNumber> witnesses_;
  int64_t end_ = 0, from_ = 0, to_ = 0;
};

}  // namespace

std::string report_page(const RunOptions& run, const RunReport& report, std::string_view replay) {
  return page_around(fmt::format("kahuna sim, seed {}: {}", run.seed, name_of(report.verdict)),
                     Page(run, report).data(replay));
}

}  // namespace kahuna::sim
