#include "cli/parse.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "base/text.h"

namespace gapferry::cli {
namespace {

using Values = std::map<std::string, std::vector<std::string>, std::less<>>;

bool IsOption(const Option& option) { return option.name.starts_with("--"); }

std::string Key(const Option& option) {
  return IsOption(option) ? option.name.substr(2) : option.name;
}

/// Whether the next word belongs to `word`, an option that may stand before the command.
bool TakesNextWord(std::string_view word) {
  return word == "--mirror" || word == "--passphrase-file";
}

/// The positions of the words that name `command`, or nothing. Only global options may stand
/// between them.
std::vector<std::size_t> PlainWords(std::span<const std::string> words) {
  std::vector<std::size_t> plain;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--") break;
    if (TakesNextWord(words[i])) {
      ++i;
      continue;
    }
    if (words[i].starts_with("-")) continue;
    plain.push_back(i);
  }
  return plain;
}

std::size_t SharedPrefix(const std::vector<std::string>& path, std::span<const std::string> words,
                         std::span<const std::size_t> plain) {
  std::size_t n = 0;
  while (n < path.size() && n < plain.size() && words[plain[n]] == path[n]) ++n;
  return n;
}

const Command* FindCommand(std::span<const std::string> words, std::span<const std::size_t> plain,
                           std::span<const Command> commands) {
  const Command* best = nullptr;
  for (const Command& command : commands) {
    if (SharedPrefix(command.path, words, plain) != command.path.size()) continue;
    if (best == nullptr || command.path.size() > best->path.size()) best = &command;
  }
  return best;
}

/// The words of `plain` that begin some command's name: {"update"} of {"update", "aprove"}.
std::vector<std::string> KnownPrefix(std::span<const std::string> words,
                                     std::span<const std::size_t> plain,
                                     std::span<const Command> commands) {
  std::size_t longest = 0;
  for (const Command& command : commands) {
    longest = std::max(longest, SharedPrefix(command.path, words, plain));
  }
  std::vector<std::string> prefix;
  prefix.reserve(longest);
  for (std::size_t i = 0; i < longest; ++i) prefix.push_back(words[plain[i]]);
  return prefix;
}

std::unexpected<Error> FailUsage(std::string message, std::string next) {
  return std::unexpected(Error{ErrorCode::kUsage, std::move(message), "usage", std::move(next)});
}

std::string HelpLine(const Command& command) {
  return "gapferry " + JoinPath(command.path) + " --help";
}

/// CLI11 throws; this is the one place that sees it.
class Adapter {
 public:
  explicit Adapter(const Command& command) : command_(command) {
    app_.set_help_flag();
    app_.allow_windows_style_options(false);
    for (const Option& option : command.options) Declare(option);
    if (command.asks) app_.add_flag("--yes", global_.yes);
    app_.add_option("--mirror", mirror_)->take_last();
    app_.add_option("--passphrase-file", passphrase_file_)->take_last();
    app_.add_flag("--json", global_.json);
    app_.add_flag("--quiet", global_.quiet);
    app_.add_flag("-v,--verbose", global_.verbose);
    app_.add_flag("--help,-h", help_);
  }

  Result<Invocation> Parse(std::vector<std::string> words) {
    const bool asks_for_help = std::find(words.begin(), words.end(), "--help") != words.end() ||
                               std::find(words.begin(), words.end(), "-h") != words.end();
    Invocation invocation{.command = &command_, .path = command_.path, .arguments = {}};
    if (asks_for_help) {
      invocation.help = true;
      return invocation;
    }
    std::reverse(words.begin(), words.end());  // CLI11 takes the words from the back
    try {
      app_.parse(std::vector<std::string>(words));
    } catch (const CLI::ParseError& error) {
      if (const std::string unknown = UnknownOption(words); !unknown.empty()) {
        return FailUsage(fmt::format("{}: there is no option '{}'", JoinPath(command_.path),
                                     EscapeForDisplay(unknown)),
                         HelpLine(command_));
      }
      return FailUsage(fmt::format("{}: {}", JoinPath(command_.path), FirstLine(error.what())),
                       HelpLine(command_));
    }
    for (const Option& option : command_.options) TRY(Check(option));
    if (!mirror_.empty()) global_.mirror = mirror_;
    if (!passphrase_file_.empty()) global_.passphrase_file = passphrase_file_;
    invocation.global = global_;
    Values values;
    for (const Option& option : command_.options) values[Key(option)] = given_.at(option.name);
    invocation.arguments = Arguments(std::move(values));
    return invocation;
  }

 private:
  void Declare(const Option& option) {
    std::vector<std::string>& values = given_[option.name];
    if (option.takes == Takes::kNothing) {
      app_.add_flag_callback(option.name, [&values] { values = {"1"}; });
      return;
    }
    CLI::Option* added = app_.add_option(option.name, values);
    added->expected(option.takes == Takes::kList ? -1 : 1)->type_size(1);
    if (option.takes != Takes::kList) added->allow_extra_args(false);  // the next word is another's
    if (IsOption(option)) {
      // One value each time it is given, so that words after it stay arguments.
      added->expected(1)->allow_extra_args(false);
      added->multi_option_policy(option.takes == Takes::kList ? CLI::MultiOptionPolicy::TakeAll
                                                              : CLI::MultiOptionPolicy::Throw);
    }
  }

