#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/version.h"
#include "cli/exit_code.h"
#include "cli/parse.h"

namespace gapferry::cli {
namespace {

bool IsOption(const Option& option) { return option.name.starts_with("--"); }

std::string Spelling(const Option& option) {
  if (!IsOption(option)) return option.name;
  std::string text = option.name;
  if (option.takes != Takes::kNothing)
    text += ' ' + (option.value.empty() ? "VALUE" : option.value);
  return text;
}

std::string Usage(const Command& command) {
  std::string line = "gapferry " + JoinPath(command.path);
  for (const Option& option : command.options) {
    std::string part = Spelling(option);
    if (option.takes == Takes::kList) part += "...";
    line += option.required ? ' ' + part : " [" + part + ']';
  }
  if (command.asks) line += " [--yes]";
  return line;
}

using Row = std::pair<std::string, std::string>;

void AppendRows(std::string& text, const std::vector<Row>& rows) {
  std::size_t width = 0;
  for (const Row& row : rows) width = std::max(width, row.first.size());
  width = std::min<std::size_t>(width, 30);
  for (const auto& [left, right] : rows) {
    text += fmt::format("  {:<{}}  {}\n", left, width, right);
  }
}

void AppendOptions(std::string& text, const Command& command) {
  std::vector<Row> arguments;
  std::vector<Row> options;
  for (const Option& option : command.options) {
    std::string says = option.help;
    if (!option.choices.empty()) says += fmt::format(" ({})", fmt::join(option.choices, ", "));
    (IsOption(option) ? options : arguments).emplace_back(Spelling(option), std::move(says));
  }
  if (command.asks) options.emplace_back("--yes", "answers every question with yes");
  options.emplace_back("--mirror DIR",
                       "the mirror; else GAPFERRY_MIRROR, else the current directory");
  options.emplace_back("--passphrase-file FILE",
                       "of private keys; else GAPFERRY_PASSPHRASE_FILE, else the terminal");
  options.emplace_back("--json", "results as JSON on stdout, talk as JSON lines on stderr");
  options.emplace_back("--quiet", "no talk, no progress");
  options.emplace_back("-v", "more on stderr; twice for each item");
  if (!arguments.empty()) {
    text += "\nARGUMENTS\n";
    AppendRows(text, arguments);
  }
  text += "\nOPTIONS\n";
  AppendRows(text, options);
}

void AppendExitStatus(std::string& text, const Command& command) {
  std::vector<ExitCode> codes = {ExitCode::kDone, ExitCode::kFailed, ExitCode::kUsage,
                                 ExitCode::kCancelled};
  codes.insert(codes.end(), command.exits.begin(), command.exits.end());
  std::sort(codes.begin(), codes.end());
  codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
  std::vector<Row> rows;
  for (ExitCode code : codes) {
    rows.emplace_back(fmt::format("{}", static_cast<int>(code)), ExitCodeText(code));
  }
  text += "\nEXIT STATUS\n";
  AppendRows(text, rows);
}

constexpr std::string_view kIntroduction =
    "gapferry carries Windows updates across an air gap, and serves them on the other side.\n"
    "\n"
    "  gapferry init /srv/gapferry --upstream http://wsus.example:8530    connected side\n"
    "  gapferry sync && gapferry export --to /media/stick --for plant     fetch, then write a "
    "bundle\n"
    "  gapferry import /media/stick/gapferry-... && gapferry serve        disconnected side\n";

}  // namespace

std::string CommandHelp(const Command& command) {
  std::string text = fmt::format("gapferry {}: {}\n", JoinPath(command.path), command.summary);
  if (!command.examples.empty()) {
    text += "\nEXAMPLES\n";
    std::vector<Row> rows;
    for (const Example& example : command.examples) {
      text += fmt::format("  {}\n", example.line);
      if (!example.says.empty()) text += fmt::format("      {}\n", example.says);
    }
  }
  text += "\nUSAGE\n  " + Usage(command) + '\n';
  if (!command.description.empty()) text += '\n' + command.description + '\n';
  AppendOptions(text, command);
  AppendExitStatus(text, command);
  return text;
}

std::string CommandList(std::span<const Command> commands, std::span<const std::string> prefix) {
  std::string text(prefix.empty() ? kIntroduction : std::string_view());
  text += prefix.empty() ? "\nCOMMANDS\n" : "COMMANDS\n";
  std::vector<Row> rows;
  for (const Command& command : commands) {
    if (prefix.size() > command.path.size()) continue;
    if (!std::equal(prefix.begin(), prefix.end(), command.path.begin())) continue;
    rows.emplace_back(JoinPath(command.path), command.summary);
  }
  AppendRows(text, rows);
  text += "\n'gapferry COMMAND --help' shows examples, options and exit codes of one command.\n";
  return text;
}

std::string VersionLine() { return "gapferry " + std::string(ProgramVersion()); }

}  // namespace gapferry::cli
