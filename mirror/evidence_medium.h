#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/canonical_json.h"
#include "base/result.h"

namespace gapferry::mirror {

/// Which stick or disc a path lies on, as far as the system tells an ordinary user: /proc, /sys and
/// the names that udev keeps. Empty texts: not known, which is no error (a network share, a RAM
/// disk, a container).
struct MediumFacts {
  std::string path;  ///< as it was asked for
  std::string mount_point;
  std::string file_system;  ///< "vfat"
  std::string uuid;         ///< of the file system
  std::string label;        ///< of the file system
  std::string device;       ///< "/dev/sdb1"
  std::string vendor;
  std::string model;
  std::string serial;  ///< of the device
  bool read_only = false;

  /// Members that are known; texts in valid UTF-8.
  JsonValue::Object ToJson() const;
  /// "serial 4C53…, UUID A0B1-C2D3": what the medium could be recognised by; empty: nothing.
  std::string Marks() const;
};

/// Where to look; tests have folders of their own.
struct MediumSources {
  std::filesystem::path mounts = "/proc/self/mountinfo";
  std::filesystem::path sys = "/sys";
  std::filesystem::path disks = "/dev/disk";
  std::filesystem::path udev = "/run/udev/data";
};

/// `path` may not exist yet: its nearest folder that does counts.
MediumFacts ReadMedium(const std::filesystem::path& path, const MediumSources& sources = {});

/// Refuses a medium that is none of `allowed` (serial numbers and UUIDs, without case), unless the
/// list is empty: kUntrusted, reason "medium-not-allowed", naming what it is and what is allowed.
Result<void> CheckMediumAllowed(const MediumFacts& medium, const std::vector<std::string>& allowed);

}  // namespace gapferry::mirror
