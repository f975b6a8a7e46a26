#include "kahuna/client/operation.h"

#include <algorithm>

#include "runtime/probe.h"

namespace kahuna::client {
namespace {

constexpr Duration kPauseMin = Duration::millis(5);
constexpr Duration kPauseMax = Duration::millis(200);
constexpr uint32_t kPauseDoublingsMax = 6;
static_assert(kPauseMin.nanos() << kPauseDoublingsMax >= kPauseMax.nanos());

}  // namespace

void complete_with_error(Completion done, const Error& error) {
  std::visit(
      [&](auto& callback) {
        if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(callback)>, std::monostate>) {
          callback(fail(error));
        }
      },
      done);
}

Next judge(Operation& operation, ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotLeader:
    case ErrorCode::kWrongPartition:
    case ErrorCode::kClosed: return Next::kElsewhere;
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout: return Next::kPauseElsewhere;
    case ErrorCode::kOverloaded:
    case ErrorCode::kNoSpace: return Next::kPause;
    case ErrorCode::kUnknown:
      if (operation.writes()) operation.maybe_executed = true;
      return Next::kPauseElsewhere;
    case ErrorCode::kTooOld:
      if (operation.maybe_executed && !MUTANT(client_takes_too_old_for_not_done)) {
        SOMETIMES(client_too_old_after_unknown);
        return Next::kFinish;
      }
      SOMETIMES(client_too_old_refreshed);
      return Next::kRefresh;
    case ErrorCode::kInvalid:
    case ErrorCode::kTooLarge:
    case ErrorCode::kWrongCluster:
    case ErrorCode::kRolledBack:
    case ErrorCode::kRemoved:
    case ErrorCode::kDamaged:
    case ErrorCode::kIo:
    case ErrorCode::kInUse:
    case ErrorCode::kVersion:
    case ErrorCode::kNotFound: return Next::kFinish;
    case ErrorCode::kOk: break;
  }
  // A code from a newer server: nothing is known about what it means.
  if (operation.writes()) operation.maybe_executed = true;
  return Next::kFinish;
}

Duration pause_length(uint32_t pauses, RandomStream& random) {
  const Duration longest = std::min(
      Duration::nanos(kPauseMin.nanos() << std::min(pauses, kPauseDoublingsMax)), kPauseMax);
  const auto half = static_cast<uint64_t>(longest.nanos() / 2);
  return Duration::nanos(static_cast<int64_t>(half + random.below(half + 1)));
}

Error give_up(const Operation& operation, ErrorCode code, std::string_view why) {
  std::string text(why);
  if (operation.last_error) text += "; last: " + operation.last_error->text;
  if (operation.writes() &&
      (operation.maybe_executed || operation.state == Operation::State::kSent)) {
    return Error(ErrorCode::kUnknown, text + "; it may have happened: read before writing again");
  }
  return Error(code, std::move(text));
}

}  // namespace kahuna::client
