// A structured log to stderr: one line an event, "time=… level=… event=… key=value …".
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/host.h"

namespace kahuna::cli {

enum class Level : uint8_t { kError, kWarn, kInfo };

class Log {
 public:
  using Fields = std::initializer_list<std::pair<std::string_view, std::string>>;
  // Events above `level` are dropped. `clock` outlives the log.
  Log(const Clock& clock, std::string_view level);

  void info(std::string_view event, Fields fields = {}) { write(Level::kInfo, event, fields); }
  void warn(std::string_view event, Fields fields = {}) { write(Level::kWarn, event, fields); }
  void error(std::string_view event, Fields fields = {}) { write(Level::kError, event, fields); }

 private:
  void write(Level level, std::string_view event, Fields fields);

  const Clock& clock_;
  Level level_;
};

// A log line without its newline; values with blanks, quotes or '=' are quoted as JSON strings.
std::string log_line(WallTime time, Level level, std::string_view event, Log::Fields fields);

}  // namespace kahuna::cli
