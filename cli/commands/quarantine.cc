// gapferry quarantine: files of bundles that the scanner rejected, and what becomes of them.
#include "mirror/quarantine.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/audit.h"
#include "mirror/job_lock.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using mirror::QuarantinedFile;
using nlohmann::json;

constexpr int kUpdatesShown = 5;
constexpr std::size_t kWidth = 96;

Result<json> ToJson(mirror::Mirror& mirror, const QuarantinedFile& file) {
  TRY_ASSIGN(const auto updates, mirror::UpdatesOfFile(mirror.db(), file.sha1, kUpdatesShown));
  json list = json::array();
  for (const auto& one : updates) {
    list.push_back({{"update", one.update.ToString()}, {"title", one.title}});
  }
  return json{{"file", file.Name()},
              {"sha1", file.sha1.ToHex()},
              {"sha256", file.sha256.ToHex()},
              {"bytes", file.size_bytes},
              {"state", mirror::QuarantineStateName(file.state)},
              {"why", mirror::WithheldWhyName(file.why)},
              {"output", file.output},
              {"scanner", file.scanner},
              {"bundle", file.bundle},
              {"at", TimeToJson(file.at)},
              {"path", (mirror.path() / "quarantine").string()},
              {"updates", std::move(list)}};
}

/// "rejected by /usr/bin/clamdscan: Eicar FOUND"
std::string WhyText(const QuarantinedFile& file) {
  std::string text = fmt::format("{} by {}", mirror::WithheldWhyName(file.why),
                                 EscapeForDisplay(file.scanner, 80));
  const std::string line = file.output.substr(0, file.output.find('\n'));
  return line.empty() ? text : text + ": " + EscapeForDisplay(line, 200);
}

Result<std::string> Describe(mirror::Mirror& mirror, const QuarantinedFile& file) {
  std::string text =
      fmt::format("{}  {}  {}  {}  {}\n", file.Name(), FormatByteCount(file.size_bytes),
                  Minute(file.at), mirror::QuarantineStateName(file.state), file.bundle);
  text += Wrap(WhyText(file), kWidth - 4, "    ");
  TRY_ASSIGN(const auto updates, mirror::UpdatesOfFile(mirror.db(), file.sha1, kUpdatesShown));
  for (const auto& one : updates) {
    text += fmt::format("    {} ({})\n", Cut(ShownTitle(one.title), 60), one.update.ToString());
  }
  return text;
}

Result<ExitCode> List(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  mirror::Quarantine quarantine(mirror);
  TRY_ASSIGN(const auto files, quarantine.List(context.args().Has("all")));
  json list = json::array();
  for (const QuarantinedFile& file : files) {
    TRY_ASSIGN(const std::string text, Describe(mirror, file));
    context.Print(text);
    TRY_ASSIGN(json one, ToJson(mirror, file));
    list.push_back(std::move(one));
  }
  if (files.empty()) context.Print("no file is withheld");
  context.Emit({{"files", std::move(list)}});
  return ExitCode::kDone;
}

enum class Verb { kRelease, kDiscard };

std::unexpected<Error> NextFor(const Context& context, Error error) {
  if (error.reason == "quarantine-unknown" || error.reason == "quarantine-name") {
    return WithNext(std::move(error), NextCommand(context, "quarantine list"));
  }
  if (error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kNotFound) {
    return WithNext(std::move(error), "the file is not what came: " +
                                          NextCommand(context, "quarantine discard FILE") +
                                          ", and the next return asks for it");
  }
  return std::unexpected(std::move(error));
}

Result<ExitCode> Decide(Context& context, Verb verb) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  mirror::Quarantine quarantine(mirror);
  std::vector<QuarantinedFile> files;
  std::string question;
  for (const std::string& text : context.args().List("FILE")) {
    auto file = quarantine.FindByText(text);
    if (!file) return NextFor(context, std::move(file.error()));
    TRY_ASSIGN(const std::string described, Describe(mirror, *file));
    question += described;
    files.push_back(std::move(*file));
  }
  question += verb == Verb::kRelease
                  ? "Computers will be offered what needs them, against the scanner's word. Let "
                    "them in?"
                  : "They are deleted here; what needs them waits until a later bundle brings "
                    "them. Delete them?";
  TRY(context.Confirm(question));
  TRY_ASSIGN(const auto lock, mirror::JobLock::Acquire(mirror.path(), "quarantine"));
  json done = json::array();
  for (const QuarantinedFile& file : files) {
    auto settled = verb == Verb::kRelease ? quarantine.Release(file, mirror::CurrentActor())
                                          : quarantine.Discard(file, mirror::CurrentActor());
    if (!settled) return NextFor(context, std::move(settled.error()));
    context.Print(fmt::format(
        "{}: {}", file.Name(),
        verb == Verb::kRelease ? "checked once more and let in; what needs it can be offered"
                               : "deleted; the next return asks for it while an update needs it"));
    done.push_back(file.Name());
  }
  context.Emit({{verb == Verb::kRelease ? "released" : "discarded", std::move(done)}});
  return ExitCode::kDone;
}

Option FileArgument() {
  return {
      "FILE", Takes::kList, {}, "SHA-1 of a withheld file, or its first 6 digits or more", true};
}

}  // namespace

std::vector<Command> QuarantineCommands() {
  return {
      {.path = {"quarantine", "list"},
       .summary = "list files of bundles that the scanner rejected",
       .description = "They lie in quarantine/ in the mirror, are not served, and the updates "
                      "that need them are not offered.",
       .examples = {{"gapferry quarantine list"},
                    {"gapferry quarantine list --all", "also those that were decided about"}},
       .options = {{"--all", Takes::kNothing, {}, "with those that were decided about"}},
       .exits = {ExitCode::kNotFound},
       .run = List},
      {.path = {"quarantine", "release"},
       .summary = "let a withheld file in after all",
       .description = "For a false alarm. Its digests are computed once more; then it is served "
                      "as if it had been clean.",
       .examples = {{"gapferry quarantine release 4FBE76", "asks first"}},
       .options = {FileArgument()},
       .asks = true,
       .exits = {ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kCorrupt},
       .run = [](Context& context) { return Decide(context, Verb::kRelease); }},
      {.path = {"quarantine", "discard"},
       .summary = "delete a withheld file",
       .description = "The next return asks for it while an approved update needs it; when a "
                      "later bundle brings it, it is scanned again.",
       .examples = {{"gapferry quarantine discard 4FBE76", "asks first"}},
       .options = {FileArgument()},
       .asks = true,
       .exits = {ExitCode::kNotFound, ExitCode::kBusy},
       .run = [](Context& context) { return Decide(context, Verb::kDiscard); }}};
}

}  // namespace gapferry::cli
