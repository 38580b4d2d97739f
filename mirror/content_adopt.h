#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

/// How files get from a foreign folder into the store.
enum class AdoptMode {
  kCopy,  ///< a copy; costs no space where the file system shares blocks (reflink)
  kMove,  ///< the name is taken away there, once the file is in the store
  kLink,  ///< reflink, else a hard link: both names are one file, which nobody may write to
};

struct AdoptOptions {
  AdoptMode mode = AdoptMode::kCopy;
  /// Also files that no revision declares: only their SHA-1 can be compared, with their name.
  bool all = false;
  bool dry_run = false;  ///< hash and count, take nothing
};

/// Why a file was left where it is.
enum class AdoptLeft {
  kForeign,     ///< its name or its folder is not that of a content file
  kLink,        ///< a symbolic link; not followed
  kNoFile,      ///< a folder in the wrong place, a pipe, a device
  kUndeclared,  ///< no revision declares it
  kDamaged,     ///< not the bytes that its name or a declaration says
  kUnreadable,  ///< cannot be read
  kNotRemoved,  ///< taken, but it cannot be removed there (kMove)
};
std::string_view AdoptLeftName(AdoptLeft why);

struct AdoptReport {
  std::uint64_t seen_files = 0;   ///< entries of folders that were looked at
  std::uint64_t taken_files = 0;  ///< with dry_run: would be taken
  std::uint64_t taken_bytes = 0;
  std::uint64_t held_files = 0;  ///< in the store already; not read again, left where they are
  std::uint64_t undeclared_files = 0;
  std::uint64_t foreign_files = 0;  ///< kForeign, kLink, kNoFile
  std::uint64_t damaged_files = 0;
  std::uint64_t unreadable_files = 0;
  std::uint64_t not_removed_files = 0;
  struct Left {
    std::string path;  ///< relative to the folder given
    AdoptLeft why;
    std::string what;
  };
  std::vector<Left> left;  ///< at most 1,000; the counts go on

  /// Foreign and undeclared files are none of ours: leaving them is no failure.
  bool complete() const {
    return damaged_files == 0 && unreadable_files == 0 && not_removed_files == 0;
  }
};

/// Takes the files of an existing content folder (AB/<SHA1>.<ext>, any case) into the store:
/// `directory` is a WsusContent folder or the folder that one lies in. Every file is read and
/// hashed before it is taken: its SHA-1 must be that of its name, its size and (where declared) its
/// SHA-256 those of a declaration in the catalogue. Symbolic links are not followed, nothing that
/// is held is replaced, and nothing changes in `directory` except by kMove, and there only after
/// the store has the file. Interrupted, the same call goes on: what was taken is held.
/// Fails with kNotFound when there is no content folder, with kUsage for a folder inside the
/// mirror or for kLink over file systems, with kNoSpace naming both numbers, kCancelled.
/// Hold the job lock. Memory is bounded by the entries of one folder.
Result<AdoptReport> AdoptContent(Mirror& mirror, const std::filesystem::path& directory,
                                 const AdoptOptions& options, Progress& progress,
                                 std::stop_token stop);

}  // namespace gapferry::mirror
