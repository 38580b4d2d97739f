#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "manifests/bundle_verifier.h"
#include "manifests/mending.h"
#include "manifests/repair_request.h"

namespace gapferry::manifests {

/// What a check of a whole bundle found. Unlike an import it reads on after the first damage.
struct BundleReport {
  Manifest manifest;
  Sha256Digest manifest_sha256;
  SignatureReport signatures;
  bool was_opened = true;  ///< false: sealed, and only what is stored was checked
  /// The first damage that could not be mended. Nothing: every byte that was there to be checked is
  /// right, if perhaps only with the help of repair files.
  std::optional<Error> failure;
  std::set<std::uint32_t> absent_volumes;  ///< on media that are not here; not checked
  std::vector<VolumeDamage> volumes;       ///< with damaged blocks, or damaged repair blocks
  std::vector<std::string> mended_files;   ///< small files given right from copies
  DamagedFiles damaged_files;              ///< small files that were not
  struct DamagedObject {
    IndexLine line;
    Error why;
  };
  std::vector<DamagedObject> objects;  ///< at most DamagedObjects::kMaxItems
  std::uint64_t damaged_objects = 0;
  std::uint64_t damaged_bytes = 0;  ///< of objects
  bool has_index = true;            ///< false: which objects are damaged is not known
  std::uint64_t all_objects = 0;
  std::uint64_t all_bytes = 0;  ///< of all objects, or of all volumes as they are stored

  bool is_sound() const { return !failure && !needed_repair(); }
  bool needed_repair() const;  ///< something on the medium is not as it was written
};

/// Fails as VerifyManifest, and for everything else that is no damage: kCancelled, "file-unlisted",
/// "sums-malformed" and the like. `medium` was made with reads_on.
Result<BundleReport> ReportOn(MendingMedium& medium, const TrustPolicy& policy,
                              const std::optional<Addressee>& addressee, Progress* progress,
                              const std::stop_token& stop);

/// What has to be asked for so that everything in the report is mended. Of a volume whose blocks
/// file is lost too, all blocks of damaged objects. Empty when nothing is missing.
RepairRequest RequestFor(const BundleReport& report, MendingMedium& medium);

}  // namespace gapferry::manifests
