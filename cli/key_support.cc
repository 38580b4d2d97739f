#include "cli/key_support.h"

#include <fmt/format.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/context.h"
#include "mirror/audit.h"

namespace gapferry::cli {
namespace {

/// A bundle's plan names the key that will sign it.
Result<void> RefuseUnfinished(mirror::Mirror& mirror) {
  TRY_ASSIGN(const auto count,
             mirror.db().QueryInt("SELECT count(*) FROM bundle_out WHERE state IN (1, 2)"));
  if (count.value_or(0) == 0) return {};
  return std::unexpected(
      Error{ErrorCode::kUsage,
            fmt::format("{} bundles are reserved and not finished; they are planned under the "
                        "present key",
                        *count),
            "unfinished-export",
            "finish them with the same 'gapferry export' command, or: gapferry bundle abandon"});
}

}  // namespace

Result<KeyOwner> OpenKeyOwner(Context& context, bool exclusive) {
  KeyOwner owner;
  if (const auto folder = context.args().Text("keys")) {
    TRY_ASSIGN(owner.holder, exporter::OpenPerson(*folder));
    return owner;
  }
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  if (exclusive) {
    TRY_ASSIGN(auto lock, mirror::JobLock::Acquire(path, "key change"));
    owner.lock.emplace(std::move(lock));
    TRY(RefuseUnfinished(mirror));
  }
  owner.holder = {mirror.keys(),
                  mirror.identity().guid,
                  mirror.identity().name,
                  {manifests::SignerRole::kOrigin},
                  mirror.identity().key_number};
  owner.mirror.emplace(std::move(mirror));
  return owner;
}

Result<manifests::Secret> NewPassphrase(Context& context, const std::string& object) {
  if (const auto file = context.args().Text("new-passphrase-file")) {
    return manifests::ReadPassphraseFile(*file);
  }
  if (context.args().Has("protect")) return manifests::AskNewPassphrase(object);
  return manifests::Secret();
}

Result<void> HandOut(Context& context, const manifests::TrustDocument& document) {
  const std::string text = manifests::EncodeTrustDocument(document);
  const auto to = context.args().Text("to");
  if (!to) {
    context.Print(text);
    return {};
  }
  TRY(WriteFileAtomically(*to, AsBytes(text)));
  context.Print("written to " + *to);
  return {};
}

Result<std::vector<manifests::TrustDocument>> ReadTrustFile(const std::string& path) {
  TRY_ASSIGN(const Bytes bytes, ReadFile(path, manifests::kMaxTrustFileBytes));
  if (!manifests::IsTrustDocument(bytes)) {
    return std::unexpected(Error{ErrorCode::kUsage, "'" + path + "' holds no trust documents",
                                 "document-type",
                                 "name the file that 'gapferry key rotate' or 'gapferry trust "
                                 "revoke --to' wrote"});
  }
  auto documents = manifests::DecodeTrustDocuments(bytes);
  if (!documents) return WithContext(std::move(documents.error()), "'" + path + "'");
  return documents;
}

std::string DescribeTrust(const manifests::TrustDocument& document) {
  const std::string why = EscapeForDisplay(document.why, 120);
  std::string text;
  if (document.act == manifests::TrustAct::kRotation) {
    text = fmt::format(
        "change of keys number {} of {} ({}), said to be made on {}\n"
        "  why              {}\n"
        "  key that ends    {}\n"
        "  key from now on  {}\n"
        "  fingerprint      {}\n",
        document.number, EscapeForDisplay(document.card.name, 64), document.holder.ToString(),
        document.created.ToXml(), why, document.ended_key.ToHex(),
        document.card.signing_key.Id().ToHex(), document.card.Fingerprint());
  } else {
    text = fmt::format(
        "revocation number {} of {}, said to be made on {}\n"
        "  why              {}\n"
        "  key that ends    {}, and nothing takes its place\n",
        document.number, document.holder.ToString(), document.created.ToXml(), why,
        document.ended_key.ToHex());
  }
  for (const auto& signer : document.signers) {
    text += fmt::format("  signed by key    {}\n", signer.key_id.ToHex());
  }
  if (document.signers.empty()) text += "  signed by nobody yet\n";
  return text;
}

}  // namespace gapferry::cli
