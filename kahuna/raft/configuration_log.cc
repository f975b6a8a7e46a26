#include "kahuna/raft/configuration_log.h"

#include <algorithm>
#include <utility>

#include "runtime/check.h"

namespace kahuna::raft {

ConfigurationLog::ConfigurationLog(Index index, Configuration configuration) {
  entries_.push_back({index, std::make_shared<const Configuration>(std::move(configuration))});
}

bool ConfigurationLog::may_lead(ReplicaId replica) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Named& named) { return named.configuration->votes(replica); });
}

void ConfigurationLog::append(Index index, Configuration configuration) {
  CHECK_GT(index, entries_.back().index);
  entries_.push_back({index, std::make_shared<const Configuration>(std::move(configuration))});
}

bool ConfigurationLog::truncate_after(Index kept) {
  const size_t before = entries_.size();
  while (entries_.back().index > kept) {
    CHECK_GT(entries_.size(), 1u);
    entries_.pop_back();
  }
  return entries_.size() != before;
}

void ConfigurationLog::committed(Index commit) {
  size_t old = 0;
  while (old + 1 < entries_.size() && entries_[old + 1].index <= commit) ++old;
  if (old > 0) entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(old));
}

void ConfigurationLog::restored(Index index, Configuration configuration, bool held) {
  std::vector<Named> behind;
  for (Named& named : entries_)
    if (held && named.index > index) behind.push_back(std::move(named));
  entries_.clear();
  entries_.push_back({index, std::make_shared<const Configuration>(std::move(configuration))});
  for (Named& named : behind) entries_.push_back(std::move(named));
}

}  // namespace kahuna::raft
