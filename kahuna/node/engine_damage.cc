#include "kahuna/node/engine_damage.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace kahuna::node {
namespace {
constexpr const char* kDamaged = "engine.damaged";
constexpr const char* kOnly = "engine.only";

Result<bool> is_noted(Suspend suspend, Disk& disk, const char* marker) {
  auto file = open(suspend, disk, marker, {});
  if (file) return true;
  if (file.error().code == ErrorCode::kNotFound) return false;
  return fail(std::move(file.error()));
}

Result<> note(Suspend suspend, Disk& disk, const char* marker) {
  auto file = open(suspend, disk, marker, {.create = true, .write = true});
  if (!file) return fail(std::move(file.error()));
  file->reset();
  return sync_dir(suspend, disk, "");
}

Result<> forget(Suspend suspend, Disk& disk, const char* marker) {
  ASSIGN_OR_RETURN(bool noted, is_noted(suspend, disk, marker));
  if (!noted) return {};
  RETURN_IF_ERROR(remove(suspend, disk, marker));
  return sync_dir(suspend, disk, "");
}
}  // namespace

Result<bool> is_engine_damaged(Suspend suspend, Disk& disk) {
  return is_noted(suspend, disk, kDamaged);
}
Result<> note_damaged_engine(Suspend suspend, Disk& disk) {
  return note(suspend, disk, kDamaged);
}
Result<> forget_damaged_engine(Suspend suspend, Disk& disk) {
  return forget(suspend, disk, kDamaged);
}
Result<bool> is_only_copy(Suspend suspend, Disk& disk) {
  return is_noted(suspend, disk, kOnly);
}
Result<> note_only_copy(Suspend suspend, Disk& disk, bool only) {
  return only ? note(suspend, disk, kOnly) : forget(suspend, disk, kOnly);
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
