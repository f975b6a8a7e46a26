// A cluster of real nodes (kahuna/node) and real clients (kahuna/client) on the machines of a
// World, watched by the judges that look inside: Raft's invariants after every step, equal
// application on every replica, equal rows at the end.
//
//   U1 a node that reports a fatal error is taken down and, after a while, started again, as a
//      supervisor would; an error that nothing in the run can excuse is a violation;
//   U2 the first violation stops the world;
//   U3 client machines never crash; their clients come and go (workload.h).
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/node/node.h"
#include "kahuna/raft/invariants.h"
#include "sim/cluster_applies.h"
#include "sim/cluster_damage.h"
#include "sim/cluster_learners.h"
#include "sim/cluster_log_time.h"
#include "sim/fault_atlas.h"
#include "sim/fault_plan.h"
#include "sim/sim_disk_sync.h"
#include "sim/spec.h"
#include "sim/workload.h"
#include "sim/world.h"

namespace kahuna::sim {

enum class EngineKind : uint8_t { kMemory, kRocks };

struct ClusterOptions {
  size_t nodes = 3;
  size_t vacancies = 0;  // machines of these, the last, on which there is no member at first
  size_t groups = 1;     // user partitions
  EngineKind engine = EngineKind::kMemory;
  size_t loops = 1;         // event loops of a node, at most
  bool loops_vary = false;  // each start of a node draws how many
  bool timeouts_vary =
      false;  // ... and its shortest election timeout, which is what its promises are worth
  raft::Options raft;
  size_t segment_bytes = size_t{1} << 20;
  size_t value_bytes_max = partition::kValueBytesMax;
  size_t save_entries = 4096, unsaved_factor = 8;
  size_t log_keep_bytes = size_t{64} << 20, log_keep_entries = 1'000'000;
  size_t log_keep_total_bytes = size_t{1} << 30;
  size_t snapshot_part_bytes = size_t{256} << 10, snapshot_bytes_per_second = size_t{64} << 20;
  size_t flush_bytes = size_t{1} << 20;
  Duration flush_interval = Duration::seconds(5);
  size_t salvage_batch_bytes = size_t{1} << 20;  // of a damaged engine, copied at once
  Duration sign_of_life_interval = Duration::seconds(2);
  Duration quiet_probe_interval = Duration::seconds(10);
  Duration campaign_pace = Duration::micros(150);
  // Exactly-once records kept per partition: few, so that retries come after theirs is gone.
  size_t operation_records_max = partition::kOperationRecordsMax;
  size_t heads_max = 64 * 1024;  // recently used positions that a replica has in memory
  size_t journal_pending_bytes = size_t{64} << 20, recovery_bytes = size_t{64} << 20;
  size_t loop_frame_bytes = size_t{32} << 20;  // peers' messages from loop to loop
  size_t answer_bytes = size_t{16} << 20;      // node::Options::answer_bytes_max
  // Connections a node accepts beyond one for each machine of the run; 0 = as in production.
  size_t sessions_spare = 0;
  node::SlowDisk::Options slow_disk;  // when a leader gives way to nodes with quicker disks
  // A node that is asked to stop has stopped by then, or the run has failed; zero: whenever it
  // does. Only where nothing that disks or clocks may do can hold it up.
  Duration stop_max;
  Duration restart_min = Duration::millis(50), restart_max = Duration::seconds(2);
  // What damage may hit (fault_atlas.h).
  FaultAtlas::Mode atlas = FaultAtlas::Mode::kNodes;
  bool distrust_tears = false;  // of the journal
  // Images of disks are kept, so that a node may return with an earlier one.
  bool keep_images = false;
  // Journals are damaged at crashes (cluster_damage.h): of this node, or of all when the atlas
  // allows.
  size_t rots = 0;          // node number, from 1; 0 = never
  size_t rots_at = 0;       // ... from its crash of this number on, from 0
  size_t rots_crashes = 1;  // ... so many crashes
  size_t rots_sectors = 1;  // ... in so many places each time
  size_t rots_engine = 0;   // ... and so many bits of its engine's files flip
  // Who comes in place of a member that was removed listens at another address, so that a client
  // that knows the founders only must be told.
  bool joins_elsewhere = false;
  // Some of those who come wait until somebody asks for them, and some of these learn at first.
  bool joins_wait = false;
  // While the cluster is founded founders crash so many times, within so long; the first loses its
  // identity.
  size_t founding_crashes = 0;
  Duration founding_takes;
  // So many times a node crashes soon after it began to replace a replica's state by a snapshot.
  size_t crashes_installing = 0;
  // The judge has connections from the first phase, and waits for an operation no longer than this,
  // which is less than it waits for an attempt; zero = it connects in the second phase, patiently.
  Duration judge_timeout;
  // How often a node searches its disk for damage by itself (zero: never), and how fast.
  Duration scrub_interval;
  size_t scrub_bytes_per_second = size_t{16} << 20;
};
ClusterOptions draw_cluster(Spec& spec);
// Stretches Raft's and the clients' patience to what this world's latencies, disks and largest
// values allow: a cluster that could not elect anybody even without faults says nothing.
void fit_to_world(ClusterOptions& options, Workload& workload, const WorldOptions& world);

// Sees what happens inside, and changes nothing.
class ClusterListener {
 public:
  virtual ~ClusterListener() = default;
  // Inside the node's turn: after every step of a replica, and before a message leaves.
  virtual void step(size_t node, const raft::Replica& replica) { (void)node, (void)replica; }
  virtual void message(size_t node, const raft::Message& message) { (void)node, (void)message; }
  // A process was started there, or has ended.
  virtual void process(size_t node, bool up) { (void)node, (void)up; }
};

// How the node that takes the place of a member comes: it asks by itself; it waits until somebody
// asks for it, to vote; or to learn, until somebody asks that it vote; or nobody comes, until one
// is asked to.
enum class Coming : uint8_t { kAsks, kWaits, kLearns, kNobody };

struct Violation {
  std::string kind;  // "raft", "apply", "convergence", "fatal", ...
  std::string text;
};

class Cluster final : public FaultTarget {
 public:
  // Everything outlives the cluster. Adds the machines to the world: nodes first, then clients.
  Cluster(World& world, ClusterOptions options, WorkloadState& workload);
  ~Cluster() override;
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // They outlive the cluster, or are taken back.
  void listen(ClusterListener* listener) { listeners_.push_back(listener); }
  void unlisten(ClusterListener* listener) { std::erase(listeners_, listener); }
  void start();
  // Clients issue what the workload says, from now on. A judge with a timeout of its own reads once
  // from every partition.
  void run_clients();
  void stop_clients();
  size_t open_operations() const;
  // Whether a client that still exists waits for the operation.
  bool is_open(OperationNumber operation) const;

