#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "manifests/index.h"
#include "manifests/keys.h"
#include "manifests/manifest.h"

namespace gapferry::exporter {

/// What the ledger keeps of a plan beside the states: the manifest as far as it is known, and how
/// volumes are made.
struct StoredPlan {
  manifests::Manifest draft;
  std::uint64_t volume_bytes = 0;  ///< 0: one volume
  /// Of the recipients, in the order of the manifest: the bundle is sealed for them; empty: plain.
  std::vector<manifests::EncryptionPublicKey> seal_for;
  manifests::VolumeForm form() const {
    return seal_for.empty() ? manifests::VolumeForm::kPlain : manifests::VolumeForm::kSealed;
  }
};

std::string EncodePlan(const StoredPlan& plan);
Result<StoredPlan> DecodePlan(std::string_view text);

}  // namespace gapferry::exporter
