// gapferry verify: checks a bundle completely and writes nothing.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/bundle_check.h"
#include "cli/damage_view.h"

namespace gapferry::cli {
namespace {

using manifests::BundleReport;
using nlohmann::json;

std::string Verdict(const BundleReport& report) {
  const std::string name = report.manifest.DirectoryName();
  if (report.failure) return name + ": DAMAGED";
  std::string text = name;
  if (!report.was_opened) text += ": sealed";
  if (report.needed_repair()) {
    return text + (report.was_opened ? ":" : ",") +
           " damaged, everything can be read with the help of repairs; copy it anew soon";
  }
  return text + (report.was_opened ? ":" : ";") + " every byte is as it was signed";
}

std::string Contents(const BundleReport& report) {
  const auto& stated = report.manifest;
  const std::size_t volumes = stated.volumes.size() - report.absent_volumes.size();
  std::string text;
  if (report.was_opened) {
    text =
        fmt::format("{} bundle from generation {} to {}: {} documents, {} files of {}, {} volumes",
                    manifests::ScopeName(stated.scope), stated.base.generation,
                    stated.target.generation, stated.totals.revisions, stated.totals.content_files,
                    FormatByteCount(stated.totals.content_bytes), stated.volumes.size());
  } else {
    text = fmt::format(
        "checked: signatures, manifest, sums, all files, {} of {} volumes\nnot checked: what the "
        "sealed files hold, which needs a key of a recipient",
        volumes, stated.volumes.size());
  }
  if (!report.absent_volumes.empty()) {
    text += fmt::format("\nnot checked: {} volumes on media that are not here",
                        report.absent_volumes.size());
  }
  return text;
}

json ReportToJson(const BundleReport& report) {
  const auto& stated = report.manifest;
  const bool whole = report.was_opened && report.absent_volumes.empty();
  json object = DamageFields(report);
  object["bundle"] = stated.DirectoryName();
  object["verified"] = !report.failure && whole;
  object["sealed"] = stated.sealed.has_value();
  object["opened"] = stated.sealed && report.was_opened;
  object["manifest_sha256"] = report.manifest_sha256.ToHex();
  object["sender"] = stated.sender.guid.ToString();
  object["recipient"] = stated.recipients.front().guid.ToString();
  object["sequence"] = stated.sequence;
  object["volumes"] = stated.volumes.size() - report.absent_volumes.size();
  object["absent_volumes"] = report.absent_volumes.size();
  object["parity"] = stated.parity;
  object["unknown_signatures"] = report.signatures.unknown.size();
  if (report.was_opened) {
    object["scope"] = manifests::ScopeName(stated.scope);
    object["base"] = stated.base.generation;
    object["target"] = stated.target.generation;
  } else {
    object["checked"] = {"signatures", "manifest", "sums", "files", "volumes"};
    object["not_checked"] = {"details", "index", "objects"};
  }
  return object;
}

Result<ExitCode> Verify(Context& context) {
  TRY_ASSIGN(const CheckedBundle checked, CheckBundle(context, "verify"));
  const BundleReport& report = checked.report;
  std::string text = Verdict(report) + "\n" + SignatureText(report.signatures) + "\nfor " +
                     EscapeForDisplay(report.manifest.recipients.front().name, 64) + "\n" +
                     Contents(report) + "\n" + DamageText(report);
  context.Print(text);
  context.Emit(ReportToJson(report));
  if (report.failure) {
    Error error = *report.failure;
    error.code = ErrorCode::kCorrupt;
    error.message = report.manifest.DirectoryName() + ": " + error.message;
    error.next =
        "take another copy of the medium, or ask the sender for what is damaged: gapferry "
        "repair-request " +
        context.args().List("DIR").front() + " --to DIR";
    return std::unexpected(std::move(error));
  }
  const bool whole = report.was_opened && report.absent_volumes.empty() && !report.needed_repair();
  return whole ? ExitCode::kDone : ExitCode::kPartlyDone;
}

}  // namespace

std::vector<Command> VerifyCommands() {
  return {{.path = {"verify"},
           .summary = "check a bundle completely; writes nothing",
           .description =
               "Checks signatures, sums, index and every byte of every volume, and reads on after "
               "damage: which blocks of which objects are bad, and how much is good. Repair files "
               "(export --parity) and a repair folder (export --repair) are used by themselves. "
               "With --trust it needs no mirror: the cards named are the senders that count, and "
               "the recipient is not looked at. Exit status 3: everything can be read but not "
               "without repairs, or not everything could be checked (other media, or encrypted "
               "for somebody else).",
           .examples = {{"gapferry verify /media/stick/gapferry-plant-000007",
                         "against the senders this mirror trusts"},
                        {"gapferry verify /media/stick/gapferry-plant-000007 --trust harbour.card",
                         "on any machine, with the sender's card"}},
           .options = BundleCheckOptions(),
           .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound, ExitCode::kCorrupt,
                     ExitCode::kUntrusted},
           .run = Verify}};
}

}  // namespace gapferry::cli
