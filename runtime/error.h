// Errors. A code exists only if some caller would act differently because of it. Two traits per
// code answer the two questions a caller has: may I retry, and did it happen? An unknown outcome is
// never reported as failure (DESIGN §8, reference H/K19).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace kahuna {

enum class ErrorCode : uint8_t {
  kOk = 0,              // reserved for the wire; never inside an Error
  kInvalid = 1,         // the request itself is wrong; the text says what to change
  kTooLarge = 2,        // key, value or frame over its limit; the text names the limit
  kNotLeader = 3,       // this replica does not lead; `leader` hint travels beside the error
  kUnavailable = 4,     // no leader or no quorum reachable at the moment; provably not done
  kOverloaded = 5,      // a bounded queue is full; provably not done
  kTimeout = 6,         // the deadline passed before anything was sent or done
  kUnknown = 7,         // sent, outcome not known: it may have happened or may yet happen
  kTooOld = 8,          // operation id below the partition's floor; outcome unknown (trap 40)
  kWrongPartition = 9,  // stale map; carries the newer descriptor
  kWrongCluster = 10,   // the peer or directory belongs to another cluster
  kDamaged = 11,        // stored bytes fail their checksum
  kIo = 12,             // the disk or network refused; text has the system's reason
  kNoSpace = 13,        // disk full; not done
  kInUse = 14,          // another process holds this directory or address
  kVersion = 15,        // written by another, incompatible version
  kClosed = 16,         // the stream, mailbox or server is closing; not done unless stated
  kNotFound = 17,       // a file or directory that should exist does not
  kRolledBack = 18,     // the directory has lost what it once held; it must not be used any more
  kRemoved = 19,        // the node does not belong to the cluster (any more); another directory may
};

enum class Retry : uint8_t { kNever, kNow, kLater, kElsewhere };
enum class Happened : uint8_t { kNo, kUnknown };

Retry may_retry(ErrorCode code);
Happened did_it_happen(ErrorCode code);
std::string_view name_of(ErrorCode code);  // "kNoSpace" -> "no-space"; stable, used in --json

struct Error {
  ErrorCode code = ErrorCode::kInvalid;
  std::string text;  // for people: what is wrong and what to do next; lower case, no full stop

  Error(ErrorCode c, std::string t) : code(c), text(std::move(t)) {}
};

// Status and values that can fail. We do not throw; a library's exceptions stop at its wrapper.
template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorCode code, std::string text) {
  return std::unexpected<Error>(Error(code, std::move(text)));
}
inline std::unexpected<Error> fail(Error error) {
  return std::unexpected<Error>(std::move(error));
}

// Returns the error of `expression` from the enclosing function; otherwise goes on.
#define RETURN_IF_ERROR(expression)                                                               \
  do {                                                                                            \
    if (auto result_ = (expression); !result_) return ::kahuna::fail(std::move(result_.error())); \
  } while (0)

#define KAHUNA_CONCAT_(a, b) a##b
#define KAHUNA_CONCAT(a, b) KAHUNA_CONCAT_(a, b)
// ASSIGN_OR_RETURN(auto x, f()): x = value of f(), or returns its error.
#define ASSIGN_OR_RETURN(target, expression) \
  KAHUNA_ASSIGN_OR_RETURN(KAHUNA_CONCAT(result_, __LINE__), target, expression)
#define KAHUNA_ASSIGN_OR_RETURN(result, target, expression)      \
  auto result = (expression);                                    \
  if (!result) return ::kahuna::fail(std::move(result.error())); \
  target = std::move(*result)

}  // namespace kahuna
