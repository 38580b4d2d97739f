#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "manifests/manifest.h"

namespace gapferry::exporter {

/// "1-3, 5" of ascending numbers; "none" without any.
std::string NumberRanges(const std::vector<std::uint32_t>& numbers);

struct LabelFacts {
  std::uint32_t medium = 1;
  /// Numbers of all media that count, ascending; empty until the last one is written. One that was
  /// given up leaves a gap.
  std::vector<std::uint32_t> media = {};
  std::vector<std::uint32_t> volumes;  ///< ascending
  std::uint32_t volumes_in_all = 0;
  bool has_manifest = false;
  std::uint64_t bytes = 0;
};

/// What the courier's label of a medium says, in lines of at most 72 characters but for long names:
/// which medium of how many, of which bundle, from whom, for whom. Names nothing that the clear
/// part of a sealed bundle does not name either.
std::string MediumLabel(const manifests::Manifest& bundle, const LabelFacts& facts);

}  // namespace gapferry::exporter
