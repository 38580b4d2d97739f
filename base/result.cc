#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace gapferry {

std::string_view ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
      return "usage";
    case ErrorCode::kNotFound:
      return "not-found";
    case ErrorCode::kTransient:
      return "transient";
    case ErrorCode::kCorrupt:
      return "corrupt";
    case ErrorCode::kUntrusted:
      return "untrusted";
    case ErrorCode::kExpired:
      return "expired";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kNoSpace:
      return "no-space";
    case ErrorCode::kBusy:
      return "busy";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "internal";
}

std::unexpected<Error> Fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message), {}, {}});
}

std::unexpected<Error> Fail(ErrorCode code, std::string reason, std::string message) {
  return std::unexpected(Error{code, std::move(message), std::move(reason), {}});
}

std::unexpected<Error> FailErrno(int error_number, std::string_view what) {
  ErrorCode code = ErrorCode::kInternal;
  if (error_number == ENOSPC || error_number == EDQUOT) code = ErrorCode::kNoSpace;
  if (error_number == ENOENT) code = ErrorCode::kNotFound;
  std::string message(what);
  message += ": ";
  message += std::strerror(error_number);
  std::string reason;
  if (error_number == EROFS) reason = "read-only";
  if (error_number == EACCES || error_number == EPERM) reason = "no-permission";
  if (error_number == EIO) reason = "device-failed";
  return Fail(code, std::move(reason), std::move(message));
}

std::unexpected<Error> WithContext(Error error, std::string_view context) {
  error.message.insert(0, ": ").insert(0, context);
  return std::unexpected(std::move(error));
}

}  // namespace gapferry
