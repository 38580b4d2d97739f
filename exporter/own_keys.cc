#include "exporter/own_keys.h"

#include <algorithm>

#include "base/file.h"
#include "manifests/token_key.h"

namespace gapferry::exporter {
namespace {

using manifests::EncryptionKey;
using manifests::SigningKey;
using manifests::TrustDocument;

std::vector<std::string> FormatsOf(const std::vector<manifests::SignerRole>& roles) {
  const bool origin = std::ranges::find(roles, manifests::SignerRole::kOrigin) != roles.end();
  if (!origin) return {manifests::TypeField(manifests::DocumentType::kManifest)};
  return {manifests::TypeField(manifests::DocumentType::kManifest),
          manifests::TypeField(manifests::DocumentType::kReturn)};
}

mirror::KeyPaths PathsIn(const fs::path& folder) {
  mirror::KeyPaths paths;
  paths.signing = folder / "signing.pem";
  paths.encryption = folder / "encryption.pem";
  paths.old_folder = folder / "old";
  paths.documents = folder / "trust.jsonl";
  paths.next_folder = folder / "next";
  paths.ready_folder = folder / "ready";
  return paths;
}

/// Copies a key file to old/, named after its kind and id; once is enough.
Result<void> KeepOld(const fs::path& file, const fs::path& folder, const std::string& name) {
  const auto bytes = ReadFile(file, 64 * 1024);
  // A lost key may be lost as a file, too.
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) return {};
  if (!bytes) return std::unexpected(bytes.error());
  TRY(CreateDirectories(folder, 0700));
  return WriteFileAtomically(folder / name, *bytes, 0600);
}

/// The key that signs from now on: an existing one, or a fresh one written to `next`.
Result<SigningKey> NewSigningKey(const KeyChange& change, const fs::path& next) {
  if (!change.new_signing.empty()) return SigningKey::Load(change.new_signing);
  SigningKey key = SigningKey::Generate();
  TRY(key.Save(next / "signing.pem", change.passphrase));
  return key;
}

Result<manifests::EncryptionPublicKey> NewEncryptionKey(const KeyHolder& holder,
                                                        const KeyChange& change,
                                                        const fs::path& next) {
  if (change.keep_encryption) return manifests::LoadEncryptionPublicKey(holder.paths.encryption);
  TRY_ASSIGN(const auto old, manifests::LoadEncryptionPublicKey(holder.paths.encryption));
  TRY(KeepOld(holder.paths.encryption, holder.paths.old_folder,
              "encryption-" + old.Id().ToHex() + ".pem"));
  const EncryptionKey key = EncryptionKey::Generate();
  TRY(key.Save(next / "encryption.pem", change.passphrase));
  return key.public_key();
}

/// The key id that ends: of the old key, or of the card that named it when the key is gone.
Result<manifests::KeyId> EndedKeyOf(const KeyHolder& holder, const KeyChange& change) {
  auto key = manifests::LoadSigningPublicKey(change.old_signing);
  if (key) return key->Id();
  if (!change.is_lost) return std::unexpected(std::move(key.error()));
  const auto card =
      ReadFile(holder.paths.documents.parent_path() / "card", manifests::kMaxCardBytes);
  if (!card) return manifests::KeyId{};
  TRY_ASSIGN(const auto decoded, manifests::DecodeCard(*card));
  return decoded.signing_key.Id();
}

/// A document that no reader takes would stop every bundle.
Result<void> CheckWhy(const std::string& why) {
  constexpr std::size_t kMaxWhyBytes = 120;
  if (why.size() <= kMaxWhyBytes && IsValidUtf8(why) && why.find('\0') == std::string::npos)
    return {};
  return Fail(ErrorCode::kUsage, "bad-why",
              "the reason has " + std::to_string(why.size()) + " bytes, allowed are 120 of UTF-8");
}

Result<void> CommitChange(const mirror::KeyPaths& paths) {
  TRY(SyncDirectory(paths.next_folder));
  TRY(Rename(paths.next_folder, paths.ready_folder));  // the keys have changed
  TRY(SyncDirectory(paths.ready_folder.parent_path()));
  TRY(mirror::FinishKeyChange(paths.ready_folder.parent_path()));
  return {};
}

}  // namespace

Result<std::string> CreatePerson(const fs::path& folder, std::string_view name,
                                 const std::vector<manifests::SignerRole>& roles,
                                 const std::string& signing, std::string_view passphrase) {
  const mirror::KeyPaths paths = PathsIn(folder);
  std::error_code ignored;
  for (const fs::path& path : {paths.signing, paths.encryption, folder / "card"}) {
    if (!fs::exists(path, ignored)) continue;
    return Fail(ErrorCode::kUsage, "key-exists",
                "'" + path.string() + "' exists; a key is never overwritten");
  }
  TRY(CreateDirectories(folder, 0700));
  SigningKey key = SigningKey::Generate();
  if (!signing.empty()) {
    TRY_ASSIGN(key, SigningKey::Load(signing));
  }
  const EncryptionKey encryption = EncryptionKey::Generate();
  manifests::Card card;
  card.guid = Guid::Random();
  card.name = name;
  card.roles = roles;
  card.signing_key = key.public_key();
  card.encryption_key = encryption.public_key();
  card.formats = FormatsOf(roles);
  TRY_ASSIGN(const std::string text, manifests::EncodeCard(card, key));
  // Our own reader must accept what is handed out: a name of 65 bytes, a control character.
  if (const auto read = manifests::DecodeCard(AsBytes(text)); !read) {
    return Fail(ErrorCode::kUsage, "bad-name", "no card can be made: " + read.error().message);
  }
  if (signing.empty()) TRY(key.Save(paths.signing, passphrase));
  TRY(encryption.Save(paths.encryption, passphrase));
  TRY(WriteFileAtomically(folder / "card", AsBytes(text)));
  return text;
}

