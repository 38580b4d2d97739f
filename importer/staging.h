#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "base/result.h"
#include "manifests/bundle_verifier.h"
#include "mirror/content_store.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

/// Copies the objects of a bundle into staging while they are checked: content to where the content
/// store collects files, the rest to a folder of the bundle. What an earlier run copied is hashed
/// again and not read from the medium. Content that the store holds is checked and not copied.
/// Volumes whose medium was here before are marked: their objects count as had, and are hashed
/// again in the run that has everything. The receiver's functions are thread-safe; the rest belongs
/// to one thread.
class Staging : public manifests::ObjectReceiver {
 public:
  /// Fails with kNoSpace before anything is copied. `index` and `mirror` must outlive it.
  static Result<std::unique_ptr<Staging>> Open(mirror::Mirror& mirror,
                                               const manifests::VerifiedIndex& index);

  Result<bool> Has(const manifests::IndexLine& line) override;
  Result<std::unique_ptr<manifests::ObjectSlot>> Begin(const manifests::IndexLine& line) override;

  /// Notes that every volume of the media that are here was staged.
  Result<void> MarkVolumes();
  const std::filesystem::path& folder() const { return folder_; }

  /// Where an intent or metadata object lies.
  std::filesystem::path PathOf(const manifests::ObjectName& name) const;
  std::uint64_t bytes_to_copy() const { return bytes_to_copy_; }

  /// What was staged, for the scanner: files that the store holds, and attachments, are not.
  struct StagedObject {
    std::string name;
    std::filesystem::path path;
    Sha256Digest sha256;
    std::optional<mirror::ContentExpectation> content;  ///< of content files
  };
  std::vector<StagedObject> StagedObjects() const;
  /// The content file is not taken; it stays where it is until somebody moves or Remove removes it.
  void LeaveOut(const Sha1Digest& sha1) { content_.at(sha1).is_left_out = true; }

  /// The staged content files, whole and verified; call after every volume was verified.
  Result<std::vector<mirror::VerifiedContent>> TakeContent();
  /// Removes the folder of a bundle whose import has ended.
  static Result<void> RemoveFolder(mirror::Mirror& mirror, const Sha256Digest& manifest);
  /// Removes the folders of all bundles: after one was imported, others that were begun are older,
  /// or begin anew.
  static Result<void> RemoveFolders(mirror::Mirror& mirror);
  /// Removes the folder of the bundle; staged content files with it when `content` is set.
  Result<void> Remove(bool content);

 private:
  class Slot;
  struct Digests {
    Sha1Digest sha1;
    Sha256Digest sha256;
  };
  struct Place {
    mirror::ContentExpectation expected;
    std::filesystem::path path;
    bool is_held = false;
    bool is_left_out = false;
  };
  Staging(mirror::Mirror& mirror, const manifests::VerifiedIndex& index);
  Result<void> Plan();
  Result<bool> HasFromBefore(const manifests::IndexLine& line);
  Result<bool> IsStaged(const manifests::IndexLine& line);
  std::filesystem::path MarkOf(std::uint32_t volume) const;
  std::filesystem::path FileOf(const manifests::IndexLine& line) const;
  std::uint64_t OffsetOf(const manifests::IndexLine& line) const;

  mirror::Mirror& mirror_;
  const manifests::VerifiedIndex& index_;
  std::filesystem::path folder_;
  // Constant after Open.
  std::map<Sha1Digest, Place> content_;
  std::map<manifests::ObjectName, std::uint64_t> part_offsets_;
  std::uint64_t bytes_to_copy_ = 0;
  std::set<std::uint32_t> marked_;  ///< volumes of media that were here before
  bool is_all_here_ = true;         ///< every volume is here or was
  // Filled by the workers.
  Guarded<std::map<Sha1Digest, Digests>> hashed_;
};

}  // namespace gapferry::importer