  Result<void> Check(const Option& option) {
    const std::vector<std::string>& values = given_.at(option.name);
    if (option.required && values.empty()) {
      return FailUsage(fmt::format("{}: {} is required", JoinPath(command_.path), option.name),
                       HelpLine(command_));
    }
    for (const std::string& value : values) {
      if (option.takes == Takes::kNumber) {
        const auto number = ParseInt<std::int64_t>(value);
        if (!number || *number < 0) {
          return FailUsage(
              fmt::format("{}: {}: '{}' is no whole number from 0 to 2^63-1",
                          JoinPath(command_.path), option.name, EscapeForDisplay(value)),
              HelpLine(command_));
        }
      }
      const bool known =
          option.choices.empty() ||
          std::find(option.choices.begin(), option.choices.end(), value) != option.choices.end();
      if (!known) {
        return FailUsage(
            fmt::format("{}: {}: '{}' is none of {}", JoinPath(command_.path), option.name,
                        EscapeForDisplay(value), fmt::join(option.choices, ", ")),
            HelpLine(command_));
      }
    }
    return {};
  }

  /// The first of `words` (last one first) that looks like an option and is none; empty: there is
  /// none. CLI11 speaks of the word behind it, which it takes for an argument.
  std::string UnknownOption(std::span<const std::string> words) const {
    for (auto word = words.rbegin(); word != words.rend() && *word != "--"; ++word) {
      const std::string name = word->substr(0, word->find('='));
      if (name.starts_with("--") && app_.get_option_no_throw(name) == nullptr) return name;
    }
    return {};
  }

  static std::string FirstLine(std::string_view text) {
    return std::string(text.substr(0, text.find('\n')));
  }

  const Command& command_;
  CLI::App app_;
  std::map<std::string, std::vector<std::string>> given_;
  std::string mirror_;
  std::string passphrase_file_;
  bool help_ = false;
  GlobalOptions global_;
};

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

Result<Invocation> UnknownCommand(std::span<const std::string> words,
                                  std::span<const std::size_t> plain,
                                  std::span<const Command> commands) {
  std::vector<std::string> typed;
  for (std::size_t i : plain.first(std::min<std::size_t>(plain.size(), 2)))
    typed.push_back(words[i]);
  const std::vector<std::string> known = KnownPrefix(words, plain, commands);
  const Command* nearest = NearestCommand(typed, commands);
  if (!known.empty() && (nearest == nullptr || nearest->path.front() != known.front())) {
    return FailUsage(fmt::format("there is no command '{}'", EscapeForDisplay(JoinPath(typed))),
                     fmt::format("gapferry {} --help", JoinPath(known)));
  }
  std::string shown = typed.empty() ? words.front() : JoinPath(typed);
  if (nearest != nullptr && nearest->path.size() < typed.size()) shown = typed.front();
  return FailUsage(fmt::format("there is no command '{}'", EscapeForDisplay(shown)),
                   nearest != nullptr ? "gapferry " + JoinPath(nearest->path) : "gapferry --help");
}

bool Contains(std::span<const std::string> words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

std::string JoinPath(std::span<const std::string> path) {
  return fmt::format("{}", fmt::join(path, " "));
}

bool AsksForJson(std::span<const std::string> words) {
  const auto end = std::find(words.begin(), words.end(), "--");
  return std::find(words.begin(), end, "--json") != end;
}

const Command* NearestCommand(std::span<const std::string> words,
                              std::span<const Command> commands) {
  const Command* best = nullptr;
  std::size_t best_distance = 0;
  for (const Command& command : commands) {
    const std::size_t count = std::min(command.path.size(), words.size());
    const std::string typed = JoinPath(words.first(count));
    const std::string name = JoinPath(command.path);
    const std::size_t distance = EditDistance(typed, name);
    if (distance > std::max<std::size_t>(2, name.size() / 3)) continue;
    if (best == nullptr || distance < best_distance) {
      best = &command;
      best_distance = distance;
    }
  }
  return best;
}

Result<Invocation> ParseCommandLine(std::span<const std::string> all_words,
                                    std::span<const Command> commands) {
  std::vector<std::string> words(all_words.begin(), all_words.end());
  const bool help_verb = !words.empty() && words.front() == "help";
  if (help_verb) words.erase(words.begin());
  const std::vector<std::size_t> plain = PlainWords(words);
  const bool asks_for_help = help_verb || Contains(words, "--help") || Contains(words, "-h");

  if (const Command* command = FindCommand(words, plain, commands)) {
    if (asks_for_help) {
      return Invocation{.command = command, .path = command->path, .arguments = {}, .help = true};
    }
    for (std::size_t i = command->path.size(); i-- > 0;) {
      words.erase(words.begin() + static_cast<std::ptrdiff_t>(plain[i]));
    }
    return Adapter(*command).Parse(std::move(words));
  }
  if (plain.empty() && Contains(words, "--version")) return Invocation{.version = true};
  std::vector<std::string> prefix = KnownPrefix(words, plain, commands);
  if (plain.empty() || (asks_for_help && prefix.size() == plain.size())) {
    if (asks_for_help || words.empty()) {
      return Invocation{.path = std::move(prefix), .arguments = {}, .help = true};
    }
  }
  if (plain.size() == prefix.size() && !plain.empty()) {
    return FailUsage(fmt::format("'{}' needs a verb", JoinPath(prefix)),
                     fmt::format("gapferry {} --help", JoinPath(prefix)));
  }
  return UnknownCommand(words, plain, commands);
}

}  // namespace gapferry::cli
