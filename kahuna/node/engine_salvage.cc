#include "kahuna/node/engine_salvage.h"

#include <utility>

#include "kahuna/node/engine_damage.h"
#include "kahuna/partition/rows.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {

constexpr const char* kMoved =
    "engine.moved";  // beside the note: nothing of the old engine is in its place any more

std::string old_dir(const std::string& dir) {
  return dir + ".old";
}

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
  Copy(Suspend suspend, engine::Engine& from, engine::Engine& to, size_t batch_bytes)
      : suspend_(suspend), from_(from), to_(to), batch_bytes_(batch_bytes) {}

  // False: some row of the partition does not read well, and nothing of it is kept. Errors are
  // those of `to`, and those of `from` that are no damage.
  Result<bool> copy(const partition::Descriptor& descriptor) {
    auto mark = from_.applied().find(descriptor.id);
    if (mark == from_.applied().end()) return false;
    std::string install;
    auto installing = from_.get(partition::make_install_row(descriptor.id), install);
    if (!installing && installing.error().code != ErrorCode::kDamaged)
      return fail(std::move(installing.error()));
    bool whole = installing && !*installing;
    const auto ranges = partition::rows_of(descriptor);
    for (const engine::RowRange& range : ranges) {
      if (!whole) break;
      ASSIGN_OR_RETURN(whole, copy_range(range));
    }
    if (MUTANT(salvage_keeps_what_it_could_not_read)) whole = true;
    const bool begun = std::exchange(rows_written_, false);
    if (whole) {
      batch_.set_applied({descriptor.id, mark->second});
    } else {
      batch_.clear();
      if (begun) leave(descriptor, mark->second, ranges);
    }
    RETURN_IF_ERROR(write());
    return whole;
  }

  // All that was written is durable.
  Result<> flush() {
    return await<Result<>>(suspend_,
                           [this](Callback<void(Result<>)> done) { to_.flush(std::move(done)); });
  }

 private:
  // Rows of the partition were written to the new engine before damage was met. They go again, but
  // no state may come in their place that is older: the engine would not miss what they superseded
  // there (E7). Of a partition of which nothing was written any state may come that its log goes on
  // from: what was promised besides is in the log.
  void leave(const partition::Descriptor& descriptor, raft::LogPosition position,
             const std::vector<engine::RowRange>& ranges) {
    SOMETIMES(engine_salvage_leaves_a_partition_half_copied);
    for (const auto& [first, last] : ranges) batch_.remove_range(first, last);
    if (MUTANT(salvage_forgets_what_it_wrote)) return;
    std::string value;
    partition::make_install_value({0, position, 0, {}}, value);
    batch_.put(partition::make_install_row(descriptor.id), value);
  }

  Result<bool> copy_range(const engine::RowRange& range) {
    std::string from = range.first;
    for (bool more = true; more;) {
      bool well_formed = true;
      more = false;
      auto read = from_.scan(from, range.second, [&](std::string_view row, std::string_view value) {
        well_formed = partition::is_well_formed(row, value);
        if (!well_formed) return false;
        if (batch_.size_bytes() >= batch_bytes_) {
          from = row;
          more = true;
          return false;
        }
        batch_.put(row, value);
        return true;
      });
      if (!read && read.error().code != ErrorCode::kDamaged) return fail(std::move(read.error()));
      if (!read || !well_formed) return false;
      if (!more) continue;
      RETURN_IF_ERROR(write());
      rows_written_ = true;
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
  const size_t batch_bytes_;
  engine::WriteBatch batch_;
  bool rows_written_ = false;  // of the partition under way
};

Result<> copy_all(Suspend suspend, engine::Engine& old, Salvage& salvage, const Options& options,
                  const std::vector<partition::Descriptor>& partitions) {
  Copy copy(suspend, old, *salvage.engine, options.salvage_batch_bytes);
  for (const partition::Descriptor& descriptor : partitions) {
    ASSIGN_OR_RETURN(bool kept, copy.copy(descriptor));
    ++(kept ? salvage.kept : salvage.lost);
  }
  return copy.flush();
}

// G4, for people.
Error explained(Error error, const Options& options) {
  const bool full = error.code == ErrorCode::kNoSpace;
  error.text =
      std::string(full ? "no room" : "no way") +
      " to copy what is whole of the damaged store of node '" + options.name + "' (" + error.text +
      "); nothing of it is given up: " + (full ? "free some space" : "see to that") +
      " and start the node again. If the other nodes are well, '" + old_dir(options.engine_dir) +
      "' may be removed from its directory first: then all of it is fetched from the log and from "
      "them";
  return error;
}

// What was copied goes, for it takes room; of no worth it is anyway (G2).
Error give_up(Suspend suspend, Host& host, const Options& options, Salvage& salvage, Error error) {
  salvage.engine.reset();
  if (error.code != ErrorCode::kNoSpace) return error;
  SOMETIMES(engine_salvage_has_no_room);
  (void)remove_engine(suspend, *host.disk, options.engine_dir);
  return error;
}

Result<Salvage> salvage(Suspend suspend, Host& host, Fibers& fibers, const Options& options,
                        const std::vector<partition::Descriptor>& partitions) {
  const std::string& dir = options.engine_dir;
  RETURN_IF_ERROR(move_aside(suspend, *host.disk, dir));
  Salvage salvage;
  RETURN_IF_ERROR(remove_engine(suspend, *host.disk, dir));
  auto old = options.open_engine(suspend, host, fibers, old_dir(dir));
  if (!old && old.error().code != ErrorCode::kDamaged && !MUTANT(salvage_gives_up_at_any_error))
    return fail(std::move(old.error()));
  auto opened = options.open_engine(suspend, host, fibers, dir);
  if (!opened) return fail(give_up(suspend, host, options, salvage, std::move(opened.error())));
  salvage.engine = std::move(*opened);
  if (!old) {
    SOMETIMES(engine_salvage_finds_nothing_to_open);
    salvage.lost = partitions.size();
  } else if (auto copied = copy_all(suspend, **old, salvage, options, partitions); !copied) {
    Error error = give_up(suspend, host, options, salvage, std::move(copied.error()));
    if (error.code != ErrorCode::kNoSpace || !MUTANT(salvage_gives_up_for_want_of_room))
      return fail(std::move(error));
    ASSIGN_OR_RETURN(salvage.engine, options.open_engine(suspend, host, fibers, dir));
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

}  // namespace

Result<Salvage> salvage_engine(Suspend suspend, Host& host, Fibers& fibers, const Options& options,
                               const std::vector<partition::Descriptor>& partitions) {
  auto salvaged = salvage(suspend, host, fibers, options, partitions);
  if (!salvaged) return fail(explained(std::move(salvaged.error()), options));
  return salvaged;
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
