#include "net/errors.h"

#include <cerrno>
#include <cstring>

namespace kahuna::net {
namespace {

ErrorCode code_of(int number) {
  switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return ErrorCode::kNoSpace;
    case ENOENT:
    case ENOTDIR: return ErrorCode::kNotFound;
    case EEXIST:
    case EADDRINUSE:
    case EWOULDBLOCK:  // a lock that another process holds
      return ErrorCode::kInUse;
    case ECONNREFUSED:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL: return ErrorCode::kUnavailable;
    case ETIMEDOUT: return ErrorCode::kTimeout;
    case ECONNRESET:
    case EPIPE: return ErrorCode::kClosed;
    case EINVAL:
    case ENAMETOOLONG:
    case EAFNOSUPPORT: return ErrorCode::kInvalid;
    default: return ErrorCode::kIo;
  }
}

}  // namespace

Error error_from_errno(int number, std::string_view what) {
  const char* reason = strerrordesc_np(number);
  std::string text(what);
  text += ": ";
  text += reason ? reason : "unknown error";
  return Error(code_of(number), std::move(text));
}

}  // namespace kahuna::net