  // --- machines ---
  size_t nodes() const override { return slots_.size(); }
  NodeHandle handle(size_t node) const override { return slots_[node].handle; }
  bool up(size_t node) const override { return world_.running(slots_[node].handle); }
  void crash(size_t node, CrashKind kind) override;
  void stop(size_t node, Callback<void()> done) override;
  bool move_leader(RandomStream& dice, std::string& text) override;
  bool replace_member(RandomStream& dice, std::string& text) override;
  // The cluster is asked to remove the member there until it has; a new one then joins from there.
  // `dead`: it is lost at once, with its disk. Nothing else may be on its way there.
  void remove_member(size_t node, bool dead);
  // How the next one comes from there, whatever is drawn.
  void comes_next(size_t node, Coming how) { slots_[node].next = how; }
  // No member is there, nor on its way.
  bool vacant(size_t node) const { return slots_[node].vacant; }
  // Where none is, a node starts and joins.
  void add_member(size_t node);
  // The cluster is asked to let the learner there vote, until it has taken that in.
  void promote_member(size_t node);
  // A learner is there, or on its way: nothing else is recorded.
  bool learns(size_t node) const { return slots_[node].learns; }
  bool members_changed() const { return members_changed_; }
  // Every node that was not lost is a member, and all partitions have exactly the members as
  // voters, and learners.
  bool members_settled() const;
  NodeId member(size_t node) const { return slots_[node].id; }
  // Asks the leader of the latest term; false when there is none, or it is `to`, or either does not
  // run.
  bool move_leader(PartitionId id, size_t to);
  // Does nothing when it runs, or is frozen.
  void restart(size_t node) override;
  // Faults of the plan, as far as the atlas allows. A wiped node forgets only when all have booted
  // once: who was never founded has nothing to lose, and would found another cluster. One that is
  // rolled back does when each of the others has on record that it booted since; nobody could know
  // it otherwise.
  bool damage(size_t node, FaultKind kind, RandomStream& dice, std::string& text) override;
  bool may_forget(size_t node, FaultKind kind) override;
  void forget(size_t node, FaultKind kind) override;
  // What happens to the disk of a node that is down, whatever the atlas says. Damage: some written
  // sector of its journal (of its newest batch, when asked) rots, or cannot be read any more; false
  // when there is none. Wipe: an empty disk. Roll back: the disk as it was in an earlier boot. A
  // node that was wiped or rolled back may refuse to boot, or wait.
  bool damage(size_t node, bool newest = false);
  // Both copies of the newest batch; some bits of the engine's files.
  bool lose_newest(size_t node);
  // Its journals, which somebody removes.
  void lose_journals(size_t node);
  // Some written sector of a journal rots; the node may run.
  bool rot(size_t node);
  bool damage_engine_of(size_t node, size_t bits);
  void wipe(size_t node);
  void roll_back(size_t node, const DiskImage& image);
  // Frozen for good: dead, stopped, or cut off from everybody (drawn).
  void freeze(size_t node);
  // The first phase is over: no crashes of the cluster's own any more.
  void calm_down();

