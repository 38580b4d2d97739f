#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {

/// A site for programs, its settings under "settings".
nlohmann::json SiteToJson(const mirror::Site& site);
nlohmann::json SettingsToJson(const mirror::SiteSettings& settings);

/// What the site is sent, in words: only what differs from the defaults, but for the content.
Result<std::string> SettingsText(mirror::Mirror& mirror, const mirror::SiteSettings& settings);

}  // namespace gapferry::cli
