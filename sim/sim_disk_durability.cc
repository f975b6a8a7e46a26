// What becomes durable, and what is left after a crash.
#include <algorithm>
#include <cstring>
#include <utility>

#include "sim/sim_disk_inode.h"

namespace kahuna::sim {

SyncTicket::~SyncTicket() {
  if (file) std::erase(file->syncs, this);
}

void SyncTicket::save(Inode& inode, size_t page, uint8_t sectors) {
  auto cover = std::lower_bound(covers.begin(), covers.end(), page,
                                [](const Cover& c, size_t p) { return c.page < p; });
  if (cover == covers.end() || cover->page != page) return;
  sectors &= cover->sectors;
  if (sectors == 0) return;
  cover->sectors &= static_cast<uint8_t>(~sectors);
  const Page& from = inode.pages[page];
  for (uint8_t s = 0; s < kPageSectors; ++s) {
    if (!(sectors >> s & 1)) continue;
    saved.push_back({static_cast<uint32_t>(page), s, {}});
    if (from.data)
      std::memcpy(saved.back().bytes.data(), from.data + s * kSectorBytes, kSectorBytes);
  }
}

void Inode::clean(size_t number, uint8_t mask) {
  Page& page = pages[number];
  page.dirty &= static_cast<uint8_t>(~mask);
  if (page.dirty == 0) {
    disk.give_page(page.floor);
    page.floor = nullptr;
  }
}

void Inode::refresh_dirty() {
  std::erase_if(dirty_pages, [&](uint32_t n) { return n >= pages.size() || pages[n].dirty == 0; });
  bool now_dirty = !dirty_pages.empty() || size != durable_size;
  if (dirty && !now_dirty) --disk.dirty_inodes_;
  if (!dirty && now_dirty) ++disk.dirty_inodes_;
  dirty = now_dirty;
}

void Inode::release_pages_past_end() {
  size_t keep = (std::max(size, durable_size) + kPageBytes - 1) / kPageBytes;
  while (pages.size() > keep) {
    Page& page = pages.back();
    disk.give_page(page.data);
    disk.give_page(page.floor);
    if (page.allocated) --disk.used_pages_;
    pages.pop_back();
  }
}

std::shared_ptr<SyncTicket> SimDisk::begin_sync(const InodeRef& file) {
  auto ticket = std::make_shared<SyncTicket>();
  ticket->file = file;
  ticket->number = ++file->syncs_begun;
  ticket->size = file->size;
  ticket->covers.reserve(file->dirty_pages.size());
  for (uint32_t page : file->dirty_pages) ticket->covers.push_back({page, file->pages[page].dirty});
  std::sort(ticket->covers.begin(), ticket->covers.end(),
            [](const auto& a, const auto& b) { return a.page < b.page; });
  file->syncs.push_back(ticket.get());
  return ticket;
}

Result<> SimDisk::finish_sync(SyncTicket& ticket) {
  ++counters_.syncs;
  Inode& file = *ticket.file;
  std::erase(file.syncs, &ticket);
  if (file.poisoned) return {};  // the kernel has forgotten the pages: it lies
  if (ticket.number < file.synced_through) return {};  // a later sync covered all of this one
  file.synced_through = ticket.number;
  if (sync_fails(file)) return fail(ErrorCode::kIo, "sync failed: " + file.path);
  for (const SyncTicket::Cover& cover : ticket.covers)
    if (cover.page < file.pages.size() && cover.sectors) file.clean(cover.page, cover.sectors);
  for (const SyncTicket::Saved& saved : ticket.saved) {
    if (saved.page >= file.pages.size()) continue;
    Page& page = file.pages[saved.page];
    if (!(page.dirty >> saved.sector & 1)) continue;
    if (!page.floor) {
      page.floor = take_page();
      std::memset(page.floor, 0, kPageBytes);
    }
    std::memcpy(page.floor + saved.sector * kSectorBytes, saved.bytes.data(), kSectorBytes);
  }
  file.durable_size = ticket.size;
  file.refresh_dirty();
  file.release_pages_past_end();
  return {};
}

bool SimDisk::sync_fails(Inode& file) {
  if (!fail_next_sync_ && !(faulty(file) && happens(fault_random_, profile_.sync_error)))
    return false;
  fail_next_sync_ = false;
  file.poisoned = true;
  ++counters_.sync_failures;
  return true;
}

Result<size_t> SimDisk::write_durably(Inode& file, uint64_t offset, ByteView bytes) {
  ASSIGN_OR_RETURN(size_t written, write(file, offset, bytes));
  ++counters_.syncs;
  if (written == 0 || file.poisoned) return written;
  if (sync_fails(file)) return fail(ErrorCode::kIo, "sync failed: " + file.path);
  for (size_t done = 0; done < written;) {
    uint64_t at = offset + done;
    size_t inside = at % kPageBytes, step = std::min(written - done, kPageBytes - inside);
    file.clean(at / kPageBytes, sector_mask(inside, step));
    done += step;
  }
  file.durable_size = std::max(file.durable_size, std::min(file.size, offset + written));
  file.refresh_dirty();
  return written;
}

Result<> SimDisk::sync(Inode& file) {
  if (!file.dirty && !fail_next_sync_ && profile_.sync_error == 0) return {};
  auto found = inodes_.find(file.id);
  CHECK(found != inodes_.end());
  return finish_sync(*begin_sync(found->second.lock()));
}

void SimDisk::tear(Inode& file, uint64_t offset, ByteView bytes) {
  for (size_t done = 0; done < bytes.size();) {
    uint64_t at = offset + done;
    size_t step =
        std::min(bytes.size() - done, kSectorBytes - static_cast<size_t>(at % kSectorBytes));
    if (crash_random_.chance(1, 2)) store(file, at, bytes.subspan(done, step));
    done += step;
  }
}

void SimDisk::settle(Inode& file, PerMillion keep) {
  uint64_t low = std::min(file.size, file.durable_size),
           high = std::max(file.size, file.durable_size);
  uint64_t size = file.size;
  if (keep == 0)
    size = file.durable_size;
  else if (keep < 1'000'000 && low != high)
    size = crash_random_.chance(1, 3)   ? low
           : crash_random_.chance(1, 2) ? high
                                        : crash_random_.between(low, high);
  std::sort(file.dirty_pages.begin(), file.dirty_pages.end());
  for (uint32_t number : file.dirty_pages) {
    Page& page = file.pages[number];
    for (size_t s = 0; s < kPageSectors; ++s) {
      if (!(page.dirty >> s & 1)) continue;
      if (happens(crash_random_, keep)) {
        ++counters_.sectors_kept;
        continue;
      }
      ++counters_.sectors_lost;
      if (page.floor)
        std::memcpy(page.data + s * kSectorBytes, page.floor + s * kSectorBytes, kSectorBytes);
      else
        std::memset(page.data + s * kSectorBytes, 0, kSectorBytes);
    }
    page.dirty = 0;
    give_page(page.floor);
    page.floor = nullptr;
  }
  file.dirty_pages.clear();
  // Bytes beyond the end were never part of the file.
  file.size = std::max(size, file.size);
  (void)truncate(file, size);
  for (uint32_t number : file.dirty_pages) file.clean(number, 0xff);
  file.durable_size = size;
  file.refresh_dirty();
  file.release_pages_past_end();
}

void SimDisk::drop_orphans(Names& names) {
  for (auto it = names.begin(); it != names.end();) {
    // Ascending order: a directory is judged before what lies in it.
    size_t slash = it->first.rfind('/');
    bool orphan = false;
    if (slash != std::string::npos) {
      auto parent = names.find(it->first.substr(0, slash));
      orphan = parent == names.end() || !parent->second->directory;
    }
    it = orphan ? names.erase(it) : std::next(it);
  }
}

void SimDisk::crash(CrashKind kind) {
  for (auto& [id, weak] : inodes_) {
    if (InodeRef inode = weak.lock()) {
      inode->locked = false;
      for (SyncTicket* sync : std::vector<SyncTicket*>(inode->syncs)) sync->file.reset();
      inode->syncs.clear();
    }
  }
  if (kind == CrashKind::kPower) {
    PerMillion keep = static_cast<PerMillion>(crash_random_.between(100'000, 900'000));
    if (happens(crash_random_, profile_.crash_loses_all))
      keep = 0;
    else if (happens(crash_random_, profile_.crash_keeps_all))
      keep = 1'000'000;
    bool unordered = happens(crash_random_, profile_.unordered_names);
    size_t prefix = crash_random_.below(pending_names_.size() + 1);
    for (size_t i = 0; i < pending_names_.size(); ++i) {
      if (keep == 1'000'000 || (unordered ? crash_random_.chance(1, 2) : i < prefix))
        apply(durable_names_, pending_names_[i]);
      else
        ++counters_.names_lost;
    }
    pending_names_.clear();
    drop_orphans(durable_names_);
    names_ = durable_names_;
    for (auto& [id, weak] : inodes_) {
      InodeRef inode = weak.lock();
      if (!inode) continue;
      if (inode->dirty) settle(*inode, inode->poisoned ? 0 : keep);
      inode->poisoned = false;
    }
    for (const auto& [path, inode] : names_) inode->path = path;
  }
  std::erase_if(inodes_, [](const auto& entry) { return entry.second.expired(); });
}

Result<> SimDisk::rot(const std::string& path, uint64_t offset) {
  auto found = names_.find(path);
  if (found == names_.end() || found->second->directory || offset >= found->second->size)
    return fail(ErrorCode::kNotFound, "no such byte: " + path);
  Inode& file = *found->second;
  size_t number = offset / kPageBytes, inside = offset % kPageBytes;
  if (file.pages.size() <= number) file.pages.resize(number + 1);
  Page& page = file.pages[number];
  if (!page.data) {
    page.data = take_page();
    std::memset(page.data, 0, kPageBytes);
    if (!page.allocated) page.allocated = true, ++used_pages_;
  }
  auto bit = static_cast<std::byte>(1u << crash_random_.below(8));
  page.data[inside] ^= bit;
  if (page.dirty >> (inside / kSectorBytes) & 1 && page.floor) page.floor[inside] ^= bit;
  return {};
}

Result<> SimDisk::lose_sector(const std::string& path, uint64_t offset) {
  auto found = names_.find(path);
  if (found == names_.end() || found->second->directory || offset >= found->second->size)
    return fail(ErrorCode::kNotFound, "no such byte: " + path);
  Inode& file = *found->second;
  size_t number = offset / kPageBytes;
  if (file.pages.size() <= number) file.pages.resize(number + 1);
  file.pages[number].unreadable |= sector_mask(offset % kPageBytes, 1);
  return {};
}

void SimDisk::misdirect(RandomStream random, WriteTest wanted, SectorTest into,
                        std::function<void(const Misdirection&)> done) {
  misdirect_ = Misdirect{random, std::move(wanted), std::move(into), std::move(done)};
}

void SimDisk::reserve(Inode& file, uint64_t offset, size_t length) {
  const uint64_t end = offset + length;
  if (file.pages.size() * kPageBytes < end) file.pages.resize((end + kPageBytes - 1) / kPageBytes);
  for (uint64_t page = offset / kPageBytes; page * kPageBytes < end; ++page)
    if (!std::exchange(file.pages[page].allocated, true)) ++file.disk.used_pages_;
  if (end > file.size) file.size = end, file.mark_dirty();
}

bool SimDisk::misdirected(Inode& file, uint64_t offset, ByteView bytes) {
  if (all_zero(bytes) || !misdirect_->wanted(file.path, bytes)) return false;
  struct Place {
    Inode* file;
    uint64_t offset;
  };
  std::vector<Place> places;
  for (const auto& [path, inode] : names_) {
    if (inode->directory) continue;
    for (size_t n = 0; n < inode->pages.size(); ++n) {
      const Page& page = inode->pages[n];
      const uint64_t at = n * kPageBytes;
      const bool own =
          inode.get() == &file && at < offset + bytes.size() && at + kPageBytes > offset;
      // What comes to lie in a page of which a part cannot be read leaves no trace.
      if (!page.data || page.dirty != 0 || page.unreadable != 0 || own) continue;
      for (size_t inside = 0; inside < kPageBytes && at + inside + kSectorBytes <= inode->size;
           inside += kSectorBytes)
        if (misdirect_->into(path, at + inside, ByteView(page.data + inside, kSectorBytes)))
          places.push_back({inode.get(), at + inside});
    }
  }
  if (places.empty()) return false;
  const Place hit = places[misdirect_->random.below(places.size())];
  const size_t inside = hit.offset % kPageBytes;
  const size_t length =
      std::min<uint64_t>({bytes.size(), kPageBytes - inside, hit.file->size - hit.offset});
  Page& page = hit.file->pages[hit.offset / kPageBytes];
  std::memcpy(page.data + inside, bytes.data(), length);
  page.unreadable &= static_cast<uint8_t>(~sector_mask(inside, length));
  ++counters_.misdirected;
  Misdirection what{file.path, hit.file->path, offset, hit.offset, length};
  reserve(file, offset, bytes.size());
  auto done = std::move(misdirect_->done);
  misdirect_.reset();
  done(what);
  return true;
}

void SimDisk::wipe() {
  names_.clear();
  durable_names_.clear();
  pending_names_.clear();
  std::erase_if(inodes_, [](const auto& entry) { return entry.second.expired(); });
}

DiskImage SimDisk::image() const {
  DiskImage image;
  for (const auto& [path, inode] : durable_names_) {
    std::string bytes;
    if (!inode->directory) {
      bytes.resize(inode->durable_size);
      for (size_t n = 0; n < inode->pages.size(); ++n) {
        const Page& page = inode->pages[n];
        for (size_t s = 0; s < kPageSectors; ++s) {
          uint64_t at = n * kPageBytes + s * kSectorBytes;
          const std::byte* from = page.dirty >> s & 1 ? page.floor : page.data;
          if (at >= bytes.size() || !from) continue;
          std::memcpy(bytes.data() + at, from + s * kSectorBytes,
                      std::min<uint64_t>(kSectorBytes, bytes.size() - at));
        }
      }
    }
    image.entries[path] = {inode->directory, std::move(bytes)};
  }
  return image;
}

void SimDisk::restore(const DiskImage& image) {
  wipe();
  for (const auto& [path, entry] : image.entries) {
    InodeRef inode = make_inode(path, entry.first);
    names_[path] = inode;
    if (!entry.second.empty()) store(*inode, 0, as_bytes(entry.second));
    inode->durable_size = inode->size;
    for (uint32_t number : inode->dirty_pages) inode->clean(number, 0xff);
    inode->refresh_dirty();
  }
  durable_names_ = names_;
}

}  // namespace kahuna::sim
