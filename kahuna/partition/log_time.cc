#include "kahuna/partition/log_time.h"

#include "runtime/check.h"

namespace kahuna::partition {

void LogClock::start(Term term, LogTime last, Time now) {
  CHECK(term_ < term);
  term_ = term;
  last_ = last;
  started_ = now;
}

LogTime LogClock::at(Time now) const {
  CHECK_GE(now.nanos(), started_.nanos());
  return LogTime(last_.value() + uint64_t((now - started_).millis()));
}

}  // namespace kahuna::partition
