#include "tests/cluster/cluster.h"

#include <chrono>
#include <csignal>
#include <thread>

#include "kahuna/cli/json.h"
#include "runtime/check.h"

namespace kahuna::testing {
namespace {

// What one node says of itself; null when it does not answer.
cli::Json status_of(const Address& address) {
  const Ran ran =
      run_kahuna({"status", "--json", "--timeout", "1", "--endpoints", to_string(address)});
  const Result<cli::Json> list = cli::parse_json(ran.out);
  if (!list) return {};
  for (const cli::Json& node : list->items) {
    if (node["address"].text == to_string(address)) return node["status"];
  }
  return {};
}

}  // namespace

Cluster::Cluster(size_t nodes, std::vector<std::string> flags)
    : own_network_(TestNetwork::loopback(nodes)),
      network_(*own_network_),
      flags_(std::move(flags)) {
  add(nodes);
}

Cluster::Cluster(size_t nodes, TestNetwork& network, std::vector<std::string> flags)
    : network_(network), flags_(std::move(flags)) {
  add(nodes);
}

void Cluster::add(size_t nodes) {
  for (size_t i = 0; i < nodes; ++i) {
    const std::string name = "n" + std::to_string(i + 1);
    nodes_.push_back({.name = name,
                      .directory = place_.path() + "/" + name,
                      .log = place_.path() + "/" + name + ".log",
                      .address = network_.address(TestNetwork::kTest, i),
                      .process = nullptr,
                      .joins = false});
  }
}

std::vector<std::string> Cluster::server_words(size_t node) const {
  std::string founders, others;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const std::string address = to_string(network_.address(node, i));
    founders += (i == 0 ? "" : ",") + nodes_[i].name + "=" + address;
    if (i != node) others += (others.empty() ? "" : ",") + address;
  }
  const Node& self = nodes_[node];
  std::vector<std::string> words = {"server",
                                    "--name",
                                    self.name,
                                    "--listen",
                                    to_string(network_.listen(node)),
                                    "--data",
                                    self.directory,
                                    self.joins ? "--join" : "--founders",
                                    self.joins ? others : founders};
  words.insert(words.end(), flags_.begin(), flags_.end());
  return words;
}

void Cluster::start(size_t node) {
  nodes_[node].process =
      std::make_unique<Process>(server_words(node), nodes_[node].log, network_.namespace_of(node));
}

void Cluster::start_anew(size_t node) {
  nodes_[node].joins = true;
  nodes_[node].directory += "+";
  start(node);
}

void Cluster::start_all() {
  for (size_t i = 0; i < nodes_.size(); ++i) start(i);
}

void Cluster::kill(size_t node) {
  nodes_[node].process->signal(SIGKILL);
  CHECK(nodes_[node].process->wait(Duration::seconds(30)).has_value());
}

bool Cluster::await_ready(Duration patience) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(patience.nanos());
  const auto ready = [&](const Node& node) {
    if (!node.process || !node.process->running()) return true;
    const cli::Json status = status_of(node.address);
    if (!status["serving"].is_true()) return false;
    for (const cli::Json& partition : status["partitions"].items) {
      if (partition["leader"].text.empty()) return false;
    }
    return true;
  };
  while (std::chrono::steady_clock::now() < end) {
    bool all = true;
    for (const Node& node : nodes_) all = all && ready(node);
    if (all) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

cli::Json Cluster::status(size_t node) const {
  return status_of(nodes_[node].address);
}

size_t Cluster::leads(size_t node) const {
  const cli::Json status = status_of(nodes_[node].address);
  size_t count = 0;
  for (const cli::Json& partition : status["partitions"].items) {
    count += partition["role"].text == "leader";
  }
  return count;
}

size_t Cluster::busiest() const {
  size_t best = 0, most = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const size_t count = leads(i);
    if (count > most) {
      most = count;
      best = i;
    }
  }
  return best;
}

std::vector<Address> Cluster::addresses() const {
  std::vector<Address> list;
  for (const Node& node : nodes_) list.push_back(node.address);
  return list;
}

std::string Cluster::endpoints() const {
  std::string list;
  for (const Node& node : nodes_) list += (list.empty() ? "" : ",") + to_string(node.address);
  return list;
}

Ran Cluster::run(std::vector<std::string> words, const std::string& input) const {
  words.insert(words.end(), {"--endpoints", endpoints()});
  return run_kahuna(words, input);
}

}  // namespace kahuna::testing
