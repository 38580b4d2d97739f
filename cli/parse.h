#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "cli/context.h"

namespace gapferry::cli {

/// A command line, taken apart.
struct Invocation {
  const Command* command =
      nullptr;  ///< null for `gapferry`, `gapferry --help`, `gapferry --version`
  /// The words that name the command or, for help, the beginning of its name ({"update"}).
  std::vector<std::string> path = {};
  Arguments arguments = {};
  GlobalOptions global = {};
  bool help = false;
  bool version = false;
};

/// Takes `words` (without the program's name) apart. Options may stand anywhere; "--" ends them.
/// Fails with kUsage; an unknown command names the nearest one in Error::next. `commands` must
/// outlive the result.
Result<Invocation> ParseCommandLine(std::span<const std::string> words,
                                    std::span<const Command> commands);

/// Whether `words` ask for --json, for the form of errors that come before or out of parsing.
bool AsksForJson(std::span<const std::string> words);

/// The command whose name is closest to `words`, or null when none is near.
const Command* NearestCommand(std::span<const std::string> words,
                              std::span<const Command> commands);

std::string JoinPath(std::span<const std::string> path);  ///< "update approve"

}  // namespace gapferry::cli
