#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace gapferry::manifests {

/// A file of a bundle, wherever it lies. Thread-safe.
class MediumFile {
 public:
  virtual ~MediumFile() = default;
  virtual std::uint64_t size() const = 0;
  /// Short only at the end of the file. A device that fails is kInternal, reason
  /// "medium-unreadable".
  virtual Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const = 0;
  /// The same bytes, each block compared with what is known of it and restored where it is wrong
  /// and can be (manifests/mending.h); slower. kCorrupt, reason "block-lost". Layers around a file
  /// hand it on; a file that knows nothing of its blocks reads as ever.
  virtual Result<std::size_t> ReadCarefully(std::uint64_t offset,
                                            std::span<std::uint8_t> out) const {
    return ReadAt(offset, out);
  }
};

/// Where the files of one bundle come from: a folder, or several (manifests/medium_set.h). Only
/// reads. Thread-safe. Layers around a medium (repair, decryption) are media themselves and hand
/// MayLackVolumes on; where copies lie is their business.
class Medium {
 public:
  virtual ~Medium() = default;
  /// For people: the path.
  virtual std::string Describe() const = 0;
  /// Names of everything that lies where the bundle lies, sorted; at most kMaxMediumEntries. What
  /// operating systems put beside files (IsLitter) is left out.
  virtual Result<std::vector<std::string>> List() = 0;
  /// Regular files only; links are refused (kCorrupt), absent ones are kNotFound.
  virtual Result<std::unique_ptr<MediumFile>> Open(std::string_view name) = 0;
  /// Every copy of a file, the one that Open gives first; never empty. One of them may be damaged
  /// where another is right.
  virtual Result<std::vector<std::unique_ptr<MediumFile>>> OpenCopies(std::string_view name);
  /// Whether OpenCopies may give more than one.
  virtual bool MayHaveCopies() const { return false; }
  /// True where some of the bundle's media are elsewhere: volumes that are not there are then no
  /// damage. They count as not verified.
  virtual bool MayLackVolumes() const { return false; }
};

inline constexpr std::size_t kMaxMediumEntries = 20'000;

/// Files that desktops leave in every folder they show: "._NAME", ".DS_Store", "Thumbs.db",
/// "desktop.ini". The only ones that may lie in a bundle's folder without being listed.
bool IsLitter(std::string_view name);

class DirectoryMedium : public Medium {
 public:
  explicit DirectoryMedium(std::filesystem::path directory);
  std::string Describe() const override;
  Result<std::vector<std::string>> List() override;
  Result<std::unique_ptr<MediumFile>> Open(std::string_view name) override;

 private:
  std::filesystem::path directory_;
};

/// The number in volume-NNNN..., blocks-NNNN and repair-NNNN; nothing for other names.
std::optional<std::uint32_t> VolumeOfFile(std::string_view name);

/// The whole file; fails with kCorrupt (reason "file-too-large") above `limit_bytes`.
Result<Bytes> ReadMediumFile(Medium& medium, std::string_view name, std::uint64_t limit_bytes);

}  // namespace gapferry::manifests
