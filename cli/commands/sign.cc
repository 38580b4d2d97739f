// gapferry sign: a reviewer's word, on a machine without mirror or network.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "cli/bundle_paths.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/key_support.h"
#include "cli/review_view.h"
#include "importer/own_side.h"
#include "importer/review_plan.h"
#include "manifests/medium_set.h"
#include "manifests/sign_file.h"
#include "manifests/token_key.h"
#include "manifests/trust_store.h"
#include "mirror/exchange/return_records.h"

namespace gapferry::cli {
namespace {

using manifests::SigningKey;
using nlohmann::json;

std::unexpected<Error> Refuse(ErrorCode code, std::string reason, std::string message,
                              std::string next) {
  return std::unexpected(Error{code, std::move(message), std::move(reason), std::move(next)});
}

/// Who signs, and where he keeps what he has signed before.
struct Signer {
  fs::path key;     ///< file or token
  fs::path folder;  ///< of a person's keys; empty: the key alone was named
  fs::path memory;  ///< what was signed before
};

/// Before hours are spent on a bundle: is there a key at all?
Result<void> CheckKeyFile(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    return Refuse(ErrorCode::kNotFound, "no-key-file",
                  "there is no '" + EscapeForDisplay(path.string(), 400) + "'",
                  "--key takes the folder that 'gapferry key create' made, its signing.pem, or a "
                  "pkcs11: URI");
  }
  TRY_ASSIGN(const File file, File::OpenRead(path));
  Bytes head(64);
  TRY_ASSIGN(const std::size_t size, file.ReadAt(0, head));
  head.resize(size);
  if (!manifests::CheckDocumentType(head, manifests::DocumentType::kCard)) return {};
  return Refuse(ErrorCode::kUsage, "key-is-card",
                "'" + EscapeForDisplay(path.string(), 400) + "' is a card, no private key",
                "--key takes the folder of keys that the card lies in");
}

Result<Signer> FindSigner(Context& context) {
  Signer signer;
  const std::string named = *context.args().Text("key");
  std::error_code ignored;
  if (manifests::IsTokenUri(named)) {
    signer.key = named;
  } else if (fs::is_directory(named, ignored)) {
    TRY_ASSIGN(const auto person, exporter::OpenPerson(named));
    signer.key = person.paths.signing;
    signer.folder = named;
    signer.memory = fs::path(named) / "signed.json";
  } else {
    TRY(CheckKeyFile(named));
    signer.key = named;
    signer.memory = named + ".signed.json";
  }
  if (const auto state = context.args().Text("state")) signer.memory = *state;
  if (signer.memory.empty()) {
    return Refuse(ErrorCode::kUsage, "state-needed",
                  "--state FILE is needed with a key on a token: it remembers what you have signed",
                  "add --state FILE");
  }
  return signer;
}

/// The senders that count: --trust, else the cards in the folder of keys.
Result<manifests::TrustState> FindSenders(Context& context, const Signer& signer) {
  std::vector<manifests::Card> cards;
  for (const std::string& file : context.args().List("trust")) {
    TRY_ASSIGN(const Bytes bytes, ReadFile(file, manifests::kMaxCardBytes));
    TRY_ASSIGN(auto card, manifests::DecodeCard(bytes), "'" + file + "'");
    cards.push_back(std::move(card));
  }
  if (cards.empty() && !signer.folder.empty()) {
    TRY_ASSIGN(const auto kept, manifests::ReadTrustedCards(signer.folder / "trusted"));
    for (const auto& one : kept) cards.push_back(one.card);
  }
  if (!cards.empty()) return manifests::StateOf(cards);
  return Refuse(ErrorCode::kUntrusted, "no-trust", "no card says who may have written this bundle",
                "add --trust CARD, or put cards that you compared into KEYS/trusted/NAME.card");
}

/// Where the signature goes: beside the document, to a file, or into a folder.
fs::path TargetOf(Context& context, const fs::path& beside) {
  const auto to = context.args().Text("to");
  if (!to) return beside;
  std::error_code ignored;
  return fs::is_directory(*to, ignored) ? fs::path(*to) / beside.filename() : fs::path(*to);
}

Result<void> WithPlace(Result<void> written, const Context& context) {
  if (written || context.args().Has("to") || written.error().code == ErrorCode::kCancelled) {
    return written;
  }
  Error error = std::move(written.error());
  if (error.next.empty() && error.code == ErrorCode::kInternal) {
    error.reason = "not-writable";
    error.next = "a read-only medium? write the signature elsewhere: --to FILE";
  }
  return std::unexpected(std::move(error));
}

// ---- Bundles -----------------------------------------------------------------------------------

/// A bundle whose chain was followed as far as this reviewer's keys reach.
struct Reviewed {
  std::optional<manifests::VerifiedManifest> manifest;
  std::optional<importer::ReviewPlan> plan;  ///< none: sealed, and not for this reviewer
};

/// The manifest; opened when it is sealed for the reviewer as well.
Result<manifests::VerifiedManifest> ReadManifest(manifests::Medium& medium, const Signer& signer,
                                                 const manifests::TrustPolicy& policy) {
  TRY_ASSIGN(auto manifest, manifests::VerifyManifest(medium, policy, std::nullopt));
  if (manifest.has_details() || signer.folder.empty()) return manifest;
  TRY_ASSIGN(const auto person, exporter::OpenPerson(signer.folder));
  const auto& recipients = manifest.manifest().recipients;
  const auto own = std::ranges::find(recipients, person.guid, &manifests::Recipient::guid);
  if (own == recipients.end()) return manifest;
  const auto load =
      [&](const manifests::KeyId&) -> Result<std::shared_ptr<const manifests::EncryptionKey>> {
    TRY_ASSIGN(auto key, manifests::EncryptionKey::Load(person.paths.encryption));
    return std::make_shared<const manifests::EncryptionKey>(std::move(key));
  };
  return manifests::VerifyManifest(medium, policy,
                                   manifests::Addressee{person.guid, own->key_id, {}, load});
}

Result<Reviewed> Review(Context& context, manifests::Medium& medium, const Signer& signer,
                        const importer::ReviewMemory& memory) {
  TRY_ASSIGN(auto senders, FindSenders(context, signer));
  TRY_ASSIGN(auto documents, importer::ReadArrivedTrust(medium), "trust.jsonl");
  TRY_ASSIGN(const auto applied, manifests::ApplyTrustDocuments(senders, std::move(documents)),
             "trust.jsonl");
  for (const auto& document : applied) context.Say(DescribeTrust(document));
  Reviewed reviewed;
  TRY_ASSIGN(reviewed.manifest, ReadManifest(medium, signer, senders.Policy()));
  const std::string name = reviewed.manifest->manifest().DirectoryName();
  if (!reviewed.manifest->has_details()) {
    if (!context.args().Has("unseen")) {
      return Refuse(ErrorCode::kUntrusted, "seal-closed",
                    name + " is sealed, and not for you: what it carries cannot be shown",
                    "let the sender seal it for you as well, or vouch for the sender alone: "
                    "--unseen");
    }
    TRY(manifests::VerifyStored(medium, *reviewed.manifest, &context.progress(), context.stop()),
        name);
    return reviewed;
  }
  TRY_ASSIGN(auto index, manifests::VerifyIndex(medium, *reviewed.manifest), name);
  manifests::VerifyOptions options;
  options.progress = &context.progress();
  options.stop = context.stop();
  TRY_ASSIGN(const auto bundle, manifests::VerifyVolumes(medium, std::move(index), options), name);
  TRY_ASSIGN(reviewed.plan, importer::MakeReviewPlan(medium, bundle.index(), memory.kinds), name);
  return reviewed;
}

/// The folder whose signature file counts for the set, the one that holds the manifest.
Result<fs::path> SignatureFile(const std::vector<fs::path>& folders) {
  for (const fs::path& folder : folders) {
    std::error_code ignored;
    const fs::path path = folder / "manifest.json.sig";
    if (fs::exists(path, ignored)) return path;
  }
  return Fail(ErrorCode::kNotFound, "bundle-unfinished",
              "'" + folders.front().string() +
                  "' has no manifest.json.sig: no bundle, or an unfinished one");
}

Result<ExitCode> SignBundle(Context& context, const std::vector<std::string>& typed) {
  TRY_ASSIGN(const Signer signer, FindSigner(context));
  TRY_ASSIGN(auto memory, importer::ReadReviewMemory(signer.memory));
  TRY_ASSIGN(const auto folders, BundleFolders(typed, "sign"));
  manifests::MediumSet medium(folders);
  const auto reviewed = Review(context, medium, signer, memory);
  if (!reviewed) {
    Error error = reviewed.error();
    if (error.reason == "signature-unknown-key") {
      error.next = "name the card of this sender, once you have compared it: --trust CARD";
    }
    return std::unexpected(std::move(error));
  }
  const auto& manifest = *reviewed->manifest;
  const std::string name = manifest.manifest().DirectoryName();
  context.Print(ReviewText(manifest, reviewed->plan));
  json object = ReviewToJson(manifest, reviewed->plan);
  object["signed"] = false;
  if (context.args().Has("dry-run")) {
    context.Emit(object);
    return ExitCode::kDone;
  }
  TRY(context.Confirm("Release " + name + "?"));
  TRY_ASSIGN(const SigningKey key, SigningKey::Load(signer.key));
  TRY_ASSIGN(const fs::path from, SignatureFile(folders));
  const fs::path to = TargetOf(context, from);
  auto line =
      manifests::AddSignature(manifest.bytes(), from, to, key, manifests::SignerRole::kRelease);
  TRY(WithPlace(line ? Result<void>() : std::unexpected(line.error()), context));
  if (reviewed->plan) {
    memory.kinds.handlers.insert(reviewed->plan->kinds.handlers.begin(),
                                 reviewed->plan->kinds.handlers.end());
    memory.kinds.publishers.insert(reviewed->plan->kinds.publishers.begin(),
                                   reviewed->plan->kinds.publishers.end());
    memory.kinds.commands.insert(reviewed->plan->kinds.commands.begin(),
                                 reviewed->plan->kinds.commands.end());
    TRY(importer::WriteReviewMemory(signer.memory, memory));
  }
  context.Print(
      fmt::format("released {} with key {}: {}", name, line->key_id.ToHex(), to.string()));
  object["signed"] = true;
  object["key_id"] = line->key_id.ToHex();
  object["signature"] = to.string();
  context.Emit(object);
  return ExitCode::kDone;
}

// ---- Other documents ---------------------------------------------------------------------------

Result<ExitCode> SignTrust(Context& context, const fs::path& path) {
  TRY_ASSIGN(auto documents, ReadTrustFile(path.string()));
  for (const auto& document : documents) context.Print(DescribeTrust(document));
  if (context.args().Has("dry-run")) return ExitCode::kDone;
  TRY(context.Confirm("Did you convince yourself by voice that this is true, and sign it?"));
  TRY_ASSIGN(const Signer signer, FindSigner(context));
  TRY_ASSIGN(const SigningKey key, SigningKey::Load(signer.key));
  for (auto& document : documents) TRY(manifests::SignTrustDocument(document, key));
  const fs::path to = TargetOf(context, path);
  TRY(WithPlace(WriteFileAtomically(to, AsBytes(manifests::EncodeTrustDocuments(documents))),
                context));
  context.Print("signed: " + to.string());
  context.Emit({{"signed", true},
                {"documents", documents.size()},
                {"key_id", key.public_key().Id().ToHex()},
                {"signature", to.string()}});
  return ExitCode::kDone;
}

Result<ExitCode> SignReturn(Context& context, const fs::path& path) {
  TRY_ASSIGN(const std::string text, ReadTextFile(path, mirror::exchange::kMaxReturnBytes));
  TRY(mirror::exchange::DecodeReturn(text), "'" + path.string() + "'");
  // Printable ASCII by its grammar: what leaves is what is shown.
  context.Print(text);
  if (context.args().Has("dry-run")) return ExitCode::kDone;
  TRY(context.Confirm("May these " + std::to_string(std::ranges::count(text, '\n')) +
                      " lines leave this side?"));
  TRY_ASSIGN(const Signer signer, FindSigner(context));
  TRY_ASSIGN(const SigningKey key, SigningKey::Load(signer.key));
  const fs::path beside = path.string() + ".sig";
  const fs::path to = TargetOf(context, beside);
  auto line =
      manifests::AddSignature(AsBytes(text), beside, to, key, manifests::SignerRole::kRelease);
  TRY(WithPlace(line ? Result<void>() : std::unexpected(line.error()), context));
  context.Print("released: " + to.string());
  context.Emit({{"signed", true}, {"key_id", line->key_id.ToHex()}, {"signature", to.string()}});
  return ExitCode::kDone;
}

Result<ExitCode> Sign(Context& context) {
  const auto paths = context.args().List("PATH");
  std::error_code ignored;
  if (paths.size() > 1 || !fs::is_regular_file(paths.front(), ignored)) {
    return SignBundle(context, paths);
  }
  TRY_ASSIGN(File file, File::OpenRead(paths.front()));
  Bytes head(64);
  TRY_ASSIGN(const std::size_t size, file.ReadAt(0, head));
  head.resize(size);
  if (manifests::IsTrustDocument(head)) return SignTrust(context, paths.front());
  if (manifests::CheckDocumentType(head, manifests::DocumentType::kReturn)) {
    return SignReturn(context, paths.front());
  }
  return Refuse(
      ErrorCode::kUsage, "document-type",
      "'" + paths.front() + "' is neither a bundle's folder, a return nor a trust document",
      "gapferry sign --help");
}

}  // namespace

