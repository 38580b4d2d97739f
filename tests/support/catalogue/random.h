#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/guid.h"

namespace gapferry::catalogue {

/// xoshiro256** seeded by SplitMix64 from SHA-256(seed, key): the same numbers on every machine,
/// and one stream per key, so that adding an object never changes another one. Integer arithmetic
/// only: no standard distributions, no floating point.
class Random {
 public:
  Random(std::uint64_t seed, std::string_view key);

  std::uint64_t Next();
  /// 0 to bound - 1; bound > 0.
  std::uint64_t Below(std::uint64_t bound);
  /// low to high, both included.
  std::uint64_t Between(std::uint64_t low, std::uint64_t high) {
    return low + Below(high - low + 1);
  }
  bool Chance(std::uint32_t percent) { return Below(100) < percent; }
  /// Log-normal with the given median and sigma in thousandths, limited to [low, high].
  std::uint64_t LogNormal(std::uint64_t median, std::uint32_t sigma_thousandths, std::uint64_t low,
                          std::uint64_t high);
  /// 1 to limit, with mean near `mean` for a large limit.
  std::uint64_t Geometric(std::uint64_t mean, std::uint64_t limit);

 private:
  std::array<std::uint64_t, 4> state_{};
};

/// A version 4 GUID that depends on `seed` and `path` only.
Guid GuidOf(std::uint64_t seed, std::string_view path);

}  // namespace gapferry::catalogue
