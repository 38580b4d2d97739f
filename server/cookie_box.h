#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/guarded.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/identity.h"
#include "mirror/state.h"
#include "server/scan_index.h"

namespace gapferry::server {

/// What a sealed cookie is for; one kind is never taken for another.
enum class CookiePurpose : std::uint8_t {
  kClientAuthorization = 1,
  kClient = 2,
  kServerAuthorization = 3,
  kServer = 4,
};

/// Seals small texts that peers keep for us and give back: AES-256-GCM under a key derived from the
/// mirror's cookie key, the purpose and the day. A restart does not change the key; nothing is kept
/// per peer. Layout: version 1, day (uint32 LE since 1970), nonce (12), ciphertext, tag (16).
/// Thread-safe.
class CookieBox {
 public:
  explicit CookieBox(const mirror::CookieKey& key);

  Result<Bytes> Seal(CookiePurpose purpose, ByteView plain, UtcTime now) const;
  /// Fails with kUntrusted for anything that Seal of this mirror did not make for this purpose.
  Result<Bytes> Open(CookiePurpose purpose, ByteView sealed) const;

 private:
  /// `keep`: for a day of our own choice only; a peer names any day in what it wants opened.
  Sha256Digest DayKey(CookiePurpose purpose, std::uint32_t day, bool keep) const;
  Sha256Digest DeriveKey(CookiePurpose purpose, std::uint32_t day) const;

  struct DerivedKey {
    CookiePurpose purpose;
    std::uint32_t day;
    Sha256Digest key;
  };
  mirror::CookieKey key_;
  /// The last few, since deriving one takes longer than sealing a cookie. Shared by copies.
  std::shared_ptr<Guarded<std::vector<DerivedKey>>> derived_;
};

/// Both client cookies: who the client is and what it was told. The epoch and state it was told of
/// travel along, so that a mirror restored from a backup notices.
struct ClientCookie {
  std::string client_id;
  std::string dns_name;
  std::string target_group;            ///< as the client asked, may be empty
  mirror::StateName state;             ///< when it was issued
  std::uint32_t protocol_version = 0;  ///< PackProtocolVersion of the client's
  UtcTime issued;
  UtcTime expires;
  UtcTime config_last_change;  ///< of the configuration the client has seen
  std::optional<ScanAnchor> anchor;
  /// The same for scans of single categories, which need not list all that a client has cached.
  std::optional<ScanAnchor> category_anchor;
  /// protocol::kFragmentDerivation of the fragments that the client caches; 0: not known.
  std::int32_t derivation = 0;
  bool operator==(const ClientCookie&) const = default;
};

/// Both cookies of downstream servers.
struct ServerCookie {
  Guid server;  ///< of the downstream server
  std::string name;
  Guid mirror;  ///< ours, MS-WSUSSS 3.1.4: another one means ServerChanged
  Guid epoch;
  std::uint32_t protocol_version = 0;
  UtcTime expires;
  bool operator==(const ServerCookie&) const = default;
};

Bytes EncodeCookie(const ClientCookie& cookie);
Bytes EncodeCookie(const ServerCookie& cookie);
/// Fail with kCorrupt; only bytes that were sealed are ever decoded.
Result<ClientCookie> DecodeClientCookie(ByteView bytes);
Result<ServerCookie> DecodeServerCookie(ByteView bytes);

}  // namespace gapferry::server
