// The simulator's judges, on the history of a real cluster.
#pragma once

#include <cstdint>
#include <string>

#include "sim/history.h"

namespace kahuna::testing {

struct Verdict {
  std::string wrong;       // empty: linearizable, and versions are in order
  uint64_t undecided = 0;  // keys, and buckets' scans, that the judges gave up on
};

// Writes the history to `path` as well, unless that is empty; `kahuna sim --check` judges the file.
Verdict judge_history(const sim::History& history, const std::string& path);

class Cluster;
class RecordedLoad;
// Ends the load once all nodes serve, reads every key once more, and expects the whole history to
// be right.
void expect_right(Cluster& cluster, RecordedLoad& load);

// The exported history with one lie in it: the last read answers what the first read of that key
// did. To see that the judges would notice.
std::string with_a_stale_read(const std::string& lines);

}  // namespace kahuna::testing
