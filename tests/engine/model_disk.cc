#include "tests/engine/model_disk.h"

#include "runtime/check.h"

namespace kahuna::engine {

namespace {

std::string_view parent_of(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}
std::unexpected<Error> missing(std::string_view path) {
  return fail(ErrorCode::kNotFound, std::string(path) + " does not exist");
}

class ModelSyncFile final : public SyncFile {
 public:
  ModelSyncFile(ModelDisk& disk, ModelDisk::InodeRef inode)
      : disk_(disk), inode_(std::move(inode)) {}
  Result<size_t> read_at(uint64_t offset, MutableByteView bytes) override {
    RETURN_IF_ERROR(disk_.usable());
    if (inode_->failing_reads != 0) {
      if (inode_->failing_reads > 0) --inode_->failing_reads;
      return fail(ErrorCode::kIo, "unreadable sector");
    }
    if (offset >= inode_->bytes.size()) return 0;
    return inode_->bytes.copy(reinterpret_cast<char*>(bytes.data()), bytes.size(), offset);
  }
  Result<> append(ByteView bytes) override {
    return disk_.append(*inode_, bytes, inode_->bytes.size());
  }
  Result<> sync() override { return disk_.sync(*inode_); }
  uint64_t size() const override { return inode_->bytes.size(); }

 private:
  ModelDisk& disk_;
  ModelDisk::InodeRef inode_;
};

// The seam's File: the same, with completions that are posted.
class ModelFile final : public File {
 public:
  ModelFile(ModelDisk& disk, Scheduler& scheduler, ModelDisk::InodeRef inode)
      : disk_(disk), scheduler_(scheduler), inode_(std::move(inode)) {}
  void read_at(uint64_t offset, MutableByteView bytes, IoDone done) override {
    Result<size_t> got = ModelSyncFile(disk_, inode_).read_at(offset, bytes);
    scheduler_.post([got, done = std::move(done)]() mutable { done(std::move(got)); });
  }
  void write_at(uint64_t offset, ByteView bytes, IoDone done) override {
    // Short now and then.
    if (bytes.size() > 1000) bytes = bytes.first(bytes.size() - 7);
    Result<> written = disk_.append(*inode_, bytes, offset);
    Result<size_t> result = bytes.size();
    if (!written) result = fail(written.error());
    scheduler_.post([result, done = std::move(done)]() mutable { done(std::move(result)); });
  }
  void sync(Done done) override {
    Result<> synced = disk_.sync(*inode_);
    scheduler_.post([synced, done = std::move(done)]() mutable { done(std::move(synced)); });
  }
  uint64_t size() const override { return inode_->bytes.size(); }

