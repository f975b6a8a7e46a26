#include "runtime/trace.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "runtime/check.h"

namespace kahuna {

namespace detail {
constinit thread_local TraceSink* trace_sink_ = nullptr;
}

TraceSink* set_trace_sink(TraceSink* sink) {
  return std::exchange(detail::trace_sink_, sink);
}

void fold(Hash128& hash, const TraceRecord& record) {
  hash.add(static_cast<uint64_t>(record.time.nanos()));
  hash.add(record.node.value());
  hash.add(record.kind->id);
  hash.add(record.a);
  hash.add(record.b);
  hash.add(record.c);
}

std::string to_string(const TraceRecord& record) {
  char time[48];
  int64_t nanos = record.time.nanos();
  std::snprintf(time, sizeof time, "%lld.%09lld", static_cast<long long>(nanos / 1'000'000'000),
                static_cast<long long>(nanos % 1'000'000'000));
  std::string text =
      std::string(time) + " node=" + std::to_string(record.node.value()) + " " + record.kind->name;
  auto number = [&](const char* name, uint64_t value) {
    if (name) text += " " + std::string(name) + "=" + std::to_string(value);
  };
  number(record.kind->a, record.a);
  number(record.kind->b, record.b);
  number(record.kind->c, record.c);
  return text;
}

TraceRing::TraceRing(size_t capacity) : capacity_(capacity) {
  CHECK_GT(capacity, 0u);
}

const TraceRecord& TraceRing::at(size_t i) const {
  CHECK_LT(i, records_.size());
  size_t place = next_ + i;
  return records_[place < records_.size() ? place : place - records_.size()];
}

std::string TraceRing::format(size_t count) const {
  std::string text;
  for (size_t i = records_.size() - std::min(count, records_.size()); i < records_.size(); ++i)
    text += to_string(at(i)) + "\n";
  return text;
}

void TraceRing::clear() {
  records_.clear();
  next_ = 0;
}

}  // namespace kahuna
