#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cli/exit_code.h"

namespace gapferry::cli {

class Context;

/// What an option or argument takes.
enum class Takes {
  kNothing,  ///< a flag
  kText,     ///< one value
  kNumber,   ///< one whole number, 0 to 2^63-1, checked while parsing
  kList,     ///< one value each time it is given (an argument: one or more words)
};

/// An option (`name` starts with "--") or an argument (`name` in capitals, such as "ID"; arguments
/// are taken in the order of declaration, and a kList argument comes last).
struct Option {
  std::string name;
  Takes takes = Takes::kNothing;
  std::string value =
      {};  ///< the placeholder in the help: "DIR", "URL"; unused for flags and arguments
  std::string help = {};  ///< one line, lower case, no full stop
  bool required = false;
  /// Allowed words, such as {"install", "uninstall", "optional"}; empty for any.
  std::vector<std::string> choices = {};
};

/// A line of the EXAMPLES part, such as {"gapferry sync --dry-run", "shows what would be fetched"}.
struct Example {
  std::string line;
  std::string says = {};
};

/// One command, as data: parsing, help, suggestions and EXIT STATUS are made from it. Every command
/// also understands --mirror, --json, --quiet, -v and --help.
///
/// A command file is cli/commands/<noun>.cc and defines, in namespace gapferry::cli, one function
/// named after the file: commands/update.cc has `std::vector<Command> UpdateCommands()`,
/// commands/client_scan.cc has `ClientScanCommands()`. The build finds the files by itself.
struct Command {
  std::vector<std::string> path;       ///< {"sync"}, {"update", "approve"}
  std::string summary;                 ///< one line for the list of commands
  std::string description = {};        ///< paragraphs for the help; may be empty
  std::vector<Example> examples = {};  ///< two or three real ones; the help opens with them
  std::vector<Option> options = {};
  /// Adds --yes; Context::Confirm asks otherwise.
  bool asks = false;
  /// Exit codes of this command beside 0, 1, 2 and 130, listed in its EXIT STATUS.
  std::vector<ExitCode> exits = {};
  /// Errors are returned, not printed; put the command that helps into Error::next. kPartlyDone is
  /// a result, everything else that went wrong an error.
  std::function<Result<ExitCode>(Context&)> run = {};
};

/// The parsed options and arguments of one invocation; names without dashes ("dry-run", "ID").
/// Asking for a name that the command did not declare is a bug and ends the process.
class Arguments {
 public:
  Arguments() = default;
  /// Every declared name is a key; what was not given has no values, a set flag has one.
  explicit Arguments(std::map<std::string, std::vector<std::string>, std::less<>> values)
      : values_(std::move(values)) {}

  bool Has(std::string_view name) const;  ///< given at all; for flags: set
  std::optional<std::string> Text(std::string_view name) const;
  std::string TextOr(std::string_view name, std::string_view otherwise) const;
  std::optional<std::uint64_t> Number(std::string_view name) const;
  std::vector<std::string> List(std::string_view name) const;

 private:
  const std::vector<std::string>& Values(std::string_view name) const;
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

}  // namespace gapferry::cli
