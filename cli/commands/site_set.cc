// gapferry site set|remove|forget-content: what a destination is sent.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/site_view.h"
#include "mirror/audit.h"
#include "mirror/job_lock.h"
#include "mirror/languages.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using mirror::SiteSettings;

constexpr const char* kAll = "all";
constexpr const char* kAsMirror = "as-mirror";

/// The words of a list option, sorted, each once; the word "all" alone means no filter.
Result<std::vector<std::string>> Words(const std::vector<std::string>& given,
                                       std::string_view option) {
  std::vector<std::string> out;
  for (const std::string& word : given) {
    for (const std::string_view one : Split(word, ',')) {
      if (!one.empty()) out.push_back(ToLowerAscii(one));
    }
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  if (std::ranges::find(out, kAll) == out.end()) return out;
  if (out.size() == 1) return std::vector<std::string>();
  return Fail(ErrorCode::kUsage,
              "--" + std::string(option) + " takes either 'all' or what is sent, not both");
}

/// A code that no update names would keep every file back.
Result<std::vector<std::string>> Languages(const Context& context, mirror::Mirror& mirror) {
  TRY_ASSIGN(auto words, Words(context.args().List("language"), "language"));
  if (words.empty()) return words;
  TRY_ASSIGN(const auto known, mirror::KnownLanguages(mirror));
  for (const std::string& word : words) {
    if (word.size() <= 16 && mirror::IsKnownLanguage(known, word)) continue;
    std::string codes;
    for (const std::string& code : known) codes += (codes.empty() ? "" : ", ") + code;
    return FailNext(ErrorCode::kUsage, "language-unknown",
                    "'" + EscapeForDisplay(word, 40) +
                        "' is no language that updates come in; there are " +
                        EscapeForDisplay(codes, 1000),
                    NextCommand(context, "site set " + ShellWord(*context.args().Text("SITE")) +
                                             " --language en (all: no filter)"));
  }
  return words;
}

Result<std::vector<std::string>> Architectures(const Context& context) {
  TRY_ASSIGN(auto words, Words(context.args().List("architecture"), "architecture"));
  for (const std::string& word : words) {
    if (word == "x86" || word == "x64" || word == "arm64") continue;
    return Fail(ErrorCode::kUsage, "'" + EscapeForDisplay(word, 40) +
                                       "' is no architecture: give x86, x64, arm64 or all");
  }
  return words;
}

Result<std::vector<Guid>> Groups(const Context& context, mirror::Mirror& mirror) {
  std::vector<Guid> out;
  const auto given = context.args().List("group");
  if (given.size() == 1 && ToLowerAscii(given.front()) == kAll) return out;
  for (const std::string& name : given) {
    TRY_ASSIGN(const auto group, FindGroup(context, mirror, name));
    out.push_back(group.id);
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

Result<std::uint32_t> Bounded(const Context& context, const std::string& option,
                              std::uint32_t max) {
  const std::uint64_t number = *context.args().Number(option);
  if (number <= max) return static_cast<std::uint32_t>(number);
  return Fail(ErrorCode::kUsage, "--" + option + " takes a number up to " + std::to_string(max) +
                                     ", not " + std::to_string(number));
}

Result<std::optional<std::uint32_t>> Parity(const std::string& text) {
  if (text == kAsMirror) return std::optional<std::uint32_t>();
  const auto percent = ParseInt<std::uint32_t>(text);
  if (percent && *percent <= mirror::kMaxSiteParity) return percent;
  return Fail(ErrorCode::kUsage, "--parity takes 0 to " + std::to_string(mirror::kMaxSiteParity) +
                                     " percent or as-mirror, not '" + EscapeForDisplay(text, 40) +
                                     "'");
}

/// `settings` with what the command line changes.
Result<SiteSettings> Changed(const Context& context, mirror::Mirror& mirror,
                             SiteSettings settings) {
  const Arguments& args = context.args();
  if (const auto content = args.Text("content")) {
    settings.content = *mirror::ParseSiteContent(*content);
  }
  if (args.Has("language")) {
    TRY_ASSIGN(settings.languages, Languages(context, mirror));
  }
  if (args.Has("architecture")) {
    TRY_ASSIGN(settings.architectures, Architectures(context));
  }
  if (args.Has("group")) {
    TRY_ASSIGN(settings.groups, Groups(context, mirror));
  }
  if (const auto express = args.Text("express")) {
    settings.express = *express == "yes" ? std::optional(true) : std::optional(false);
    if (*express == kAsMirror) settings.express.reset();
  }
  if (const auto bytes = args.Number("max-bytes")) settings.max_bytes = *bytes;
  if (const auto encrypt = args.Text("encrypt")) {
    settings.encrypt = *encrypt == "yes" ? std::optional(true) : std::optional(false);
    if (*encrypt == kAsMirror) settings.encrypt.reset();
  }
  if (const auto parity = args.Text("parity")) {
    TRY_ASSIGN(settings.parity, Parity(*parity));
  }
  if (args.Has("returns") && args.Has("no-returns")) {
    return Fail(ErrorCode::kUsage, "--returns and --no-returns exclude each other");
  }
  if (args.Has("no-returns")) settings.no_returns = true;
  if (args.Has("returns")) settings.no_returns = false;
  if (args.Has("overlap")) {
    TRY_ASSIGN(settings.overlap_bundles, Bounded(context, "overlap", mirror::kMaxOverlapBundles));
  }
  if (args.Has("overlap-days")) {
    TRY_ASSIGN(settings.overlap_days, Bounded(context, "overlap-days", mirror::kMaxOverlapDays));
  }
  return settings;
}

Result<ExitCode> Set(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(auto site, FindSite(context, ledger, *context.args().Text("SITE")));
  TRY_ASSIGN(const SiteSettings settings, Changed(context, mirror, site.settings));
  if (settings != site.settings) {
    TRY(ledger.SetSettings(site.guid, settings, mirror.clock().Now(), mirror::CurrentActor()));
    site.settings = settings;
  }
  TRY_ASSIGN(const std::string text, SettingsText(mirror, settings));
  context.Print("site         " + site.stream + "\n" + text);
  context.Emit(SiteToJson(site));
  return ExitCode::kDone;
}

Result<ExitCode> Remove(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto lock, mirror::JobLock::Acquire(mirror.path(), "site remove"));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, FindSite(context, ledger, *context.args().Text("SITE")));
  TRY(context.Confirm("No bundles will be written for " + EscapeForDisplay(site.name, 64) +
                      " and its returns will be refused. Remove it?"));
  TRY(ledger.RemoveSite(site, mirror.clock().Now(), mirror::CurrentActor()));
  context.Print("site " + site.stream + " is removed; its card brings it back");
  context.Emit({{"removed", site.stream}, {"guid", site.guid.ToString()}});
  return ExitCode::kDone;
}

Result<ExitCode> ForgetContent(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, FindSite(context, ledger, *context.args().Text("SITE")));
  TRY_ASSIGN(const auto believed, ledger.Believed(site.guid));
  TRY(context.Confirm("All files that " + EscapeForDisplay(site.name, 64) +
                      " needs will be sent again with the next bundle. Forget what it holds?"));
  TRY(ledger.ForgetContent(site.guid, mirror.clock().Now(), mirror::CurrentActor()));
  context.Print(Plural(believed.size(), "file") + " of " + site.stream +
                " no longer count as held there");
  context.Emit({{"site", site.stream}, {"forgotten_files", believed.size()}});
  return ExitCode::kDone;
}

