#include "importer/reviewer.h"

#include "importer/own_side.h"

namespace gapferry::importer {

Result<manifests::SigningKey> LoadReviewer(mirror::Mirror& mirror,
                                           const std::filesystem::path& path) {
  TRY_ASSIGN(auto key, manifests::SigningKey::Load(path));
  TRY_ASSIGN(const auto trust, ReadTrust(mirror));
  for (const auto& holder : trust.holders) {
    if (!holder.is_revoked && holder.card.signing_key == key.public_key() &&
        holder.Has(manifests::SignerRole::kRelease)) {
      return key;
    }
  }
  return Fail(ErrorCode::kUntrusted, "reviewer-unknown",
              "'" + path.string() + "': nobody with this key (" + key.public_key().Id().ToHex() +
                  ") is trusted here in the role release");
}

}  // namespace gapferry::importer
