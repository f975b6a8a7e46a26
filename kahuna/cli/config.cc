#include "kahuna/cli/config.h"

#include <sys/stat.h>
#include <toml++/toml.h>

#include <algorithm>

#include "kahuna/cli/text.h"

namespace kahuna::cli {
namespace {

Result<std::string> scalar(const toml::node& node, const std::string& where) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* flag = node.as_boolean()) return std::string(flag->get() ? "true" : "false");
  return fail(ErrorCode::kInvalid, where + ": write a string, an integer or a boolean");
}

Result<std::string> flatten(const toml::node& node, const std::string& where) {
  std::string joined;
  if (const toml::array* array = node.as_array()) {
    for (const toml::node& item : *array) {
      ASSIGN_OR_RETURN(const std::string text, scalar(item, where));
      joined += (joined.empty() ? "" : ",") + text;
    }
    return joined;
  }
  if (const toml::table* table = node.as_table()) {
    for (const auto& [key, item] : *table) {
      ASSIGN_OR_RETURN(const std::string text, scalar(item, where));
      joined += (joined.empty() ? "" : ",") + std::string(key.str()) + "=" + text;
    }
    return joined;
  }
  return scalar(node, where);
}

}  // namespace

Result<Config> load_config(const std::string& path) {
  struct stat found;
  if (::stat(path.c_str(), &found) != 0) {
    return fail(ErrorCode::kNotFound, "there is no configuration file '" + path + "'");
  }
  toml::table table;
  try {
    table = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    return fail(ErrorCode::kInvalid, path + ":" + std::to_string(error.source().begin.line) + ": " +
                                         std::string(error.description()));
  }
  Config config;
  for (const auto& [key, node] : table) {
    const int line = static_cast<int>(key.source().begin.line);
    ASSIGN_OR_RETURN(std::string text, flatten(node, path + ":" + std::to_string(line)));
    config[std::string(key.str())] = ConfigValue{std::move(text), line};
  }
  return config;
}

Result<> refuse_unknown_keys(const std::string& path, const Config& config,
                             const std::vector<std::string>& known) {
  for (const auto& [key, value] : config) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string guess = nearest(key, known);
    return fail(ErrorCode::kInvalid, path + ":" + std::to_string(value.line) +
                                         ": there is no setting '" + key + "'" +
                                         (guess.empty() ? "" : "; did you mean '" + guess + "'?"));
  }
  return {};
}

}  // namespace kahuna::cli
