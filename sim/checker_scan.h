// Atomicity of scan pages: each page shows its bucket as it was at one moment.
//
// Given an explanation of every key (checker_key.h), the states and the pages of a bucket form a
// graph: a state precedes the next one of its key, a page follows the states it saw and precedes
// their successors. The pages are atomic if and only if that graph has times that respect every
// operation's own span: no cycle, and the least times are early enough.
#pragma once

#include <vector>

#include "sim/checker.h"
#include "sim/checker_key.h"

namespace kahuna::sim {

struct BucketKey {
  NameId key = 0;
  const KeyVerdict* verdict = nullptr;  // ok
};

// `pages` are ok scans of one bucket; `keys` all keys of the bucket, ascending by text.
Judgement check_bucket(const History& history, const std::vector<OperationNumber>& pages,
                       const std::vector<BucketKey>& keys);

}  // namespace kahuna::sim
