// Which node leads which hash positions, as far as this client has heard (C4): an interval map.
//
// 1. Intervals never overlap.
// 2. A descriptor never replaces one of a higher generation on a common position.
// 3. At most kRoutesMax intervals; when full, everything is forgotten and learned again.
// A wrong route costs a hop, never an answer: the server checks every key against its own range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

namespace kahuna::client {

// Routing position of a key: the hash of its space, which is its text before the last '/', or the
// whole key when there is none. Of a bucket: the hash of the bucket.
uint64_t hash_of_key(std::string_view key);
uint64_t hash_of_space(std::string_view space);

class RouteCache {
 public:
  static constexpr size_t kRoutesMax = 65'536;

  struct Route {
    uint64_t first = 0, last = 0;  // both inclusive
    uint64_t generation = 0;
    size_t node = 0;  // index of a node of the client
  };

  // Takes `route` in, cutting older ones that overlap. False when it was malformed or older.
  bool learn(const Route& route);
  std::optional<size_t> find(uint64_t hash) const;
  // Forgets the interval that contains the hash.
  void forget(uint64_t hash);
  // Forgets every interval that names the node.
  void forget_node(size_t node);
  size_t size() const { return routes_.size(); }

 private:
  std::map<uint64_t, Route> routes_;  // by first
};

}  // namespace kahuna::client
