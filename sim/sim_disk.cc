#include "sim/sim_disk.h"

#include <algorithm>
#include <cstring>

#include "sim/sim_disk_inode.h"

namespace kahuna::sim {

namespace {

constexpr uint32_t kReadErrorsInRowMax = 2;
constexpr std::byte kZeros[kPageBytes] = {};

std::string parent_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

}  // namespace

namespace {
std::vector<std::byte>& own_zeros() {
  thread_local std::vector<std::byte> bytes;
  return bytes;
}
bool lies_in(ByteView bytes, ByteView whole) {
  return bytes.data() >= whole.data() && bytes.data() + bytes.size() <= whole.data() + whole.size();
}
}  // namespace

bool all_zero(ByteView bytes) {
  // What was made to be zeros need not be looked at: most of what is asked about, and large.
  if (lies_in(bytes, zero_bytes()) || lies_in(bytes, own_zeros())) return true;
  while (!bytes.empty()) {
    size_t step = std::min(bytes.size(), kPageBytes);
    if (std::memcmp(bytes.data(), kZeros, step) != 0) return false;
    bytes = bytes.subspan(step);
  }
  return true;
}

ByteView zeros(size_t length) {
  if (length <= kZeroBytesMax) return zero_bytes().first(length);
  std::vector<std::byte>& bytes = own_zeros();
  if (bytes.size() < length) bytes.resize(length);
  return ByteView(bytes).first(length);
}

Inode::~Inode() {
  if (dirty) --disk.dirty_inodes_;
  for (Page& page : pages) {
    disk.give_page(page.data);
    disk.give_page(page.floor);
    if (page.allocated) --disk.used_pages_;
  }
}

SimDisk::SimDisk(uint64_t seed, uint32_t node, DiskProfile profile)
    : profile_(profile),
      latency_random_(seed, "disk.latency", node),
      fault_random_(seed, "disk.fault", node),
      crash_random_(seed, "disk.crash", node) {}

SimDisk::~SimDisk() {
  names_.clear();
  durable_names_.clear();
  pending_names_.clear();
  for (auto& [id, inode] : inodes_) CHECK(inode.expired());
  for (std::byte* page : free_pages_) delete[] page;
}

std::byte* SimDisk::take_page() {
  if (free_pages_.empty()) return new std::byte[kPageBytes];
  std::byte* page = free_pages_.back();
  free_pages_.pop_back();
  return page;
}

void SimDisk::give_page(std::byte* page) {
  if (page) free_pages_.push_back(page);
}

InodeRef SimDisk::make_inode(std::string path, bool directory) {
  auto inode = std::make_shared<Inode>(*this, next_inode_++, std::move(path), directory);
  inodes_.emplace(inode->id, inode);
  return inode;
}

bool SimDisk::faulty(const Inode& file) const {
  return fault_prefix_.empty() || file.path.starts_with(fault_prefix_);
}

Result<InodeRef> SimDisk::open(const std::string& path, const OpenOptions& options) {
  auto found = names_.find(path);
  if (found == names_.end()) {
    if (!options.create) return fail(ErrorCode::kNotFound, "no such file: " + path);
    ASSIGN_OR_RETURN(InodeRef inode, create(path));
    inode->locked = options.lock;
    return inode;
  }
  InodeRef inode = found->second;
  if (inode->directory) return fail(ErrorCode::kIo, "is a directory: " + path);
  if (options.create && options.exclusive) return fail(ErrorCode::kInUse, "file exists: " + path);
  if (options.lock) {
    if (inode->locked) return fail(ErrorCode::kInUse, "locked by another process: " + path);
    inode->locked = true;
  }
  return inode;
}

Result<InodeRef> SimDisk::create(const std::string& path) {
  if (!is_dir(parent_of(path)))
    return fail(ErrorCode::kNotFound, "no such directory: " + parent_of(path));
  if (path.empty() || is_dir(path)) return fail(ErrorCode::kIo, "is a directory: " + path);
  InodeRef inode = make_inode(path, false);
  names_[path] = inode;
  pending_names_.push_back({NameOp::Kind::kCreate, {}, path, inode});
  return inode;
}

Result<size_t> SimDisk::read(Inode& file, uint64_t offset, MutableByteView bytes) {
  ++counters_.reads;
  if (offset >= file.size || bytes.empty()) return size_t{0};
  size_t length = std::min<uint64_t>(bytes.size(), file.size - offset);
  if (faulty(file)) {
    bool fails = happens(fault_random_, profile_.read_error) &&
                 file.read_errors_in_row < kReadErrorsInRowMax;
    file.read_errors_in_row = fails ? file.read_errors_in_row + 1 : 0;
    if (fails) {
      ++counters_.read_errors;
      return fail(ErrorCode::kIo, "read error: " + file.path);
    }
    if (length > 1 && happens(fault_random_, profile_.short_transfer)) {
      ++counters_.short_transfers;
      length = fault_random_.between(1, length - 1);
    }
  }
  if (!peek(file, offset, bytes.first(length)))
    return fail(ErrorCode::kIo, "unreadable sector: " + file.path);
  return length;
}

bool SimDisk::peek(const Inode& file, uint64_t offset, MutableByteView bytes) {
  if (offset + bytes.size() > file.size) return false;
  for (size_t done = 0; done < bytes.size();) {
    uint64_t at = offset + done;
    size_t inside = at % kPageBytes, step = std::min(bytes.size() - done, kPageBytes - inside);
    const Page* page = at / kPageBytes < file.pages.size() ? &file.pages[at / kPageBytes] : nullptr;
    if (page && page->unreadable & sector_mask(inside, step)) return false;
    if (page && page->data)
      std::memcpy(bytes.data() + done, page->data + inside, step);
    else
      std::memset(bytes.data() + done, 0, step);
    done += step;
  }
  return true;
}

Result<size_t> SimDisk::write(Inode& file, uint64_t offset, ByteView bytes) {
  ++counters_.writes;
  if (bytes.empty()) return size_t{0};
  if (faulty(file)) {
    if (happens(fault_random_, profile_.write_error)) {
      ++counters_.write_errors;
      tear(file, offset, bytes);
      return fail(ErrorCode::kIo, "write error: " + file.path);
    }
    if (bytes.size() > 1 && happens(fault_random_, profile_.short_transfer)) {
      ++counters_.short_transfers;
      // Sectors are the device's unit: a write ends early between two of them, never inside one
      // (what a crash then leaves of a sector is its old content or its new one, not a mixture).
      uint64_t end = offset + fault_random_.between(1, bytes.size() - 1);
      end -= end % kSectorBytes;
      if (end > offset) bytes = bytes.first(end - offset);
    }
  }
  size_t first = offset / kPageBytes, last = (offset + bytes.size() - 1) / kPageBytes;
  uint64_t wanted = 0;
  for (size_t i = first; i <= last; ++i)
    wanted += i >= file.pages.size() || !file.pages[i].allocated;
  if (wanted > 0 && (full_ || (used_pages_ + wanted) * kPageBytes > profile_.capacity_bytes)) {
    ++counters_.full;
    return fail(ErrorCode::kNoSpace, "no space left for " + file.path);
  }
  if (!misdirect_ || !misdirected(file, offset, bytes)) store(file, offset, bytes);
  return bytes.size();
}

void SimDisk::store(Inode& file, uint64_t offset, ByteView bytes) {
  counters_.bytes_written += bytes.size();
  uint64_t end = offset + bytes.size();
  size_t pages = (end + kPageBytes - 1) / kPageBytes;
  if (file.pages.size() < pages) file.pages.resize(pages);
  if (end > file.size) file.size = end, file.mark_dirty();
  for (size_t done = 0; done < bytes.size();) {
    uint64_t at = offset + done;
    size_t inside = at % kPageBytes, step = std::min(bytes.size() - done, kPageBytes - inside);
    file.store_page(at / kPageBytes, inside, bytes.subspan(done, step));
    done += step;
  }
}

void Inode::mark_dirty() {
  if (!dirty) dirty = true, ++disk.dirty_inodes_;
}

void Inode::store_page(size_t number, size_t inside, ByteView bytes) {
  Page& page = pages[number];
  if (!page.allocated) page.allocated = true, ++disk.used_pages_;
  uint8_t mask = sector_mask(inside, bytes.size());
  page.unreadable &= static_cast<uint8_t>(~mask);
  for (SyncTicket* sync : syncs) sync->save(*this, number, mask);
  if (!page.data) {
    // Durable content of every sector is zero, and so is floor when null.
    if (all_zero(bytes)) return;
    page.data = disk.take_page();
    std::memset(page.data, 0, kPageBytes);
  } else if (uint8_t fresh = mask & static_cast<uint8_t>(~page.dirty)) {
    if (!page.floor) {
      page.floor = disk.take_page();
      std::memset(page.floor, 0, kPageBytes);
    }
    for (size_t s = 0; s < kPageSectors; ++s)
      if (fresh >> s & 1)
        std::memcpy(page.floor + s * kSectorBytes, page.data + s * kSectorBytes, kSectorBytes);
  }
  if (page.dirty == 0) dirty_pages.push_back(static_cast<uint32_t>(number));
  page.dirty |= mask;
  mark_dirty();
  std::memcpy(page.data + inside, bytes.data(), bytes.size());
}

Result<> SimDisk::truncate(Inode& file, uint64_t size) {
  if (size < file.size) {
    // What is cut off reads as zeros when the file grows again.
    uint64_t last = std::min<uint64_t>(file.size, file.pages.size() * kPageBytes);
    for (uint64_t at = size; at < last;) {
      size_t inside = at % kPageBytes, step = std::min<uint64_t>(last - at, kPageBytes - inside);
      if (file.pages[at / kPageBytes].data)
        file.store_page(at / kPageBytes, inside, ByteView(kZeros, step));
      at += step;
    }
  }
  if (size != file.size) file.size = size, file.mark_dirty();
  return {};
}

bool SimDisk::exists(const std::string& path) const {
  return path.empty() || names_.contains(path);
}

bool SimDisk::is_dir(const std::string& path) const {
  if (path.empty()) return true;
  auto found = names_.find(path);
  return found != names_.end() && found->second->directory;
}

uint64_t SimDisk::size(const Inode& file) {
  return file.size;
}
bool SimDisk::locked(const Inode& file) {
  return file.locked;
}
void SimDisk::set_locked(Inode& file, bool locked) {
  file.locked = locked;
}

Result<> SimDisk::rename(const std::string& from, const std::string& to) {
  auto found = names_.find(from);
  if (found == names_.end()) return fail(ErrorCode::kNotFound, "no such file: " + from);
  if (!is_dir(parent_of(to)))
    return fail(ErrorCode::kNotFound, "no such directory: " + parent_of(to));
  if (found->second->directory) return fail(ErrorCode::kIo, "is a directory: " + from);
  if (is_dir(to)) return fail(ErrorCode::kIo, "is a directory: " + to);
  if (from == to) return {};
  NameOp op{NameOp::Kind::kRename, from, to, found->second};
  apply(names_, op);
  op.inode->path = to;
  pending_names_.push_back(std::move(op));
  return {};
}

Result<> SimDisk::remove(const std::string& path) {
  auto found = names_.find(path);
  if (found == names_.end()) return fail(ErrorCode::kNotFound, "no such file: " + path);
  if (found->second->directory && !list(path)->empty())
    return fail(ErrorCode::kIo, "directory not empty: " + path);
  pending_names_.push_back({NameOp::Kind::kRemove, path, {}, found->second});
  names_.erase(found);
  return {};
}

Result<std::vector<std::string>> SimDisk::list(const std::string& dir) const {
  if (!is_dir(dir)) return fail(ErrorCode::kNotFound, "no such directory: " + dir);
  std::string prefix = dir.empty() ? std::string() : dir + "/";
  std::vector<std::string> names;
  for (auto it = names_.lower_bound(prefix); it != names_.end(); ++it) {
    if (!it->first.starts_with(prefix)) break;
    std::string_view rest = std::string_view(it->first).substr(prefix.size());
    if (rest.find('/') == std::string_view::npos) names.emplace_back(rest);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<> SimDisk::make_dir(const std::string& path) {
  if (is_dir(path)) return {};
  if (exists(path)) return fail(ErrorCode::kIo, "not a directory: " + path);
  if (!is_dir(parent_of(path)))
    return fail(ErrorCode::kNotFound, "no such directory: " + parent_of(path));
  InodeRef inode = make_inode(path, true);
  names_[path] = inode;
  pending_names_.push_back({NameOp::Kind::kCreate, {}, path, inode});
  return {};
}

Result<> SimDisk::sync_dir(const std::string& path) {
  if (!is_dir(path)) return fail(ErrorCode::kNotFound, "no such directory: " + path);
  std::vector<NameOp> later;
  for (NameOp& op : pending_names_) {
    bool here = (op.kind != NameOp::Kind::kCreate && parent_of(op.from) == path) ||
                (op.kind != NameOp::Kind::kRemove && parent_of(op.to) == path);
    if (here)
      apply(durable_names_, op);
    else
      later.push_back(std::move(op));
  }
  pending_names_ = std::move(later);
  return {};
}

void SimDisk::apply(Names& names, const NameOp& op) {
  if (op.kind != NameOp::Kind::kCreate) {
    auto found = names.find(op.from);
    if (found != names.end() && found->second == op.inode) names.erase(found);
  }
  if (op.kind != NameOp::Kind::kRemove) names[op.to] = op.inode;
}

Duration SimDisk::latency(Op op, size_t bytes, TrueTime now) {
  Duration low = profile_.write_min, high = profile_.write_max;
  if (op == Op::kRead) low = profile_.read_min, high = profile_.read_max;
  if (op == Op::kSync || op == Op::kName) low = profile_.sync_min, high = profile_.sync_max;
  if (op == Op::kDurableWrite) low = low + profile_.sync_min, high = high + profile_.sync_max;
  Duration taken = draw(latency_random_, low, high);
  taken = taken + profile_.per_kib * static_cast<int64_t>(bytes / 1024);
  if (happens(latency_random_, profile_.tail)) taken = taken * profile_.tail_factor;
  if (now < slow_until_) taken = taken * slow_factor_;
  if (now + taken < stall_until_) taken = stall_until_ - now + taken;
  return taken;
}

}  // namespace kahuna::sim
