#include "kahuna/cli/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cstdio>
#include <ctime>

#include "kahuna/cli/text.h"

namespace kahuna::cli {

Log::Log(const Clock& clock, std::string_view level)
    : clock_(clock),
      level_(level == "error"  ? Level::kError
             : level == "warn" ? Level::kWarn
                               : Level::kInfo) {}

std::string log_line(WallTime time, Level level, std::string_view event, Log::Fields fields) {
  static constexpr std::string_view kNames[] = {"error", "warn", "info"};
  const int64_t millis = time.nanos() / 1'000'000;
  std::string line = fmt::format("time={:%Y-%m-%dT%H:%M:%S}.{:03}Z level={} event={}",
                                 fmt::gmtime(static_cast<std::time_t>(millis / 1000)),
                                 millis % 1000, kNames[static_cast<size_t>(level)], event);
  for (const auto& [key, value] : fields) {
    const bool plain = !value.empty() && value.find_first_of(" \t\n\r\"=\\") == std::string::npos;
    line += fmt::format(" {}={}", key, plain ? value : json_string(value));
  }
  return line;
}

void Log::write(Level level, std::string_view event, Fields fields) {
  if (level > level_) return;
  const std::string line = log_line(clock_.wall(), level, event, fields) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace kahuna::cli