  // --- judging ---
  const std::optional<Violation>& violation() const { return violation_; }
  void report(std::string kind, std::string text);
  // Asked after every event: reports a world whose time stands still.
  bool stuck();
  // A client of the judge's own, on a machine of its own that no fault touches.
  ClientDriver& judge();
  NodeHandle judge_handle() const;
  // A key in each of the partitions.
  std::vector<std::string> keys_in(const std::vector<PartitionId>& partitions) const;
  PartitionId partition_of(std::string_view key) const;
  bool all_booted(const std::vector<size_t>& nodes) const;
  // User partitions that a majority of all replicas hosts on those nodes, which have booted, and
  // whose logs are whole or can become so. A replica that is not hosted by a node that boots is
  // reported.
  std::vector<PartitionId> hosted_by(const std::vector<size_t>& nodes);
  // Damaged logs on those nodes are whole again, or cannot become so: see beyond_repair().
  bool repaired(const std::vector<size_t>& nodes) const;
  // Replicas on those nodes hold the same rows. The text says what differs.
  std::optional<std::string> differences(const std::vector<size_t>& nodes,
                                         const std::vector<PartitionId>& partitions);
  // Nothing is in flight in those partitions: logs are equal, committed and applied to their end.
  bool settled(const std::vector<size_t>& nodes, const std::vector<PartitionId>& partitions) const;
  std::string describe() const;
  // Null when the node is down or booting, or does not host the partition.
  const raft::Replica* replica(size_t node, PartitionId id) const {
    const Slot& slot = slots_[node];
    return slot.node && slot.node->booted() ? slot.node->replica(id) : nullptr;
  }
  // Applied there; none when it is down or has no state.
  std::optional<LogTime> log_time(size_t node, PartitionId id) const {
    const Slot& slot = slots_[node];
    const partition::StateMachine* state = replica(node, id) ? slot.node->state(id) : nullptr;
    return state ? std::optional(state->log_time()) : std::nullopt;
  }
  uint64_t applied_entries() const { return applies_.applied(); }
  uint64_t rotten() const { return rotten_; }
  // What the node has told people of damage.
  const std::vector<std::string>& damage_told(size_t node) const {
    return slots_[node].damage_told;
  }
  // The node has forgotten what it promised.
  bool forgot(size_t node) const { return slots_[node].forgot; }
  // The plan has damaged what a node cannot start without, noticed or not.
  bool is_damaged() const;
  // Some node says that damage keeps it from serving: it refused to start, or a log or a state of
  // its is not whole.
  bool is_hurt() const;
  // Some partition has to wait for ever, and with it those who are to leave: see beyond_repair().
  bool waits_for_what_is_lost() const;

