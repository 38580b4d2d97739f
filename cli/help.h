#pragma once

#include <span>
#include <string>

#include "cli/command.h"

namespace gapferry::cli {

/// The help of one command: examples first, then usage, options, exit status.
std::string CommandHelp(const Command& command);

/// The list of commands whose name begins with `prefix` (empty: all, with the introduction).
std::string CommandList(std::span<const Command> commands, std::span<const std::string> prefix);

/// "gapferry 0.1.0".
std::string VersionLine();

}  // namespace gapferry::cli
