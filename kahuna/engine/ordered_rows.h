// The sorted map under the in-memory engine. Drops superseded record rows as newer ones arrive.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "kahuna/engine/engine.h"

namespace kahuna::engine {

class OrderedRows {
 public:
  using Map = std::map<std::string, std::string, std::less<>>;

  // Of a record row that is itself superseded by a row already here, nothing is kept.
  void put(std::string_view row, std::string_view value);
  void remove(std::string_view row);
  const Map& map() const { return map_; }
  size_t bytes() const { return bytes_; }  // rows and values

 private:
  Map map_;
  size_t bytes_ = 0;
};

// The row without its version suffix when it is a record row, else empty.
std::string_view record_position(std::string_view row);

}  // namespace kahuna::engine