const Option kSite = {"SITE", Takes::kText, {}, "stream, name or GUID of a site", true};

Command SetCommand() {
  return {
      .path = {"site", "set"},
      .summary = "say what a destination is sent",
      .description =
          "Settings decide which files travel: documents and decisions are always complete, so "
          "that "
          "every site reaches the same state. What a setting leaves out comes with the next bundle "
          "after it is widened. Without options the settings are shown.",
      .examples = {{"gapferry site set plant --architecture x64 --language en --language de",
                    "only files for these"},
                   {"gapferry site set plant --max-bytes 20000000000",
                    "what is needed most goes first"},
                   {"gapferry site set plant --encrypt yes --parity 5",
                    "whatever export.encrypt and export.parity say for the others"},
                   {"gapferry site set ship --no-returns --overlap 3",
                    "nothing comes back; any three bundles in a row may be lost"}},
      .options = {kSite,
                  {"--content",
                   Takes::kText,
                   "WHICH",
                   "files of approved updates, of all, or none; as-mirror: what is downloaded here",
                   false,
                   {"as-mirror", "approved", "all", "none"}},
                  {"--language", Takes::kList, "CODE",
                   "files of updates in this language; all: no filter"},
                  {"--architecture", Takes::kList, "NAME", "x86, x64 or arm64; all: no filter"},
                  {"--group", Takes::kList, "GROUP",
                   "files of approvals for this group of computers; all: no filter"},
                  {"--express",
                   Takes::kText,
                   "WHETHER",
                   "express payloads too",
                   false,
                   {"yes", "no", "as-mirror"}},
                  {"--max-bytes", Takes::kNumber, "BYTES", "of files in one bundle; 0: no limit"},
                  {"--encrypt",
                   Takes::kText,
                   "WHETHER",
                   "bundles that only the site can read; as-mirror: as export.encrypt says",
                   false,
                   {"yes", "no", "as-mirror"}},
                  {"--parity", Takes::kText, "PERCENT",
                   "repair files beside the volumes; as-mirror: as export.parity says"},
                  {"--no-returns", Takes::kNothing, {}, "nothing comes back: bundles overlap"},
                  {"--returns", Takes::kNothing, {}, "receipts decide again"},
                  {"--overlap", Takes::kNumber, "BUNDLES",
                   "without returns: so many may be lost in a row"},
                  {"--overlap-days", Takes::kNumber, "DAYS",
                   "and all that were written in so many days"}},
      .exits = {ExitCode::kNotFound},
      .run = Set};
}

}  // namespace

std::vector<Command> SiteSetCommands() {
  return {SetCommand(),
          {.path = {"site", "remove"},
           .summary = "end a destination",
           .examples = {{"gapferry site remove plant", "asks; an unfinished bundle is given up"}},
           .options = {kSite},
           .asks = true,
           .exits = {ExitCode::kNotFound, ExitCode::kBusy},
           .run = Remove},
          {.path = {"site", "forget-content"},
           .summary = "send a destination all its files again",
           .examples = {{"gapferry site forget-content plant",
                         "after its disk was lost: nothing counts as held there"}},
           .options = {kSite},
           .asks = true,
           .exits = {ExitCode::kNotFound},
           .run = ForgetContent}};
}

}  // namespace gapferry::cli
