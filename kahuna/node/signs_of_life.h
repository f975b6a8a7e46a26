// Whether the nodes that this one talks to are alive: for the sake of quiet groups, whose leaders
// say nothing themselves (raft/quiescence.h). One exchange per pair of nodes and interval, however
// many groups there are, and none where anything else is said.
//
//   S1 every interval the owner is asked to probe its connections, so that the other side hears us
//   and
//      answers;
//   S2 a peer that was heard once is lost when it was silent in kSilentMax looks in a row. A node
//   that was
//      stopped meanwhile looks once for all the time that it missed, and loses nobody by that;
//   S3 `lost` is called once for each silence.
//
// Lives on the home loop. Not here: that a connection broke (its owner hears that at once).
#pragma once

#include <functional>
#include <vector>

#include "runtime/host.h"
#include "runtime/ids.h"

namespace kahuna::node {

class SignsOfLife {
 public:
  static constexpr int kSilentMax = 3;

  class Hooks {
   public:
    virtual ~Hooks() = default;
    virtual void probe_peers() = 0;
    virtual void on_silent(NodeId peer) = 0;
  };

  // Both outlive it.
  SignsOfLife(Clock& clock, Hooks& hooks) : clock_(clock), hooks_(hooks) {}
  ~SignsOfLife() { clock_.cancel(timer_); }
  SignsOfLife(const SignsOfLife&) = delete;
  SignsOfLife& operator=(const SignsOfLife&) = delete;

  void begin(Duration interval);
  // Any frame of that node has come.
  void heard(NodeId peer);

 private:
  struct Peer {
    NodeId node;
    int silent = 0;  // looks
  };
  void arm();
  void look();

  Clock& clock_;
  Hooks& hooks_;
  Duration interval_;
  TimerId timer_ = 0;
  std::vector<Peer> peers_;
};

}  // namespace kahuna::node
