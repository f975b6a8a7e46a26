// What the meta partition records about the cluster, and who keeps the record: the leader of the
// meta partition. Records are ordinary ones under reserved keys (partition/position.h):
//
//   __kahuna:founding      the roster and the map as founded (schemas/meta.fbs, Founding)
//   __kahuna:roster        who belongs to the cluster now (roster.h); not this class's
//   __kahuna:boot/<node>   the highest boot of that node that the cluster has met: "number nonce"
//
//   Y1 a recorded boot only grows;
//   Y2 a node whose directory cannot have been through the recorded boot (identity.h,
//   can_have_been) has lost
//      what it once made durable: nobody listens to it (DESIGN §4, trap 25), however often it
//      boots.
//
// Every node judges by its own replica of meta, what its log holds beyond its state included: a
// node that has just started may not know for long that a record is committed, and a record is
// proposed by who met the boot. A replica may be behind: then the judgement comes later.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "kahuna/node/identity.h"
#include "kahuna/partition/state_machine.h"
#include "runtime/host.h"

namespace kahuna::node {

class Registry {
 public:
  class Hooks {
   public:
    virtual ~Hooks() = default;
    // This node's replica of meta; null when there is none (yet).
    virtual partition::StateMachine* meta() = 0;
    // Its state could not be read.
    virtual void meta_failed(const Error& error) = 0;
    virtual bool leads_meta() const = 0;
    // The entries of its log that are not applied, in order: committed, for all this node knows, or
    // not.
    virtual void visit_unapplied_meta(
        const std::function<void(const raft::Entry&)>& visit) const = 0;
    // Ends in proposal_done(), unless an error is returned at once.
    virtual Result<> propose_to_meta(partition::Command command) = 0;
    virtual Watermark watermark() const = 0;
  };
  static constexpr Duration kRetry = Duration::seconds(1);

  Registry(Host& host, Hooks& hooks) : host_(host), hooks_(hooks) {}
  ~Registry() { host_.clock->cancel(timer_); }

  // The cluster is founded: from now on its record is kept.
  void open(NodeId self, Boots boots, std::string founding);
  // Met in a greeting, and judged.
  void heard(NodeId node, Boots boots);
  // kRolledBack: Y2. kUnavailable: what is on record cannot be read; ask again. `name` is for
  // people.
  Result<> judge(NodeId node, const std::string& name, const Boots& boots) const;

  // Something changed: leadership of meta was won.
  void update();
  // What became of it: the next attempt is born above any stamp heard of.
  void proposal_done(const Result<partition::Reply>& reply);

  // The latest boot met in a greeting; number 0: none.
  Boot met(NodeId node) const {
    auto it = heard_.find(node);
    return it == heard_.end() ? Boot() : it->second.back();
  }
  // As recorded by this node's replica; nullopt when not yet.
  Result<std::optional<Boot>> recorded(NodeId node) const;

 private:
  bool contradicts_log(NodeId node, const Boots& boots) const;
  Result<std::optional<partition::Record>> read(const std::string& key) const;
  Result<std::optional<partition::Command>> missing();
  Result<std::optional<partition::Command>> missing_boot(NodeId node, const Boots& boots);
  void try_again();

  Host& host_;
  Hooks& hooks_;
  std::string founding_;
  uint64_t client_ = 0, sequence_ = 0;
  std::map<NodeId, Boots> heard_;
  Watermark heard_stamp_;
  bool proposing_ = false;
  TimerId timer_ = 0;
};

}  // namespace kahuna::node
