#include "cli/context.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/progress.h"

namespace gapferry::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfiguration = "gapferry.yaml";

std::unexpected<Error> FailNext(ErrorCode code, std::string reason, std::string message,
                                std::string next) {
  return std::unexpected(Error{code, std::move(message), std::move(reason), std::move(next)});
}

struct Named {
  fs::path path;
  std::string by;  ///< for messages: where the name comes from
};

Result<Named> NameMirror(const GlobalOptions& global) {
  if (global.mirror) return Named{*global.mirror, "--mirror"};
  if (const char* variable = std::getenv("GAPFERRY_MIRROR");
      variable != nullptr && *variable != 0) {
    return Named{variable, "GAPFERRY_MIRROR"};
  }
  std::error_code error;
  const fs::path current = fs::current_path(error);
  if (!error && fs::exists(current / kConfiguration, error)) return Named{current, "."};
  return FailNext(ErrorCode::kUsage, "no-mirror",
                  "no mirror is named, and the current directory is none",
                  "add --mirror DIR or set GAPFERRY_MIRROR; 'gapferry init DIR' makes a mirror");
}

std::size_t Width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string Dump(const nlohmann::json& object) {
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Context::Context(Arguments arguments, GlobalOptions global, std::stop_token stop)
    : arguments_(std::move(arguments)),
      global_(std::move(global)),
      stop_(std::move(stop)),
      progress_(MakeProgress(ChooseProgressStyle(global_.json, global_.quiet))) {}

Context::~Context() = default;

Result<fs::path> Context::MirrorPath() const {
  TRY_ASSIGN(const Named named, NameMirror(global_));
  std::error_code error;
  const fs::path path = fs::absolute(named.path, error).lexically_normal();
  if (error) return Fail(ErrorCode::kInternal, named.path.string() + ": " + error.message());
  if (!fs::exists(path / kConfiguration, error)) {
    return FailNext(ErrorCode::kNotFound, "no-mirror",
                    fmt::format("'{}' ({}) is no mirror: it has no {}", path.string(), named.by,
                                kConfiguration),
                    fmt::format("gapferry init {}", path.string()));
  }
  return path;
}

void Context::Print(std::string_view text) {
  if (json()) return;
  fmt::print("{}{}", text, text.ends_with('\n') ? "" : "\n");
}

void Context::Emit(const nlohmann::json& object) {
  if (!json()) return;
  fmt::print("{}\n", Dump(object));
  std::fflush(stdout);
}

void Context::Say(std::string_view line) { progress_->Note(line); }

void Context::Warn(std::string_view line) {
  if (!quiet()) return progress_->Note(line);
  if (json()) {
    fmt::print(stderr, "{}\n", Dump({{"message_type", "note"}, {"message", line}}));
  } else {
    fmt::print(stderr, "{}\n", line);
  }
}

Result<void> Context::ConfirmOnTerminal(std::string_view question) {
  if (json() || ::isatty(STDIN_FILENO) == 0) return {};
  return Confirm(question);
}

Result<void> Context::Confirm(std::string_view question) {
  if (global_.yes) return {};
  if (json() || ::isatty(STDIN_FILENO) == 0) {
    return FailNext(ErrorCode::kUsage, "needs-answer",
                    fmt::format("this needs an answer: {}", question), "add --yes to say yes");
  }
  fmt::print(stderr, "{} [y/N] ", question);
  std::fflush(stderr);
  std::array<char, 16> answer{};
  if (std::fgets(answer.data(), static_cast<int>(answer.size()), stdin) == nullptr) {
    return Fail(ErrorCode::kCancelled, "no answer");
  }
  const std::string_view word = TrimAscii(answer.data());
  if (EqualsIgnoreCase(word, "y") || EqualsIgnoreCase(word, "yes")) return {};
  return Fail(ErrorCode::kCancelled, "not confirmed, nothing was done");
}

std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - Width(row[i]) + 2, ' ');
    }
    text.resize(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

}  // namespace gapferry::cli
