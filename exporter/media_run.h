#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "exporter/export.h"
#include "manifests/bundle_writer.h"
#include "mirror/bundle_media.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// One run of an export over the media that `--to` names, filled one by one. Each medium gets the
/// bundle's folder with README.txt and as many volumes, with the files beside them, as it has room
/// for; index, sums, manifest and signature go to the last one and to every other one that was
/// named in the run that ends the bundle. What lies where is kept in the ledger, so that any run
/// goes on where the last one stopped, on any medium.
/// Owned by one thread. What is given must outlive it.
class MediaRun {
 public:
  /// The part of the plan that media have to do with.
  struct Plan {
    manifests::Manifest draft;
    std::string readme;
    unsigned parity = 0;  ///< percent of repair blocks beside each volume
  };
  MediaRun(mirror::Mirror& mirror, const mirror::BundleOut& bundle, Plan plan,
           manifests::BundleWriter& writer, manifests::ObjectProvider& objects,
           const ExportOptions& options);

  /// Writes the volumes that have no place. False when the media ran out before the last one: the
  /// next run goes on. Fails with kNoSpace, both numbers named, when the media take nothing at all;
  /// kUsage (reasons "file-too-large-for-medium", "directory-in-use"); kCorrupt (reasons
  /// "read-back", "source-changed"); kInternal, reason "medium-failed", when a device fails.
  Result<bool> PlaceVolumes();

  /// Ends the bundle: `finish` writes what belongs behind the volumes into the folder the writer is
  /// at, and the other media of this run get copies. So does `keep`, a folder on our own disk.
  Result<void> Finish(const std::filesystem::path& keep,
                      const std::function<Result<void>()>& finish);
  /// The same from the copy that an earlier run kept.
  Result<void> FinishFrom(const std::filesystem::path& kept);
  /// The label beside the folder of each medium of this run.
  Result<void> WriteLabels();

  const std::filesystem::path& folder() const { return folder_; }  ///< on the last medium used
  Result<std::vector<ExportMedium>> Report();
  std::vector<std::uint32_t> Pending() const;
  std::uint64_t bytes() const;  ///< of all volumes that have a place, and of the small files
  manifests::ReadBack read_back() const { return read_back_; }

 private:
  struct Target {
    std::filesystem::path path;
    std::uint32_t medium = 0;  ///< 0: nothing is on it yet
  };
  Result<void> ReadPlaces();
  Result<std::optional<std::filesystem::path>> NextPath();
  Result<void> Use(const std::filesystem::path& path);
  Result<void> UseFolder(const std::filesystem::path& path);
  Result<std::uint32_t> Identify(const std::filesystem::path& path) const;
  Result<void> CheckPlaced();
  Result<void> RemoveStrays();
  Result<void> Fill();
  Result<bool> Fits(std::uint32_t volume) const;
  Result<bool> RoomToFinish() const;
  Result<std::uint64_t> Room() const;
  const std::string& NameOf(std::uint32_t volume) const;
  std::uint64_t VolumeBytes(std::uint32_t volume) const;
  Result<void> Write(std::uint32_t volume);
  void NoteReadBack();
  Result<void> CopySmallFiles(const std::filesystem::path& from, const std::filesystem::path& to);
  std::unexpected<Error> TooSmall() const;

  mirror::Mirror& mirror_;
  const mirror::BundleOut& bundle_;
  const Plan plan_;
  manifests::BundleWriter& writer_;
  manifests::ObjectProvider& objects_;
  const ExportOptions& options_;
  mirror::BundleMedia media_;
  std::map<std::uint32_t, std::uint32_t> place_;   ///< volume to medium
  std::map<std::uint32_t, std::uint64_t> placed_;  ///< volume to bytes with the files beside it
  std::vector<Target> targets_;  ///< used in this run; the last is the current one
  std::size_t next_path_ = 0;
  std::size_t written_ = 0;  ///< volumes, in this run
  std::filesystem::path folder_;
  manifests::ReadBack read_back_ = manifests::ReadBack::kDirect;
};

}  // namespace gapferry::exporter
