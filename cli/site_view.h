#pragma once

#include <nlohmann/json_fwd.hpp>
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

/// What the site is sent, in words: only what differs from the defaults, but for the content.
Result<std::string> SettingsText(mirror::Mirror& mirror, const mirror::SiteSettings& settings);

}  // namespace gapferry::cli
