#include "sim/selection.h"

#include <fmt/core.h>

#include "sim/spec.h"

namespace kahuna::sim {
namespace {
constexpr std::string_view kNone = "none";
constexpr uint64_t kRangeMax = 1'000'000;  // numbers in one range
}  // namespace

Result<Selection> Selection::parse(std::string_view text) {
  Selection selection;
  if (text == kNone) return selection;
  for (const std::string& part : split_list(text, '+')) {
    size_t mark = part.find_last_of("#:");
    if (mark == std::string::npos || mark == 0)
      return fail(ErrorCode::kInvalid, fmt::format("'{}' is not NAME#NUMBER", part));
    ASSIGN_OR_RETURN(NumberRange range, parse_range(std::string_view(part).substr(mark + 1)));
    if (range.last - range.first >= kRangeMax)
      return fail(ErrorCode::kInvalid, fmt::format("'{}' is too long a range", part));
    for (uint64_t n = range.first; n <= range.last; ++n) selection.add(part.substr(0, mark), n);
  }
  return selection;
}

std::string Selection::text() const {
  std::string text;
  for (const auto& [name, numbers] : numbers_) {
    for (auto at = numbers.begin(); at != numbers.end();) {
      uint64_t first = *at, last = first;
      while (++at != numbers.end() && *at == last + 1) ++last;
      if (!text.empty()) text += '+';
      text += fmt::format("{}#{}", name, first);
      if (last > first) text += fmt::format("..{}", last);
    }
  }
  return text.empty() ? std::string(kNone) : text;
}

void Selection::add(std::string_view name, uint64_t number) {
  auto found = numbers_.find(name);
  if (found == numbers_.end()) found = numbers_.try_emplace(std::string(name)).first;
  found->second.insert(number);
}

bool Selection::has(std::string_view name, uint64_t number) const {
  auto found = numbers_.find(name);
  return found != numbers_.end() && found->second.contains(number);
}

size_t Selection::size() const {
  size_t size = 0;
  for (const auto& [name, numbers] : numbers_) size += numbers.size();
  return size;
}

std::vector<Selection::Item> Selection::items() const {
  std::vector<Item> items;
  for (const auto& [name, numbers] : numbers_)
    for (uint64_t number : numbers) items.emplace_back(name, number);
  return items;
}

}  // namespace kahuna::sim
