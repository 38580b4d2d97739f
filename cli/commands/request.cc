// gapferry request add|list|remove: what this mirror asks of whoever sends it bundles.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/exchange/needed_files.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"
#include "mirror/request_withdrawal.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kHexDigits = 40;
constexpr std::size_t kShown = 100;

Result<mirror::Mirror> OpenFedByBundles(const Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  if (mirror.config().upstream.gap) return mirror;
  return FailNext(ErrorCode::kUsage, "no-gap",
                  "this mirror is not fed by bundles: upstream.gap is not set in gapferry.yaml",
                  NextCommand(context, "sync"));
}

/// The payload of a revision and of what it bundles.
Result<void> CollectFiles(mirror::Mirror& mirror, const mirror::RevisionRow& root,
                          std::set<Sha1Digest>& files) {
  std::vector<mirror::RevisionId> waiting = {root.id};
  std::set<mirror::RevisionId> seen;
  while (!waiting.empty()) {
    const mirror::RevisionId next = waiting.back();
    waiting.pop_back();
    if (!seen.insert(next).second) continue;
    TRY_ASSIGN(const auto relations, mirror.catalog().Relations(next));
    if (!relations) continue;
    for (const auto& file : relations->files) files.insert(file.sha1);
    for (const auto& group : relations->bundled) {
      for (const auto& member : group) {
        TRY_ASSIGN(const auto row, mirror.catalog().Find(member));
        if (row) waiting.push_back(row->id);
      }
    }
  }
  return {};
}

/// The files that a word names: one by its SHA-1, or all of an update.
Result<void> AddNamed(const Context& context, mirror::Mirror& mirror, const std::string& word,
                      std::set<Sha1Digest>& files) {
  if (word.size() != kHexDigits || word.find('-') != std::string::npos) {
    TRY_ASSIGN(const auto row, FindUpdate(context, mirror, word));
    return CollectFiles(mirror, row, files);
  }
  const auto sha1 = Sha1Digest::FromHex(ToLowerAscii(word));
  if (!sha1) {
    return Fail(ErrorCode::kUsage, "'" + EscapeForDisplay(word, 64) +
                                       "' is neither the SHA-1 of a file nor an update");
  }
  TRY_ASSIGN(const auto declared, mirror::exchange::DeclarationsOf(mirror, *sha1));
  if (declared.empty()) {
    return FailNext(ErrorCode::kNotFound, "file-unknown",
                    "no update here has a file with SHA-1 " + sha1->ToHex(),
                    NextCommand(context, "update list"));
  }
  files.insert(*sha1);
  return {};
}

Result<void> AddFiles(Context& context, mirror::Mirror& mirror, json& object) {
  std::set<Sha1Digest> files;
  for (const std::string& word : context.args().List("WHAT")) {
    TRY(AddNamed(context, mirror, word, files));
  }
  std::vector<Sha1Digest> wanted;
  for (const Sha1Digest& sha1 : files) {
    if (!mirror.content().Holds(sha1)) wanted.push_back(sha1);
  }
  TRY(mirror.content().AddWanted(wanted));
  TRY(mirror::AppendAuditAlone(
      mirror.db(), mirror.clock().Now(),
      {mirror::CurrentActor(), "request.add", "files", json{{"files", wanted.size()}}.dump()}));
  context.Print(fmt::format("{} wanted, {} held already; the next return asks for them",
                            Plural(wanted.size(), "file"), files.size() - wanted.size()));
  object = {{"files", wanted.size()}, {"held", files.size() - wanted.size()}};
  return {};
}

/// A bundle of the stream that was imported last.
Result<void> AddBundle(Context& context, mirror::Mirror& mirror, json& object) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto last, ledger.LastImport());
  const bool all = context.args().Has("all");
  const std::uint64_t sequence = all ? 0 : context.args().Number("bundle").value_or(0);
  if (!all && sequence == 0) return Fail(ErrorCode::kUsage, "--bundle takes a number from 1");
  if (!last) {
    return FailNext(ErrorCode::kUsage, "nothing-imported",
                    "nothing was imported yet: the first bundle brings everything by itself",
                    NextCommand(context, "import PATH"));
  }
  TRY(ledger.AskForResend({last->stream, sequence}, mirror.clock().Now(), mirror::CurrentActor()));
  context.Print(all ? "the next return asks for everything once more"
                    : fmt::format("the next return asks for the files of bundle {} of stream {}",
                                  sequence, last->stream));
  object = {{"stream", last->stream}, {"sequence", sequence}, {"all", all}};
  return {};
}

Result<ExitCode> Add(Context& context) {
  TRY_ASSIGN(auto mirror, OpenFedByBundles(context));
  const Arguments& args = context.args();
  const int kinds = int{args.Has("WHAT")} + int{args.Has("bundle")} + int{args.Has("all")};
  if (kinds != 1) {
    return FailNext(ErrorCode::kUsage, "request-unclear",
                    "name files or updates, or a bundle by --bundle, or give --all",
                    NextCommand(context, "request add --help"));
  }
  json object;
  TRY(args.Has("WHAT") ? AddFiles(context, mirror, object) : AddBundle(context, mirror, object));
  context.Emit(object);
  return ExitCode::kDone;
}

