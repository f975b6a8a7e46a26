#include "kahuna/node/engine_salvage.h"

#include <utility>

#include "kahuna/node/engine_damage.h"
#include "kahuna/partition/rows.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {

constexpr const char* kMoved = "engine.moved";  // beside the note: nothing of the old engine is in its place any more
constexpr size_t kBatchBytes = size_t{1} << 20;

std::string old_dir(const std::string& dir) { return dir + ".old"; }

Result<bool> exists(Suspend suspend, Disk& disk, const std::string& path) {
  auto file = open(suspend, disk, path, {});
  if (file) return true;
  if (file.error().code == ErrorCode::kNotFound) return false;
  return fail(std::move(file.error()));
}

// G1.
Result<> move_aside(Suspend suspend, Disk& disk, const std::string& dir) {
  ASSIGN_OR_RETURN(bool moved, exists(suspend, disk, kMoved));
  if (moved) return {};
  auto names = list(suspend, disk, dir);
  if (!names && names.error().code != ErrorCode::kNotFound) return fail(std::move(names.error()));
  if (names) {
    RETURN_IF_ERROR(make_dir(suspend, disk, old_dir(dir)));
    RETURN_IF_ERROR(sync_dir(suspend, disk, ""));
    for (const std::string& name : *names)
      RETURN_IF_ERROR(rename(suspend, disk, dir + "/" + name, old_dir(dir) + "/" + name));
    RETURN_IF_ERROR(sync_dir(suspend, disk, old_dir(dir)));
    RETURN_IF_ERROR(sync_dir(suspend, disk, dir));
  }
  auto marker = open(suspend, disk, kMoved, {.create = true, .write = true});
  if (!marker) return fail(std::move(marker.error()));
  marker->reset();
  return sync_dir(suspend, disk, "");
}

class Copy {
 public:
  Copy(Suspend suspend, engine::Engine& from, engine::Engine& to) : suspend_(suspend), from_(from), to_(to) {}

  // False: some row of the partition does not read well, and nothing of it is kept. Errors are those of `to`.
  Result<bool> copy(const partition::Descriptor& descriptor) {
    auto mark = from_.applied().find(descriptor.id);
    if (mark == from_.applied().end()) return false;
    std::string install;
    auto installing = from_.get(partition::make_install_row(descriptor.id), install);
    bool whole = installing && !*installing;
    const auto ranges = partition::rows_of(descriptor);
    for (const engine::RowRange& range : ranges) {
      if (!whole) break;
      ASSIGN_OR_RETURN(whole, copy_range(range));
    }
    if (MUTANT(salvage_keeps_what_it_could_not_read)) whole = true;
    if (whole) {
      batch_.set_applied({descriptor.id, mark->second});
    } else {
      for (const auto& [first, last] : ranges) batch_.remove_range(first, last);
    }
    RETURN_IF_ERROR(write());
    return whole;
  }

  // All that was written is durable.
  Result<> flush() {
    return await<Result<>>(suspend_, [this](Callback<void(Result<>)> done) { to_.flush(std::move(done)); });
  }

 private:
  Result<bool> copy_range(const engine::RowRange& range) {
    std::string from = range.first;
    for (bool more = true; more;) {
      bool well_formed = true;
      more = false;
      auto read = from_.scan(from, range.second, [&](std::string_view row, std::string_view value) {
        well_formed = partition::is_well_formed(row, value);
        if (!well_formed) return false;
        if (batch_.size_bytes() >= kBatchBytes) {
          from = row;
          more = true;
          return false;
        }
        batch_.put(row, value);
        return true;
      });
      if (!read || !well_formed) return false;
      if (more) RETURN_IF_ERROR(write());
    }
    return true;
  }

  Result<> write() {
    if (batch_.empty()) return {};
    auto written = to_.write(batch_);
    if (!written && written.error().code == ErrorCode::kOverloaded) {
      RETURN_IF_ERROR(flush());
      written = to_.write(batch_);
    }
    batch_.clear();
    return written;
  }

  Suspend suspend_;
  engine::Engine& from_;
  engine::Engine& to_;
  engine::WriteBatch batch_;
};

Result<std::unique_ptr<engine::Engine>> open_empty(Suspend suspend, Host& host, Fibers& fibers, const OpenEngine& open,
                                                   const std::string& dir) {
  RETURN_IF_ERROR(remove_engine(suspend, *host.disk, dir));
  return open(suspend, host, fibers, dir);
}

Result<> copy_all(Suspend suspend, engine::Engine& old, Salvage& salvage, const std::vector<partition::Descriptor>& partitions) {
  Copy copy(suspend, old, *salvage.engine);
  for (const partition::Descriptor& descriptor : partitions) {
    ASSIGN_OR_RETURN(bool kept, copy.copy(descriptor));
    ++(kept ? salvage.kept : salvage.lost);
  }
  return copy.flush();
}

}  // namespace

Result<Salvage> salvage_engine(Suspend suspend, Host& host, Fibers& fibers, const OpenEngine& open, const std::string& dir,
                               const std::vector<partition::Descriptor>& partitions) {
  RETURN_IF_ERROR(move_aside(suspend, *host.disk, dir));
  Salvage salvage;
  auto old = open(suspend, host, fibers, old_dir(dir));
  ASSIGN_OR_RETURN(salvage.engine, open_empty(suspend, host, fibers, open, dir));
  if (!old) {
    salvage.why = old.error().text;
  } else if (auto copied = copy_all(suspend, **old, salvage, partitions); !copied) {
    salvage.engine.reset();
    if (copied.error().code != ErrorCode::kNoSpace) return fail(std::move(copied.error()));
    SOMETIMES(engine_salvage_has_no_room);
    salvage.why = copied.error().text;
    ASSIGN_OR_RETURN(salvage.engine, open_empty(suspend, host, fibers, open, dir));
  }
  if (!salvage.why.empty()) {
    salvage.kept = 0;
    salvage.lost = partitions.size();
  }
  if (salvage.kept > 0) SOMETIMES(engine_salvage_keeps_a_partition);
  if (salvage.kept > 0 && salvage.lost > 0) SOMETIMES(engine_salvage_keeps_some_partitions);
  if (old) old->reset();
  RETURN_IF_ERROR(forget_damaged_engine(suspend, *host.disk));
  RETURN_IF_ERROR(remove_salvaged(suspend, *host.disk, dir));
  return salvage;
}

Result<> remove_salvaged(Suspend suspend, Disk& disk, const std::string& dir) {
  auto names = list(suspend, disk, old_dir(dir));
  if (!names && names.error().code != ErrorCode::kNotFound) return fail(std::move(names.error()));
  if (names) {
    RETURN_IF_ERROR(remove_engine(suspend, disk, old_dir(dir)));
    RETURN_IF_ERROR(remove(suspend, disk, old_dir(dir)));
  }
  ASSIGN_OR_RETURN(bool moved, exists(suspend, disk, kMoved));
  if (!moved && !names) return {};
  if (moved) RETURN_IF_ERROR(remove(suspend, disk, kMoved));
  return sync_dir(suspend, disk, "");
}

}  // namespace kahuna::node
