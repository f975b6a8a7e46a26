// The server's configuration file. The only user of toml++.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/error.h"

namespace kahuna::cli {

struct ConfigValue {
  std::string text;  // as a flag would take it
  int line = 0;
};
// Top-level keys. Strings, integers and booleans as their text; arrays joined with commas; a table
// (founders) as "key=value" pairs joined with commas. kNotFound, or kInvalid with file and line.
using Config = std::map<std::string, ConfigValue>;
Result<Config> load_config(const std::string& path);

// kInvalid for the first key of `config` that is not in `known`, with the nearest that is.
Result<> refuse_unknown_keys(const std::string& path, const Config& config,
                             const std::vector<std::string>& known);

}  // namespace kahuna::cli
