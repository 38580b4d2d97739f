#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "manifests/keys.h"

namespace gapferry::manifests {

/// Whether a key is named by a PKCS#11 URI (RFC 7512) instead of a file.
bool IsTokenUri(std::string_view text);

/// An Ed25519 key that stays on a PKCS#11 token (smart card, HSM, SoftHSM):
///
///   pkcs11:token=LABEL;object=LABEL[;id=%01]?module-path=/usr/lib/softhsm/libsofthsm2.so
///
/// Spoken to by the C interface of the module, because the OpenSSL engine of Debian 12 knows RSA
/// and the NIST curves only. Without module-path the modules that p11-kit has registered are
/// searched. The PIN is the first line of the file `pin-source` of the URI, else as
/// any passphrase (manifests/passphrase.h); an operator may type it at the reader instead
/// (protected authentication path). Thread-compatible.
class TokenKey {
 public:
  /// Fails with kUsage for a malformed URI, kNotFound (reason "token-missing") when no module,
  /// token or key fits it, kUntrusted (reason "passphrase-wrong") when the token refuses the PIN,
  /// kUnsupported for another kind of key.
  static Result<std::unique_ptr<TokenKey>> Open(const std::string& uri);
  ~TokenKey();
  TokenKey(const TokenKey&) = delete;
  TokenKey& operator=(const TokenKey&) = delete;

  const SigningPublicKey& public_key() const { return public_key_; }
  /// CKM_EDDSA. Fails with kTransient when the token does not sign, such as after it was pulled.
  Result<Signature> Sign(ByteView message) const;

 private:
  struct Impl;
  TokenKey(std::unique_ptr<Impl> impl, const SigningPublicKey& public_key);
  std::unique_ptr<Impl> impl_;
  SigningPublicKey public_key_;
};

}  // namespace gapferry::manifests
