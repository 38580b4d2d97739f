// gapferry verify: checks a bundle completely and writes nothing.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "importer/own_side.h"
#include "manifests/bundle_verifier.h"
#include "manifests/trust_store.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

struct Judge {
  manifests::TrustPolicy policy;
  std::optional<manifests::Addressee> addressee;  ///< none with --trust: no site of its own
};

Result<Judge> FindJudge(Context& context, manifests::Medium& medium) {
  Judge judge;
  const auto cards = context.args().List("trust");
  if (cards.empty()) {
    TRY_ASSIGN(const auto path, context.MirrorPath());
    TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
    TRY_ASSIGN(auto own, importer::ReadOwnSide(mirror, &medium));
    judge.policy = std::move(own.policy);
    judge.addressee = own.addressee;
    return judge;
  }
  std::vector<manifests::Card> trusted;
  for (const std::string& file : cards) {
    TRY_ASSIGN(const Bytes bytes, ReadFile(file, manifests::kMaxCardBytes));
    TRY_ASSIGN(auto card, manifests::DecodeCard(bytes), "'" + file + "'");
    trusted.push_back(std::move(card));
  }
  judge.policy = manifests::PolicyOf(trusted);
  return judge;
}

std::string SignatureText(const manifests::SignatureReport& report) {
  std::string text =
      fmt::format("signed by {} (origin, key {})", EscapeForDisplay(report.origin.name, 64),
                  report.origin.key.Id().ToHex());
  for (const auto& key : report.released) {
    text += fmt::format(", released by {}", EscapeForDisplay(key.name, 64));
  }
  for (const auto& line : report.unknown) {
    text += fmt::format(", also signed by the unknown key {}, which does not count",
                        line.key_id.ToHex());
  }
  return text;
}

/// A sealed bundle without its key: everything that is stored is checked, nothing is read.
Result<ExitCode> VerifyClosed(Context& context, manifests::Medium& medium,
                              const manifests::VerifiedManifest& manifest) {
  const auto& stated = manifest.manifest();
  const std::string name = stated.DirectoryName();
  TRY_ASSIGN(const auto checked,
             manifests::VerifyStored(medium, manifest, &context.progress(), context.stop()), name);
  context.Print(
      fmt::format("{}: sealed; every byte is as it was signed\n{}\nfor {}\nchecked: signatures, "
                  "manifest, sums, "
                  "all files, {} of {} volumes\nnot checked: what the sealed files hold, which "
                  "needs a key of a "
                  "recipient",
                  name, SignatureText(manifest.signatures()),
                  EscapeForDisplay(stated.recipients.front().name, 64), checked.volumes,
                  stated.volumes.size()));
  context.Emit({{"bundle", name},
                {"verified", false},
                {"sealed", true},
                {"opened", false},
                {"checked", {"signatures", "manifest", "sums", "files", "volumes"}},
                {"not_checked", {"details", "index", "objects"}},
                {"manifest_sha256", manifest.digest().ToHex()},
                {"sender", stated.sender.guid.ToString()},
                {"recipient", stated.recipients.front().guid.ToString()},
                {"sequence", stated.sequence},
                {"volumes", checked.volumes},
                {"absent_volumes", checked.absent_volumes.size()},
                {"bytes_read", checked.bytes},
                {"unknown_signatures", manifest.signatures().unknown.size()}});
  return ExitCode::kPartlyDone;
}

Result<ExitCode> Verify(Context& context) {
  manifests::DirectoryMedium medium(*context.args().Text("DIR"));
  TRY_ASSIGN(const Judge judge, FindJudge(context, medium));
  TRY_ASSIGN(auto manifest, manifests::VerifyManifest(medium, judge.policy, judge.addressee));
  if (!manifest.has_details()) return VerifyClosed(context, medium, manifest);
  const std::string name = manifest.manifest().DirectoryName();
  const std::string signatures = SignatureText(manifest.signatures());
  TRY_ASSIGN(auto index, manifests::VerifyIndex(medium, std::move(manifest)), name);
  manifests::VerifyOptions options;
  options.progress = &context.progress();
  options.stop = context.stop();
  TRY_ASSIGN(const auto bundle, manifests::VerifyVolumes(medium, std::move(index), options), name);
  const auto& stated = bundle.manifest();
  context.Print(fmt::format(
      "{}: every byte is as it was signed\n{}\nfor {}\n{} bundle from generation {} to {}: {} "
      "documents, {} files of {}, {} volumes",
      name, signatures, EscapeForDisplay(stated.recipients.front().name, 64),
      manifests::ScopeName(stated.scope), stated.base.generation, stated.target.generation,
      stated.totals.revisions, stated.totals.content_files,
      FormatByteCount(stated.totals.content_bytes), stated.volumes.size()));
  context.Emit({{"bundle", name},
                {"verified", true},
                {"sealed", stated.sealed.has_value()},
                {"opened", stated.sealed.has_value()},
                {"manifest_sha256", bundle.index().manifest().digest().ToHex()},
                {"sender", stated.sender.guid.ToString()},
                {"recipient", stated.recipients.front().guid.ToString()},
                {"scope", manifests::ScopeName(stated.scope)},
                {"sequence", stated.sequence},
                {"base", stated.base.generation},
                {"target", stated.target.generation},
                {"objects", bundle.index().lines().size()},
                {"bytes_read", bundle.bytes_read()},
                {"unknown_signatures", bundle.index().manifest().signatures().unknown.size()}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> VerifyCommands() {
  return {{.path = {"verify"},
           .summary = "check a bundle completely; writes nothing",
           .description = "Checks signatures, sums, index and every byte of every volume. With "
                          "--trust it needs no "
                          "mirror: the cards named are the senders that count, and the recipient "
                          "is not looked at. Of a bundle that is encrypted for somebody else, "
                          "everything but its contents is checked: exit status 3.",
           .examples = {{"gapferry verify /media/stick/gapferry-plant-000007",
                         "against the senders this mirror trusts"},
                        {"gapferry verify /media/stick/gapferry-plant-000007 --trust harbour.card",
                         "on any machine, with the sender's card"}},
           .options = {{"DIR", Takes::kText, {}, "the bundle's folder", true},
                       {"--trust", Takes::kList, "CARD", "a card whose signature counts"}},
           .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound, ExitCode::kCorrupt,
                     ExitCode::kUntrusted},
           .run = Verify}};
}

}  // namespace gapferry::cli
