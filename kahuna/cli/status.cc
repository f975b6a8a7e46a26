// `kahuna status`: asks every node that the endpoints and their rosters name.
#include <fmt/format.h>

#include <algorithm>

#include "kahuna/cli/json.h"
#include "kahuna/cli/text.h"
#include "kahuna/cli/verbs.h"

namespace kahuna::cli {
namespace {

struct NodeStatus {
  Address address;
  Result<std::string> json = fail(ErrorCode::kTimeout, "no answer in time");
};

// Asks the endpoints first, then whoever their greetings named.
class Survey {
 public:
  Survey(World& world, const ConnectOptions& connect) : world_(world) {
    client_ = make_client(world, connect);
    for (const Address& endpoint : connect.endpoints) ask(endpoint);
  }
  std::vector<NodeStatus> run() {
    while (waiting_ > 0) world_.run();
    std::sort(nodes_.begin(), nodes_.end(),
              [](const auto& a, const auto& b) { return a.address < b.address; });
    return std::move(nodes_);
  }

 private:
  void ask(const Address& address) {
    const bool asked = std::any_of(nodes_.begin(), nodes_.end(),
                                   [&](const auto& node) { return node.address == address; });
    if (asked) return;
    const size_t index = nodes_.size();
    nodes_.push_back(NodeStatus{.address = address});
    ++waiting_;
    client_->status(address, [this, index](Result<std::string> json) {
      nodes_[index].json = std::move(json);
      for (const Address& other : client_->known_nodes()) ask(other);
      if (--waiting_ == 0) world_.stop();
    });
  }

  World& world_;
  std::unique_ptr<client::Client> client_;
  std::vector<NodeStatus> nodes_;
  size_t waiting_ = 0;
};

// What is out of the ordinary there.
std::string note_of(const Json& status, const std::string& address, size_t leaderless) {
  size_t stopped = 0, repairing = 0;
  for (const Json& log : status["damaged"].items)
    ++(log["stopped"].is_true() ? stopped : repairing);
  std::string note;
  const auto add = [&](const std::string& text) { note += (note.empty() ? "" : "; ") + text; };
  if (status["waiting"].is_true())
    add("waits to be let into a cluster: kahuna members add " + address);
  if (status["disk_full"].is_true()) add("disk full: takes no writes");
  if (stopped > 0)
    add(fmt::format("{} stopped: nodes that are up have lost what it takes; see docs/repair.md",
                    stopped == 1 ? "1 partition has" : fmt::format("{} partitions have", stopped)));
  if (repairing > 0)
    add(fmt::format("repairing the logs of {} {}", repairing,
                    repairing == 1 ? "partition" : "partitions"));
  if (note.empty() && leaderless > 0)
    add(fmt::format("{} {} without a leader", leaderless,
                    leaderless == 1 ? "partition" : "partitions"));
  return note;
}

std::vector<std::string> row_of(const NodeStatus& node) {
  const std::string address = to_string(node.address);
  if (!node.json) {
    return {"?", address, "unreachable", "", "", "", "", node.json.error().text};
  }
  const Result<Json> status = parse_json(*node.json);
  if (!status) return {"?", address, "unreadable", "", "", "", "", status.error().text};
  size_t leads = 0, leaderless = 0;
  for (const Json& partition : (*status)["partitions"].items) {
    leads += partition["role"].text == "leader";
    leaderless += partition["leader"].text.empty();
  }
  size_t peers = 0;
  for (const Json& peer : (*status)["peers"].items) peers += peer["connected"].is_true();
  const size_t hosted = (*status)["partitions"].items.size();
  return {(*status)["name"].text,
          address,
          (*status)["serving"].is_true() ? "serving" : "starting",
          fmt::format("{} of {}", leads, hosted),
          fmt::format("{} of {}", peers, (*status)["peers"].items.size()),
          (*status)["loops"].text,
          (*status)["boot"].text,
          note_of(*status, address, leaderless)};
}

}  // namespace

int run_verb(World& world, const ConnectOptions& connect, const StatusOptions&) {
  const std::vector<NodeStatus> nodes = Survey(world, connect).run();
  size_t reached = 0;
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ADDRESS", "STATE", "LEADS", "PEERS", "LOOPS", "BOOT", "NOTE"}};
  std::string json;
  for (const NodeStatus& node : nodes) {
    reached += node.json.has_value();
    rows.push_back(row_of(node));
    json += fmt::format(
        "{}{{\"address\":{},{}}}", json.empty() ? "" : ",", json_string(to_string(node.address)),
        node.json ? "\"status\":" + *node.json
                  : fmt::format("\"error\":\"{}\",\"text\":{}", name_of(node.json.error().code),
                                json_string(node.json.error().text)));
  }
  if (connect.json) {
    fmt::print("[{}]\n", json);
  } else {
    fmt::print("{}", table(rows));
  }
  return reached > 0 ? kSuccess : kUnavailable;
}

}  // namespace kahuna::cli
