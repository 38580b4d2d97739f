#pragma once

#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/command.h"

namespace gapferry::cli {

/// Parses `words`, runs the command and reports a failure once: its message and the next step on
/// stderr, and with --json an object {"message_type": "exit_error", "code", "reason", "message",
/// "next"} as the last line of both stdout and stderr. Returns the exit code.
ExitCode RunCommandLine(std::span<const std::string> words, std::span<const Command> commands,
                        std::stop_token stop);

/// All commands of the program, in the order of the help. Generated at configure time from the
/// files in cli/commands (see cli/CMakeLists.txt).
std::vector<Command> AllCommands();

}  // namespace gapferry::cli
