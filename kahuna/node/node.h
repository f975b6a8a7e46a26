// One node: recovers its directory, drives its replicas, talks to its peers, serves clients.
//
// Owned by main or by the simulator; lives on one host (the home loop) and is used from its thread.
// When that host has other loops, partitions are spread over all of them (shards.h); identity,
// founding, engine, sessions and peer connections stay at home. Destroying it is a stop without
// warning, safe at any moment: nothing acknowledged is lost.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kahuna/engine/engine.h"
#include "kahuna/journal/journal.h"
#include "kahuna/node/slow_disk.h"
#include "kahuna/partition/state_machine.h"
#include "kahuna/raft/replica.h"
#include "runtime/fiber.h"
#include "runtime/host.h"

namespace kahuna::node {

struct Founder {
  std::string name;
  Address address;
};

using OpenEngine = std::function<Result<std::unique_ptr<engine::Engine>>(Suspend, Host&, Fibers&,
                                                                         const std::string& dir)>;

struct Options {
  std::string name;               // unique in the cluster; letters, digits, '-', '_', '.'
  Address listen;                 // native protocol: clients and peers
  std::vector<Founder> founders;  // the same list on every founding node; only ever used once
  // Instead of founders: this node joins a cluster. Whom to ask; none: it waits until somebody asks
  // for it.
  bool joins = false;
  std::vector<Address> join;
  size_t partitions = 16;  // user partitions of a cluster that this node helps to found
  raft::Options raft;
  journal::Options journal;
  // Larger ones are refused. A segment of the journal must hold a command with two of them.
  size_t value_bytes_max = partition::kValueBytesMax;
  partition::Limits limits;  // of records: the same on every node of the cluster, for good
  Duration request_timeout = Duration::seconds(10);  // of a request that names none
  // Applied state is saved to the engine in the background when so many entries, or bytes of them,
  // are unsaved; at unsaved_factor times as many, applying waits for the engine. The later, the
  // more often is a key that was written many times saved once.
  size_t save_entries = 32'768;
  size_t save_bytes = size_t{16} << 20;
  size_t unsaved_factor = 4;
  // Of the log behind what the engine has flushed, kept for replicas that are behind: beyond any of
  // these it is compacted, and they need a snapshot. Per partition; all partitions of a loop
  // together.
  size_t log_keep_bytes = size_t{64} << 20;
  size_t log_keep_entries = 1'000'000;
  size_t log_keep_total_bytes = size_t{1} << 30;
  size_t snapshot_part_bytes = size_t{256} << 10;  // rows in one message of a snapshot, about
  size_t snapshot_bytes_per_second =
      size_t{16} << 20;  // sent by one loop, so that others are served; more in need
  size_t flush_bytes = size_t{64} << 20;            // engine flush when so much was applied
  Duration flush_interval = Duration::seconds(60);  // ... or this long after the first write
  // Quiet groups: how often the nodes ask each other for a sign of life, and how often one of the
  // groups of a loop is woken to see whether its leader lives.
  Duration sign_of_life_interval = Duration::seconds(2);
  Duration quiet_probe_interval = Duration::seconds(10);
  // Of the replicas of a loop one begins to campaign so long after the other.
  Duration campaign_pace = Duration::micros(150);
  // When this node's disk is too slow for it to lead, and how often that may move a partition.
  SlowDisk::Options slow_disk;
  // What is at rest on the disk is read back and verified so fast (above 0), and so often by
  // itself; zero: never.
  size_t scrub_bytes_per_second = size_t{16} << 20;
  Duration scrub_interval = Duration::seconds(24 * 60 * 60);
  // Messages of peers that one event loop has for another; beyond it some are left out.
  // One frame of each peer is always taken.
  size_t loop_frame_bytes_max = size_t{32} << 20;
  // What is read is not read for a connection on which so much waits to be sent: the request ends
  // with kOverloaded.
  size_t answer_bytes_max = size_t{16} << 20;
  size_t requests_max = 65'536;  // in flight on this node; beyond it kOverloaded
  // Connections accepted. When there are more, those that were silent for long make room, and when
  // none was, clients are refused; nodes have some places of their own.
  size_t sessions_max = 20'000;
  // The node's disk is full and it takes no writes, and why; "": it does again. May be empty.
  std::function<void(std::string_view why)> on_disk_full;
  // The disk has lost something, or it has been made good again. May be empty.
  std::function<void(std::string_view text)> on_damage;
  // Another node is asked to lead a partition, because this one's disk is slow. May be empty.
  std::function<void(std::string_view text)> on_slow_disk;
  // Opens the engine in that directory inside the node's: `engine_dir`, or one beside it.
  std::string engine_dir = "engine";
  OpenEngine open_engine;
  size_t salvage_batch_bytes =
      size_t{1} << 20;  // written at once, about, of what is whole of a damaged engine
};

// What a node makes of its options: a log takes what is kept of it and what is applied between two
// flushes, and more; else all writes would be refused while a replica is away.
Options fitted(Options options);

// Sees every replica after every turn that touched it, and every application of an entry. The
// simulator's invariant checkers; null in production.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_step(const raft::Replica& replica) = 0;
  // A message is about to leave; `replica` is its sender, as it is now.
  virtual void on_send(const raft::Replica& replica, const raft::Message& message) {
    (void)replica, (void)message;
  }
  // `state` is the one after it.
  virtual void on_apply(NodeId node, PartitionId group, const raft::Entry& entry,
                        const partition::Reply& reply, const partition::StateMachine& state) = 0;
  // A replica starts without the state that its engine once had.
  virtual void on_state_lost(NodeId node, PartitionId group) { (void)node, (void)group; }
  // The replica goes on from this state: its engine had it at the start, or a snapshot has brought
  // it.
  virtual void on_state(NodeId node, PartitionId group, const partition::StateMachine& state) {
    (void)node, (void)group, (void)state;
  }
};

