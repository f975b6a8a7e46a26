// Every choice of a run by name: drawn from the seed, or pinned by the user.
//
//   S1 the draw of one name depends on (seed, name) only: pinning one never shifts another;
//   S2 a pinned name that no run asks for, or a pin that does not parse, is an error that says so.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/error.h"
#include "runtime/random.h"
#include "runtime/time.h"
#include "sim/selection.h"

namespace kahuna::sim {

// "90s", "250ms", "40us", "7ns", "2m", "1h"; a bare number is seconds.
Result<Duration> parse_duration(std::string_view text);
std::string to_string(Duration duration);
// Decimal digits only.
Result<uint64_t> parse_number(std::string_view text);
// "3..17" or "5": both ends inclusive.
struct NumberRange {
  uint64_t first = 0, last = 0;
};
Result<NumberRange> parse_range(std::string_view text);
// "a,b,c"; no empty elements.
std::vector<std::string> split_list(std::string_view text, char separator = ',');

class Spec {
 public:
  struct Weighted {
    std::string_view name;
    uint32_t weight;
  };

  explicit Spec(uint64_t seed) : seed_(seed) {}

  void pin(std::string name, std::string value) { pins_[std::move(name)] = std::move(value); }
  // "KEY=VALUE,KEY=VALUE".
  Result<> pin_all(std::string_view list);
  // The value it is pinned to, if it is.
  std::optional<std::string> pinned(std::string_view name) const {
    const auto pin = pins_.find(name);
    return pin == pins_.end() ? std::nullopt : std::optional(pin->second);
  }

  // Uniform in [low, high]; a pin may lie outside.
  uint64_t number(std::string_view name, uint64_t low, uint64_t high);
  // One of the values, by weight.
  uint64_t pick(std::string_view name,
                std::initializer_list<std::pair<uint64_t, uint32_t>> choices);
  bool flag(std::string_view name, uint32_t parts, uint32_t whole);  // pins: on, off
  Duration duration(std::string_view name, Duration low, Duration high);
  // Uniform in the logarithm: each power of two between is as likely.
  Duration duration_log(std::string_view name, Duration low, Duration high);
  uint64_t number_log(std::string_view name, uint64_t low, uint64_t high);
  std::string choice(std::string_view name, std::initializer_list<Weighted> choices);
  // The text of a pin, if any; counts as asked for.
  std::optional<std::string> text(std::string_view name);
  // ... a selection; only names of the list may be selected from (any, when it is empty).
  std::optional<Selection> selection(std::string_view name,
                                     const std::vector<std::string>& names = {});
  RandomStream stream(std::string_view name) const { return RandomStream(seed_, name); }
  uint64_t seed() const { return seed_; }

  // The first bad pin, or one that nobody asked for. Call when everything has been drawn.
  Result<> verify() const;
  // "nodes=5 groups=3 ...": everything asked for, in order of asking.
  std::string describe() const;

 private:
  std::optional<std::string_view> ask(std::string_view name);
  uint64_t drawn(std::string_view name, uint64_t value);
  void bad(std::string_view name, std::string_view value, std::string_view expected);

  uint64_t seed_;
  std::map<std::string, std::string, std::less<>> pins_;
  std::set<std::string, std::less<>> asked_;
  std::vector<std::pair<std::string, std::string>> drawn_;
  std::string first_error_;
};

}  // namespace kahuna::sim
