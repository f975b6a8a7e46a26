// A node that was removed from the cluster goes on serving its replicas until no partition needs
// them: they may be what a quorum is made of. It asks all the others, and the leader of each
// partition that can do without it says so; when it has heard that of every partition, the node has
// left.
//
//   A leader says so when its group's configuration is committed, is no joint one, and does not
//   have the node, and the leader itself knows of the removal: whoever leads the group later, and
//   knows of it too, finds the same. (One that does not know yet may add the node again; when it
//   has left meanwhile, that costs what its crash would, until the leader hears of the removal.)
//   That it still leads is confirmed after it was asked, once a term: one that others have replaced
//   knows an earlier configuration, to which the node may have been added since.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "runtime/host.h"
#include "runtime/ids.h"

namespace kahuna::node {

class Departure {
 public:
  class Hooks {
   public:
    virtual ~Hooks() = default;
    virtual void ask_whether_gone() = 0;  // everybody who can be reached
    virtual void on_departed() = 0;       // once
  };
  static constexpr Duration kPace = Duration::millis(500);

  Departure(Host& host, Hooks& hooks) : host_(host), hooks_(hooks) {}
  ~Departure() { host_.clock->cancel(timer_); }

  // This node was removed, and hosts these.
  void begin(std::vector<PartitionId> partitions);
  bool begun() const { return begun_; }
  void heard(PartitionId gone);

 private:
  void ask();

  Host& host_;
  Hooks& hooks_;
  bool begun_ = false, ended_ = false;
  std::set<PartitionId> waiting_;  // for a word about these
  TimerId timer_ = 0;
};

}  // namespace kahuna::node
