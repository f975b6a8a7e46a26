// Reads the JSON that nodes send in their status. Numbers are kept as their text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/error.h"

namespace kahuna::cli {

struct Json {
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
  Kind kind = Kind::kNull;
  std::string text;                // of a string or number; "true" or "false"
  std::vector<Json> items;         // of an array, or the values of an object
  std::vector<std::string> names;  // of an object's members, as many as items

  // The member's value; a null when there is none.
  const Json& operator[](std::string_view name) const;
  bool is_true() const { return kind == Kind::kBool && text == "true"; }
};

inline constexpr int kJsonDepthMax = 32;
// kInvalid says at which byte.
Result<Json> parse_json(std::string_view text);

}  // namespace kahuna::cli
