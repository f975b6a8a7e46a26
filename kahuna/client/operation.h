// One operation of a client, over all its attempts, and the rule that turns an error of one attempt
// into what to do next.
//
// 1. An operation is paused (waits for `due`), queued (waits for its session to be ready) or sent.
// 2. `due` is when it must be looked at again, in every state; never after `deadline`.
// 3. `maybe_executed` is set once an attempt of a write ended without an answer that proves it was
//    not executed, and stays set: from then on it fails with kUnknown only (C2).
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>

#include "kahuna/client/client.h"
#include "runtime/random.h"
#include "schemas/wire_generated.h"

namespace kahuna::client {

using Completion = std::variant<std::monostate, Callback<void(Result<WriteReply>)>,
                                Callback<void(Result<std::optional<Value>>)>,
                                Callback<void(Result<ExistsReply>)>, Callback<void(Result<Page>)>,
                                Callback<void(Result<std::string>)>, Callback<void(Result<>)>>;

// Calls whichever callback `done` holds with the error.
void complete_with_error(Completion done, const Error& error);

inline constexpr size_t kNoNode = std::numeric_limits<size_t>::max();

struct Operation {
  enum class State : uint8_t { kFree, kPaused, kQueued, kSent };

  State state = State::kFree;
  // Reused slots: (generation << kSlotBits) | slot; never 0 while in use.
  uint64_t number = 0;

  wire::RequestKind kind = wire::RequestKind::None;
  std::string key;                 // scan: the bucket; move leader, scrub: the node
  PartitionId partition;           // move leader
  std::string value;               // set
  std::string cursor;              // scan
  uint32_t limit = 0;              // scan
  SetOptions options;              // set: conditions
  uint64_t hash = 0;               // routing position
  uint64_t sequence = 0;           // writes; of the operation id
  std::optional<Watermark> birth;  // writes: fixed by the first attempt
  Time deadline, due;
  Time sent_at;            // of the present attempt
  uint8_t attempt = 0;     // number of the present attempt, modulo 256
  size_t node = kNoNode;   // queued, sent: on that session. Status, scrub: the only one asked
  size_t avoid = kNoNode;  // the node that failed us last
  uint32_t hops = 0;       // tries elsewhere since the last pause
  uint32_t pauses = 0;
  bool maybe_executed = false;
  std::optional<Error> last_error;
  Completion done;

  // Of one node, once.
  bool asks_a_node() const {
    return kind == wire::RequestKind::Status || kind == wire::RequestKind::Scrub;
  }
  bool writes() const {
    return kind == wire::RequestKind::Set || kind == wire::RequestKind::Delete ||
           kind == wire::RequestKind::Members;
  }
};

enum class Next : uint8_t {
  kFinish,     // with this error
  kElsewhere,  // another node, now
  kPause,      // back off; the node may be the right one
  kPauseElsewhere,
  kRefresh,  // never executed: take a new operation id, born now
};

// What an error answer to the present attempt means. `maybe_executed` is updated.
Next judge(Operation& operation, ErrorCode code);

// Pause number `pauses` (from 0): jittered, doubling, 5 ms to 200 ms.
Duration pause_length(uint32_t pauses, RandomStream& random);

// The error of an operation whose time is up or whose client closes; `code` when provably not done.
Error give_up(const Operation& operation, ErrorCode code, std::string_view why);

}  // namespace kahuna::client
