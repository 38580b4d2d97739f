#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/context.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {

/// A site for programs, its settings under "settings".
nlohmann::json SiteToJson(const mirror::Site& site);
nlohmann::json SettingsToJson(const mirror::SiteSettings& settings);

/// By stream, name or GUID; the error names the command that lists them.
Result<mirror::Site> FindSite(const Context& context, mirror::Ledger& ledger,
                              std::string_view text);

/// That the last return of a site asks for damaged blocks of bundles that it has not imported in
/// any other way since. `command` is what to type behind "gapferry".
struct AskedRepair {
  std::uint64_t blocks = 0;
  std::string text;
  std::string command;
};
Result<std::optional<AskedRepair>> FindAskedRepair(mirror::Ledger& ledger,
                                                   const mirror::Site& site);

/// What the site is sent, in words: only what differs from the defaults, but for content,
/// encryption and parity.
Result<std::string> SettingsText(mirror::Mirror& mirror, const mirror::SiteSettings& settings);

}  // namespace gapferry::cli
