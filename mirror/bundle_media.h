#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/sqlite.h"

namespace gapferry::mirror {

/// A volume that was written to a medium and read back.
struct PlacedVolume {
  std::uint32_t number = 0;  ///< from 1
  std::uint64_t bytes = 0;   ///< with the files beside it
  Sha256Digest sha256;
};

/// One medium of a bundle.
struct BundleMedium {
  std::uint32_t number = 0;  ///< from 1, in the order they were begun; never used again
  std::string path;          ///< of the folder that `--to` named; another medium may be there later
  bool lost = false;         ///< given up: the volumes still listed must be written again
  bool has_manifest = false;
  std::string read_back;  ///< how its volumes were read again: manifests::ReadBackName
  UtcTime begun_at;
  std::vector<PlacedVolume> volumes;  ///< ascending
};

/// Which volume of an outgoing bundle lies on which medium, in catalog.db. `owner` and sequence as
/// in BundleOut. Each writing function is one transaction. Thread rule of its database.
class BundleMedia {
 public:
  BundleMedia(Database& catalog, const Guid& owner, std::uint64_t sequence)
      : db_(catalog), owner_(owner), sequence_(sequence) {}

  Result<std::vector<BundleMedium>> All();
  /// Gives the next number to a medium.
  Result<std::uint32_t> Begin(std::string_view path, UtcTime now);
  /// Moves the volume there when it had another place.
  Result<void> Place(std::uint32_t medium, const PlacedVolume& volume, std::string_view read_back);
  Result<void> MarkManifest(std::uint32_t medium);
  /// What is on it does not count any more; its volumes stay listed there until they are placed
  /// elsewhere. kNotFound (reason "medium-unknown") when no medium of that number counts. Audited.
  Result<void> GiveUp(std::uint32_t medium, UtcTime now, std::string_view actor);

 private:
  Database& db_;  // must outlive
  Guid owner_;
  std::uint64_t sequence_;
};

}  // namespace gapferry::mirror
