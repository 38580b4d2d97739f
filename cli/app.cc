#include "cli/app.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/context.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/trust_next.h"

namespace gapferry::cli {
namespace {

void PutLine(std::FILE* stream, std::string_view line) {
  fmt::print(stream, "{}\n", line);
  std::fflush(stream);
}

/// A value of an option that the command itself reads: "--listen: ...".
bool IsAboutAnOption(const Error& error) {
  return error.code == ErrorCode::kUsage && error.message.starts_with("--");
}

/// The next step of failures that every command may meet.
std::string NextStep(const Error& error) {
  if (!error.next.empty()) return error.next;
  if (error.code == ErrorCode::kNotFound && error.reason.empty() &&
      error.message.find("cannot open '") != std::string::npos) {
    return "look whether the path is right and the medium is in; then type the command again";
  }
  if (error.code == ErrorCode::kNoSpace) {
    return "make room on its file system, then type the same command again";
  }
  if (error.reason != "job-running") return std::string(NextOfTrust(error.reason));
  return "wait until it has ended ('gapferry job show' says how far it is), or stop it with "
         "'gapferry job cancel'; it goes on where it stopped";
}

void ReportError(const Error& error, bool json) {
  if (json) {
    const nlohmann::json object = {
        {"message_type", "exit_error"},       {"code", static_cast<int>(ExitCodeFor(error.code))},
        {"error", ErrorCodeName(error.code)}, {"reason", error.reason},
        {"message", error.message},           {"next", NextStep(error)}};
    const std::string line = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    // On both streams, so that whoever reads only one of them still learns how it ended.
    PutLine(stderr, line);
    PutLine(stdout, line);
    return;
  }
  PutLine(stderr, "gapferry: " + error.message);
  if (const std::string next = NextStep(error); !next.empty()) PutLine(stderr, "next: " + next);
}

LogLevel LevelFor(int verbose) {
  if (verbose <= 0) return LogLevel::kWarning;
  if (verbose == 1) return LogLevel::kInfo;
  return verbose == 2 ? LogLevel::kDebug : LogLevel::kTrace;
}

ExitCode RunInvocation(Invocation invocation, std::span<const Command> commands,
                       std::stop_token stop) {
  if (invocation.version) {
    PutLine(stdout, VersionLine());
    return ExitCode::kDone;
  }
  if (invocation.help || invocation.command == nullptr) {
    const std::string text = invocation.command != nullptr ? CommandHelp(*invocation.command)
                                                           : CommandList(commands, invocation.path);
    fmt::print("{}", text);
    return ExitCode::kDone;
  }
  SetLogLevel(LevelFor(invocation.global.verbose));
  if (invocation.global.passphrase_file) {
    // For all that loads a key in this process and in the jobs that it starts.
    ::setenv("GAPFERRY_PASSPHRASE_FILE", invocation.global.passphrase_file->c_str(), 1);
  }
  const bool json = invocation.global.json;
  Result<ExitCode> result = [&]() -> Result<ExitCode> {
    Context context(std::move(invocation.arguments), invocation.global, stop);
    return invocation.command->run(context);
  }();
  if (result) {
    // A full disk behind stdout must not look like success.
    if (std::fflush(stdout) != 0) {
      ReportError({ErrorCode::kInternal, "cannot write the result to stdout", "", ""}, false);
      return ExitCode::kFailed;
    }
    return *result;
  }
  Error error = std::move(result).error();
  if (error.next.empty() && IsAboutAnOption(error)) {
    error.next = "gapferry " + JoinPath(invocation.path) + " --help";
  }
  ReportError(error, json);
  return ExitCodeFor(error.code);
}

}  // namespace

ExitCode RunCommandLine(std::span<const std::string> words, std::span<const Command> commands,
                        std::stop_token stop) {
  Result<Invocation> invocation = ParseCommandLine(words, commands);
  if (!invocation) {
    ReportError(invocation.error(), AsksForJson(words));
    return ExitCodeFor(invocation.error().code);
  }
  return RunInvocation(std::move(*invocation), commands, stop);
}

}  // namespace gapferry::cli
