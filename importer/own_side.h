#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "manifests/bundle_verifier.h"
#include "manifests/medium.h"
#include "manifests/trust_state.h"
#include "mirror/commit.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

/// Whom a mirror trusts now: cards, local policy, and the documents that were accepted.
Result<manifests::TrustState> ReadTrust(mirror::Mirror& mirror);

/// The trust policy of a mirror and itself as addressee.
struct OwnSide {
  manifests::TrustPolicy policy;
  manifests::Addressee addressee;
  /// Trust documents that lie with the bundle and were applied to `policy`, in this order: lasting
  /// once the import's commit calls KeepTrust.
  std::vector<manifests::TrustDocument> arrived = {};
};
/// With the trust documents of `medium`, read before anything else of it, within their limits.
/// Fails with kUntrusted (reason "no-trust") when no card was added yet, kUsage (reason "no-gap")
/// on a mirror that is not fed by a gap, and as DecodeTrustDocuments and ApplyTrustDocuments.
Result<OwnSide> ReadOwnSide(mirror::Mirror& mirror, manifests::Medium* medium = nullptr);

/// The trust documents of a bundle: trust.jsonl, none when it is absent.
Result<std::vector<manifests::TrustDocument>> ReadArrivedTrust(manifests::Medium& medium);

/// Inside the commit of an import: makes `arrived` lasting, each with its audit record, and notes
/// which key signed the bundle.
Result<void> KeepTrust(mirror::CommitTransaction& commit, const OwnSide& own,
                       const Sha256Digest& manifest, const manifests::KeyId& origin,
                       const std::string& actor);

/// What became of one document.
struct TrustVerdict {
  manifests::TrustDocument document;
  manifests::TrustOutcome outcome = manifests::TrustOutcome::kForeign;
  std::string of;  ///< "sender" or "site"; empty: foreign
};
/// Accepts documents that came as a file, for trusted cards and for cards of sites alike; those
/// that are applied become lasting, each with its audit record. Fails as ApplyTrustDocument.
Result<std::vector<TrustVerdict>> AcceptTrust(mirror::Mirror& mirror,
                                              std::vector<manifests::TrustDocument> documents,
                                              const std::string& actor);

/// The trust state of the connected side: cards of the sites and what documents said about them.
Result<manifests::TrustState> ReadSiteTrust(mirror::Mirror& mirror);
/// Makes documents about sites lasting: a site's card becomes that of its rotation. Audited; one
/// transaction.
Result<void> KeepSiteTrust(mirror::Mirror& mirror,
                           const std::vector<manifests::TrustDocument>& documents,
                           const std::string& actor);

}  // namespace gapferry::importer
