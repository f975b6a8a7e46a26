// What the journal's direct tests do again and again.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "model.h"

namespace kahuna::journal_test {

inline uint64_t next_index(Harness& h, uint64_t group) {
  const ModelGroup& g = h.live[group];
  return std::max<uint64_t>(2, (g.log.empty() ? g.released : g.log.rbegin()->first) + 1);
}
inline void add(Harness& h, uint64_t group, size_t count = 1, size_t bytes = 100) {
  h.append(group, next_index(h, group), count, bytes, false);
}
inline void add_and_settle(Harness& h, uint64_t group, size_t count = 1, size_t bytes = 100) {
  add(h, group, count, bytes);
  h.machine->settle();
}
// Opens and settles, so that a spare segment is ready.
inline void open_ready(Harness& h) {
  ASSERT_EQ(h.open(), "");
  h.machine->settle();
}

}  // namespace kahuna::journal_test
