// The trace of a run: a running 128-bit hash over every event, checkpoints of it, and, for a chosen
// window, the events themselves. Two runs of one binary and seed must agree on all of it; where
// they do not, the checkpoints name a window of kCheckpointEvents events and a second pair of runs
// with record(window) names the event.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/hash.h"

namespace kahuna::sim {

struct EventRecord {
  uint64_t number;    // 1 = the first event of the run
  int64_t time_ns;    // true time
  uint64_t sequence;  // order of scheduling
  uint64_t what;      // kind, node
  uint64_t digest;    // of what the event carries
  uint64_t hash_low;  // after folding it
  friend bool operator==(const EventRecord&, const EventRecord&) = default;
};
std::string to_string(const EventRecord& record);

struct TraceCheckpoint {
  uint64_t number;  // events folded so far
  Hash128 hash;
  friend bool operator==(const TraceCheckpoint&, const TraceCheckpoint&) = default;
};

class Trace {
 public:
  static constexpr uint64_t kCheckpointEvents = 1024;

  void fold(int64_t time_ns, uint64_t sequence, uint64_t what, uint64_t digest) {
    hash_.add(static_cast<uint64_t>(time_ns));
    hash_.add(sequence << 20 ^ what);
    hash_.add(digest);
    ++events_;
    if (events_ % kCheckpointEvents == 0) checkpoints_.push_back({events_, hash_});
    if (events_ >= record_from_ && events_ < record_to_) [[unlikely]]
      records_.push_back({events_, time_ns, sequence, what, digest, hash_.low()});
  }
  // Folds something that is part of the event being run, and changes no event's number.
  void fold_extra(uint64_t word) { hash_.add(word); }

  // Keeps the records of events numbered [from, to).
  void record(uint64_t from, uint64_t to) {
    record_from_ = from;
    record_to_ = to;
  }

  uint64_t events() const { return events_; }
  const Hash128& hash() const { return hash_; }
  const std::vector<TraceCheckpoint>& checkpoints() const { return checkpoints_; }
  const std::vector<EventRecord>& records() const { return records_; }

 private:
  Hash128 hash_;
  uint64_t events_ = 0;
  uint64_t record_from_ = 0, record_to_ = 0;
  std::vector<TraceCheckpoint> checkpoints_;
  std::vector<EventRecord> records_;
};

// 32 hexadecimal digits, high word first.
std::string to_string(const Hash128& hash);

// The first window [from, to) of event numbers in which two runs part; from == to when the
// checkpoints agree as far as both go.
struct TraceWindow {
  uint64_t from, to;
};
TraceWindow first_difference(const std::vector<TraceCheckpoint>& a,
                             const std::vector<TraceCheckpoint>& b);

}  // namespace kahuna::sim
