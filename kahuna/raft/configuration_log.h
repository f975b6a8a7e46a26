// The configurations that one replica's log names, and which of them is in force: the last one,
// from when it is appended, committed or not, until it is truncated (paper §6).
#pragma once

#include <memory>
#include <vector>

#include "kahuna/raft/configuration.h"

namespace kahuna::raft {

class ConfigurationLog {
 public:
  // What is in force at `index`, where the state ends.
  ConfigurationLog(Index index, Configuration configuration);

  const Configuration& current() const { return *entries_.back().configuration; }
  std::shared_ptr<const Configuration> shared() const { return entries_.back().configuration; }
  // Of the entry that holds it, or one between it and the next.
  Index index() const { return entries_.back().index; }

  // Whether it votes in the last configuration that is committed or in a later one. Somebody whose
  // removal is not committed may hold what no other voter will do without: it must be able to lead.
  bool may_lead(ReplicaId replica) const;

  void append(Index index, Configuration configuration);
  // The log was cut after `kept`, which is at or above what is committed. True when another one is
  // in force now.
  bool truncate_after(Index kept);
  // The log is committed up to here: what came before the last one below is forgotten.
  void committed(Index commit);
  // The state ends at `index` now. `held`: the log goes on behind it; else nothing of it is left.
  void restored(Index index, Configuration configuration, bool held);

 private:
  struct Named {
    Index index;
    std::shared_ptr<const Configuration> configuration;
  };
  std::vector<Named> entries_;  // ascending; never empty
};

}  // namespace kahuna::raft