class Node {
 public:
  // Starts booting; returns at once. `on_fatal` is called at most once, when the node cannot go on
  // (damaged or foreign directory, disk failure, address in use): destroy it then.
  static std::unique_ptr<Node> start(Host& host, Options options, Callback<void(Error)> on_fatal,
                                     Observer* observer = nullptr);
  virtual ~Node() = default;

  // Stops accepting, hands what it leads to others, ends the requests it has (sending new ones
  // elsewhere), flushes the engine, then calls `done` once; the node may then be destroyed. Each
  // step has its patience, even with a full disk.
  virtual void shut_down(Callback<void()> done) = 0;
  // If this node leads the partition, asks that node's replica to lead. Nothing is reported.
  virtual void move_leader(PartitionId partition, NodeId to) = 0;
  // Destroys what lives on another loop: called there, after that loop has run for the last time
  // and before the node is destroyed.
  virtual void leave(size_t loop) = 0;

  // After on_fatal: it stopped for damage to its engine, and a node started on this directory sets
  // up a new one.
  virtual bool renews_engine() const = 0;

  // Of no cluster yet: what came of asking the other founders, or whoever may let it into one, for
  // people, "HOST:PORT: …; HOST:PORT: …"; otherwise "".
  virtual std::string asked() const = 0;
  virtual bool booted() const = 0;      // recovered and founded; serving
  virtual NodeId id() const = 0;        // 0 before the directory was read
  virtual uint64_t boot() const = 0;    // this boot, as counted in the directory; 0 before that
  virtual Address address() const = 0;  // where it listens; port 0 before it does
  // With more than one loop, what follows is for observers that share the thread of all loops.
  // Partitions hosted, ascending; the replica is null when not hosted.
  virtual std::vector<PartitionId> partitions() const = 0;
  virtual const raft::Replica* replica(PartitionId id) const = 0;
  // Null also while it is being replaced by a snapshot.
  virtual const partition::StateMachine* state(PartitionId id) const = 0;
};

}  // namespace kahuna::node
