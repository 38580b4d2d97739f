#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "cli/command.h"

namespace gapferry::cli {

/// The options that every command understands.
struct GlobalOptions {
  std::optional<std::string> mirror = {};
  bool json = false;
  bool quiet = false;
  int verbose = 0;  ///< number of -v
  bool yes = false;
  std::optional<std::string> passphrase_file = {};  ///< of private keys
};

/// What a command runs with: its arguments, the mirror it works on, and where results, talk and
/// progress go.
///
/// Results go to stdout: Print for people, Emit for programs; each is dropped in the other mode, so
/// that a command simply calls both. Talk and progress go to stderr. With --json the talk is JSON
/// lines too ({"message_type": "note" | "progress", ...}).
/// Used by the thread that runs the command; progress() and stop() may be used by all threads.
class Context {
 public:
  Context(Arguments arguments, GlobalOptions global, std::stop_token stop);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Arguments& args() const { return arguments_; }
  const GlobalOptions& global() const { return global_; }
  bool json() const { return global_.json; }
  bool quiet() const { return global_.quiet; }

  /// The absolute path of the mirror: --mirror, else GAPFERRY_MIRROR, else the current directory if
  /// it holds gapferry.yaml. Fails with kUsage when none is named, with kNotFound when the
  /// directory is no mirror.
  Result<std::filesystem::path> MirrorPath() const;

  /// One line (or several) of the result for people; a newline is added when missing.
  void Print(std::string_view text);
  /// One result object for programs, one line.
  void Emit(const nlohmann::json& object);
  /// Talk for people; dropped by --quiet.
  void Say(std::string_view line);
  /// Something that must be seen even with --quiet, such as a withheld update.
  void Warn(std::string_view line);

  Progress& progress() { return *progress_; }
  /// Requested by the first SIGINT, SIGTERM or SIGHUP; a second one ends the process at once.
  std::stop_token stop() const { return stop_; }

  /// Asks a yes/no question on the terminal. Success means yes. --yes answers; without it and
  /// without a terminal (or with --json) fails with kUsage, a "no" with kCancelled.
  Result<void> Confirm(std::string_view question);
  /// The same on a terminal; goes on without one, for what a person decided by naming a file.
  Result<void> ConfirmOnTerminal(std::string_view question);

 private:
  Arguments arguments_;
  GlobalOptions global_;
  std::stop_token stop_;
  std::unique_ptr<Progress> progress_;
};

/// Rows of a table for people: columns aligned, two spaces between them, no trailing blanks. The
/// first row is the heading. Widths count code points.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);

}  // namespace gapferry::cli
