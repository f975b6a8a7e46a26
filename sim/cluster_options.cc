// What kind of cluster a run has: drawn, and fitted to its world; and what each node is started
// with.
#include <algorithm>

#include "kahuna/engine/memory_engine.h"
#include "kahuna/engine/rocks_engine.h"
#include "kahuna/node/snapshot.h"
#include "sim/cluster.h"

namespace kahuna::sim {

ClusterOptions draw_cluster(Spec& spec) {
  ClusterOptions o;
  o.nodes = spec.pick("nodes", {{3, 65}, {5, 22}, {1, 5}, {2, 3}, {4, 3}, {7, 2}});
  o.vacancies = std::min(spec.pick("vacancies", {{0, 90}, {1, 4}, {2, 6}}), o.nodes - 1);
  o.groups = spec.pick("groups", {{1, 30}, {2, 20}, {3, 25}, {8, 20}, {32, 5}});
  o.engine = spec.choice("engine", {{"memory", 80}, {"rocks", 20}}) == "rocks"
                 ? EngineKind::kRocks
                 : EngineKind::kMemory;
  o.loops = spec.pick("loops", {{1, 70}, {2, 18}, {3, 12}});
  o.loops_vary = spec.flag("loops-vary", 50, 100);
  o.timeouts_vary = spec.flag("timeouts-vary", 20, 100);
  uint64_t pace = spec.pick("raft-pace-percent", {{100, 60}, {30, 20}, {15, 10}, {200, 10}});
  auto paced = [&](Duration d) { return d * static_cast<int64_t>(pace) / 100; };
  o.raft.heartbeat_interval = paced(o.raft.heartbeat_interval);
  o.raft.election_timeout_min = paced(o.raft.election_timeout_min);
  o.raft.election_timeout_max = paced(o.raft.election_timeout_max);
  o.raft.disconnect_timeout = paced(o.raft.disconnect_timeout);
  o.raft.reads = spec.choice("reads", {{"quorum", 60}, {"lease", 40}}) == "lease"
                     ? raft::Reads::kLease
                     : raft::Reads::kQuorum;
  const std::string quiesce = spec.choice("quiesce", {{"off", 15}, {"soon", 45}, {"late", 40}});
  o.raft.quiesce_after = quiesce == "off"    ? Duration()
                         : quiesce == "soon" ? o.raft.heartbeat_interval
                                             : o.raft.election_timeout_max * 2;
  o.sign_of_life_interval =
      o.raft.election_timeout_max *
      static_cast<int64_t>(spec.pick("sign-of-life-timeouts", {{1, 3}, {2, 5}, {6, 2}}));
  o.quiet_probe_interval =
      o.raft.election_timeout_max *
      static_cast<int64_t>(spec.pick("quiet-probe-timeouts", {{2, 3}, {10, 5}, {60, 2}}));
  o.campaign_pace = Duration::micros(
      static_cast<int64_t>(spec.pick("campaign-pace-us", {{150, 6}, {20'000, 1}, {100'000, 1}})));
  auto millis = [&](std::string_view name,
                    std::initializer_list<std::pair<uint64_t, uint32_t>> choices) {
    return Duration::millis(static_cast<int64_t>(spec.pick(name, choices)));
  };
  o.slow_disk.after = millis("slow-disk-after-ms", {{500, 50}, {50, 30}, {0, 20}});
  o.slow_disk.wait_min = millis("slow-disk-wait-ms", {{20, 60}, {2, 40}});
  o.slow_disk.pause = millis("slow-disk-pause-ms", {{10'000, 60}, {300, 40}});
  o.raft.clock_drift_ppm_max = static_cast<uint32_t>(
      spec.pick("clock-drift-ppm-max", {{1'000, 2}, {50'000, 1}, {200'000, 1}}));
  o.raft.append_bytes_max = spec.pick("append-bytes-max", {{256 * 1024, 60}, {4096, 20}, {1, 20}});
  o.raft.inflight_bytes_max = std::max<size_t>(
      o.raft.append_bytes_max, spec.pick("inflight-bytes-max", {{4 << 20, 70}, {16'384, 30}}));
  o.raft.log_bytes_max = spec.pick("log-bytes-max", {{1 << 30, 85}, {300'000, 15}});
  o.segment_bytes =
      spec.pick("segment-bytes", {{128 << 10, 40}, {1 << 20, 30}, {4 << 20, 25}, {32 << 20, 5}});
  o.save_entries = spec.pick("save-entries", {{1, 20}, {16, 30}, {256, 25}, {4096, 25}});
  o.unsaved_factor = spec.pick("unsaved-factor", {{8, 60}, {2, 20}, {1, 20}});
  o.flush_bytes = spec.pick("flush-bytes", {{4096, 20}, {100'000, 40}, {4 << 20, 40}});
  o.flush_interval =
      spec.duration_log("flush-interval", Duration::millis(200), Duration::seconds(60));
  o.salvage_batch_bytes = spec.pick("salvage-batch-bytes", {{1 << 20, 40}, {1, 30}, {1000, 30}});
  o.log_keep_bytes = spec.pick("log-keep-bytes",
                               {{0, 15}, {1000, 20}, {20'000, 30}, {200'000, 15}, {64 << 20, 20}});
  o.log_keep_entries = spec.pick("log-keep-entries", {{1'000'000, 70}, {5, 10}, {100, 20}});
  o.log_keep_total_bytes = spec.pick("log-keep-total-bytes", {{1 << 30, 80}, {50'000, 20}});
  o.snapshot_part_bytes =
      spec.pick("snapshot-part-bytes", {{256 << 10, 40}, {1, 15}, {300, 20}, {5000, 25}});
  o.snapshot_bytes_per_second =
      spec.pick("snapshot-bytes-per-second", {{64 << 20, 60}, {1 << 20, 20}, {20'000, 20}});
  o.operation_records_max =
      spec.pick("operation-records-max",
                {{partition::kOperationRecordsMax, 55}, {1, 5}, {4, 10}, {20, 15}, {150, 15}});
  o.heads_max = spec.pick("heads-max", {{64 * 1024, 75}, {1, 10}, {4, 10}, {30, 5}});
  o.journal_pending_bytes =
      spec.pick("journal-pending-bytes", {{64 << 20, 88}, {4096, 6}, {50'000, 6}});
  o.recovery_bytes = spec.pick("recovery-bytes", {{64 << 20, 80}, {0, 10}, {30'000, 10}});
  o.answer_bytes = spec.pick("answer-bytes-max", {{16 << 20, 70}, {300, 15}, {20'000, 15}});
  o.loop_frame_bytes = spec.pick("loop-frame-bytes", {{32 << 20, 60}, {1000, 20}, {20'000, 20}});
  o.sessions_spare = spec.pick("sessions-spare", {{0, 70}, {1, 15}, {5, 15}});
  std::string atlas = spec.choice("atlas", {{"nodes", 65}, {"places", 20}, {"off", 15}});
  if (atlas == "places") o.atlas = FaultAtlas::Mode::kPlaces;
  if (atlas == "off") o.atlas = FaultAtlas::Mode::kOff;
  o.distrust_tears = spec.flag("distrust-tears", 10, 100);
  bool rots = spec.flag("rot-journal", 16, 100);
  o.rots = spec.number("rot-journal-node", 1, o.nodes);
  o.rots_at = spec.pick("rot-journal-crash", {{0, 3}, {1, 2}, {4, 1}});
  o.rots_crashes = spec.pick("rot-journal-crashes", {{1, 50}, {3, 25}, {1000, 25}});
  o.rots_sectors = spec.pick("rot-journal-sectors", {{1, 55}, {2, 15}, {6, 15}, {0, 15}});
  o.rots_engine = spec.pick("rot-engine-bits", {{0, 60}, {1, 20}, {3, 10}, {20, 10}});
  if (!rots || o.nodes < 3) o.rots = 0;
  o.joins_elsewhere = spec.flag("joins-elsewhere", 50, 100);
  o.joins_wait = spec.flag("joins-wait", 50, 100);
  bool crashes = spec.flag("crash-installing", 40, 100);
  o.crashes_installing = spec.number("crash-installing-times", 1, 5);
  if (!crashes) o.crashes_installing = 0;
  bool disturbed = spec.flag("founding-disturbed", 6, 100);
  o.founding_crashes = spec.pick("founding-crashes", {{1, 20}, {2, 20}, {4, 60}});
  o.founding_takes =
      spec.duration_log("founding-takes", Duration::millis(4), Duration::millis(500));
  if (!disturbed) o.founding_crashes = 0;
  if (spec.flag("judge-hurries", 30, 100)) o.judge_timeout = Duration::seconds(2);
  if (spec.flag("stops-promptly", 0, 100)) o.stop_max = Duration::seconds(8);
  o.restart_max = spec.duration_log("restart-max", Duration::millis(60), Duration::seconds(5));
  o.scrub_interval = Duration::millis(static_cast<int64_t>(
      spec.pick("scrub-interval-ms", {{0, 50}, {300, 20}, {3000, 20}, {20'000, 10}})));
  o.scrub_bytes_per_second =
      spec.pick("scrub-bytes-per-second", {{4 << 20, 50}, {500'000, 25}, {64 << 20, 25}});
  return o;
}

void fit_to_world(ClusterOptions& options, Workload& workload, const WorldOptions& world) {
  const NetworkProfile& net = world.network;
  auto kib = static_cast<int64_t>(workload.value_bytes_max / 1024 + 1);
  Duration slow = net.latency_max * (100 + net.jitter_percent) / 100 * 2 + world.disk.sync_max * 2 +
                  world.disk.write_max + Duration::nanos(kib * net.ns_per_kib) +
                  world.disk.per_kib * kib * 2;
  // A segment must hold the largest command, which may carry a value to set and one to compare.
  options.value_bytes_max = std::max(workload.value_bytes_max, kValueBytesMin);
  // However slowly a partition's state is sent, it arrives well before the judge gives up.
  constexpr uint64_t kRecordsExpected = 15'000, kSecondsExpected = 60, kRecordBytes = 64,
                     kSendingSeconds = 20;
  const uint64_t records = std::max(workload.rate * kSecondsExpected, kRecordsExpected);
  const uint64_t state = workload.keys * workload.value_bytes_max +
                         std::min<uint64_t>(options.operation_records_max, records) * kRecordBytes;
  options.snapshot_bytes_per_second =
      std::max<size_t>(options.snapshot_bytes_per_second, state / kSendingSeconds);
  const Duration round_trip = net.latency_max * (100 + net.jitter_percent) / 100 * 2;
  const auto round_trips =
      static_cast<uint64_t>(Duration::seconds(kSendingSeconds).nanos() / round_trip.nanos()) + 1;
  options.snapshot_part_bytes = std::max<size_t>(
      options.snapshot_part_bytes, state / (round_trips * node::kSnapshotPartsInFlight));
  // One round of heartbeats to everybody fits, or the same would be left out for ever.
  options.loop_frame_bytes =
      std::max(options.loop_frame_bytes, options.groups * options.nodes * 200);
  // A small log takes several of the largest commands, and so nodes do not make it larger
  // (node::fitted()).
  options.raft.log_bytes_max =
      std::max<size_t>(options.raft.log_bytes_max, 16 * workload.value_bytes_max);
  options.flush_bytes = std::min<size_t>(options.flush_bytes, options.raft.log_bytes_max / 8);
  options.log_keep_bytes = std::min<size_t>(options.log_keep_bytes, options.raft.log_bytes_max / 8);
  const uint64_t needed = 4 * (workload.value_bytes_max + 16 * 1024);
  if (options.segment_bytes < needed)
    options.segment_bytes = (needed + 0xfffff) & ~uint64_t{0xfffff};
  raft::Options& raft = options.raft;
  int64_t stretch = slow.nanos() * 4 / raft.election_timeout_min.nanos() + 1;
  raft.heartbeat_interval = raft.heartbeat_interval * stretch;
  raft.election_timeout_min = raft.election_timeout_min * stretch;
  raft.election_timeout_max = raft.election_timeout_max * stretch;
  raft.disconnect_timeout = raft.disconnect_timeout * stretch;
  raft.quiesce_after = raft.quiesce_after * stretch;
  options.sign_of_life_interval = options.sign_of_life_interval * stretch;
  options.quiet_probe_interval = options.quiet_probe_interval * stretch;
  options.slow_disk.after = options.slow_disk.after * stretch;
  options.slow_disk.wait_min = options.slow_disk.wait_min * stretch;
  // The largest request names a value to set and one to compare.
  workload.unsent_bytes_max =
      std::max(workload.unsent_bytes_max, 2 * workload.value_bytes_max + 4096);
  workload.timeout = std::max(workload.timeout, slow * 6);
  if (options.judge_timeout.nanos() > 0)
    options.judge_timeout = std::max(options.judge_timeout, slow * 6);
  workload.attempt_timeout = std::max(workload.attempt_timeout, slow * 3);
}

node::Options Cluster::node_options(size_t node) {
  node::Options o;
  o.name = slots_[node].name;
  o.listen = {slots_[node].name, slots_[node].port};
  o.joins = slots_[node].joins;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (!o.joins && i < founders())
      o.founders.push_back({slots_[i].name, {slots_[i].name, kPort}});
    else if (o.joins && i != node && slots_[node].coming == Coming::kAsks)
      o.join.push_back({slots_[i].name, slots_[i].port});
  }
  o.partitions = options_.groups;
  o.raft = options_.raft;
  o.raft.election_timeout_min = draw_election_timeout(node);
  o.journal.segment_bytes = options_.segment_bytes;
  o.journal.distrust_tears = options_.distrust_tears;
  o.value_bytes_max = options_.value_bytes_max;
  o.journal.batch_bytes_max = std::min(o.journal.batch_bytes_max, options_.segment_bytes / 2);
  o.save_entries = options_.save_entries;
  o.unsaved_factor = options_.unsaved_factor;
  o.limits.operation_records_max = options_.operation_records_max;
  o.limits.heads_max = options_.heads_max;
  o.journal.pending_bytes_max = options_.journal_pending_bytes;
  o.journal.recovery_bytes_max = options_.recovery_bytes;
  o.loop_frame_bytes_max = options_.loop_frame_bytes;
  o.answer_bytes_max = options_.answer_bytes;
  o.log_keep_bytes = options_.log_keep_bytes;
  o.log_keep_entries = options_.log_keep_entries;
  o.log_keep_total_bytes = options_.log_keep_total_bytes;
  o.snapshot_part_bytes = options_.snapshot_part_bytes;
  o.snapshot_bytes_per_second = options_.snapshot_bytes_per_second;
  o.flush_bytes = options_.flush_bytes;
  o.flush_interval = options_.flush_interval;
  o.salvage_batch_bytes = options_.salvage_batch_bytes;
  o.sign_of_life_interval = options_.sign_of_life_interval;
  o.quiet_probe_interval = options_.quiet_probe_interval;
  o.campaign_pace = options_.campaign_pace;
  o.slow_disk = options_.slow_disk;
  o.scrub_interval = options_.scrub_interval;
  o.scrub_bytes_per_second = options_.scrub_bytes_per_second;
  o.on_damage = [this, node](std::string_view text) {
    judge_scrub(node, text);
    slots_[node].damage_told.emplace_back(text);
  };
  if (options_.sessions_spare > 0)
    o.sessions_max = 2 * slots_.size() + clients_.size() + options_.sessions_spare;
  if (options_.engine == EngineKind::kRocks) {
    engine::RocksOptions rocks;
    rocks.simulated = slots_[node].files.get();
    rocks.block_cache_bytes = size_t{1} << 20;
    rocks.write_buffer_bytes = std::max<size_t>(options_.flush_bytes * 4, 256 * 1024);
    o.open_engine = [rocks](Suspend s, Host& host, Fibers& fibers, const std::string& dir) mutable {
      rocks.dir = dir;
      return engine::open_rocks_engine(s, host, fibers, rocks);
    };
  } else {
    o.open_engine = [](Suspend s, Host& host, Fibers& fibers, const std::string& dir) {
      return engine::open_memory_engine(s, host, fibers, dir);
    };
  }
  if (!calm_ && world_.random("salvages", uint64_t{node} << 32 | slots_[node].starts).chance(1, 2))
    o.open_engine = fill_disk_of_a_salvage(node, std::move(o.open_engine));
  return o;
}

Duration Cluster::draw_election_timeout(size_t node) const {
  const Duration longest = options_.raft.election_timeout_min;
  if (!options_.timeouts_vary) return longest;
  RandomStream random = world_.random("timeouts", uint64_t{node} << 32 | slots_[node].starts);
  return draw(random, std::min(options_.raft.heartbeat_interval * 2, longest), longest);
}

}  // namespace kahuna::sim
