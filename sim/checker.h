// The judges of client histories. Pure functions of a History; nobody else's word is taken.
//
//   C1 kViolation is certain: no assignment of the unknown outcomes explains the history;
//   C2 kOk is certain: an explanation was found;
//   C3 kUndecided: the search gave up (its bound is stated); counted, never hidden.
//
// What a key is: revision -1 and absent at first; a set or delete that takes effect adds one to the
// revision; a delete needs a value to be there; conditions are judged on the state just before. So
// revisions number the states of a key, and most of linearizability is arithmetic (checker_key.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/history.h"

namespace kahuna::sim {

enum class Finding : uint8_t { kOk, kViolation, kUndecided };

struct Judgement {
  Finding finding = Finding::kOk;
  std::string kind;      // of a violation: "linearizability", "snapshot", "stamp", ...; one word
  std::string text;      // for people: what is wrong, with the operations involved; may span lines
  uint64_t checked = 0;  // operations looked at
  uint64_t undecided = 0;  // keys or scans given up on
};

struct CheckerOptions {
  // Steps of the search over unknown outcomes, per key, beyond one pass over its states.
  uint64_t steps_max = 500'000;
};

// Linearizability of every key, by itself (it composes), scans included as reads of each key they
// cover; then the atomicity of each scan page over the keys of its bucket.
Judgement check_registers(const History& history, CheckerOptions options = {});

// Versions: every reply about one revision of a key names the same stamp; stamps of a key never
// decrease with the revision; what a client writes is stamped above all it had heard of before.
Judgement check_stamps(const History& history);

}  // namespace kahuna::sim