 private:
  ModelDisk& disk_;
  Scheduler& scheduler_;
  ModelDisk::InodeRef inode_;
};

}  // namespace

Result<> ModelDisk::usable() const {
  if (dies_after == 0) dead_ = true;
  if (dies_after > 0) --dies_after;
  if (dead_) return fail(ErrorCode::kIo, "the process is dead");
  return {};
}

void ModelDisk::revive(RandomStream* random) {
  dead_ = false;
  for (auto& [name, inode] : names_) {
    bool keeps = random && random->chance(1, 2);
    if (!keeps) inode->bytes = inode->durable;
    inode->durable = inode->bytes;
  }
  for (auto& [name, inode] : durable_names_) inode->bytes = inode->durable;
  auto survivors = durable_names_;
  // Each change of a directory may have reached it or not.
  for (auto& [name, inode] : names_)
    if (random && !durable_names_.contains(name) && random->chance(1, 2)) survivors[name] = inode;
  for (auto& [name, inode] : durable_names_)
    if (random && !names_.contains(name) && random->chance(1, 2)) survivors.erase(name);
  names_ = durable_names_ = std::move(survivors);
}

Result<> ModelDisk::append(Inode& inode, ByteView bytes, uint64_t offset) {
  RETURN_IF_ERROR(usable());
  if (pass_appends > 0) {
    --pass_appends;
  } else if (fail_appends > 0) {
    --fail_appends;
    write(inode, bytes.first(bytes.size() / 2), offset);
    return fail(ErrorCode::kNoSpace, "the disk is full");
  }
  write(inode, bytes, offset);
  return {};
}

void ModelDisk::write(Inode& inode, ByteView bytes, uint64_t offset) {
  if (inode.bytes.size() < offset + bytes.size()) inode.bytes.resize(offset + bytes.size());
  inode.bytes.replace(offset, bytes.size(), as_text(bytes));
  trace.add(bytes);
}

Result<> ModelDisk::sync(Inode& inode) {
  RETURN_IF_ERROR(usable());
  if (fail_syncs > 0) {
    --fail_syncs;
    return fail(ErrorCode::kIo, "the sync failed");
  }
  inode.durable = inode.bytes;
  trace.add(1);
  return {};
}

std::map<std::string, std::string> ModelDisk::contents() const {
  std::map<std::string, std::string> all;
  for (const auto& [name, inode] : names_) all[name] = inode->bytes;
  return all;
}

void ModelDisk::damage(const std::string& path, size_t offset) {
  Inode& inode = *names_.at(path);
  CHECK_LT(offset, inode.bytes.size());
  inode.bytes[offset] = char(inode.bytes[offset] ^ 0x10);
  inode.durable = inode.bytes;
}

// --- SyncFileSystem ---

Result<std::unique_ptr<SyncFile>> ModelDisk::open_to_read(std::string_view path) {
  RETURN_IF_ERROR(usable());
  auto at = names_.find(path);
  if (at == names_.end()) return missing(path);
  return std::make_unique<ModelSyncFile>(*this, at->second);
}

Result<std::unique_ptr<SyncFile>> ModelDisk::create(std::string_view path) {
  RETURN_IF_ERROR(usable());
  trace.add(as_bytes(path));
  auto inode = std::make_shared<Inode>();
  names_.insert_or_assign(std::string(path), inode);
  return std::make_unique<ModelSyncFile>(*this, inode);
}

Result<std::unique_ptr<SyncFile>> ModelDisk::open_to_append(std::string_view path) {
  if (!names_.contains(path)) return create(path);
  return open_to_read(path);
}

Result<bool> ModelDisk::exists(std::string_view path) {
  RETURN_IF_ERROR(usable());
  return names_.contains(path) || dirs_.contains(path);
}

Result<bool> ModelDisk::is_dir(std::string_view path) {
  RETURN_IF_ERROR(usable());
  return dirs_.contains(path);
}

Result<uint64_t> ModelDisk::size_of(std::string_view path) {
  RETURN_IF_ERROR(usable());
  auto at = names_.find(path);
  if (at == names_.end()) return missing(path);
  return at->second->bytes.size();
}

Result<std::vector<std::string>> ModelDisk::list(std::string_view dir) {
  RETURN_IF_ERROR(usable());
  if (!dirs_.contains(dir)) return missing(dir);
  std::vector<std::string> names;
  for (const auto& [name, inode] : names_)
    if (parent_of(name) == dir) names.push_back(name.substr(dir.empty() ? 0 : dir.size() + 1));
  return names;
}

Result<> ModelDisk::rename(std::string_view from, std::string_view to) {
  RETURN_IF_ERROR(usable());
  auto at = names_.find(from);
  if (at == names_.end()) return missing(from);
  trace.add(as_bytes(to));
  InodeRef inode = at->second;
  names_.erase(at);
  names_.insert_or_assign(std::string(to), inode);
  return {};
}

Result<> ModelDisk::remove(std::string_view path) {
  RETURN_IF_ERROR(usable());
  if (dirs_.contains(path)) return remove_dir(path);
  auto at = names_.find(path);
  if (at == names_.end()) return missing(path);
  trace.add(as_bytes(path));
  names_.erase(at);
  return {};
}

Result<> ModelDisk::make_dir(std::string_view path) {
  RETURN_IF_ERROR(usable());
  dirs_.emplace(path);
  return {};
}

Result<> ModelDisk::remove_dir(std::string_view path) {
  RETURN_IF_ERROR(usable());
  dirs_.erase(std::string(path));
  return {};
}

Result<> ModelDisk::sync_dir(std::string_view path) {
  RETURN_IF_ERROR(usable());
  std::erase_if(durable_names_, [&](const auto& item) {
    return parent_of(item.first) == path && !names_.contains(item.first);
  });
  for (const auto& [name, inode] : names_)
    if (parent_of(name) == path) durable_names_[name] = inode;
  return {};
}

// --- Disk ---

void ModelDisk::open(std::string path, OpenOptions options,
                     Callback<void(Result<std::unique_ptr<File>>)> done) {
  auto result = [&]() -> Result<std::unique_ptr<File>> {
    RETURN_IF_ERROR(usable());
    auto at = names_.find(path);
    if (at == names_.end() && !options.create) return missing(path);
    if (at != names_.end() && options.exclusive) return fail(ErrorCode::kInUse, path + " exists");
    if (at == names_.end()) at = names_.emplace(path, std::make_shared<Inode>()).first;
    return std::make_unique<ModelFile>(*this, scheduler_, at->second);
  }();
  scheduler_.post(
      [result = std::move(result), done = std::move(done)]() mutable { done(std::move(result)); });
}
void ModelDisk::rename(std::string from, std::string to, Done done) {
  scheduler_.post([result = rename(std::string_view(from), std::string_view(to)),
                   done = std::move(done)]() mutable { done(std::move(result)); });
}
void ModelDisk::remove(std::string path, Done done) {
  scheduler_.post([result = remove(std::string_view(path)), done = std::move(done)]() mutable {
    done(std::move(result));
  });
}
void ModelDisk::list(std::string dir, Callback<void(Result<std::vector<std::string>>)> done) {
  scheduler_.post([result = list(std::string_view(dir)), done = std::move(done)]() mutable {
    done(std::move(result));
  });
}
void ModelDisk::make_dir(std::string path, Done done) {
  scheduler_.post([result = make_dir(std::string_view(path)), done = std::move(done)]() mutable {
    done(std::move(result));
  });
}
void ModelDisk::sync_dir(std::string path, Done done) {
  scheduler_.post([result = sync_dir(std::string_view(path)), done = std::move(done)]() mutable {
    done(std::move(result));
  });
}

}  // namespace kahuna::engine
