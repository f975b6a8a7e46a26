// Where a run may damage what is durable. With an atlas, for every entry and every row some quorum
// of replicas keeps it whole, so whatever the faults, all must be repaired and served (DESIGN §10);
// without one anything may be damaged anywhere: the cluster may then stop, and say why, but not
// lie.
//
//   kNodes   at most a minority of the nodes is damaged, those in any way;
//   kPlaces  any node may lose entries of its log, but at each (partition, index) a minority only;
//   no
//            node may lose what only it has: its votes, its identity, its store;
//   kOff     no atlas.
//
//   M1 what was granted once is never given back: damage that was repaired counts as damage, and an
//      index that was damaged is so in all terms;
//   M2 an intact copy may still be out of reach, or of an entry that a node never had. Whether a
//   wait is
//      excused by that is not the atlas's to say (Cluster::beyond_repair, reference: trap 44).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "kahuna/journal/format.h"

namespace kahuna::sim {

class FaultAtlas {
 public:
  enum class Mode : uint8_t { kNodes, kPlaces, kOff };

  FaultAtlas(Mode mode, size_t nodes)
      : mode_(mode), nodes_(nodes), minority_(nodes > 0 ? (nodes - 1) / 2 : 0) {}

  Mode mode() const { return mode_; }
  // The node may be damaged in any way from now on.
  bool take(size_t node);
  // ... has been, or may be, damaged in any way.
  bool taken(size_t node) const { return taken_.contains(node); }
  // The node may lose the content of these entries, and nothing else.
  bool take_entries(size_t node, const std::vector<journal::RangeItem>& ranges);
  // The node may lose its memory (be wiped, return with an earlier disk): as take(), and one node
  // at least remembers, always.
  bool take_memory(size_t node);

 private:
  struct Loss {
    size_t node;
    uint64_t first, last;
  };

  Mode mode_;
  size_t nodes_, minority_;
  std::set<size_t> taken_, forgetful_;
  std::map<uint64_t, std::vector<Loss>> losses_;  // by partition
};

}  // namespace kahuna::sim
