#include "kahuna/node/node.h"

#include <algorithm>

#include "kahuna/node/node_impl.h"
#include "kahuna/partition/position.h"

namespace kahuna::node {
namespace {

Result<> validate(const Options& o) {
  if (!valid_name(o.name))
    return fail(ErrorCode::kInvalid,
                "bad node name '" + o.name + "': use 1..64 of letters, digits, '-', '_', '.'");
  if (o.joins && !o.founders.empty())
    return fail(ErrorCode::kInvalid,
                "a node that joins a cluster does not found one: give it --join or --founders");
  if (!o.joins && (o.founders.empty() || o.founders.size() > 9))
    return fail(ErrorCode::kInvalid,
                "name 1..9 founders, for example --founders n1=127.0.0.1:2073,n2=…");
  bool self = false;
  for (size_t i = 0; i < o.founders.size(); ++i) {
    if (!valid_name(o.founders[i].name))
      return fail(ErrorCode::kInvalid, "bad founder name '" + o.founders[i].name + "'");
    for (size_t j = 0; j < i; ++j)
      if (o.founders[i].name == o.founders[j].name ||
          o.founders[i].address == o.founders[j].address)
        return fail(ErrorCode::kInvalid, "founder '" + o.founders[i].name + "' is listed twice");
    self = self || o.founders[i].name == o.name;
  }
  if (!self && !o.joins)
    return fail(ErrorCode::kInvalid, "node '" + o.name + "' is not among its own founders");
  if (o.partitions < 1 || o.partitions > kPartitionsMax)
    return fail(ErrorCode::kInvalid, "the number of partitions must be 1..16384");
  if (o.scrub_bytes_per_second == 0)
    return fail(ErrorCode::kInvalid, "a scrub must read some bytes a second");
  // A command that fits no segment would stop the node that was asked to log it.
  const size_t command = partition::command_bytes_max(o.value_bytes_max);
  const size_t entry = journal::entry_bytes_max(o.journal);
  if (entry < command)
    return fail(ErrorCode::kInvalid, "journal segments of " +
                                         std::to_string(o.journal.segment_bytes) +
                                         " bytes hold entries of at most " + std::to_string(entry) +
                                         ", but a command may take " + std::to_string(command) +
                                         "; make segments larger");
  return {};
}
}  // namespace

Options fitted(Options options) {
  const size_t usual = options.log_keep_bytes + options.flush_bytes;
  options.raft.log_bytes_max = std::max(options.raft.log_bytes_max, 2 * kLogShareKept * usual);
  return options;
}

void NodeImpl::start() {
  if (auto valid = validate(options_); !valid) return fatal_later(valid.error());
  fibers_.spawn("boot", [this](Suspend s) {
    if (auto booted = boot(s); !booted) fatal_later(booted.error());
  });
}

std::vector<PartitionId> NodeImpl::partitions() const {
  std::vector<PartitionId> ids;
  if (!groups_) return ids;
  ids = groups_->ids();
  for (size_t loop = 1; loop < loops(); ++loop) {
    Groups* groups = shards_->groups(loop);
    if (!groups) continue;
    std::vector<PartitionId> more = groups->ids();
    ids.insert(ids.end(), more.begin(), more.end());
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

// --- status ---

void NodeImpl::on_shard_disk_full(size_t loop, std::string_view why) {
  bool was_full = !full_loops_.empty();
  if (why.empty())
    full_loops_.erase(loop);
  else
    full_loops_.insert(loop);
  if (options_.on_disk_full && was_full == full_loops_.empty()) options_.on_disk_full(why);
}

std::string NodeImpl::address_of(NodeId node) const {
  const RosterMember* m = member(node);
  return m ? to_string(address_of(*m)) : std::string();
}

NodeId NodeImpl::node_named(std::string_view name) const {
  const RosterMember* m = find_member(roster(), name);
  return m ? m->node : NodeId();
}

NodeStatus NodeImpl::status() const {
  NodeStatus status;
  status.name = options_.name;
  status.node = id();
  status.boot = identity_ ? identity_->boot().number : 0;
  status.serving = started_;
  status.waiting = options_.joins && identity_ && !identity_->founding();
  status.loops = loops();
  status.disk_full = !full_loops_.empty();
  if (identity_ && identity_->founding()) {
    status.cluster = identity_->founding()->cluster;
    status.roster = roster();
    for (RosterMember& m : status.roster.members) m.address = address_of(m);
  }
  status.watermark = service_.watermark();
  status.in_flight = service_.in_flight();
  status.sessions = sessions_.size();
  for (const auto& d : dialers_) status.peers.push_back({d->name(), d->address(), d->up()});
  LoopStatus home;
  if (journal_) home.journal = journal_->statistics();
  if (groups_) {
    home.replicas = groups_->statuses();
    home.damaged = groups_->damaged();
  }
  status.parts.push_back(std::move(home));
  return status;
}

void NodeImpl::collect_status(uint64_t session, uint64_t request) {
  if (!shards_ || !started_) return service_.answer_status(session, request, to_json(status()));
  shards_->collect_status([this, session, request](std::vector<LoopStatus> others) {
    NodeStatus all = status();
    for (LoopStatus& other : others) all.parts.push_back(std::move(other));
    service_.answer_status(session, request, to_json(all));
  });
}

std::unique_ptr<Node> Node::start(Host& host, Options options, Callback<void(Error)> on_fatal,
                                  Observer* observer) {
  auto node =
      std::make_unique<NodeImpl>(host, fitted(std::move(options)), std::move(on_fatal), observer);
  node->start();
  return node;
}

}  // namespace kahuna::node
