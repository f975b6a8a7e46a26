#include "sim/trace.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "sim/world_kernel.h"

namespace kahuna::sim {

std::string to_string(const EventRecord& record) {
  char line[200];
  std::snprintf(line, sizeof line,
                "event %" PRIu64 " t=%" PRId64 ".%09" PRId64 "s seq=%" PRIu64 " node=%" PRIu64
                " %s digest=%016" PRIx64 " hash=%016" PRIx64,
                record.number, record.time_ns / 1'000'000'000, record.time_ns % 1'000'000'000,
                record.sequence, record.what >> 8,
                name_of(static_cast<EventKind>(record.what & 0xff)), record.digest,
                record.hash_low);
  return line;
}

std::string to_string(const Hash128& hash) {
  char text[33];
  std::snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, hash.high(), hash.low());
  return text;
}

TraceWindow first_difference(const std::vector<TraceCheckpoint>& a,
                             const std::vector<TraceCheckpoint>& b) {
  size_t common = std::min(a.size(), b.size());
  uint64_t agreed = 0;
  for (size_t i = 0; i < common; ++i) {
    if (a[i] != b[i]) return {agreed + 1, a[i].number + 1};
    agreed = a[i].number;
  }
  return {agreed + 1, agreed + 1};
}

}  // namespace kahuna::sim