std::vector<Command> SignCommands() {
  return {
      {.path = {"sign"},
       .summary = "review a bundle and release it, on a machine without mirror",
       .description =
           "Checks the whole chain of the bundle, shows what it carries and what is new in kind "
           "compared with all that you have signed before, asks, and adds one line to its "
           "manifest.json.sig; nothing else is touched. Returns and trust documents are signed the "
           "same way. Needs no mirror and no network.",
       .examples = {{"gapferry sign /media/stick/gapferry-plant-000007 --key ~/keys --trust "
                     "harbour.card",
                     "shows the plan and asks"},
                    {"gapferry sign /media/dvd/gapferry-plant-000007 --key ~/keys --to .",
                     "read-only medium: ./manifest.json.sig replaces the one on the stick"},
                    {"gapferry sign harbour.rotation --key ~/keys",
                     "a change of keys that reviewers have to confirm"}},
       .options =
           {{"PATH", Takes::kList, {}, "the bundle's folders, a return or a trust document", true},
            {"--key", Takes::kText, "KEYS", "a folder of keys, a PEM file or a pkcs11: URI", true},
            {"--trust", Takes::kList, "CARD", "of the sender; else the cards in KEYS/trusted"},
            {"--to", Takes::kText, "FILE", "write the signature there: a file or a folder"},
            {"--state", Takes::kText, "FILE", "what you have signed; else KEYS/signed.json"},
            {"--unseen", Takes::kNothing, {}, "also what is sealed and cannot be shown"},
            {"--dry-run", Takes::kNothing, {}, "show the plan, sign nothing"}},
       .asks = true,
       .exits = {ExitCode::kNotFound, ExitCode::kCorrupt, ExitCode::kUntrusted, ExitCode::kNoSpace},
       .run = Sign}};
}

}  // namespace gapferry::cli
