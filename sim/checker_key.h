// Linearizability of one key whose replies carry revisions.
//
// State number s (a "slot") is revision s - 1; slot 0 is "never written". The mutation into slot s
// is known from its reply, or from the value somebody saw there, or is a hole that one of the
// unknown outcomes must fill. Once every slot has its mutation, the history is linearizable if and
// only if there are times t(1) < t(2) < ... with
//     invoked(m) < t(s) < completed(m)    for the mutation m into slot s,
//     t(s) < completed(o), invoked(o) < t(s + 1)    for each observation o of slot s,
// and the least such times are found in one pass. Reads of nothing do not say which absent state
// they saw: each takes the latest one it can, which never asks more of the times than any other
// choice. Holes are filled by depth-first search, earliest invoked first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/checker.h"
#include "sim/history.h"

namespace kahuna::sim {

inline constexpr EventNumber kNever = UINT64_MAX;  // completion of an unknown outcome
inline constexpr ValueId kNotSeen = -3;            // nobody saw the value of this state

// One look at a key: by a read, an exists, a scan, or a write that was not done.
struct Look {
  OperationNumber operation = 0;
  EventNumber invoked = 0, completed = 0;
  int64_t revision = kNoRevision;  // kNoRevision: only for absent ones
  bool absent = false;
  bool refused = false;  // a set whose conditions did not hold; says nothing about absence
  ValueId value = kNotSeen;
};

// Everything a history says about one key.
struct KeyHistory {
  NameId key = 0;
  std::vector<OperationNumber> done;      // mutations with an ok reply that took effect
  std::vector<OperationNumber> doubtful;  // mutations without
  std::vector<Look> looks;
};

// One per key that any operation names, in order of the key's text.
std::vector<KeyHistory> split_by_key(const History& history);
// Whether a page says something about a key of its bucket.
bool page_covers(const History& history, const SeenPage& page, std::string_view key);

// One state of a key, in an explanation.
struct Slot {
  std::optional<OperationNumber> mutation;  // none: slot 0, or a hole
  bool present = false;
  bool presence_known = false;
  ValueId value = kNotSeen;
  EventNumber after = 0;        // t(s) > this
  EventNumber before = kNever;  // t(s) < this
  OperationNumber after_because = 0, before_because = 0;
  EventNumber seen_until = 0;  // t(s + 1) > this: latest invocation of a look at this slot
  OperationNumber seen_because = 0;
};

struct KeyVerdict {
  Finding finding = Finding::kOk;
  std::string text;
  // When ok: an explanation with the least times in `after`. A final slot may be a delete that only
  // reads of nothing tell of.
  std::vector<Slot> slots;
  bool unique = true;  // no hole had a second candidate
};

KeyVerdict check_key(const History& history, const KeyHistory& key, const CheckerOptions& options);

// True when the write's conditions hold in this state.
bool conditions_hold(const WriteConditions& conditions, bool present, ValueId value,
                     int64_t revision);

}  // namespace kahuna::sim
