#include "sim/sim_disk_host.h"

#include <algorithm>

#include "runtime/hash.h"
#include "runtime/probe.h"

namespace kahuna::sim {
namespace {
constexpr size_t kZeroBytesMin = kPageBytes;
}

SimDiskHost::SimDiskHost(Kernel& kernel, SimDisk& disk, uint32_t node, std::string node_name,
                         uint64_t incarnation)
    : kernel_(kernel),
      disk_(disk),
      node_(node),
      name_(std::move(node_name)),
      incarnation_(incarnation) {}

SimDiskHost::~SimDiskHost() = default;

SimDiskHost::Operation& SimDiskHost::begin(Kind kind, SimDisk::Op op, size_t bytes,
                                           uint64_t digest) {
  uint32_t slot;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(operations_.size());
    operations_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  Operation& operation = operations_[slot];
  operation.kind = kind;
  operation.started = ++started_;
  Duration latency = disk_.latency(op, bytes, kernel_.now);
  kernel_.schedule(kernel_.now + latency, {EventKind::kDisk, node_, slot, incarnation_,
                                           digest ^ static_cast<uint8_t>(kind)});
  if (write_hook_ && (kind == Kind::kWrite || kind == Kind::kSync)) {
    auto hook = std::move(write_hook_);
    write_hook_.reset();
    hook(latency);
  }
  return operation;
}

void SimDiskHost::open(std::string path, OpenOptions options, OpenDone done) {
  if (dead_) return;
  Operation& op = begin(Kind::kOpen, SimDisk::Op::kRead, 0, hash64(as_bytes(path)));
  op.bytes = std::move(path);
  op.options = options;
  op.done = std::move(done);
}

void SimDiskHost::name_operation(Kind kind, std::string path, std::string to, Done done) {
  if (dead_) return;
  Operation& op = begin(kind, kind == Kind::kSyncDir ? SimDisk::Op::kName : SimDisk::Op::kWrite, 0,
                        hash64(as_bytes(path)) + hash64(as_bytes(to)));
  op.bytes = std::move(path);
  op.to = std::move(to);
  op.done = std::move(done);
}

void SimDiskHost::rename(std::string from, std::string to, Done done) {
  name_operation(Kind::kRename, std::move(from), std::move(to), std::move(done));
}
void SimDiskHost::remove(std::string path, Done done) {
  name_operation(Kind::kRemove, std::move(path), {}, std::move(done));
}
void SimDiskHost::make_dir(std::string path, Done done) {
  name_operation(Kind::kMakeDir, std::move(path), {}, std::move(done));
}
void SimDiskHost::sync_dir(std::string path, Done done) {
  name_operation(Kind::kSyncDir, std::move(path), {}, std::move(done));
}

void SimDiskHost::list(std::string dir, ListDone done) {
  if (dead_) return;
  Operation& op = begin(Kind::kList, SimDisk::Op::kRead, 0, hash64(as_bytes(dir)));
  op.bytes = std::move(dir);
  op.done = std::move(done);
}

std::string SimDiskHost::native_path(std::string_view path) const {
  return "/sim/" + name_ + (path.empty() ? "" : "/") + std::string(path);
}

SimFile::~SimFile() {
  if (in_flight_ > 0) host_.forget(this);
  if (owns_lock_ && !host_.dead_) SimDisk::set_locked(*inode_, false);
}

void SimFile::read_at(uint64_t offset, MutableByteView bytes, IoDone done) {
  if (host_.dead_) return;
  auto& op = host_.begin(SimDiskHost::Kind::kRead, SimDisk::Op::kRead, bytes.size(), offset);
  op.file = this, op.inode = inode_, op.offset = offset, op.into = bytes;
  op.done = std::move(done);
  ++in_flight_;
}

void SimFile::write_at(uint64_t offset, ByteView bytes, IoDone done) {
  start_write(SimDisk::Op::kWrite, offset, bytes, std::move(done));
}

void SimFile::write_durably_at(uint64_t offset, ByteView bytes, IoDone done) {
  start_write(SimDisk::Op::kDurableWrite, offset, bytes, std::move(done));
}

void SimFile::start_write(SimDisk::Op kind, uint64_t offset, ByteView bytes, IoDone done) {
  if (host_.dead_) return;
  // Files are preallocated by writing zeros, which need be neither hashed nor kept.
  bool zero = bytes.size() >= kZeroBytesMin && all_zero(bytes);
  auto& op = host_.begin(SimDiskHost::Kind::kWrite, kind, bytes.size(),
                         zero ? offset ^ bytes.size() << 40 : hash64(bytes, offset));
  op.durable = kind == SimDisk::Op::kDurableWrite;
  op.file = this, op.inode = inode_, op.offset = offset;
  if (zero) {
    op.zeros = bytes.size();
  } else if (op.bytes.capacity() < bytes.size() && !host_.buffers_.empty()) {
    op.bytes = std::move(host_.buffers_.back());
    host_.buffers_.pop_back();
  }
  if (!zero) op.bytes.assign(as_text(bytes));
  op.done = std::move(done);
  ++in_flight_;
  ++host_.writes_in_flight_;
}

void SimFile::sync(Done done) {
  if (host_.dead_) return;
  auto& op = host_.begin(SimDiskHost::Kind::kSync, SimDisk::Op::kSync, 0, 0);
  op.file = this, op.inode = inode_;
  op.ticket = host_.disk_.begin_sync(inode_);
  op.done = std::move(done);
  ++in_flight_;
  ++host_.writes_in_flight_;
}

void SimDiskHost::forget(SimFile* file) {
  if (MUTANT(completion_after_close)) {
    for (Operation& op : operations_)
      if (op.kind != Kind::kFree && op.file == file) op.file = nullptr;
    return;
  }
  for (Operation& op : operations_) {
    if (op.kind == Kind::kFree || op.file != file) continue;
    op.file = nullptr;
    op.into = {};
    op.done = std::monostate();
  }
}

void SimDiskHost::complete(const Event& input) {
  if (dead_) return;
  uint32_t slot = static_cast<uint32_t>(input.a);
  Operation op = std::exchange(operations_[slot], Operation());
  free_.push_back(slot);
  if (op.file) --op.file->in_flight_;
  if (op.kind == Kind::kWrite || op.kind == Kind::kSync) --writes_in_flight_;
  if (op.kind == Kind::kRead || op.kind == Kind::kWrite || op.kind == Kind::kSync)
    finish_io(op);
  else
    finish_name(op);
}

void SimDiskHost::finish_io(Operation& op) {
  if (op.kind == Kind::kSync) {
    Result<> result = disk_.finish_sync(*op.ticket);
    op.ticket.reset();
    if (auto* done = std::get_if<Done>(&op.done)) (*done)(std::move(result));
    return;
  }
  Result<size_t> result = size_t{0};
  if (op.kind == Kind::kRead) {
    if (op.file) result = disk_.read(*op.inode, op.offset, op.into);
  } else if (op.file && !op.file->writable_) {
    result = fail(ErrorCode::kIo, "opened for reading only");
  } else {
    ByteView bytes = op.zeros ? zeros(op.zeros) : as_bytes(op.bytes);
    result = op.durable ? disk_.write_durably(*op.inode, op.offset, bytes)
                        : disk_.write(*op.inode, op.offset, bytes);
    if (op.bytes.capacity() > 64 && op.bytes.capacity() < (size_t{1} << 20) && buffers_.size() < 64)
      buffers_.push_back(std::move(op.bytes));
  }
  if (op.file) op.file->size_ = SimDisk::size(*op.inode);
  if (auto* done = std::get_if<IoDone>(&op.done)) (*done)(std::move(result));
}

void SimDiskHost::finish_name(Operation& op) {
  if (op.kind == Kind::kOpen) {
    auto& done = std::get<OpenDone>(op.done);
    Result<InodeRef> inode = disk_.open(op.bytes, op.options);
    if (inode)
      done(std::make_unique<SimFile>(*this, std::move(*inode), op.options.write, op.options.lock));
    else
      done(fail(std::move(inode.error())));
    return;
  }
  if (op.kind == Kind::kList) {
    std::get<ListDone>(op.done)(disk_.list(op.bytes));
    return;
  }
  Result<> result;
  switch (op.kind) {
    case Kind::kRename: result = disk_.rename(op.bytes, op.to); break;
    case Kind::kMakeDir: result = disk_.make_dir(op.bytes); break;
    case Kind::kSyncDir: result = disk_.sync_dir(op.bytes); break;
    case Kind::kRemove: result = disk_.remove(op.bytes); break;
    default: UNREACHABLE("not a name operation");
  }
  std::get<Done>(op.done)(std::move(result));
}

void SimDiskHost::settle() {
  CHECK(dead_);
  std::vector<Operation> left = std::move(operations_);
  operations_.clear();
  free_.clear();
  std::sort(left.begin(), left.end(),
            [](const Operation& a, const Operation& b) { return a.started < b.started; });
  for (Operation& op : left)
    if (op.kind == Kind::kWrite)
      disk_.tear(*op.inode, op.offset, op.zeros ? zeros(op.zeros) : as_bytes(op.bytes));
  // Callbacks are destroyed without running; what they own may close files and streams.
  left.clear();
}

}  // namespace kahuna::sim