Result<KeyHolder> OpenPerson(const fs::path& folder) {
  TRY_ASSIGN(const std::uint64_t number, mirror::FinishKeyChange(folder));
  const auto bytes = ReadFile(folder / "card", manifests::kMaxCardBytes);
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) {
    return Fail(ErrorCode::kNotFound, "no-keys",
                "'" + folder.string() + "' holds no keys of a person: it has no card");
  }
  if (!bytes) return std::unexpected(bytes.error());
  TRY_ASSIGN(const auto card, manifests::DecodeCard(*bytes), "'" + folder.string() + "/card'");
  return KeyHolder{PathsIn(folder), card.guid, card.name, card.roles,
                   std::max(number, card.number)};
}

Result<TrustDocument> ChangeKeys(const KeyHolder& holder, const KeyChange& change) {
  const mirror::KeyPaths& paths = holder.paths;
  TRY(CheckWhy(change.why));
  TRY_ASSIGN(auto documents, CarriedDocuments(paths));
  TrustDocument document;
  document.act = manifests::TrustAct::kRotation;
  document.holder = holder.guid;
  document.number = holder.number + 1;
  for (const TrustDocument& one : documents) {
    if (one.holder == holder.guid) document.number = std::max(document.number, one.number + 1);
  }
  document.created = change.now;
  document.why = change.why;
  TRY_ASSIGN(document.ended_key, EndedKeyOf(holder, change));
  TRY(RemoveTree(paths.next_folder));
  TRY(CreateDirectories(paths.next_folder, 0700));
  TRY_ASSIGN(const SigningKey key, NewSigningKey(change, paths.next_folder));
  TRY_ASSIGN(const auto encryption, NewEncryptionKey(holder, change, paths.next_folder));
  document.card.guid = holder.guid;
  document.card.name = holder.name;
  document.card.roles = holder.roles;
  document.card.number = document.number;
  document.card.formats = FormatsOf(holder.roles);
  document.card.signing_key = key.public_key();
  document.card.encryption_key = encryption;
  TRY_ASSIGN(document.card_text, manifests::EncodeCard(document.card, key));
  if (!change.is_lost) {
    TRY_ASSIGN(const SigningKey old, SigningKey::Load(change.old_signing));
    TRY(manifests::SignTrustDocument(document, old));
  }
  if (!manifests::IsTokenUri(change.old_signing.string())) {
    TRY(KeepOld(change.old_signing, paths.old_folder,
                "signing-" + document.ended_key.ToHex() + ".pem"));
  }
  manifests::MergeTrustDocument(documents, document);
  TRY(WriteFileAtomically(paths.next_folder / "trust.jsonl",
                          AsBytes(manifests::EncodeTrustDocuments(documents)), 0600));
  TRY(WriteFileAtomically(paths.next_folder / "card", AsBytes(document.card_text)));
  TRY(WriteFileAtomically(paths.next_folder / "number",
                          AsBytes(std::to_string(document.number) + "\n")));
  TRY(CommitChange(paths));
  return document;
}

Result<TrustDocument> RevokeOwnKey(const KeyHolder& holder, const std::string& why, UtcTime now) {
  TRY(CheckWhy(why));
  TRY_ASSIGN(const SigningKey key, SigningKey::Load(holder.paths.signing));
  TrustDocument document;
  document.act = manifests::TrustAct::kRevocation;
  document.holder = holder.guid;
  document.number = holder.number + 1;
  document.ended_key = key.public_key().Id();
  document.created = now;
  document.why = why;
  TRY(manifests::SignTrustDocument(document, key));
  TRY(CarryDocument(holder.paths, document));
  return document;
}

Result<std::vector<TrustDocument>> CarriedDocuments(const mirror::KeyPaths& paths) {
  TRY_ASSIGN(const std::string text, CarriedTrust(paths));
  return manifests::DecodeTrustDocuments(AsBytes(text));
}

Result<std::string> CarriedTrust(const mirror::KeyPaths& paths) {
  auto text = ReadTextFile(paths.documents, manifests::kMaxTrustFileBytes);
  if (!text && text.error().code == ErrorCode::kNotFound) return std::string();
  return text;
}

Result<void> CarryDocument(const mirror::KeyPaths& paths, TrustDocument document) {
  TRY_ASSIGN(auto documents, CarriedDocuments(paths));
  manifests::MergeTrustDocument(documents, std::move(document));
  const std::string text = manifests::EncodeTrustDocuments(documents);
  // What our own reader refuses would stop every bundle.
  TRY(manifests::DecodeTrustDocuments(AsBytes(text)));
  return WriteFileAtomically(paths.documents, AsBytes(text), 0600);
}

}  // namespace gapferry::exporter
