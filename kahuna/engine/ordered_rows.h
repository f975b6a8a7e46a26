// The rows under the in-memory engine. Superseded record rows are dropped as newer ones arrive.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "kahuna/engine/engine.h"

namespace kahuna::engine {

class OrderedRows {
 public:
  // Of a record row that is itself superseded by a row already here, nothing is kept.
  void put(std::string_view row, std::string_view value);
  void remove(std::string_view row);
  void remove_range(std::string_view from, std::string_view to);
  // Null when absent. Valid until the next change.
  const std::string* find(std::string_view row) const;
  // Calls visit(row, value) for rows in [from, to), ascending, until it returns false.
  void scan(std::string_view from, std::string_view to, const RowVisitor& visit) const;
  size_t bytes() const { return bytes_; }  // rows and values

 private:
  std::map<std::string, std::string, std::less<>> sorted_;
  size_t bytes_ = 0;
};

// The row without its version suffix when it is a record row, else empty.
std::string_view record_position(std::string_view row);

}  // namespace kahuna::engine