 private:
  struct Slot;
  class Watcher;  // node::Observer of one process
  struct Slot {
    NodeHandle handle;
    std::string name;
    std::unique_ptr<Watcher> watcher;
    std::unique_ptr<SimSyncFileSystem> files;  // for RocksDB
    std::unique_ptr<node::Node> node;
    std::string last_fatal;
    bool frozen = false;
    bool stopping = false;  // was asked to
    bool damaged = false;   // by the plan
    bool lost = false;      // ... so that it refuses to boot
    bool forgot =
        false;  // ... so that it has forgotten what it promised: whatever it says, it may not serve
    bool engine_damaged = false;
    std::vector<std::string> damage_told;  // by the node, all of it
    NodeId id;                             // of its directory; none when not known yet
    bool joins = false;                    // it is no founder
    bool vacant = false;                   // nobody is there, or on the way
    Coming coming = Coming::kAsks;
    std::optional<Coming> next;
    bool added = true;    // whoever is to ask for it has
    bool learns = false;  // let in as a learner
    bool rises = false;   // ... and asked to vote, which is not recorded yet
    uint16_t port = 0;
    bool leaving = false;   // is being removed
    bool removed = false;   // ... which is recorded
    bool departed = false;  // ... and the node there has stopped for good
    uint64_t directory_starts = 0;
    EventId restart = 0;
    uint64_t starts = 0;
    uint64_t crashes = 0;
    std::optional<DiskImage> image;  // of an earlier boot,
    uint64_t image_boot = 0;         // this one
    bool booted_once = false;
    bool begins_anew = false;  // its operator is about to give it an empty directory
    bool began_anew = false;
  };
  struct ClientSlot {
    NodeHandle handle;
    std::unique_ptr<ClientDriver> driver;
  };

  static constexpr uint16_t kPort = 2073;  // where the founders listen

  node::Options node_options(size_t node);
  node::OpenEngine fill_disk_of_a_salvage(size_t node, node::OpenEngine open);
  size_t draw_loops(size_t node) const;
  Duration draw_election_timeout(size_t node) const;
  std::vector<Address> addresses() const;
  void add_client(std::string name);
  void build(size_t node);
  void on_fatal(size_t node, const Error& error);
  void judge_fatal(size_t node, const Error& error);
  void founded_without(size_t node);
  void judge_scrub(size_t node, std::string_view text);
  void restart_later(size_t node);
  void on_installing(size_t node);
  void disturb_founding();
  void damage_founder(size_t node, uint64_t how);
  // Members (cluster_members.cc).
  // The judge asks until it is so, and then calls `done`, or nobody wants it any more.
  void ask(std::string wish, std::function<bool()> wanted, std::function<void()> done);
  void ask_to_add(size_t node);
  void comes(size_t node);
  size_t founders() const { return slots_.size() - options_.vacancies; }
  size_t members() const;  // whoever is not vacant
  size_t voters() const;
  bool may_start(size_t node);
  void empty_directory(size_t node);
  bool is_founded() const;  // some node has served
  bool may_harm();
  // Without an atlas nobody might be left who knows in which boot a node was that was rolled back
  // since.
  bool may_damage();
  bool may_roll_back();
  Result<uint64_t> state_digest(size_t node, PartitionId id);
  // At the end of a process: the plan's damage, and an image.
  void damage_at_crash(size_t node);
  void keep_image(size_t node, uint64_t boot);
  // A sector of the journal, by the atlas.
  std::optional<std::string> damage_journal_of(size_t node, Damage how, RandomStream& dice);
  bool arm_misdirection(size_t node, RandomStream& dice, std::string& text);
  // The boot of `of` that the replica of meta on `at` has on record.
  std::optional<uint64_t> boot_known(size_t at, NodeId of);
  // A log or a state on these nodes has lost what none of them holds intact, and too few of the
  // others are whole to settle it without that replica: rightly, the partition waits.
  bool beyond_repair(PartitionId id, const std::vector<size_t>& nodes) const;

  World& world_;
  const ClusterOptions options_;
  WorkloadState& workload_;
  RandomStream random_, crashing_, imaging_;
  FaultAtlas atlas_;
  const std::vector<partition::Descriptor> descriptors_;
  std::vector<Slot> slots_;
  std::vector<ClientSlot> clients_;
  raft::InvariantChecker invariants_;
  AppliedEntries applies_;
  LogTimes log_times_;
  Learners learners_;
  std::optional<Violation> violation_;
  std::vector<ClusterListener*> listeners_;
  size_t judge_ = 0;  // index of the last client
  uint64_t rotten_ = 0;
  size_t crashes_installing_ = 0;  // left
  bool calm_ = false;
  bool members_changed_ = false;
  bool harmed_ = false;  // something durable was damaged or lost, or will be
  bool damaged_ = false, rolled_back_ = false;
  bool disk_filled_ = false;     // of a node that sets up a new engine; once
  TrueTime instant_;             // when time last moved
  uint64_t instant_events_ = 0;  // events until then
};

}  // namespace kahuna::sim
