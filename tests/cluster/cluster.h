// A cluster of real server processes, in a temporary directory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kahuna/cli/json.h"
#include "runtime/host.h"
#include "tests/cluster/process.h"
#include "tests/cluster/test_network.h"

namespace kahuna::testing {

class Cluster {
 public:
  explicit Cluster(size_t nodes, std::vector<std::string> flags = {});
  // `network` outlives the cluster.
  Cluster(size_t nodes, TestNetwork& network, std::vector<std::string> flags);

  size_t size() const { return nodes_.size(); }
  // Of every server started from now on.
  void set_flags(std::vector<std::string> flags) { flags_ = std::move(flags); }
  void start(size_t node);
  void start_all();
  // Another node of that name and address, on an empty directory, asks to join.
  void start_anew(size_t node);
  void signal(size_t node, int number) { nodes_[node].process->signal(number); }
  // SIGKILL, and waits until it is gone.
  void kill(size_t node);
  Process& process(size_t node) { return *nodes_[node].process; }

  // All running nodes serve and know a leader of every partition; false after `patience`.
  bool await_ready(Duration patience = Duration::seconds(30));
  // What the node says of itself; null when it does not answer.
  cli::Json status(size_t node) const;
  // Partitions led, by the node's own word; 0 when it does not answer.
  size_t leads(size_t node) const;
  // The node that leads most partitions.
  size_t busiest() const;

  std::vector<Address> addresses() const;
  std::string endpoints() const;  // as the flag wants them
  std::string directory(size_t node) const { return nodes_[node].directory; }
  std::string log(size_t node) const { return read_file(nodes_[node].log); }
  std::vector<std::string> server_words(size_t node) const;
  // Runs a verb with --endpoints of this cluster.
  Ran run(std::vector<std::string> words, const std::string& input = "") const;
  const std::string& place() const { return place_.path(); }

 private:
  struct Node {
    std::string name, directory, log;
    Address address;  // for the test
    std::unique_ptr<Process> process;
    bool joins = false;
  };
  void add(size_t nodes);

  TemporaryDirectory place_;
  std::unique_ptr<TestNetwork> own_network_;
  TestNetwork& network_;
  std::vector<std::string> flags_;
  std::vector<Node> nodes_;
};

}  // namespace kahuna::testing
