// gapferry key: own keys, of a mirror or of a person who reviews.
#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/canonical_json.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/audited_change.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/key_support.h"
#include "manifests/token_key.h"
#include "mirror/audit.h"

namespace gapferry::cli {
namespace {

using manifests::TrustDocument;
using nlohmann::json;

Result<void> Audit(KeyOwner& owner, const char* action, JsonValue::Object detail) {
  if (!owner.mirror) return {};
  TRY(mirror::AppendAuditAlone(owner.mirror->db(), owner.mirror->clock().Now(),
                               {mirror::CurrentActor(), action, owner.holder.guid.ToString(),
                                WriteCanonicalJson(JsonValue(std::move(detail)))}));
  return {};
}

/// Recorded before the files change, so that nothing changes without a record.
Result<void> Change(KeyOwner& owner, const char* action, JsonValue::Object detail,
                    const std::function<Result<void>()>& change) {
  if (!owner.mirror) return change();
  return ChangeAudited(*owner.mirror,
                       {mirror::CurrentActor(), action, owner.holder.guid.ToString(),
                        WriteCanonicalJson(JsonValue(std::move(detail)))},
                       change);
}

json ToJson(const TrustDocument& document) {
  json object = {{"holder", document.holder.ToString()},
                 {"number", document.number},
                 {"ended_key", document.ended_key.ToHex()},
                 {"signatures", document.signers.size()}};
  if (document.act == manifests::TrustAct::kRotation) {
    object["key_id"] = document.card.signing_key.Id().ToHex();
    object["fingerprint"] = document.card.Fingerprint();
  }
  return object;
}

Result<ExitCode> Create(Context& context) {
  std::vector<manifests::SignerRole> roles;
  for (const char* role : {"origin", "release"}) {
    const auto given = context.args().List("role");
    const bool is_default = given.empty() && std::string_view(role) == "release";
    if (is_default || std::find(given.begin(), given.end(), role) != given.end()) {
      TRY_ASSIGN(const auto parsed, manifests::ParseSignerRole(role));
      roles.push_back(parsed);
    }
  }
  const std::string folder = *context.args().Text("DIR");
  TRY_ASSIGN(const auto passphrase, NewPassphrase(context, "the keys in '" + folder + "'"));
  TRY_ASSIGN(const std::string text,
             exporter::CreatePerson(folder, *context.args().Text("name"), roles,
                                    context.args().TextOr("signing", ""), passphrase.text()));
  TRY_ASSIGN(const auto card, manifests::DecodeCard(AsBytes(text)));
  context.Print(
      fmt::format("keys of {} in {}\ncard to hand out: {}/card\nfingerprint to read to others: {}",
                  EscapeForDisplay(card.name, 64), folder, folder, card.Fingerprint()));
  if (passphrase.text().empty()) {
    context.Say("the keys lie there without a passphrase: 'gapferry key passphrase --keys " +
                folder + "' sets one");
  }
  context.Emit({{"folder", folder},
                {"card", folder + "/card"},
                {"guid", card.guid.ToString()},
                {"name", card.name},
                {"key_id", card.signing_key.Id().ToHex()},
                {"fingerprint", card.Fingerprint()}});
  return ExitCode::kDone;
}

Result<ExitCode> Show(Context& context) {
  TRY_ASSIGN(const KeyOwner owner, OpenKeyOwner(context, /*exclusive=*/false));
  const auto& paths = owner.holder.paths;
  TRY_ASSIGN(const auto signing, manifests::LoadSigningPublicKey(paths.signing));
  TRY_ASSIGN(const auto encryption, manifests::LoadEncryptionPublicKey(paths.encryption));
  const bool on_token = manifests::IsTokenUri(paths.signing.string());
  bool protects_signing = on_token;
  if (!on_token) {
    TRY_ASSIGN(protects_signing, manifests::IsProtectedKey(paths.signing));
  }
  TRY_ASSIGN(const bool protects_encryption, manifests::IsProtectedKey(paths.encryption));
  TRY_ASSIGN(const auto documents, exporter::CarriedDocuments(paths));
  const auto how = [](bool is_protected) {
    return is_protected ? "with a passphrase" : "without a passphrase";
  };
  std::string text = fmt::format(
      "{} ({}), keys changed {} times\nsigning     {}  {}\nencryption  {}  {}\n",
      EscapeForDisplay(owner.holder.name, 64), owner.holder.guid.ToString(), owner.holder.number,
      signing.Id().ToHex(), on_token ? "on a token" : how(protects_signing),
      encryption.Id().ToHex(), how(protects_encryption));
  json carried = json::array();
  for (const TrustDocument& document : documents) {
    text += "carries: " + DescribeTrust(document);
    carried.push_back(ToJson(document));
  }
  context.Print(text);
  context.Emit({{"guid", owner.holder.guid.ToString()},
                {"number", owner.holder.number},
                {"signing_key_id", signing.Id().ToHex()},
                {"encryption_key_id", encryption.Id().ToHex()},
                {"on_token", on_token},
                {"signing_protected", protects_signing},
                {"encryption_protected", protects_encryption},
                {"documents", carried}});
  return ExitCode::kDone;
}

/// From where to where the signing key goes.
Result<exporter::KeyChange> PlanChange(Context& context, const KeyOwner& owner) {
  exporter::KeyChange change;
  change.why = context.args().TextOr("why", context.args().Has("lost") ? "lost" : "rotated");
  change.now = owner.mirror ? owner.mirror->clock().Now() : SystemClock().Now();
  change.is_lost = context.args().Has("lost");
  change.keep_encryption = context.args().Has("keep-encryption");
  change.old_signing = owner.holder.paths.signing;
  const auto old = context.args().Text("old");
  if (old) change.old_signing = *old;
  const bool configured = owner.mirror && !owner.mirror->config().keys_signing.empty();
  if (configured && !old) {
    return std::unexpected(Error{
        ErrorCode::kUsage,
        "gapferry.yaml names the signing key (keys.signing), so a new one cannot be made here",
        "key-configured",
        "set keys.signing to the new key, then: gapferry key rotate --old OLD-KEY"});
  }
  if (configured) change.new_signing = owner.holder.paths.signing.string();
  if (const auto given = context.args().Text("signing")) change.new_signing = *given;
  return change;
}

Result<ExitCode> Rotate(Context& context) {
  TRY_ASSIGN(KeyOwner owner, OpenKeyOwner(context, /*exclusive=*/true));
  TRY_ASSIGN(exporter::KeyChange change, PlanChange(context, owner));
  TRY(context.Confirm("Replace the keys of " + EscapeForDisplay(owner.holder.name, 64) + "?"));
  TRY_ASSIGN(const auto passphrase, NewPassphrase(context, "the new keys"));
  change.passphrase = passphrase.text();
  TRY(Audit(owner, "key.rotate-begun", {{"lost", change.is_lost}, {"why", change.why}}));
  TRY_ASSIGN(const TrustDocument document, exporter::ChangeKeys(owner.holder, change));
  TRY(Audit(owner, "key.rotate",
            {{"ended_key", document.ended_key.ToHex()},
             {"fingerprint", document.card.Fingerprint()},
             {"key", document.card.signing_key.Id().ToHex()},
             {"number", document.number},
             {"why", document.why}}));
  context.Say(DescribeTrust(document));
  if (change.is_lost) {
    context.Warn(
        "nobody has signed this change yet: hand the document to the reviewers ('gapferry sign "
        "FILE --key KEYS'), then 'gapferry key carry FILE'; without reviewers each site compares "
        "the new card by voice ('gapferry trust add CARD --replace')");
  }
  TRY(HandOut(context, document));
  context.Emit(ToJson(document));
  return ExitCode::kDone;
}

Result<ExitCode> Revoke(Context& context) {
  TRY_ASSIGN(KeyOwner owner, OpenKeyOwner(context, /*exclusive=*/true));
  TRY(context.Confirm("End the signing key of " + EscapeForDisplay(owner.holder.name, 64) +
                      " for ever, without another in its place?"));
  const UtcTime now = owner.mirror ? owner.mirror->clock().Now() : SystemClock().Now();
  TRY(Audit(owner, "key.revoke-begun", {{"why", context.args().TextOr("why", "revoked")}}));
  TRY_ASSIGN(const TrustDocument document,
             exporter::RevokeOwnKey(owner.holder, context.args().TextOr("why", "revoked"), now));
  TRY(Audit(owner, "key.revoke",
            {{"ended_key", document.ended_key.ToHex()}, {"number", document.number}}));
  context.Say(DescribeTrust(document));
  TRY(HandOut(context, document));
  context.Emit(ToJson(document));
  return ExitCode::kDone;
}

Result<ExitCode> Passphrase(Context& context) {
  TRY_ASSIGN(KeyOwner owner, OpenKeyOwner(context, /*exclusive=*/true));
  const bool remove = context.args().Has("remove");
  if (remove) {
    TRY(context.Confirm("Keep the keys of " + EscapeForDisplay(owner.holder.name, 64) +
                        " readable for whoever reads the files?"));
  }
  manifests::Secret passphrase;
  const auto file = context.args().Text("new-passphrase-file");
  if (!remove && file) {
    TRY_ASSIGN(passphrase, manifests::ReadPassphraseFile(*file));
  } else if (!remove) {
    TRY_ASSIGN(passphrase, manifests::AskNewPassphrase("the keys of " + owner.holder.name));
  }
  json files = json::array();
  const auto change = [&]() -> Result<void> {
    for (const auto& path : {owner.holder.paths.signing, owner.holder.paths.encryption}) {
      if (manifests::IsTokenUri(path.string())) continue;
      TRY(manifests::ChangePassphrase(path, passphrase.text()));
      files.push_back(path.string());
      context.Print(fmt::format("{}: {}", path.string(),
                                remove ? "without a passphrase" : "under the new passphrase"));
    }
    return {};
  };
  TRY(Change(owner, "key.passphrase", {{"protected", !remove}}, change));
  context.Emit({{"files", files}, {"protected", !remove}});
  return ExitCode::kDone;
}

Result<ExitCode> Carry(Context& context) {
  TRY_ASSIGN(KeyOwner owner, OpenKeyOwner(context, /*exclusive=*/true));
  TRY_ASSIGN(const auto documents, ReadTrustFile(*context.args().Text("FILE")));
  for (const TrustDocument& document : documents) {
    TRY(Change(owner, "key.carry",
               {{"holder", document.holder.ToString()}, {"number", document.number}},
               [&] { return exporter::CarryDocument(owner.holder.paths, document); }));
    context.Print("carried from now on: " + DescribeTrust(document));
    context.Emit(ToJson(document));
  }
  return ExitCode::kDone;
}

const Option kKeys = {"--keys", Takes::kText, "DIR", "a person's folder of keys, not the mirror's"};
const Option kTo = {"--to", Takes::kText, "FILE", "write the document there, not to stdout"};
const Option kWhy = {"--why", Takes::kText, "TEXT", "for people, at most 120 bytes"};
const Option kNewPassphrase = {"--new-passphrase-file", Takes::kText, "FILE",
                               "its first line protects the new key files"};
const Option kProtect = {"--protect", Takes::kNothing, {}, "ask for a passphrase on the terminal"};
const Option kSigning = {"--signing", Takes::kText, "KEY",
                         "sign with this key, such as pkcs11:token=LABEL;object=LABEL"};

}  // namespace

std::vector<Command> KeyCommands() {
  const std::vector<ExitCode> exits = {ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kCorrupt,
                                       ExitCode::kUntrusted, ExitCode::kNoSpace};
  return {
      {.path = {"key", "create"},
       .summary = "make the keys and the card of a person, on a machine without mirror",
       .description = "For reviewers: whoever releases bundles with 'gapferry sign'. The card in "
                      "the folder is handed to the sites, which add it with 'gapferry trust add'.",
       .examples = {{"gapferry key create ~/keys --name 'Jane Doe' --protect",
                     "asks for a passphrase; the card is ~/keys/card"},
                    {"gapferry key create ~/keys --name 'Jane Doe' --signing "
                     "'pkcs11:token=jane;object=review'",
                     "the signing key stays on a token"}},
       .options = {{"DIR", Takes::kText, {}, "a folder that holds no keys yet", true},
                   {"--name", Takes::kText, "NAME", "of the person, shown to others", true},
                   {"--role",
                    Takes::kList,
                    "ROLE",
                    "what the card is for; release when not given",
                    false,
                    {"origin", "release"}},
                   kSigning,
                   kProtect,
                   kNewPassphrase},
       .exits = exits,
       .run = Create},
      {.path = {"key", "show"},
       .summary = "show own keys, how they are protected, and the trust documents they carry",
       .examples = {{"gapferry key show", "those of the mirror"},
                    {"gapferry key show --keys ~/keys", "those of a person"}},
       .options = {kKeys},
       .exits = exits,
       .run = Show},
      {.path = {"key", "rotate"},
       .summary = "replace own keys; the old key signs for the new one",
       .description =
           "Every bundle carries the document from now on, so that sites follow by themselves; "
           "the other way, it goes with the next return. With --lost nobody signs it here: as many "
           "reviewers as the sites ask for do, with 'gapferry sign', or each site compares the new "
           "card by voice. Old keys are kept in old/, so that bundles under way can be opened.",
       .examples = {{"gapferry key rotate --why yearly", "new keys; asks on a terminal"},
                    {"gapferry key rotate --lost --to harbour.rotation --yes",
                     "the old key is gone or stolen: the reviewers will sign the file"}},
       .options = {kKeys,
                   {"--lost", Takes::kNothing, {}, "the old key cannot or must not sign"},
                   kWhy,
                   {"--keep-encryption", Takes::kNothing, {}, "keep the encryption key"},
                   kSigning,
                   {"--old", Takes::kText, "KEY", "the key until now, where it lies elsewhere"},
                   kTo,
                   kProtect,
                   kNewPassphrase},
       .asks = true,
       .exits = exits,
       .run = Rotate},
      {.path = {"key", "revoke"},
       .summary = "end the own signing key without another in its place",
       .examples = {{"gapferry key revoke --why 'mirror is given up'", "asks on a terminal"},
                    {"gapferry key revoke --keys ~/keys --to jane.revocation --yes",
                     "a reviewer leaves"}},
       .options = {kKeys, kWhy, kTo},
       .asks = true,
       .exits = exits,
       .run = Revoke},
      {.path = {"key", "passphrase"},
       .summary = "set, change or remove the passphrase of own keys",
       .examples = {{"gapferry key passphrase", "asks for the old and the new one"},
                    {"gapferry key passphrase --remove", "keeps the keys readable in their files"}},
       .options = {kKeys,
                   {"--remove", Takes::kNothing, {}, "without a passphrase from now on"},
                   kNewPassphrase},
       .asks = true,
       .exits = exits,
       .run = Passphrase},
      {.path = {"key", "carry"},
       .summary = "let bundles and returns carry a trust document from now on",
       .description = "A change of keys that reviewers have signed, or that of a reviewer.",
       .examples = {{"gapferry key carry harbour.rotation", "after the reviewers have signed it"},
                    {"gapferry key carry jane.rotation", "a reviewer has new keys"}},
       .options = {{"FILE", Takes::kText, {}, "trust documents, one per line", true}, kKeys},
       .exits = exits,
       .run = Carry}};
}

}  // namespace gapferry::cli
