#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/guid.h"
#include "base/result.h"

namespace gapferry::mirror {

/// Which files a site is sent. Documents and intent always travel completely, so that every site
/// has the same state digest; what a filter leaves out comes with the next bundle once it is wider.
enum class SiteContent {
  kAsMirror,  ///< what this mirror downloads itself: approved or all
  kApproved,
  kAll,
  kNone,
};
std::string_view SiteContentName(SiteContent content);
std::optional<SiteContent> ParseSiteContent(std::string_view name);

/// How bundles for a site are made, as `site set` says.
struct SiteSettings {
  SiteContent content = SiteContent::kAsMirror;
  std::vector<std::string> languages;      ///< of updates, lower case, ascending; empty: all
  std::vector<std::string> architectures;  ///< x86, x64, arm64, ascending; empty: all
  std::vector<Guid> groups;                ///< approvals for these count; ascending; empty: all
  std::optional<bool> express;             ///< absent: as this mirror downloads
  std::uint64_t max_bytes = 0;             ///< of files in one bundle; 0: no limit
  std::optional<bool> encrypt;             ///< absent: as export.encrypt says
  std::optional<std::uint32_t> parity;     ///< percent, 0: none; absent: as export.parity says
  /// Nothing comes back from there: each bundle starts so far back that any of the last
  /// `overlap_bundles`, and all of the last `overlap_days`, may be lost.
  bool no_returns = false;
  std::uint32_t overlap_bundles = kDefaultOverlap;
  std::uint32_t overlap_days = 0;
  bool operator==(const SiteSettings&) const = default;

  static constexpr std::uint32_t kDefaultOverlap = 2;
};
inline constexpr std::uint32_t kMaxOverlapBundles = 100;
inline constexpr std::uint32_t kMaxOverlapDays = 3650;
inline constexpr std::uint32_t kMaxSiteParity = 100;
inline constexpr std::size_t kMaxSettingItems = 256;

/// Canonical JSON, as the ledger keeps it.
std::string EncodeSiteSettings(const SiteSettings& settings);
/// "" gives the defaults. Fails with kCorrupt.
Result<SiteSettings> DecodeSiteSettings(std::string_view text);

}  // namespace gapferry::mirror
