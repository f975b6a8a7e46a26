#include "sim/sim_disk_sync.h"

#include "runtime/hash.h"

namespace kahuna::sim {
namespace {

// Short transfers repeated before an append or a read counts as failed.
constexpr int kTransfersMax = 1000;

class SimSyncFile final : public engine::SyncFile {
 public:
  SimSyncFile(SimSyncFileSystem& files, InodeRef inode) : files_(files), inode_(std::move(inode)) {}

  Result<size_t> read_at(uint64_t offset, MutableByteView bytes) override {
    RETURN_IF_ERROR(files_.alive());
    size_t done = 0;
    for (int i = 0; i < kTransfersMax && done < bytes.size(); ++i) {
      ASSIGN_OR_RETURN(size_t got, files_.disk().read(*inode_, offset + done, bytes.subspan(done)));
      if (got == 0) break;
      done += got;
    }
    return done;
  }

  Result<> append(ByteView bytes) override {
    RETURN_IF_ERROR(files_.alive());
    files_.world().trace().fold_extra(hash64(bytes, files_.node().index));
    uint64_t offset = SimDisk::size(*inode_);
    for (int i = 0; i < kTransfersMax && !bytes.empty(); ++i) {
      ASSIGN_OR_RETURN(size_t written, files_.disk().write(*inode_, offset, bytes));
      offset += written;
      bytes = bytes.subspan(written);
    }
    if (!bytes.empty()) return fail(ErrorCode::kIo, "the disk takes no more bytes");
    return {};
  }

  Result<> sync() override {
    RETURN_IF_ERROR(files_.alive());
    return files_.disk().sync(*inode_);
  }

  uint64_t size() const override { return SimDisk::size(*inode_); }

 private:
  SimSyncFileSystem& files_;
  InodeRef inode_;
};

}  // namespace

SimSyncFileSystem::SimSyncFileSystem(World& world, NodeHandle node)
    : world_(world), node_(node), incarnation_(world.incarnation(node)) {}

Result<> SimSyncFileSystem::alive() const {
  if (world_.running(node_) && !world_.halted(node_) && world_.incarnation(node_) == incarnation_)
    return {};
  return fail(ErrorCode::kIo, "this process has ended");
}

Result<std::unique_ptr<engine::SyncFile>> SimSyncFileSystem::open_to_read(std::string_view path) {
  RETURN_IF_ERROR(alive());
  ASSIGN_OR_RETURN(InodeRef inode, disk().open(std::string(path), {}));
  return std::make_unique<SimSyncFile>(*this, std::move(inode));
}

Result<std::unique_ptr<engine::SyncFile>> SimSyncFileSystem::create(std::string_view path) {
  RETURN_IF_ERROR(alive());
  ASSIGN_OR_RETURN(InodeRef inode, disk().create(std::string(path)));
  return std::make_unique<SimSyncFile>(*this, std::move(inode));
}

Result<std::unique_ptr<engine::SyncFile>> SimSyncFileSystem::open_to_append(std::string_view path) {
  RETURN_IF_ERROR(alive());
  ASSIGN_OR_RETURN(InodeRef inode, disk().open(std::string(path), {.create = true, .write = true}));
  return std::make_unique<SimSyncFile>(*this, std::move(inode));
}

Result<bool> SimSyncFileSystem::exists(std::string_view path) {
  RETURN_IF_ERROR(alive());
  return disk().exists(std::string(path));
}

Result<bool> SimSyncFileSystem::is_dir(std::string_view path) {
  RETURN_IF_ERROR(alive());
  return disk().is_dir(std::string(path));
}

Result<uint64_t> SimSyncFileSystem::size_of(std::string_view path) {
  RETURN_IF_ERROR(alive());
  if (disk().is_dir(std::string(path))) return uint64_t{0};
  ASSIGN_OR_RETURN(InodeRef inode, disk().open(std::string(path), {}));
  return SimDisk::size(*inode);
}

Result<std::vector<std::string>> SimSyncFileSystem::list(std::string_view dir) {
  RETURN_IF_ERROR(alive());
  return disk().list(std::string(dir));
}

Result<> SimSyncFileSystem::rename(std::string_view from, std::string_view to) {
  RETURN_IF_ERROR(alive());
  return disk().rename(std::string(from), std::string(to));
}

Result<> SimSyncFileSystem::remove(std::string_view path) {
  RETURN_IF_ERROR(alive());
  if (disk().is_dir(std::string(path)))
    return fail(ErrorCode::kIo, "is a directory: " + std::string(path));
  return disk().remove(std::string(path));
}

Result<> SimSyncFileSystem::make_dir(std::string_view path) {
  RETURN_IF_ERROR(alive());
  return disk().make_dir(std::string(path));
}

Result<> SimSyncFileSystem::remove_dir(std::string_view path) {
  RETURN_IF_ERROR(alive());
  if (disk().exists(std::string(path)) && !disk().is_dir(std::string(path)))
    return fail(ErrorCode::kIo, "not a directory: " + std::string(path));
  return disk().remove(std::string(path));
}

Result<> SimSyncFileSystem::sync_dir(std::string_view path) {
  RETURN_IF_ERROR(alive());
  return disk().sync_dir(std::string(path));
}

uint64_t SimSyncFileSystem::now_micros() const {
  return static_cast<uint64_t>(world_.now().nanos() / 1000);
}

}  // namespace kahuna::sim
