#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "manifests/card.h"
#include "manifests/trust_document.h"
#include "mirror/identity.h"

namespace gapferry::exporter {

/// A folder of keys: keys/ of a mirror, or that of a person who reviews (a reviewer needs no
/// mirror). It holds signing.pem, encryption.pem, trust.jsonl (documents to carry), old/ (keys that
/// were replaced), and for a person the card.
struct KeyHolder {
  mirror::KeyPaths paths;
  Guid guid;
  std::string name;
  std::vector<manifests::SignerRole> roles;
  std::uint64_t number = 0;
};

/// Makes a person's folder (0700) with two fresh keys and the card; `signing` names a key on a
/// token to be used instead of a file. Fails with kUsage when the folder holds keys. Returns the
/// card.
Result<std::string> CreatePerson(const std::filesystem::path& folder, std::string_view name,
                                 const std::vector<manifests::SignerRole>& roles,
                                 const std::string& signing, std::string_view passphrase);
/// A person's folder. kNotFound when it is none.
Result<KeyHolder> OpenPerson(const std::filesystem::path& folder);

struct KeyChange {
  std::string why;  ///< for people: "yearly", "stick lost"
  UtcTime now;
  bool is_lost = false;  ///< the old signing key cannot or must not sign: others have to
  bool keep_encryption = false;
  /// Where the key that signs from now on lies, when that is not a new file: a token, or a file
  /// that gapferry.yaml names.
  std::string new_signing;
  std::filesystem::path old_signing;  ///< the key until now
  std::string passphrase;             ///< of the new files; empty: none
};
/// Replaces the keys of `holder` in one step (mirror/identity.h, FinishKeyChange): new keys, a card
/// with the next number, the document that says so among those to carry. The old keys move to old/.
/// Killed at any point, either nothing has happened or all. Returns the document.
Result<manifests::TrustDocument> ChangeKeys(const KeyHolder& holder, const KeyChange& change);

/// Says that the present signing key ends and nothing takes its place: signed by it, and carried.
Result<manifests::TrustDocument> RevokeOwnKey(const KeyHolder& holder, const std::string& why,
                                              UtcTime now);

/// The documents to carry; empty when there are none.
Result<std::vector<manifests::TrustDocument>> CarriedDocuments(const mirror::KeyPaths& paths);
Result<std::string> CarriedTrust(const mirror::KeyPaths& paths);
/// Adds a document to carry, in place of one with fewer signatures.
Result<void> CarryDocument(const mirror::KeyPaths& paths, manifests::TrustDocument document);

}  // namespace gapferry::exporter
