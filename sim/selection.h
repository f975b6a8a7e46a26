// Numbered things of several names: faults ("crash#3"), operations ("c1#17"). How a plan says which
// of those that a seed draws are kept.
//
// As text: "crash#3+crash#5..9+clog#0"; "none" = the empty one.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/error.h"

namespace kahuna::sim {

class Selection {
 public:
  using Item = std::pair<std::string, uint64_t>;

  // kInvalid says what is wrong. Before the number of one thing, ':' is as good as '#'.
  static Result<Selection> parse(std::string_view text);
  std::string text() const;

  void add(std::string_view name, uint64_t number);
  bool has(std::string_view name, uint64_t number) const;
  bool empty() const { return numbers_.empty(); }
  size_t size() const;
  // In order of name and number.
  std::vector<Item> items() const;
  friend bool operator==(const Selection&, const Selection&) = default;

 private:
  std::map<std::string, std::set<uint64_t>, std::less<>> numbers_;  // no empty sets
};

}  // namespace kahuna::sim
