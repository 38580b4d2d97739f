#include "cli/exit_code.h"

namespace gapferry::cli {

ExitCode ExitCodeFor(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
      return ExitCode::kUsage;
    case ErrorCode::kNotFound:
      return ExitCode::kNotFound;
    case ErrorCode::kCorrupt:
      return ExitCode::kCorrupt;
    case ErrorCode::kUntrusted:
      return ExitCode::kUntrusted;
    case ErrorCode::kExpired:
      return ExitCode::kExpired;
    case ErrorCode::kNoSpace:
      return ExitCode::kNoSpace;
    case ErrorCode::kBusy:
      return ExitCode::kBusy;
    case ErrorCode::kCancelled:
      return ExitCode::kCancelled;
    case ErrorCode::kTransient:
    case ErrorCode::kUnsupported:
    case ErrorCode::kInternal:
      return ExitCode::kFailed;
  }
  return ExitCode::kFailed;
}

std::string_view ExitCodeText(ExitCode code) {
  switch (code) {
    case ExitCode::kDone:
      return "done";
    case ExitCode::kFailed:
      return "failed; the message says why, the same command may succeed later";
    case ExitCode::kUsage:
      return "wrong usage or configuration; nothing was done";
    case ExitCode::kPartlyDone:
      return "partly done; the output lists what is missing";
    case ExitCode::kNotFound:
      return "not found: a named object or mirror does not exist";
    case ExitCode::kBusy:
      return "busy: another job holds the mirror";
    case ExitCode::kCorrupt:
      return "corrupt: bytes are not what they should be";
    case ExitCode::kUntrusted:
      return "untrusted: signature, recipient, sequence or history refused";
    case ExitCode::kExpired:
      return "expired: was valid once";
    case ExitCode::kNoSpace:
      return "no space on a disk or in a quota";
    case ExitCode::kCancelled:
      return "cancelled; the same command goes on where it stopped";
  }
  return "failed";
}

}  // namespace gapferry::cli
