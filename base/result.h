#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace gapferry {

/// What the caller should do about a failure; the exit code is derived from it (cli/exit_code.h).
enum class ErrorCode {
  kUsage,        ///< the request itself is wrong: correct it and call again
  kNotFound,     ///< the named object does not exist
  kTransient,    ///< the same call may succeed later (network, busy peer)
  kCorrupt,      ///< bytes are not what they should be: take another copy
  kUntrusted,    ///< a signature, recipient, sequence or history is refused
  kExpired,      ///< was valid once
  kUnsupported,  ///< well-formed, but of a kind or version this program does not know
  kNoSpace,      ///< a disk or a quota is full
  kBusy,         ///< somebody else holds what is needed
  kCancelled,    ///< the user or the caller asked to stop
  kInternal,     ///< an operating-system error or a bug of ours
};

/// The spelling of `code` in logs and JSON, such as "corrupt".
std::string_view ErrorCodeName(ErrorCode code);

/// A failure as a value. `reason` is a stable slug for machines ("bundle-replayed"), empty where
/// the code says enough; `message` is for people and is never parsed; `next` is the command or
/// action that helps, set by commands only.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  std::string reason;
  std::string next;
};

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

[[nodiscard]] std::unexpected<Error> Fail(ErrorCode code, std::string message);
[[nodiscard]] std::unexpected<Error> Fail(ErrorCode code, std::string reason, std::string message);

/// Fails with the text of `error_number` behind `what`; ENOSPC and EDQUOT become kNoSpace, ENOENT
/// kNotFound, everything else kInternal.
[[nodiscard]] std::unexpected<Error> FailErrno(int error_number, std::string_view what);

/// `error` with "context: " before its message.
[[nodiscard]] std::unexpected<Error> WithContext(Error error, std::string_view context);

namespace internal {
inline std::unexpected<Error> Propagate(Error&& error) { return std::unexpected(std::move(error)); }
inline std::unexpected<Error> Propagate(Error&& error, std::string_view context) {
  return WithContext(std::move(error), context);
}
}  // namespace internal

}  // namespace gapferry

#define GAPFERRY_CONCAT_INNER(a, b) a##b
#define GAPFERRY_CONCAT(a, b) GAPFERRY_CONCAT_INNER(a, b)

/// TRY(expression[, context]): returns the error of a Result<void> (or drops its value).
#define TRY(expression, ...)                                                  \
  do {                                                                        \
    if (auto try_result = (expression); !try_result.has_value()) [[unlikely]] \
      return ::gapferry::internal::Propagate(                                 \
          std::move(try_result).error() __VA_OPT__(, ) __VA_ARGS__);          \
  } while (false)

/// TRY_ASSIGN(declaration, expression[, context]): assigns the value or returns the error.
#define TRY_ASSIGN(declaration, expression, ...) \
  TRY_ASSIGN_INNER(GAPFERRY_CONCAT(try_value_, __COUNTER__), declaration, expression, __VA_ARGS__)
#define TRY_ASSIGN_INNER(name, declaration, expression, ...)                                    \
  auto name = (expression);                                                                     \
  if (!name.has_value()) [[unlikely]]                                                           \
    return ::gapferry::internal::Propagate(std::move(name).error() __VA_OPT__(, ) __VA_ARGS__); \
  declaration = std::move(name).value()