Result<ExitCode> Remove(Context& context) {
  TRY_ASSIGN(auto mirror, OpenFedByBundles(context));
  const Arguments& args = context.args();
  if (int{args.Has("WHAT")} + int{args.Has("bundle")} + int{args.Has("all")} != 1) {
    return FailNext(ErrorCode::kUsage, "request-unclear",
                    "name files or updates, or a bundle by --bundle, or give --all",
                    NextCommand(context, "request list"));
  }
  if (args.Has("WHAT")) {
    std::set<Sha1Digest> files;
    for (const std::string& word : args.List("WHAT")) TRY(AddNamed(context, mirror, word, files));
    TRY(mirror.content().ForgetWanted({files.begin(), files.end()}));
    TRY(mirror::AppendAuditAlone(
        mirror.db(), mirror.clock().Now(),
        {mirror::CurrentActor(), "request.remove", "files", json{{"files", files.size()}}.dump()}));
    context.Print("not asked for by name any more; what clients here need still is");
    context.Emit({{"files", files.size()}});
    return ExitCode::kDone;
  }
  const std::uint64_t sequence = args.Has("all") ? 0 : args.Number("bundle").value_or(0);
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto asked, ledger.ResendsWanted());
  bool removed = false;
  for (const auto& resend : asked) {
    if (resend.sequence != sequence) continue;
    TRY_ASSIGN(const bool one, mirror::WithdrawResend(mirror.db(), resend, mirror.clock().Now(),
                                                      mirror::CurrentActor()));
    removed = removed || one;
  }
  if (!removed) {
    return FailNext(ErrorCode::kNotFound, "request-unknown",
                    args.Has("all") ? "everything is not asked for here"
                                    : fmt::format("bundle {} is not asked for here", sequence),
                    NextCommand(context, "request list"));
  }
  context.Print("the next return does not ask for it any more");
  context.Emit({{"sequence", sequence}, {"all", sequence == 0}});
  return ExitCode::kDone;
}

Result<ExitCode> List(Context& context) {
  TRY_ASSIGN(auto mirror, OpenFedByBundles(context));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto needed, mirror::exchange::NeededFiles(mirror, /*all=*/false));
  TRY_ASSIGN(const auto wanted, mirror.content().Wanted());
  TRY_ASSIGN(const auto resends, ledger.ResendsWanted());
  json object = {{"files", json::array()}, {"bundles", json::array()}};
  std::vector<std::vector<std::string>> rows = {{"WANTED", "WHY"}};
  std::set<Sha1Digest> seen;
  const auto add = [&](const Sha1Digest& sha1, bool asked) {
    if (mirror.content().Holds(sha1) || !seen.insert(sha1).second) return;
    object["files"].push_back({{"sha1", sha1.ToHex()}, {"asked", asked}});
    if (rows.size() > kShown) return;
    rows.push_back({sha1.ToHex(), asked ? "asked for by name" : "clients need it"});
  };
  for (const Sha1Digest& sha1 : wanted) add(sha1, true);
  for (const auto& file : needed) add(file.sha1, false);
  for (const auto& resend : resends) {
    object["bundles"].push_back(
        {{"stream", resend.stream}, {"sequence", resend.sequence}, {"all", resend.sequence == 0}});
    rows.push_back({resend.sequence == 0
                        ? "everything"
                        : fmt::format("bundle {} of stream {}", resend.sequence, resend.stream),
                    "asked for"});
  }
  std::string text = rows.size() == 1 ? "nothing is asked for" : FormatTable(rows);
  if (seen.size() >= kShown) text += fmt::format("\n{} files in all", seen.size());
  context.Print(text);
  context.Emit(object);
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> RequestCommands() {
  return {
      {.path = {"request", "add"},
       .summary = "ask the sender of bundles for files, a bundle, or everything",
       .description =
           "Files that clients here need and that are missing are asked for without this command. "
           "Requests leave with the next return; the sender honours them with its next export, "
           "also "
           "where its settings for this site would leave the files out.",
       .examples = {{"gapferry request add 12345678-1234-4abc-8def-123456789abc",
                     "the files of an update and of what it bundles"},
                    {"gapferry request add --bundle 7", "what bundle 7 carried, once more"},
                    {"gapferry request add --all", "everything, from nothing"}},
       .options = {{"WHAT", Takes::kList, {}, "SHA-1 of a file, or an update: GUID[/REVISION]"},
                   {"--bundle", Takes::kNumber, "SEQ", "the files that this bundle carried"},
                   {"--all", Takes::kNothing, {}, "all documents and files"}},
       .exits = {ExitCode::kNotFound},
       .run = Add},
      {.path = {"request", "remove"},
       .summary = "take back what was asked for and has not left yet",
       .examples = {{"gapferry request remove --bundle 7", "bundle 7 is not asked for any more"},
                    {"gapferry request remove --all", "'request add --all' was a mistake"}},
       .options = {{"WHAT", Takes::kList, {}, "SHA-1 of a file, or an update: GUID[/REVISION]"},
                   {"--bundle", Takes::kNumber, "SEQ", "the bundle that was asked for"},
                   {"--all", Takes::kNothing, {}, "the wish for everything"}},
       .exits = {ExitCode::kNotFound},
       .run = Remove},
      {.path = {"request", "list"},
       .summary = "list what the next return asks for",
       .examples = {{"gapferry request list", "files that are missing or wanted, and bundles"}},
       .run = List}};
}

}  // namespace gapferry::cli
