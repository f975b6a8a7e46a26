// Trace: what happened, as fixed-size binary records; formatted only when somebody looks.
//
//   constexpr TraceKind kVoteGranted{"raft.vote-granted", "group", "term", "candidate"};
//   trace(kVoteGranted, group.value(), term.value(), candidate.value());
//
// 1. Without a sink on this thread a trace() is one thread-local load and a branch.
// 2. The sink adds time and node: whoever traces knows neither. The simulator installs one that
//    folds every record into its hash; what a record says must therefore follow from the seed
//    alone: no addresses, no wall clock, nothing that depends on the log level.
// 3. Kinds are constants of static storage, named `area.what`; their names are part of the hash, so
//    renaming one changes hashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/hash.h"
#include "runtime/ids.h"
#include "runtime/random.h"
#include "runtime/time.h"

namespace kahuna {

struct TraceKind {
  const char* name;
  const char* a;  // what the three numbers mean; null = unused
  const char* b;
  const char* c;
  uint64_t id;  // of the name; the same in every build
  constexpr explicit TraceKind(const char* kind_name, const char* a_name = nullptr,
                               const char* b_name = nullptr, const char* c_name = nullptr)
      : name(kind_name), a(a_name), b(b_name), c(c_name), id(detail::name_hash(kind_name)) {}
};

struct TraceRecord {
  Time time;
  NodeId node;
  const TraceKind* kind = nullptr;
  uint64_t a = 0;
  uint64_t b = 0;
  uint64_t c = 0;
};

// Adds time, node, the kind's id and the three numbers.
void fold(Hash128& hash, const TraceRecord& record);
// "12.345678901 node=3 raft.vote-granted group=1 term=4 candidate=2"
std::string to_string(const TraceRecord& record);

class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void on_trace(const TraceKind& kind, uint64_t a, uint64_t b, uint64_t c) = 0;
};

namespace detail {
extern constinit thread_local TraceSink* trace_sink_;
}

// Of this thread; null removes it. Returns the previous one.
TraceSink* set_trace_sink(TraceSink* sink);

inline bool tracing() {
  return detail::trace_sink_ != nullptr;
}

inline void trace(const TraceKind& kind, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0) {
  if (TraceSink* sink = detail::trace_sink_) [[unlikely]]
    sink->on_trace(kind, a, b, c);
}

// The last `capacity` records of one node. Memory is taken as records come, up to the capacity.
class TraceRing {
 public:
  explicit TraceRing(size_t capacity);
  void add(const TraceRecord& record) {
    if (records_.size() < capacity_) {
      records_.push_back(record);
    } else {
      records_[next_] = record;
      next_ = next_ + 1 == capacity_ ? 0 : next_ + 1;
    }
    ++added_;
  }
  // Records ever added, the overwritten ones included.
  uint64_t added() const { return added_; }
  size_t size() const { return records_.size(); }
  // at(0) is the oldest that is kept.
  const TraceRecord& at(size_t i) const;
  // The newest `count` records, oldest first, a line each.
  std::string format(size_t count) const;
  void clear();

 private:
  size_t capacity_;
  size_t next_ = 0;  // the oldest, once full
  uint64_t added_ = 0;
  std::vector<TraceRecord> records_;
};

}  // namespace kahuna
