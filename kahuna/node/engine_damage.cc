#include "kahuna/node/engine_damage.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace kahuna::node {
namespace {
constexpr const char* kMarker = "engine.damaged";
}  // namespace

Result<bool> is_engine_damaged(Suspend suspend, Disk& disk) {
  auto file = open(suspend, disk, kMarker, {});
  if (file) return true;
  if (file.error().code == ErrorCode::kNotFound) return false;
  return fail(std::move(file.error()));
}

Result<> note_damaged_engine(Suspend suspend, Disk& disk) {
  auto file = open(suspend, disk, kMarker, {.create = true, .write = true});
  if (!file) return fail(std::move(file.error()));
  file->reset();
  return sync_dir(suspend, disk, "");
}

Result<> forget_damaged_engine(Suspend suspend, Disk& disk) {
  ASSIGN_OR_RETURN(bool noted, is_engine_damaged(suspend, disk));
  if (!noted) return {};
  RETURN_IF_ERROR(remove(suspend, disk, kMarker));
  return sync_dir(suspend, disk, "");
}

Result<> remove_engine(Suspend suspend, Disk& disk, const std::string& dir) {
  auto names = list(suspend, disk, dir);
  if (!names && names.error().code == ErrorCode::kNotFound) return {};
  if (!names) return fail(std::move(names.error()));
  // What RocksDB begins with goes first: without it the rest is nothing.
  std::stable_partition(names->begin(), names->end(),
                        [](const std::string& name) { return name == "CURRENT"; });
  for (const std::string& name : *names) {
    RETURN_IF_ERROR(remove(suspend, disk, dir + "/" + name));
    if (name == "CURRENT") RETURN_IF_ERROR(sync_dir(suspend, disk, dir));
  }
  return sync_dir(suspend, disk, dir);
}

}  // namespace kahuna::node
