// RocksDB's file system in the simulator: engine::SyncFileSystem over a simulated disk.
//
// One per process. Calls take effect at once and cost no virtual time; they see the same files,
// the same unsynced state, the same faults and the same crashes as the process's Disk. Appends have
// the length asked for or fail: a short write is repeated here, and an error may leave a prefix.
// After the process has died every call fails with kIo and has no effect.
#pragma once

#include "kahuna/engine/rocks_env.h"
#include "sim/world.h"

namespace kahuna::sim {

class SimSyncFileSystem final : public engine::SyncFileSystem {
 public:
  // For the process that runs on the node now. The world outlives it.
  SimSyncFileSystem(World& world, NodeHandle node);

  Result<std::unique_ptr<engine::SyncFile>> open_to_read(std::string_view path) override;
  Result<std::unique_ptr<engine::SyncFile>> create(std::string_view path) override;
  Result<std::unique_ptr<engine::SyncFile>> open_to_append(std::string_view path) override;
  Result<bool> exists(std::string_view path) override;
  Result<bool> is_dir(std::string_view path) override;
  Result<uint64_t> size_of(std::string_view path) override;
  Result<std::vector<std::string>> list(std::string_view dir) override;
  Result<> rename(std::string_view from, std::string_view to) override;
  Result<> remove(std::string_view path) override;
  Result<> make_dir(std::string_view path) override;
  Result<> remove_dir(std::string_view path) override;
  Result<> sync_dir(std::string_view path) override;
  uint64_t now_micros() const override;

  // The process this belongs to still runs. kIo otherwise.
  Result<> alive() const;
  SimDisk& disk() const { return world_.disk(node_); }
  World& world() const { return world_; }
  NodeHandle node() const { return node_; }

 private:
  World& world_;
  const NodeHandle node_;
  const uint64_t incarnation_;
};

}  // namespace kahuna::sim
