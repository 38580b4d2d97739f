#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "manifests/bundle_report.h"

namespace gapferry::cli {

/// "4,096".
std::string Thousands(std::uint64_t number);

/// "volume 3: 2 of 4,096 blocks damaged, repaired from parity", one line per volume and file.
std::vector<std::string> MendedLines(const std::vector<manifests::VolumeDamage>& volumes,
                                     const std::vector<std::string>& files);

/// The same for programs: a list with the blocks as [first, count].
nlohmann::json DamageToJson(const std::vector<manifests::VolumeDamage>& volumes);

/// Everything that is wrong in a report, several lines: volumes, blocks, objects, what is good.
std::string DamageText(const manifests::BundleReport& report);
/// Fields of the same: "damaged", "volumes_damaged", "objects_damaged", "good_bytes", ...
nlohmann::json DamageFields(const manifests::BundleReport& report);

}  // namespace gapferry::cli
