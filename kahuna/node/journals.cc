#include "kahuna/node/journals.h"

#include <algorithm>

#include "runtime/probe.h"

namespace kahuna::node {

Result<RecoveredGroups> read_journals(Suspend suspend, Host& host, const journal::Options& options,
                                      const Layout& layout, bool must_exist) {
  RecoveredGroups all;
  for (size_t loop = 0; loop < layout.loops; ++loop) {
    journal::Options one = options;
    one.dir = layout.journal_dir(options.dir, loop);
    one.must_exist = must_exist;
    ASSIGN_OR_RETURN(RecoveredGroups groups, journal::Journal::read(suspend, host, one));
    for (auto& [id, group] : groups) {
      if (layout.loop_of(id) != loop)
        return fail(ErrorCode::kDamaged,
                    "journal " + one.dir + " holds partition " + std::to_string(id.value()) +
                        ", which belongs to another journal of this directory");
      all.emplace(id, std::move(group));
    }
  }
  return all;
}

Result<> remove_other_journals(Suspend suspend, Host& host, const journal::Options& options,
                               const Layout& layout) {
  std::vector<std::string> kept;
  for (size_t loop = 0; loop < layout.loops; ++loop)
    kept.push_back(layout.journal_dir(options.dir, loop));
  ASSIGN_OR_RETURN(std::vector<std::string> names, list(suspend, *host.disk, ""));
  for (const std::string& name : names) {
    if (!name.starts_with(options.dir)) continue;
    if (std::find(kept.begin(), kept.end(), name) != kept.end()) continue;
    SOMETIMES(journal_of_another_layout_removed);
    ASSIGN_OR_RETURN(std::vector<std::string> files, list(suspend, *host.disk, name));
    for (const std::string& file : files)
      RETURN_IF_ERROR(remove(suspend, *host.disk, name + "/" + file));
    RETURN_IF_ERROR(sync_dir(suspend, *host.disk, name));
    RETURN_IF_ERROR(remove(suspend, *host.disk, name));
  }
  return sync_dir(suspend, *host.disk, "");
}

RecoveredGroups take_groups_of(size_t loop, const Layout& layout, RecoveredGroups& groups) {
  RecoveredGroups taken;
  for (auto at = groups.begin(); at != groups.end();) {
    auto next = std::next(at);
    if (layout.loop_of(at->first) == loop) taken.insert(groups.extract(at));
    at = next;
  }
  return taken;
}

}  // namespace kahuna::node
