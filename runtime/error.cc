#include "runtime/error.h"

namespace kahuna {

Retry may_retry(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotLeader:
    case ErrorCode::kWrongPartition: return Retry::kElsewhere;
    case ErrorCode::kUnavailable:
    case ErrorCode::kOverloaded:
    case ErrorCode::kTimeout:
    case ErrorCode::kNoSpace: return Retry::kLater;
    case ErrorCode::kClosed: return Retry::kElsewhere;
    case ErrorCode::kUnknown:  // with the same operation id only
      return Retry::kNow;
    default: return Retry::kNever;
  }
}

Happened did_it_happen(ErrorCode code) {
  return code == ErrorCode::kUnknown || code == ErrorCode::kTooOld ? Happened::kUnknown
                                                                   : Happened::kNo;
}

std::string_view name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOk: return "ok";
    case ErrorCode::kInvalid: return "invalid";
    case ErrorCode::kTooLarge: return "too-large";
    case ErrorCode::kNotLeader: return "not-leader";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kOverloaded: return "overloaded";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kUnknown: return "unknown";
    case ErrorCode::kTooOld: return "too-old";
    case ErrorCode::kWrongPartition: return "wrong-partition";
    case ErrorCode::kWrongCluster: return "wrong-cluster";
    case ErrorCode::kDamaged: return "damaged";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kNoSpace: return "no-space";
    case ErrorCode::kInUse: return "in-use";
    case ErrorCode::kVersion: return "version";
    case ErrorCode::kClosed: return "closed";
    case ErrorCode::kNotFound: return "not-found";
    case ErrorCode::kRolledBack: return "rolled-back";
    case ErrorCode::kRemoved: return "removed";
  }
  return "invalid";
}

}  // namespace kahuna
