// The rows under the in-memory engine. Superseded record rows are dropped as newer ones arrive.
//
// Operation rows are many, come and go with every command, and are read in order only when a
// partition opens: they live in a hash table that a scan sorts. All others live in a sorted map.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kahuna/engine/engine.h"
#include "runtime/hash.h"

namespace kahuna::engine {

class OrderedRows {
 public:
  // Of a record row that is itself superseded by a row already here, nothing is kept.
  void put(std::string_view row, std::string_view value);
  void remove(std::string_view row);
  // Null when absent. Valid until the next change.
  const std::string* find(std::string_view row) const;
  // Calls visit(row, value) for rows in [from, to), ascending, until it returns false.
  void scan(std::string_view from, std::string_view to, const RowVisitor& visit) const;
  size_t bytes() const { return bytes_; }  // rows and values

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view row) const { return hash64(as_bytes(row)); }
  };
  using Sorted = std::map<std::string, std::string, std::less<>>;
  using Hashed = std::unordered_map<std::string, std::string, Hash, std::equal_to<>>;

  void put_operation(std::string_view row, std::string_view value);
  void put_sorted(std::string_view row, std::string_view value);
  // False: the visitor stopped it.
  bool scan_sorted(std::string_view from, std::string_view to, const RowVisitor& visit) const;
  bool scan_operations(std::string_view from, std::string_view to, const RowVisitor& visit) const;

  Sorted sorted_;
  Hashed operations_;
  std::vector<Hashed::node_type> spare_;  // removed, to be used again
  size_t bytes_ = 0;
};

// The row without its version suffix when it is a record row, else empty.
std::string_view record_position(std::string_view row);

}  // namespace kahuna::engine
