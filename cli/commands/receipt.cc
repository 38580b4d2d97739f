// gapferry receipt show|enter: a receipt without media.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "importer/enter_receipt.h"
#include "importer/receipt_of.h"
#include "manifests/receipt_code.h"
#include "mirror/audit.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

std::unexpected<Error> WithNext(Error error, const std::string& site) {
  const std::string& reason = error.reason;
  if (reason == "nothing-imported") {
    error.next = "gapferry import BUNDLE";
  } else if (reason == "no-card") {
    error.next = "gapferry trust add CARD";
  } else if (reason == "site-unknown") {
    error.next = "gapferry site list";
  } else if (reason == "receipt-code-mistyped" || reason == "receipt-code-length") {
    error.next = "have these groups read once more: gapferry receipt enter " + site + " CODE";
  } else if (reason == "receipt-code-foreign") {
    error.next =
        "compare the name of the site, and the fingerprints of both cards if keys were changed: "
        "gapferry site show " +
        site;
  } else if (reason == "receipt-code-unknown" || reason == "receipt-code-void") {
    error.next =
        "if this mirror was restored from a backup or the bundle was imported after all, send all "
        "of it: gapferry export --full --to DIR --for " +
        site;
  } else if (reason == "receipt-code-version") {
    error.next = "this mirror needs the version of gapferry that the site has";
  } else if (reason == "review-required") {
    error.next = "a return instead of a code: gapferry export --return --review --to DIR";
  }
  return std::unexpected(std::move(error));
}

Result<void> WriteSheet(Context& context, mirror::Mirror& mirror,
                        const importer::ReceiptOf& receipt) {
  const std::filesystem::path file = *context.args().Text("sheet");
  const std::string extension = ToLowerAscii(file.extension().string());
  const bool html = extension == ".html" || extension == ".htm";
  if (!html && extension != ".txt") {
    return Fail(ErrorCode::kUsage, "--sheet takes a file name that ends in .html or .txt, not '" +
                                       EscapeForDisplay(file.string(), 200) + "'");
  }
  const std::string sheet =
      importer::ReceiptSheet(receipt, mirror.identity().name, mirror.clock().Now(), html);
  return WriteFileAtomically(std::filesystem::absolute(file), AsBytes(sheet));
}

Result<ExitCode> Show(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  auto receipt = importer::MakeReceiptOf(mirror);
  if (!receipt) return WithNext(std::move(receipt.error()), "SITE");
  if (context.args().Has("sheet")) TRY(WriteSheet(context, mirror, *receipt));
  context.Print(fmt::format(
      "{}\n\n{}\nreceipt for bundle {} of stream {}, generation {}; {}\non the connected side: "
      "gapferry receipt enter {} CODE",
      receipt->code, manifests::SpellReceiptCode(receipt->code), receipt->sequence, receipt->stream,
      receipt->state.name.generation,
      receipt->missing_files == 0
          ? "no file is missing"
          : fmt::format("{} files are missing, of which it says only that there are some",
                        receipt->missing_files),
      receipt->stream));
  context.Emit({{"code", receipt->code},
                {"stream", receipt->stream},
                {"sequence", receipt->sequence},
                {"generation", receipt->state.name.generation},
                {"state_digest", receipt->state.state_digest.ToHex()},
                {"missing_files", receipt->missing_files},
                {"sender", receipt->sender_name}});
  return ExitCode::kDone;
}

std::string Describe(const importer::EnteredReceipt& entered, const std::string& site) {
  switch (entered.outcome) {
    case importer::CodeOutcome::kAlreadyApplied:
      return fmt::format("receipt for bundle {} of {} was entered before; nothing changed",
                         entered.sequence, site);
    case importer::CodeOutcome::kLate:
      return fmt::format("receipt for bundle {} of {} is older than what is known; nothing changed",
                         entered.sequence, site);
    case importer::CodeOutcome::kApplied:
      break;
  }
  if (!entered.applied.acknowledged) {
    return fmt::format("receipt for bundle {} of {}", entered.sequence, site);
  }
  return fmt::format("receipt for bundle {} of {}: generation {}; the next delta starts there",
                     entered.sequence, site, entered.applied.acknowledged->name.generation);
}

void WarnOf(Context& context, const importer::EnteredReceipt& entered, const std::string& site) {
  if (entered.outcome != importer::CodeOutcome::kApplied) return;
  if (entered.applied.restored) {
    context.Warn(site + " was restored or made anew since its last receipt");
  }
  if (!entered.applied.diverged.empty()) {
    context.Warn(site + " has diverged: " + entered.applied.diverged +
                 "; deltas stop until: gapferry export --full --for " + entered.site.stream);
  } else if (entered.files_are_missing) {
    context.Warn(
        "files are missing at " + site +
        ": what this bundle carried is sent again; which ones they are only a return says");
  }
}

Result<ExitCode> Enter(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  const std::string site = *context.args().Text("SITE");
  std::string typed;
  for (const std::string& word : context.args().List("CODE")) typed += word + " ";
  auto entered = importer::EnterReceipt(mirror, site, typed, mirror::CurrentActor());
  if (!entered) return WithNext(std::move(entered.error()), site);
  const std::string name = EscapeForDisplay(entered->site.name, 64);
  context.Print(Describe(*entered, name));
  WarnOf(context, *entered, name);
  json object = {{"site", entered->site.stream},
                 {"stream", entered->stream},
                 {"sequence", entered->sequence},
                 {"outcome", importer::CodeOutcomeName(entered->outcome)},
                 {"acknowledged", nullptr},
                 {"files_are_missing", entered->files_are_missing},
                 {"restored", entered->applied.restored},
                 {"diverged", entered->applied.diverged}};
  if (entered->applied.acknowledged) {
    object["acknowledged"] = {{"sequence", entered->applied.sequence},
                              {"generation", entered->applied.acknowledged->name.generation}};
  }
  context.Emit(object);
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> ReceiptCommands() {
  return {
      {.path = {"receipt", "show"},
       .summary = "behind the gap: the receipt of the last import as a code to read aloud",
       .description =
           "Ten groups of four characters say which bundle was imported and to which state, and "
           "whether files are missing; 72 bits of it prove that this mirror made it. For sites "
           "from which no file may return. It says nothing about computers.",
       .examples = {{"gapferry receipt show", "the code, and each group in words"},
                    {"gapferry receipt show --sheet receipt.html", "also a page to print"}},
       .options = {{"--sheet", Takes::kText, "FILE", "write a page to print: .html or .txt"}},
       .exits = {ExitCode::kNotFound},
       .run = Show},
      {.path = {"receipt", "enter"},
       .summary = "connected side: type the receipt code of a site",
       .description =
           "Counts as the receipt in a return: the next delta starts where the site stands. A "
           "wrong "
           "character is found and its group named. The same or an older code changes nothing.",
       .examples = {{"gapferry receipt enter plant "
                     "6019-X14E-FAYM-DXBN-DYX3-W01Z-28HN-K8HX-APCQ-XW8H",
                     "hyphens or blanks, any case"}},
       .options = {{"SITE", Takes::kText, {}, "stream, name or GUID of the site", true},
                   {"CODE", Takes::kList, {}, "the ten groups", true}},
       .exits = {ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kUntrusted},
       .run = Enter}};
}

}  // namespace gapferry::cli
