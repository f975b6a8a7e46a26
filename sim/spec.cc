#include "sim/spec.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>

#include "runtime/check.h"

namespace kahuna::sim {

Result<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  if (text.empty() || text.size() > 19)
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is not a number", text));
  for (char c : text) {
    if (c < '0' || c > '9')
      return fail(ErrorCode::kInvalid, fmt::format("'{}' is not a number", text));
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

Result<Duration> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view suffix;
    int64_t nanos;
  };
  static constexpr Unit kUnits[] = {{"ns", 1},
                                    {"us", 1'000},
                                    {"ms", 1'000'000},
                                    {"s", 1'000'000'000},
                                    {"m", 60'000'000'000},
                                    {"h", 3'600'000'000'000},
                                    {"", 1'000'000'000}};
  for (const Unit& unit : kUnits) {
    if (!text.ends_with(unit.suffix)) continue;
    auto count = parse_number(text.substr(0, text.size() - unit.suffix.size()));
    if (!count || *count > uint64_t(INT64_MAX / unit.nanos)) break;
    return Duration::nanos(static_cast<int64_t>(*count) * unit.nanos);
  }
  return fail(ErrorCode::kInvalid, fmt::format("'{}' is not a time such as 60s or 250ms", text));
}

std::string to_string(Duration duration) {
  int64_t ns = duration.nanos();
  if (ns % 1'000'000'000 == 0) return fmt::format("{}s", ns / 1'000'000'000);
  if (ns % 1'000'000 == 0) return fmt::format("{}ms", ns / 1'000'000);
  if (ns % 1'000 == 0) return fmt::format("{}us", ns / 1'000);
  return fmt::format("{}ns", ns);
}

Result<NumberRange> parse_range(std::string_view text) {
  size_t dots = text.find("..");
  ASSIGN_OR_RETURN(uint64_t first, parse_number(text.substr(0, dots)));
  uint64_t last = first;
  if (dots != std::string_view::npos) {
    ASSIGN_OR_RETURN(last, parse_number(text.substr(dots + 2)));
  }
  if (last < first)
    return fail(ErrorCode::kInvalid, fmt::format("'{}': the range ends before it begins", text));
  return NumberRange{first, last};
}

std::vector<std::string> split_list(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    size_t end = text.find(separator);
    if (end != 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return parts;
}

Result<> Spec::pin_all(std::string_view list) {
  for (const std::string& part : split_list(list)) {
    size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(ErrorCode::kInvalid, fmt::format("--spec: '{}' is not KEY=VALUE", part));
    pin(part.substr(0, equals), part.substr(equals + 1));
  }
  return {};
}

std::optional<std::string_view> Spec::ask(std::string_view name) {
  CHECK(asked_.insert(std::string(name)).second);
  auto found = pins_.find(name);
  if (found == pins_.end()) return std::nullopt;
  return found->second;
}

uint64_t Spec::drawn(std::string_view name, uint64_t value) {
  drawn_.emplace_back(name, std::to_string(value));
  return value;
}

void Spec::bad(std::string_view name, std::string_view value, std::string_view expected) {
  if (first_error_.empty()) first_error_ = fmt::format("{}={}: expected {}", name, value, expected);
}

uint64_t Spec::number(std::string_view name, uint64_t low, uint64_t high) {
  uint64_t value = stream(name).between(low, high);
  if (auto pin = ask(name)) {
    if (auto number = parse_number(*pin))
      value = *number;
    else
      bad(name, *pin, "a number");
  }
  return drawn(name, value);
}

uint64_t Spec::pick(std::string_view name,
                    std::initializer_list<std::pair<uint64_t, uint32_t>> choices) {
  uint64_t total = 0;
  for (const auto& choice : choices) total += choice.second;
  uint64_t dice = stream(name).below(total);
  uint64_t value = 0;
  for (const auto& choice : choices) {
    value = choice.first;
    if (dice < choice.second) break;
    dice -= choice.second;
  }
  if (auto pin = ask(name)) {
    if (auto number = parse_number(*pin))
      value = *number;
    else
      bad(name, *pin, "a number");
  }
  return drawn(name, value);
}

bool Spec::flag(std::string_view name, uint32_t parts, uint32_t whole) {
  bool value = stream(name).chance(parts, whole);
  if (auto pin = ask(name)) {
    if (*pin == "on" || *pin == "off")
      value = *pin == "on";
    else
      bad(name, *pin, "on or off");
  }
  drawn_.emplace_back(name, value ? "on" : "off");
  return value;
}

namespace {
uint64_t log_uniform(RandomStream random, uint64_t low, uint64_t high) {
  CHECK_GE(low, uint64_t{1});
  CHECK_LE(low, high);
  int octaves = std::bit_width(high) - std::bit_width(low);
  uint64_t scaled = low << random.below(static_cast<uint64_t>(octaves) + 1);
  uint64_t value = random.between(scaled, scaled * 2 - 1);
  return value > high ? high : value;
}
}  // namespace

uint64_t Spec::number_log(std::string_view name, uint64_t low, uint64_t high) {
  uint64_t value = log_uniform(stream(name), low, high);
  if (auto pin = ask(name)) {
    if (auto number = parse_number(*pin))
      value = *number;
    else
      bad(name, *pin, "a number");
  }
  return drawn(name, value);
}

Duration Spec::duration(std::string_view name, Duration low, Duration high) {
  auto nanos = stream(name).between(uint64_t(low.nanos()), uint64_t(high.nanos()));
  Duration value = Duration::nanos(static_cast<int64_t>(nanos));
  if (auto pin = ask(name)) {
    if (auto parsed = parse_duration(*pin))
      value = *parsed;
    else
      bad(name, *pin, "a time such as 250ms");
  }
  drawn_.emplace_back(name, to_string(value));
  return value;
}

Duration Spec::duration_log(std::string_view name, Duration low, Duration high) {
  uint64_t micros = log_uniform(stream(name), uint64_t(low.micros()), uint64_t(high.micros()));
  Duration value = Duration::micros(static_cast<int64_t>(micros));
  if (auto pin = ask(name)) {
    if (auto parsed = parse_duration(*pin))
      value = *parsed;
    else
      bad(name, *pin, "a time such as 250ms");
  }
  drawn_.emplace_back(name, to_string(value));
  return value;
}

std::string Spec::choice(std::string_view name, std::initializer_list<Weighted> choices) {
  uint64_t total = 0;
  for (const Weighted& choice : choices) total += choice.weight;
  uint64_t dice = stream(name).below(total);
  std::string value;
  for (const Weighted& choice : choices) {
    value = choice.name;
    if (dice < choice.weight) break;
    dice -= choice.weight;
  }
  if (auto pin = ask(name)) {
    std::string expected;
    bool known = false;
    for (const Weighted& choice : choices) {
      known = known || choice.name == *pin;
      expected += (expected.empty() ? "" : ", ") + std::string(choice.name);
    }
    if (known)
      value = *pin;
    else
      bad(name, *pin, "one of " + expected);
  }
  drawn_.emplace_back(name, value);
  return value;
}

std::optional<std::string> Spec::text(std::string_view name) {
  auto pin = ask(name);
  if (!pin) return std::nullopt;
  drawn_.emplace_back(name, *pin);
  return std::string(*pin);
}

std::optional<Selection> Spec::selection(std::string_view name,
                                         const std::vector<std::string>& names) {
  auto pin = text(name);
  if (!pin) return std::nullopt;
  auto selection = Selection::parse(*pin);
  if (!selection) {
    bad(name, *pin, "NAME#NUMBER+NAME#FIRST..LAST+..., or none");
    return Selection();
  }
  for (const auto& [item, number] : selection->items())
    if (!names.empty() && std::find(names.begin(), names.end(), item) == names.end())
      bad(name, item, "one of " + fmt::format("{}", fmt::join(names, ", ")));
  return *selection;
}

Result<> Spec::verify() const {
  if (!first_error_.empty()) return fail(ErrorCode::kInvalid, first_error_);
  for (const auto& [name, value] : pins_) {
    if (asked_.contains(name)) continue;
    std::string known;
    for (const std::string& each : asked_) known += (known.empty() ? "" : " ") + each;
    return fail(ErrorCode::kInvalid,
                fmt::format("no run asks for '{}'; the names are: {}", name, known));
  }
  return {};
}

std::string Spec::describe() const {
  std::string text;
  for (const auto& [name, value] : drawn_)
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", name, value);
  return text;
}

}  // namespace kahuna::sim
