#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "manifests/bundle_verifier.h"
#include "manifests/medium.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

/// A bundle that lies beside the one that is meant, and why it is not.
struct OtherBundle {
  std::filesystem::path folder;
  std::string why;
};

/// The folders that together are one bundle, as far as media are here.
struct BundleSource {
  /// In the order in which files are looked for; the first may be our own copy of the small files
  /// that an earlier medium brought.
  std::vector<std::filesystem::path> folders;
  /// The one of them to speak of: has the bundle's own manifest, or was completed by it.
  std::filesystem::path named;
  std::vector<OtherBundle> others;
};

/// `path` itself when it is a bundle's folder, whole or in part; else the folders gapferry-* in it
/// that are; nothing deeper is looked at. Fails with kNotFound, "no-bundle", when there is none,
/// with kUsage, "medium-too-full", where there are more than 100,000 entries or 1,000 such folders.
Result<std::vector<std::filesystem::path>> BundleFoldersAt(const std::filesystem::path& path);

/// Finds the bundle that is meant by `paths`, each a bundle's folder or the root of a medium with
/// folders gapferry-*. Of several bundles the one whose turn it is, else one that is refused though
/// it is newer than all that were imported; several folders belong together
/// when they carry the same manifest, or the README.txt that its sums list, or that of the bundle
/// beside a manifest that is damaged and nothing that is no file of this bundle. A folder without a
/// manifest is completed by the copy that an earlier run kept (KeepSmallFiles). What else lies on
/// a medium is not looked at. Nothing here is trusted: whatever is found is verified as a whole.
/// Fails with kNotFound: reasons "no-bundle", "manifest-elsewhere" (names what the medium carries),
/// "no-bundle-due" (several, none of which can be imported now; says why of each).
Result<BundleSource> FindBundle(mirror::Mirror& mirror,
                                const std::vector<std::filesystem::path>& paths, bool new_history);

/// Keeps everything but volumes and the files beside them in `folder`, for media that come later.
/// Call when it was verified; what is read again from there is verified again. Of several copies of
/// the signatures that of `manifest` is kept.
Result<void> KeepSmallFiles(manifests::Medium& medium, const manifests::VerifiedManifest& manifest,
                            const std::filesystem::path& folder);

/// Where the small files of a bundle are kept, below its folder in staging.
inline constexpr const char* kKeptFolder = "medium";

}  // namespace gapferry::importer
